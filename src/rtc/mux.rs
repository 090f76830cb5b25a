//! One UDP port for all calls.
//!
//! In: datagrams of the shared socket. Out: each to the [`CallPort`] of its call. [`Mux`] owns the
//! socket and the table of calls; [`CallLine`] is a call's entry and takes it out again when
//! dropped. A call has one name for each of its ICE sessions.
//!
//! A STUN request names its call by ICE user name. Anything else belongs to the call its source
//! address was proven for: by a request whose MESSAGE-INTEGRITY is right under that call's ICE
//! password. An address in use is not given to another call even then, since source addresses can
//! be forged. Everything unproven is dropped here and costs the calls nothing.

use std::collections::{HashMap, HashSet};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rtc::crypto::CryptoError;
use tokio::io::Interest;
use webrtc::runtime::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use super::Transport;
use super::ice::IceCredentials;
use super::nearby::Doorkeeper;
use super::port::{CallPort, PathKey, Route};
use super::stun::BindingRequest;

/// An address not heard of for this long may be proven for another call: a new caller behind the
/// same NAT may be given the port of one who vanished. Shorter than any client keeps trying, longer
/// than a client is silent (browsers check their path every 2.5 s).
const QUIET: Duration = Duration::from_secs(4);
/// Datagrams taken from the kernel with one system call.
const BATCH: usize = 8;
/// The largest coalesced read (UDP GRO).
const RECEIVE_BUFFER: usize = 65_536;
/// What the kernel is asked to hold for us: 2 s of 200 calls. It may grant less.
const KERNEL_BUFFER: usize = 4 << 20;

/// Takes a lock whose holders cannot panic half-way; a poisoned one is still sound.
pub(super) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The socket all calls share.
pub(super) struct SharedUdp {
    socket: tokio::net::UdpSocket,
    state: UdpSocketState,
}

impl SharedUdp {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind(address)?;
        socket.set_nonblocking(true)?;
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), KERNEL_BUFFER);
        Ok(Self { socket, state })
    }

    /// Reads into `buffers`; the number of them filled.
    async fn receive(
        &self,
        buffers: &mut [Vec<u8>; BATCH],
        meta: &mut [RecvMeta; BATCH],
    ) -> io::Result<usize> {
        self.socket
            .async_io(Interest::READABLE, || {
                let mut slices = buffers.each_mut().map(|buffer| IoSliceMut::new(buffer));
                self.state.recv(UdpSockRef::from(&self.socket), &mut slices, meta)
            })
            .await
    }

    /// Sends a datagram from the address of ours the caller talks to. What the kernel does not
    /// take at once is lost, as on any full link.
    pub(super) fn send(&self, contents: &[u8], peer: SocketAddr, local: Option<IpAddr>) {
        let transmit =
            Transmit { destination: peer, ecn: None, contents, segment_size: None, src_ip: local };
        let _ = self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
    }
}

/// The shared UDP socket and the table of calls.
pub(super) struct Mux {
    udp: Arc<SharedUdp>,
    door: Doorkeeper,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    calls: HashMap<String, Arc<CallPort>>,
    /// Proven UDP addresses of the callers.
    addresses: HashMap<SocketAddr, Owner>,
}

/// The call an address belongs to.
struct Owner {
    port: Arc<CallPort>,
    heard: Instant,
}

impl Mux {
    /// Opens the socket. Must run inside a Tokio runtime.
    pub(super) fn bind(address: SocketAddr, door: Doorkeeper) -> io::Result<Self> {
        Ok(Self { udp: Arc::new(SharedUdp::bind(address)?), door, table: Mutex::default() })
    }

    /// Whether anything is taken from there.
    pub(super) fn lets_in(&self, from: IpAddr) -> bool {
        self.door.lets_in(from)
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.udp.socket.local_addr()
    }

    /// Enters a call under its ICE name.
    pub(super) fn enter(self: &Arc<Self>, port: CallPort) -> CallLine {
        let port = Arc::new(port);
        let mut table = locked(&self.table);
        for name in port.sessions.names() {
            table.calls.insert(name, port.clone());
        }
        drop(table);
        CallLine { mux: Some(self.clone()), port }
    }

    /// Begins a further ICE session of a call, under new credentials of both sides. What is under
    /// way under the old ones goes on. `false` if the call is over.
    pub(super) fn restart(
        &self,
        port: &Arc<CallPort>,
        local: IceCredentials,
        remote: IceCredentials,
    ) -> Result<bool, CryptoError> {
        let mut table = locked(&self.table);
        if port.is_closed() {
            return Ok(false);
        }
        let name = local.ufrag.clone();
        if let Some(gone) = port.sessions.restart(local, remote)? {
            table.calls.remove(&gone);
        }
        table.calls.insert(name, port.clone());
        Ok(true)
    }

    /// Finds the call a connection's first frame proves itself for.
    pub(super) fn proven(&self, request: &BindingRequest<'_>) -> Option<Arc<CallPort>> {
        let port = locked(&self.table).calls.get(request.ufrag)?.clone();
        port.proves(request).then_some(port)
    }

    /// Calls in the table, and proven addresses.
    pub(super) fn counts(&self) -> (usize, usize) {
        let table = locked(&self.table);
        let calls: HashSet<_> = table.calls.values().map(Arc::as_ptr).collect();
        (calls.len(), table.addresses.len())
    }

    /// Reads the socket until the task is ended.
    pub(super) async fn run(self: Arc<Self>) {
        let mut buffers = std::array::from_fn(|_| vec![0; RECEIVE_BUFFER]);
        loop {
            let mut meta = [RecvMeta::default(); BATCH];
            match self.udp.receive(&mut buffers, &mut meta).await {
                Ok(count) => {
                    let now = Instant::now();
                    for (buffer, meta) in buffers.iter().zip(&meta).take(count) {
                        if !self.lets_in(meta.addr.ip()) {
                            continue;
                        }
                        // One read may hold several datagrams of one sender.
                        for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                            self.sort(datagram, meta, now);
                        }
                    }
                }
                // An ICMP error of one caller's must not stop the others; a broken socket must not
                // spin.
                Err(error) => {
                    tracing::debug!(%error, "reading the media port failed");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }

    fn sort(&self, datagram: &[u8], meta: &RecvMeta, now: Instant) {
        if let Some(port) = self.owner(datagram, meta, now) {
            let key = PathKey { transport: Transport::Udp, peer: meta.addr };
            port.receive(datagram, key, now);
        }
    }

    /// The call a datagram belongs to, learning the caller's address where it proves itself.
    fn owner(&self, datagram: &[u8], meta: &RecvMeta, now: Instant) -> Option<Arc<CallPort>> {
        let peer = meta.addr;
        let key = |peer| PathKey { transport: Transport::Udp, peer };
        let mut table = locked(&self.table);
        let request = BindingRequest::parse(datagram);
        if let Some(owner) = table.addresses.get_mut(&peer) {
            if request.is_none_or(|request| owner.port.sessions.has(request.ufrag)) {
                owner.heard = now;
                return Some(owner.port.clone());
            }
            if now.saturating_duration_since(owner.heard) < QUIET {
                return None;
            }
        }
        let request = request?;
        let port = table.calls.get(request.ufrag)?.clone();
        if !port.proves(&request) {
            return None;
        }
        let owner = Owner { port: port.clone(), heard: now };
        if let Some(before) = table.addresses.insert(peer, owner) {
            before.port.remove(key(peer));
        }
        let route = Route::Udp { socket: self.udp.clone(), peer, local: meta.dst_ip };
        if let Some(gone) = port.add(key(peer), route, now)
            && gone.transport == Transport::Udp
        {
            table.addresses.remove(&gone.peer);
        }
        Some(port)
    }
}

/// One call's port, and its entry in the table of calls if it has one. Dropping it takes the call
/// and its addresses out and ends its connections.
pub(super) struct CallLine {
    mux: Option<Arc<Mux>>,
    port: Arc<CallPort>,
}

impl CallLine {
    /// A line outside any table, for the dialling side.
    pub(super) fn alone(port: CallPort) -> Self {
        Self { mux: None, port: Arc::new(port) }
    }

    pub(super) fn port(&self) -> &Arc<CallPort> {
        &self.port
    }
}

impl Drop for CallLine {
    fn drop(&mut self) {
        let Some(mux) = &self.mux else {
            self.port.close();
            return;
        };
        let mut table = locked(&mux.table);
        for name in self.port.sessions.names() {
            table.calls.remove(&name);
        }
        for key in self.port.close() {
            if key.transport == Transport::Udp {
                table.addresses.remove(&key.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtc::ice::tests::credentials;
    use crate::rtc::stun::tests::binding_request;

    /// A mux with two calls, and a look-up of the call a datagram goes to.
    struct Bench {
        mux: Arc<Mux>,
        lines: Vec<CallLine>,
        start: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let mux = Arc::new(
                Mux::bind(([127, 0, 0, 1], 0).into(), Doorkeeper::new(false)).expect("a free port"),
            );
            let crypto = rtc::crypto::default_provider().expect("a provider");
            let lines = ["alice", "bob"].map(|name| {
                let port =
                    CallPort::new(&credentials(name, &format!("{name}'s password")), &crypto);
                mux.enter(port.expect("HMAC-SHA1"))
            });
            Self { mux, lines: lines.into(), start: Instant::now() }
        }

        fn owner(&self, seconds: u64, peer: SocketAddr, datagram: &[u8]) -> Option<String> {
            let now = self.start + Duration::from_secs(seconds);
            let mut meta = RecvMeta::default();
            meta.addr = peer;
            self.mux.owner(datagram, &meta, now)?.sessions.names().into_iter().next()
        }
    }

    const RTP: &[u8] = &[0x80, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xfc];

    fn from(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn proof_of(name: &str) -> Vec<u8> {
        binding_request(name, &format!("{name}'s password"), false)
    }

    #[tokio::test]
    async fn an_address_belongs_to_the_call_it_was_proven_for() {
        let bench = Bench::new();
        assert_eq!(bench.owner(0, from(1), RTP), None);
        assert_eq!(bench.owner(0, from(1), &proof_of("alice")).as_deref(), Some("alice"));
        assert_eq!(bench.owner(0, from(2), &proof_of("bob")).as_deref(), Some("bob"));
        assert_eq!(bench.owner(0, from(1), RTP).as_deref(), Some("alice"));
        assert_eq!(bench.owner(0, from(2), RTP).as_deref(), Some("bob"));
    }

    #[tokio::test]
    async fn a_request_without_the_password_maps_nothing() {
        let bench = Bench::new();
        let forged = binding_request("alice", "a guess", false);
        assert_eq!(bench.owner(0, from(1), &forged), None);
        assert_eq!(bench.owner(0, from(1), RTP), None);
        assert_eq!(bench.owner(0, from(1), &proof_of("carol")), None);
        assert_eq!(bench.mux.counts(), (2, 0));
    }

    #[tokio::test]
    async fn an_address_in_use_cannot_be_taken_even_by_another_callers_proof() {
        let bench = Bench::new();
        let bob = proof_of("bob");
        bench.owner(0, from(1), &proof_of("alice"));
        bench.owner(3, from(1), RTP);
        assert_eq!(bench.owner(5, from(1), &bob), None);
        assert_eq!(bench.owner(6, from(1), RTP).as_deref(), Some("alice"));
        assert_eq!(bench.owner(10, from(1), &bob).as_deref(), Some("bob"), "quiet for 4 s");
        assert_eq!(bench.owner(10, from(1), RTP).as_deref(), Some("bob"));
        assert_eq!(bench.mux.counts(), (2, 1));
        assert!(bench.lines[0].port.close().is_empty());
    }

    #[tokio::test]
    async fn a_call_leaves_nothing_in_the_table() {
        let mut bench = Bench::new();
        for port in 1..100 {
            bench.owner(0, from(port), &proof_of("alice"));
        }
        assert_eq!(bench.mux.counts(), (2, 32), "addresses of a call are limited");
        bench.lines.clear();
        assert_eq!(bench.mux.counts(), (0, 0));
        assert_eq!(bench.owner(0, from(1), RTP), None);
    }
}
