//! The ground one call's WebRTC driver stands on: Tokio for tasks and timers, a
//! [`CallPort`](super::port::CallPort) for packets.
//!
//! The library binds a socket of its own for every connection and asks the runtime to wrap it.
//! Here it is closed at once: only its address is kept, as the label of the call's host candidate
//! inside the library. So a call holds no file descriptor while it lasts (except its TCP
//! connections, if it has any).

use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit,
};

use super::CloseReason;
use super::flight::{Flight, Repeating};
use super::inbox::Inbox;
use super::port::{CallPort, PEER};

/// The driver's longest sleep during handshakes.
const SETTLING_SLEEP: Duration = Duration::from_millis(4);

/// The runtime of one call.
pub(super) struct CallRuntime {
    inbox: Arc<Inbox>,
    /// `None` on the dialling side over UDP, which has sockets of its own.
    port: Option<Arc<CallPort>>,
    flight: Arc<Flight>,
    /// The first task the library starts is the driver.
    driver_started: AtomicBool,
}

impl CallRuntime {
    pub(super) fn new(
        inbox: &Arc<Inbox>,
        flight: &Arc<Flight>,
        port: Option<&Arc<CallPort>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            inbox: inbox.clone(),
            port: port.cloned(),
            flight: flight.clone(),
            driver_started: AtomicBool::new(false),
        })
    }
}

impl std::fmt::Debug for CallRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallRuntime")
    }
}

/// Ends the leg when the driver is gone, be it by a panic.
struct EndsWithDriver(Arc<Inbox>);

impl Drop for EndsWithDriver {
    fn drop(&mut self) {
        self.0.end(CloseReason::Failed);
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Runtime for CallRuntime {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        if self.driver_started.swap(true, Ordering::Relaxed) {
            return TokioRuntime.spawn(future);
        }
        let ends = EndsWithDriver(self.inbox.clone());
        TokioRuntime.spawn(Box::pin(async move {
            let _ends = ends;
            future.await;
        }))
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let socket: Arc<dyn AsyncUdpSocket> = match &self.port {
            Some(port) => Arc::new(CallSocket { port: port.clone(), label: socket.local_addr()? }),
            None => TokioRuntime.wrap_udp_socket(socket)?,
        };
        Ok(Arc::new(Repeating { socket, flight: self.flight.clone() }))
    }

    /// Never: TCP is carried below the library.
    fn wrap_tcp_listener(&self, _listener: TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        unsupported()
    }

    /// Never, as above; and nobody connects to addresses found in a description.
    fn connect_tcp<'a>(
        &'a self,
        _remote: SocketAddr,
    ) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        Box::pin(std::future::ready(unsupported()))
    }

    /// Never needed: there are no STUN or TURN servers, and offered names are not looked up.
    fn resolve_host<'a>(&'a self, _host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(std::future::ready(unsupported()))
    }

    /// Short while handshakes go on: the library's driver sends what an event of its own has
    /// queued (the first DTLS flight, SCTP's INIT, the data channel's opening) only when it wakes
    /// up next, for which it would wait up to 200 ms each time.
    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        let settling = self.inbox.is_settling();
        TokioRuntime.sleep(if settling { duration.min(SETTLING_SLEEP) } else { duration })
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }
}

/// The socket one call's driver believes to own.
struct CallSocket {
    port: Arc<CallPort>,
    label: SocketAddr,
}

impl std::fmt::Debug for CallSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallSocket").field("label", &self.label).finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for CallSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.label)
    }

    fn poll_send(
        &self,
        _context: &mut Context<'_>,
        transmit: &Transmit<'_>,
    ) -> Poll<io::Result<usize>> {
        self.port.send(transmit.contents);
        Poll::Ready(Ok(transmit.contents.len()))
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let Poll::Ready(packet) = self.port.poll_receive(context) else { return Poll::Pending };
        let length = packet.len().min(buffers[0].len());
        buffers[0][..length].copy_from_slice(&packet[..length]);
        meta[0] = RecvMeta::default();
        meta[0].addr = PEER;
        meta[0].len = length;
        meta[0].stride = length.max(1);
        Poll::Ready(Ok(1))
    }
}
