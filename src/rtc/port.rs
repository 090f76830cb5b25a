//! One call's place on the shared ports: its paths, and the packets waiting for its driver.
//!
//! In: packets of the call from any address or connection (`mux`, `tcp`), and the driver's packets.
//! Out: the former to the driver as if all came from one place, the latter onto the path in use.
//!
//! The library keeps to the first path that is nominated. Callers do not: a browser moves to a
//! better path when it finds one, a telephone from Wi-Fi to the mobile network, a NAT to another
//! port, a client from UDP to TCP. So the library sees one peer, [`PEER`], that never moves, and
//! the [`CallPort`] answers connectivity checks itself and follows the caller: onto the path its
//! media comes by, or, while there is none, the one it nominates (RFC 8445 section 7.3.1.5). When
//! ICE is restarted, `ice` writes checks over, and the library sees one session that never ends.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rtc::crypto::{CryptoError, RTCCryptoProvider};
use tokio_util::sync::CancellationToken;

use super::Transport;
use super::ice::{IceCredentials, IceSession, Sessions};
use super::mux::{SharedUdp, locked};
use super::stun::{BindingRequest, Packet};
use super::tcp::TcpPath;

/// Where every packet comes from, as far as the library knows. Never on the wire.
pub(super) const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);
/// Packets waiting for one call's driver, 0.6 s of a busy call. Newer ones are dropped when it is
/// full, as a full socket buffer would; audio loss is concealed, the rest is retransmitted.
const WAITING_PACKETS: usize = 64;
/// Paths of one call: one per interface and address family of either side. When there are more,
/// the one not heard of for longest goes.
const PATHS_PER_CALL: usize = 32;
/// A path that carried media this recently is not left for a nomination: the media decides.
const IN_USE: Duration = Duration::from_secs(1);

/// A call's paths and queue. Entered into the table of calls by `mux`.
pub(super) struct CallPort {
    pub(super) sessions: Sessions,
    switch: Mutex<Switch>,
    waiting: Mutex<Waiting>,
    /// Ends the call's connections.
    over: CancellationToken,
}

/// What tells paths apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PathKey {
    pub(super) transport: Transport,
    /// The caller's address as the socket shows it.
    pub(super) peer: SocketAddr,
}

/// How to send on a path.
#[derive(Clone)]
pub(super) enum Route {
    /// From the address of ours that the caller talks to.
    Udp {
        socket: Arc<SharedUdp>,
        peer: SocketAddr,
        local: Option<IpAddr>,
    },
    Tcp(Arc<TcpPath>),
}

impl Route {
    fn send(&self, packet: &[u8]) {
        match self {
            Self::Udp { socket, peer, local } => socket.send(packet, *peer, *local),
            Self::Tcp(path) => path.send(packet),
        }
    }
}

struct Path {
    key: PathKey,
    route: Route,
    heard: Instant,
    /// The session of the last check that came by it.
    session: Option<Arc<IceSession>>,
}

#[derive(Default)]
struct Switch {
    paths: Vec<Path>,
    /// The path our packets take.
    selected: Option<PathKey>,
    /// When media last came in.
    carried: Option<Instant>,
    /// A nomination the library may not have been able to act on yet.
    nomination: Option<Vec<u8>>,
}

impl Switch {
    fn path(&mut self, key: PathKey) -> Option<&mut Path> {
        self.paths.iter_mut().find(|path| path.key == key)
    }

    /// Notes a proven request; the route to answer it by.
    fn heard(
        &mut self,
        key: PathKey,
        nominates: bool,
        session: &Arc<IceSession>,
        now: Instant,
    ) -> Option<Route> {
        let path = self.path(key)?;
        path.heard = now;
        path.session = Some(session.clone());
        let route = path.route.clone();
        let idle = self.carried.is_none_or(|at| now.saturating_duration_since(at) > IN_USE);
        if nominates && idle {
            self.selected = Some(key);
        }
        Some(route)
    }

    /// Notes media.
    fn carried(&mut self, key: PathKey, now: Instant) -> bool {
        let Some(path) = self.path(key) else { return false };
        path.heard = now;
        self.selected = Some(key);
        self.carried = Some(now);
        true
    }

    fn remove(&mut self, key: PathKey) {
        self.paths.retain(|path| path.key != key);
        if self.selected == Some(key) {
            self.selected = self.paths.iter().max_by_key(|path| path.heard).map(|path| path.key);
        }
    }
}

#[derive(Default)]
struct Waiting {
    packets: VecDeque<Vec<u8>>,
    driver: Option<Waker>,
}

impl CallPort {
    pub(super) fn new(
        ice: &IceCredentials,
        crypto: &Arc<dyn RTCCryptoProvider>,
    ) -> Result<Self, CryptoError> {
        Ok(Self {
            sessions: Sessions::new(ice.clone(), crypto)?,
            switch: Mutex::default(),
            waiting: Mutex::default(),
            over: CancellationToken::new(),
        })
    }

    /// Whether `request` was made by someone who knows this call's ICE password.
    pub(super) fn proves(&self, request: &BindingRequest<'_>) -> bool {
        self.sessions.proven(request).is_some()
    }

    /// Whether the call has given up its place.
    pub(super) fn is_closed(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Adds a path whose caller has proven itself. Returns the path that had to go for it.
    pub(super) fn add(&self, key: PathKey, route: Route, now: Instant) -> Option<PathKey> {
        let mut switch = locked(&self.switch);
        let mut gone = None;
        if switch.paths.len() == PATHS_PER_CALL {
            let selected = switch.selected;
            gone = switch
                .paths
                .iter()
                .filter(|path| Some(path.key) != selected)
                .min_by_key(|path| path.heard)
                .map(|path| path.key);
            if let Some(Path { route: Route::Tcp(path), .. }) =
                gone.and_then(|key| switch.path(key))
            {
                path.close();
            }
            gone.into_iter().for_each(|key| switch.remove(key));
        }
        switch.paths.push(Path { key, route, heard: now, session: None });
        switch.selected.get_or_insert(key);
        gone
    }

    /// Takes a path out, whose address was given to another call or whose connection has ended.
    pub(super) fn remove(&self, key: PathKey) {
        locked(&self.switch).remove(key);
    }

    /// From now on the library's checks leave under the newest session, on the dialling side: there
    /// nobody else begins.
    pub(super) fn use_newest(&self) {
        let newest = self.sessions.current();
        locked(&self.switch).paths.iter_mut().for_each(|path| path.session = Some(newest.clone()));
    }

    /// A token for a connection of this call, which ends with the call.
    pub(super) fn connection_token(&self) -> CancellationToken {
        self.over.child_token()
    }

    /// Ends the call's connections and gives up its paths.
    pub(super) fn close(&self) -> Vec<PathKey> {
        self.over.cancel();
        let mut switch = locked(&self.switch);
        switch.selected = None;
        switch.paths.drain(..).map(|path| path.key).collect()
    }

    /// Takes a packet that came by the path `key`.
    pub(super) fn receive(&self, packet: &[u8], key: PathKey, now: Instant) {
        match Packet::of(packet) {
            Packet::Data => {
                if locked(&self.switch).carried(key, now) {
                    self.deliver(packet);
                }
            }
            Packet::Request(request) => self.check(packet, &request, key, now),
            Packet::Success(signed) => {
                if let Some(packet) = self.sessions.success_for_library(packet, signed) {
                    self.deliver(&packet);
                }
                // The library acts on a nomination only after its own check has succeeded, and
                // would otherwise wait for the client to nominate again.
                let nomination = locked(&self.switch).nomination.take();
                if let Some(request) = nomination {
                    self.deliver(&request);
                }
            }
            Packet::Other => {}
        }
    }

    /// Answers a connectivity check and hands it on, if it is proven.
    fn check(&self, packet: &[u8], request: &BindingRequest<'_>, key: PathKey, now: Instant) {
        let Some(session) = self.sessions.proven(request) else { return };
        let Some(packet) = self.sessions.check_for_library(packet, &session) else { return };
        let mut switch = locked(&self.switch);
        let Some(route) = switch.heard(key, request.nominates, &session, now) else { return };
        if request.nominates {
            switch.nomination = Some(packet.clone());
        }
        drop(switch);
        if let Some(answer) = self.sessions.answer(&session, request, key.peer) {
            route.send(&answer);
        }
        self.deliver(&packet);
    }

    fn deliver(&self, packet: &[u8]) {
        let mut waiting = locked(&self.waiting);
        if waiting.packets.len() == WAITING_PACKETS {
            return;
        }
        waiting.packets.push_back(packet.to_vec());
        let driver = waiting.driver.take();
        drop(waiting);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// Sends a packet of the driver's on the path in use. Only proven paths are ever used, so no
    /// description can make the gateway send to anybody else.
    pub(super) fn send(&self, packet: &[u8]) {
        // Checks have been answered already.
        if packet.starts_with(&[0x01]) {
            return;
        }
        let mut switch = locked(&self.switch);
        let selected = switch.selected;
        let path = selected.and_then(|key| switch.path(key));
        let Some((route, session)) = path.map(|path| (path.route.clone(), path.session.clone()))
        else {
            return;
        };
        drop(switch);
        match session.filter(|session| !self.sessions.is_first(session)) {
            Some(session) if packet.starts_with(&[0x00, 0x01]) => {
                if let Some(check) = self.sessions.check_from_library(packet, &session) {
                    route.send(&check);
                }
            }
            _ => route.send(packet),
        }
    }

    /// The next packet for the driver.
    pub(super) fn poll_receive(&self, context: &mut Context<'_>) -> Poll<Vec<u8>> {
        let mut waiting = locked(&self.waiting);
        match waiting.packets.pop_front() {
            Some(packet) => Poll::Ready(packet),
            None => {
                waiting.driver = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// How the path in use travels.
    pub(super) fn transport(&self) -> Option<Transport> {
        locked(&self.switch).selected.map(|key| key.transport)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtc::ice::tests::credentials;
    use crate::rtc::stun::tests::binding_request;

    const RTP: &[u8] = &[0x80, 111, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xfc];
    const PASSWORD: &str = "a password of a call";

    /// A call with two interfaces, each a UDP socket of the test's.
    struct Bench {
        port: CallPort,
        sockets: Vec<std::net::UdpSocket>,
        start: Instant,
    }

    impl Bench {
        fn new() -> Self {
            let crypto = rtc::crypto::default_provider().expect("a provider");
            let port = CallPort::new(&credentials("eva", PASSWORD), &crypto).expect("HMAC-SHA1");
            let gateway = SharedUdp::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
            let socket = Arc::new(gateway);
            let bench = Self {
                port,
                sockets: (0..2).map(|_| Self::interface()).collect(),
                start: Instant::now(),
            };
            for interface in 0..2 {
                let peer = bench.key(interface).peer;
                let route = Route::Udp { socket: socket.clone(), peer, local: None };
                bench.port.add(bench.key(interface), route, bench.start);
            }
            bench
        }

        fn interface() -> std::net::UdpSocket {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
            socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket");
            socket
        }

        fn key(&self, interface: usize) -> PathKey {
            let peer = self.sockets[interface].local_addr().expect("an address");
            PathKey { transport: Transport::Udp, peer }
        }

        fn receive(&self, millis: u64, interface: usize, packet: &[u8]) {
            let now = self.start + Duration::from_millis(millis);
            self.port.receive(packet, self.key(interface), now);
        }

        fn request(&self, millis: u64, interface: usize, nominates: bool) {
            self.receive(millis, interface, &binding_request("eva", PASSWORD, nominates));
        }

        /// What an interface has been sent.
        fn sent_to(&self, interface: usize) -> Option<Vec<u8>> {
            let mut buffer = [0; 2000];
            let length = self.sockets[interface].recv(&mut buffer).ok()?;
            Some(buffer[..length].to_vec())
        }

        /// The interface our packets go to.
        fn selected(&self) -> Option<usize> {
            let selected = locked(&self.port.switch).selected;
            (0..2).find(|interface| selected == Some(self.key(*interface)))
        }

        fn delivered(&self) -> Vec<Vec<u8>> {
            let mut context = Context::from_waker(Waker::noop());
            std::iter::from_fn(|| match self.port.poll_receive(&mut context) {
                Poll::Ready(packet) => Some(packet),
                Poll::Pending => None,
            })
            .collect()
        }
    }

    #[tokio::test]
    async fn checks_are_answered_where_they_came_from_and_our_packets_go_to_the_path_in_use() {
        let bench = Bench::new();
        bench.request(0, 0, true);
        bench.request(1, 1, false);
        for interface in 0..2 {
            let answer = bench.sent_to(interface).expect("an answer");
            assert_eq!(&answer[..2], &[1, 1], "a binding success");
            // XOR-MAPPED-ADDRESS comes first: port and address are masked by the magic cookie.
            let mapped = u16::from_be_bytes([answer[26], answer[27]]) ^ 0x2112;
            assert_eq!(mapped, bench.key(interface).peer.port());
        }
        bench.port.send(RTP);
        assert_eq!(bench.sent_to(0).as_deref(), Some(RTP));
        assert_eq!(bench.sent_to(1), None);
    }

    #[tokio::test]
    async fn our_packets_follow_the_callers_media_and_without_it_the_nomination() {
        let bench = Bench::new();
        bench.request(0, 0, true);
        assert_eq!(bench.selected(), Some(0));
        bench.request(100, 1, true);
        assert_eq!(bench.selected(), Some(1), "no media yet: the last nomination counts");
        bench.receive(200, 0, RTP);
        assert_eq!(bench.selected(), Some(0), "media counts for more");
        bench.request(300, 1, true);
        assert_eq!(bench.selected(), Some(0), "media flows: the nomination can wait");
        bench.receive(320, 1, RTP);
        assert_eq!(bench.selected(), Some(1));
        bench.request(1_400, 0, true);
        assert_eq!(bench.selected(), Some(0), "no media for a second");
        bench.request(1_500, 1, false);
        assert_eq!(bench.selected(), Some(0), "a mere check selects nothing");
        bench.port.remove(bench.key(0));
        assert_eq!(bench.selected(), Some(1), "what is left is used");
    }

    #[tokio::test]
    async fn unproven_requests_and_unknown_paths_change_nothing() {
        let bench = Bench::new();
        bench.request(0, 0, true);
        bench.delivered();
        bench.receive(100, 1, &binding_request("eva", "a guess", true));
        bench.port.remove(bench.key(1));
        bench.receive(200, 1, RTP);
        bench.request(300, 1, true);
        assert_eq!(bench.selected(), Some(0));
        assert_eq!(bench.sent_to(1), None);
        assert!(bench.delivered().is_empty());
    }

    #[tokio::test]
    async fn the_library_gets_a_nomination_again_once_its_own_check_is_answered() {
        let bench = Bench::new();
        let nomination = binding_request("eva", PASSWORD, true);
        let success = [&[1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[0; 12]].concat();
        bench.receive(0, 0, &nomination);
        bench.receive(10, 0, &success);
        bench.receive(20, 0, &success);
        let expected = [&nomination, &success, &nomination, &success].map(Clone::clone);
        assert_eq!(bench.delivered(), expected);
    }

    #[tokio::test]
    async fn a_driver_that_does_not_read_costs_no_more_than_its_queue() {
        let bench = Bench::new();
        bench.request(0, 0, true);
        for _ in 0..1_000 {
            bench.receive(1, 0, RTP);
        }
        assert_eq!(bench.delivered().len(), WAITING_PACKETS);
    }

    /// A call whose ICE was restarted: "eva" became "eva again", and "them" "they".
    fn restarted() -> Bench {
        let bench = Bench::new();
        let first = credentials("them", "the first password of theirs");
        bench.port.sessions.set_remote(first).expect("HMAC-SHA1");
        let ours = credentials("eva again", "another password");
        let theirs = credentials("they", "the next password of theirs");
        let gone = bench.port.sessions.restart(ours, theirs).expect("HMAC-SHA1");
        assert_eq!(gone, None);
        bench
    }

    fn message(packet: &[u8]) -> rtc::stun::message::Message {
        let mut message = rtc::stun::message::Message::new();
        message.unmarshal_binary(packet).expect("STUN");
        message
    }

    /// The name in a packet, if its proof is right under `password` and its checksum is, too.
    fn name_if_proven(packet: &[u8], password: &str) -> Option<String> {
        use rtc::stun::attributes::ATTR_USERNAME;
        use rtc::stun::fingerprint::FINGERPRINT;
        let crypto = rtc::crypto::default_provider().expect("a provider");
        let algorithm = rtc::crypto::HmacAlgorithm::Sha1;
        let mut key = crypto.crypto().new_hmac(algorithm, password.as_bytes()).expect("HMAC-SHA1");
        let signed = match Packet::of(packet) {
            Packet::Request(request) => request.signed(),
            Packet::Success(signed) => signed?,
            _ => return None,
        };
        let (proof, tag) = signed.proof();
        key.verify(&[&proof.header, proof.attributes], tag).ok()?;
        let message = message(packet);
        FINGERPRINT.check(&message).ok()?;
        let (name, _) = message.attributes.get(ATTR_USERNAME);
        Some(String::from_utf8(name.value).expect("text"))
    }

    #[tokio::test]
    async fn after_a_restart_the_library_sees_the_checks_of_the_session_it_knows() {
        let bench = restarted();
        bench.receive(0, 0, &binding_request("eva again", "another password", true));
        let answer = bench.sent_to(0).expect("an answer");
        assert!(name_if_proven(&answer, "another password").is_some());
        let [delivered] = bench.delivered().try_into().expect("one packet");
        assert_eq!(name_if_proven(&delivered, PASSWORD).as_deref(), Some("eva:them"));
        let nominates = rtc::stun::attributes::ATTR_USE_CANDIDATE;
        assert!(message(&delivered).attributes.get(nominates).1, "what else it says is kept");
    }

    #[tokio::test]
    async fn a_check_under_the_callers_new_name_and_our_old_one_is_the_librarys_too() {
        let bench = restarted();
        bench.request(0, 0, true); // from "remote", a name that the library does not know
        assert!(bench.sent_to(0).is_some(), "it is answered");
        let [delivered] = bench.delivered().try_into().expect("one packet");
        assert_eq!(name_if_proven(&delivered, PASSWORD).as_deref(), Some("eva:them"));
    }

    #[tokio::test]
    async fn after_a_restart_the_librarys_checks_leave_under_the_session_the_caller_uses() {
        let bench = restarted();
        let check = binding_request("them", "the first password of theirs", false);
        bench.request(0, 0, true);
        bench.sent_to(0);
        bench.port.send(&check);
        assert_eq!(
            bench.sent_to(0).as_deref(),
            Some(&check[..]),
            "the caller has not restarted yet"
        );
        bench.receive(100, 1, &binding_request("eva again", "another password", true));
        bench.sent_to(1);
        bench.port.send(&check);
        let sent = bench.sent_to(1).expect("a check");
        let name = name_if_proven(&sent, "the next password of theirs");
        assert_eq!(name.as_deref(), Some("they:eva again"));
        assert_eq!(message(&sent).transaction_id, message(&check).transaction_id);
    }

    #[tokio::test]
    async fn answers_under_a_later_session_reach_the_library_and_forged_ones_do_not_become_true() {
        let bench = restarted();
        bench.request(0, 0, false);
        bench.delivered();
        let success = |password: &str| {
            let mut packet = binding_request("nobody", password, false);
            packet[0] = 1;
            let sessions = Sessions::new(
                credentials("them", password),
                &rtc::crypto::default_provider().unwrap(),
            );
            let request = binding_request("them", password, false);
            let request = BindingRequest::parse(&request).expect("a request");
            let sessions = sessions.expect("HMAC-SHA1");
            let peer = bench.key(0).peer;
            sessions.answer(&sessions.current(), &request, peer).expect("an answer")
        };
        bench.receive(10, 0, &success("the next password of theirs"));
        let [delivered] = bench.delivered().try_into().expect("one packet");
        assert!(name_if_proven(&delivered, "the first password of theirs").is_some());
        let forged = success("a guess");
        bench.receive(20, 0, &forged);
        assert_eq!(bench.delivered(), [forged], "left to the library to refuse");
    }

    #[tokio::test]
    async fn sessions_before_the_last_restarts_still_work_and_the_oldest_goes() {
        let bench = restarted();
        for (number, expected) in [None, None, Some("eva")].into_iter().enumerate() {
            let ours = credentials(&format!("eva {number}"), &format!("password {number}"));
            let theirs = credentials("they", "the next password of theirs");
            let gone = bench.port.sessions.restart(ours, theirs).expect("HMAC-SHA1");
            assert_eq!(gone.as_deref(), expected);
        }
        bench.request(0, 0, true);
        assert_eq!(bench.sent_to(0), None, "gone");
        bench.receive(10, 0, &binding_request("eva again", "another password", true));
        assert!(bench.sent_to(0).is_some());
    }
}
