//! One TCP port for all calls (ICE-TCP, RFC 6544), for callers whose UDP is blocked.
//!
//! In: connections of the shared listener. Out: the packets of each to the
//! [`CallPort`](super::port::CallPort) its first packet proved itself for. Packets are framed by a
//! 16-bit length (RFC 4571). Each connection has a task, which ends with the connection or the
//! call. The dialling side uses the same tasks for the connection it opens.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Transport;
use super::mux::{Mux, locked};
use super::port::{CallPort, PathKey, Route};
use super::stun::BindingRequest;

/// How long a connection may take to say whose it is.
const INTRODUCTION: Duration = Duration::from_secs(5);
/// Connections that have not said so yet; more wait in the kernel's backlog.
const INTRODUCING: usize = 128;
/// No packet of a call is longer; a connection that sends longer ones is closed.
const LONGEST_PACKET: usize = 4096;
/// Bytes kept for a caller who does not read, 1 s of a busy call. What does not fit is dropped by
/// whole packets, as UDP would lose them: a stuck caller must not stop its call's driver.
const UNSENT_BYTES: usize = 64 << 10;

/// Accepts connections until the task is ended.
pub(super) async fn run(listener: TcpListener, mux: Arc<Mux>) {
    let introducing = Arc::new(Semaphore::new(INTRODUCING));
    let mut connections = JoinSet::new();
    loop {
        let Ok(permit) = introducing.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((_, peer)) if !mux.lets_in(peer.ip()) => {}
            Ok((stream, peer)) => {
                let mux = mux.clone();
                connections.spawn(async move {
                    let introduction = introduce(stream, peer, &mux);
                    let known = tokio::time::timeout(INTRODUCTION, introduction).await;
                    drop(permit);
                    if let Ok(Some(connection)) = known {
                        connection.carry().await;
                    }
                });
            }
            // Out of file descriptors, most likely: others will close theirs.
            Err(error) => {
                tracing::warn!(%error, "a media connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Reads the first packet and finds the call it is proof for; `None` closes the connection.
async fn introduce(stream: TcpStream, peer: SocketAddr, mux: &Mux) -> Option<Connection> {
    let mut received = BytesMut::with_capacity(512);
    let port = loop {
        if let Some(packet) = first_packet(&received).ok()? {
            break mux.proven(&BindingRequest::parse(packet)?)?;
        }
        stream.readable().await.ok()?;
        match stream.try_read_buf(&mut received) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    };
    Some(Connection::new(stream, peer, port, received))
}

/// The first packet of what has been received, if it is complete.
fn first_packet(received: &[u8]) -> io::Result<Option<&[u8]>> {
    let Some((length, rest)) = received.split_first_chunk::<2>() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > LONGEST_PACKET {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(rest.get(..length))
}

/// Takes the first packet off, if it is complete.
fn take_packet(received: &mut BytesMut) -> io::Result<Option<Bytes>> {
    let Some(length) = first_packet(received)?.map(<[u8]>::len) else { return Ok(None) };
    received.advance(2);
    Ok(Some(received.split_to(length).freeze()))
}

/// A connection of one call.
pub(super) struct Connection {
    path: Arc<TcpPath>,
    port: Arc<CallPort>,
    key: PathKey,
    received: BytesMut,
}

impl Connection {
    /// Adds the connection to the call's paths. It carries packets once [`carry`](Self::carry)
    /// runs.
    pub(super) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        port: Arc<CallPort>,
        received: BytesMut,
    ) -> Self {
        // Late sound is worth nothing, so nothing is held back to fill a segment.
        let _ = stream.set_nodelay(true);
        let key = PathKey { transport: Transport::Tcp, peer };
        let path = Arc::new(TcpPath {
            stream,
            unsent: Mutex::default(),
            stuck: Notify::new(),
            closed: port.connection_token(),
        });
        port.add(key, Route::Tcp(path.clone()), Instant::now());
        Self { path, port, key, received }
    }

    /// Passes packets on until the connection or the call ends.
    pub(super) async fn carry(mut self) {
        let closed = self.path.closed.clone();
        loop {
            match take_packet(&mut self.received) {
                Ok(Some(packet)) => {
                    self.port.receive(&packet, self.key, Instant::now());
                    continue;
                }
                Ok(None) => {}
                Err(_) => break,
            }
            tokio::select! {
                () = closed.cancelled() => break,
                more = self.path.read(&mut self.received) => {
                    if !more.is_ok_and(|count| count > 0) {
                        break;
                    }
                }
            }
        }
        self.port.remove(self.key);
    }
}

/// The sending side of a connection.
pub(super) struct TcpPath {
    stream: TcpStream,
    unsent: Mutex<VecDeque<u8>>,
    /// `unsent` is no longer empty.
    stuck: Notify,
    closed: CancellationToken,
}

impl TcpPath {
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Sends a packet, keeps what the kernel does not take now, or drops it whole.
    pub(super) fn send(&self, packet: &[u8]) {
        let Ok(length) = u16::try_from(packet.len()) else { return };
        let mut unsent = locked(&self.unsent);
        if unsent.len() + packet.len() + 2 > UNSENT_BYTES {
            return;
        }
        unsent.extend(length.to_be_bytes());
        unsent.extend(packet);
        if self.flush(&mut unsent).is_err() {
            self.closed.cancel();
        } else if !unsent.is_empty() {
            self.stuck.notify_one();
        }
    }

    fn flush(&self, unsent: &mut VecDeque<u8>) -> io::Result<()> {
        while !unsent.is_empty() {
            match self.stream.try_write(unsent.make_contiguous()) {
                Ok(count) => drop(unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads something, and meanwhile sends what waits.
    async fn read(&self, received: &mut BytesMut) -> io::Result<usize> {
        loop {
            let stuck = !locked(&self.unsent).is_empty();
            tokio::select! {
                readable = self.stream.readable() => {
                    readable?;
                    received.reserve(LONGEST_PACKET);
                    match self.stream.try_read_buf(received) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        result => return result,
                    }
                }
                writable = self.stream.writable(), if stuck => {
                    writable?;
                    self.flush(&mut locked(&self.unsent))?;
                }
                () = self.stuck.notified(), if !stuck => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::rtc::ice::tests::credentials;

    /// A connection of a call, and the caller's end of it.
    async fn connected() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let far = TcpStream::connect(address).await.expect("connected");
        let (near, peer) = listener.accept().await.expect("accepted");
        let crypto = rtc::crypto::default_provider().expect("a provider");
        let port = CallPort::new(&credentials("eva", "a password"), &crypto).expect("HMAC-SHA1");
        (Connection::new(near, peer, Arc::new(port), BytesMut::new()), far)
    }

    #[tokio::test]
    async fn a_caller_who_does_not_read_stops_nobody_and_later_gets_whole_packets() {
        let (connection, mut far) = connected().await;
        let path = connection.path.clone();
        let carrying = tokio::spawn(connection.carry());
        for number in 0..20_000_u32 {
            let mut packet = vec![0x80; 1_000];
            packet[..4].copy_from_slice(&number.to_be_bytes());
            path.send(&packet);
        }
        assert!(locked(&path.unsent).len() <= UNSENT_BYTES);
        let mut last = None;
        let reading = async {
            loop {
                let length = far.read_u16().await.expect("a frame");
                assert_eq!(length, 1_000);
                let mut packet = [0; 1_000];
                far.read_exact(&mut packet).await.expect("a whole packet");
                let number = u32::from_be_bytes([packet[0], packet[1], packet[2], packet[3]]);
                assert!(last.is_none_or(|last| number > last));
                assert!(packet[4..].iter().all(|byte| *byte == 0x80));
                last = Some(number);
            }
        };
        let read_all = tokio::time::timeout(Duration::from_millis(500), reading).await;
        assert!(read_all.is_err(), "the connection stays open");
        assert!(last.is_some_and(|last| last > 100) && locked(&path.unsent).is_empty());
        path.close();
        carrying.await.expect("the connection's task ends");
    }

    #[tokio::test]
    async fn a_packet_too_long_ends_the_connection() {
        let (connection, mut far) = connected().await;
        let carrying = tokio::spawn(connection.carry());
        far.write_all(&[0xff, 0xff, 0x80]).await.expect("sent");
        carrying.await.expect("the connection's task ends");
        assert_eq!(far.read(&mut [0; 10]).await.expect("closed"), 0);
    }
}
