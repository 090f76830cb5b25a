//! Retransmission of DTLS handshake flights (RFC 6347 section 4.2.4), below the library.
//!
//! In: the packets a call's driver sends and receives, and the time. Out: the last flight again,
//! while nothing shows that it has arrived. The library forgets its retransmission timer as soon as
//! anything arrives that does not move the handshake on, such as the far side's own
//! retransmission; with both sides waiting, one lost datagram would cost the call. Datagrams are
//! repeated as they are, which to the far side looks like a network that duplicates.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

use super::mux::locked;

/// How often to ask [`Flight::repeat`].
pub(super) const TICK: Duration = Duration::from_millis(20);
/// Until the first repetition, twice as long each time after. Browsers begin at 50 ms.
const FIRST_WAIT: Duration = Duration::from_millis(80);
const LONGEST_WAIT: Duration = Duration::from_millis(640);
/// A datagram sent this long after the last one is the library repeating the flight itself.
const FLIGHT_GAP: Duration = Duration::from_millis(500);
/// Datagrams of one flight; certificates are small, so two or three are usual.
const LONGEST_FLIGHT: usize = 8;

/// The last flight of handshake datagrams one call has sent.
#[derive(Default)]
pub(super) struct Flight(Mutex<State>);

#[derive(Default)]
struct State {
    datagrams: Vec<Datagram>,
    last_sent: Option<Instant>,
    wait: Duration,
    /// Handshake datagrams have come since: what is sent next begins a new flight.
    answered: bool,
    /// Protected data has come: the far side has all it needs.
    done: bool,
}

#[derive(Clone)]
struct Datagram {
    socket: Arc<dyn AsyncUdpSocket>,
    to: SocketAddr,
    contents: Vec<u8>,
}

/// Whether a packet is a DTLS record of a handshake: change_cipher_spec or handshake.
fn is_handshake(packet: &[u8]) -> bool {
    matches!(packet.first(), Some(20 | 22))
}

/// Whether a packet can only be sent once the handshake is over: DTLS application data, RTP, RTCP.
fn is_protected(packet: &[u8]) -> bool {
    matches!(packet.first(), Some(23 | 128..=191))
}

impl Flight {
    fn sent(&self, packet: &[u8], to: SocketAddr, socket: &Arc<dyn AsyncUdpSocket>, now: Instant) {
        if !is_handshake(packet) {
            return;
        }
        let mut state = locked(&self.0);
        let stale = state.last_sent.is_none_or(|at| now.saturating_duration_since(at) > FLIGHT_GAP);
        if state.answered || stale {
            state.datagrams.clear();
            state.wait = FIRST_WAIT;
            state.answered = false;
        }
        if state.datagrams.len() < LONGEST_FLIGHT && !state.done {
            let contents = packet.to_vec();
            state.datagrams.push(Datagram { socket: socket.clone(), to, contents });
        }
        state.last_sent = Some(now);
    }

    fn received(&self, packet: &[u8]) {
        let handshake = is_handshake(packet);
        if !handshake && !is_protected(packet) {
            return;
        }
        let mut state = locked(&self.0);
        if handshake {
            state.answered = true;
        } else if !state.done {
            state.done = true;
            state.datagrams = Vec::new();
        }
    }

    /// Sends the flight again if it is time.
    pub(super) fn repeat(&self, now: Instant) {
        let mut state = locked(&self.0);
        let due = state.last_sent.is_some_and(|at| now.saturating_duration_since(at) >= state.wait);
        if !due || state.datagrams.is_empty() {
            return;
        }
        state.last_sent = Some(now);
        state.wait = (state.wait * 2).min(LONGEST_WAIT);
        let datagrams = state.datagrams.clone();
        drop(state);
        for Datagram { socket, to, contents } in &datagrams {
            let transmit = Transmit {
                destination: *to,
                ecn: None,
                contents,
                segment_size: None,
                src_ip: None,
            };
            // A full socket loses it, as the network may.
            let _ = socket.poll_send(&mut Context::from_waker(Waker::noop()), &transmit);
        }
    }
}

/// A socket whose handshake datagrams are repeated.
pub(super) struct Repeating {
    pub(super) socket: Arc<dyn AsyncUdpSocket>,
    pub(super) flight: Arc<Flight>,
}

impl fmt::Debug for Repeating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.socket.fmt(f)
    }
}

impl AsyncUdpSocket for Repeating {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(
        &self,
        context: &mut Context<'_>,
        transmit: &Transmit<'_>,
    ) -> Poll<io::Result<usize>> {
        let sent = self.socket.poll_send(context, transmit);
        if sent.is_ready() {
            let (packet, to) = (transmit.contents, transmit.destination);
            self.flight.sent(packet, to, &self.socket, Instant::now());
        }
        sent
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.socket.poll_recv(context, buffers, meta);
        if let Poll::Ready(Ok(count)) = received {
            for (buffer, meta) in buffers.iter().zip(meta.iter()).take(count) {
                self.flight.received(&buffer[..meta.len]);
            }
        }
        received
    }

    // Sends are not coalesced, so that each is one datagram of a flight.

    fn max_gro_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes what is sent.
    #[derive(Debug, Default)]
    struct Wire(Mutex<Vec<Vec<u8>>>);

    impl AsyncUdpSocket for Wire {
        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(([127, 0, 0, 1], 1).into())
        }

        fn poll_send(&self, _: &mut Context<'_>, sent: &Transmit<'_>) -> Poll<io::Result<usize>> {
            locked(&self.0).push(sent.contents.to_vec());
            Poll::Ready(Ok(sent.contents.len()))
        }

        fn poll_recv(
            &self,
            _: &mut Context<'_>,
            _: &mut [IoSliceMut<'_>],
            _: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
    }

    struct Bench {
        wire: Arc<Wire>,
        flight: Flight,
        start: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { wire: Arc::default(), flight: Flight::default(), start: Instant::now() }
        }

        fn send(&self, millis: u64, packet: &[u8]) {
            let socket: Arc<dyn AsyncUdpSocket> = self.wire.clone();
            let to = ([127, 0, 0, 1], 2).into();
            self.flight.sent(packet, to, &socket, self.start + Duration::from_millis(millis));
        }

        /// What is repeated at a time.
        fn repeated(&self, millis: u64) -> Vec<Vec<u8>> {
            self.flight.repeat(self.start + Duration::from_millis(millis));
            std::mem::take(&mut locked(&self.wire.0))
        }
    }

    #[test]
    fn a_flight_is_repeated_ever_more_rarely_until_protected_data_comes() {
        let bench = Bench::new();
        let flight = vec![vec![22, 1], vec![20, 2], vec![22, 3]];
        flight.iter().for_each(|packet| bench.send(0, packet));
        assert!(bench.repeated(60).is_empty());
        assert_eq!(bench.repeated(80), flight);
        assert!(bench.repeated(220).is_empty(), "160 ms after the first repetition");
        assert_eq!(bench.repeated(240), flight);
        bench.flight.received(&[22, 9]);
        assert_eq!(bench.repeated(560), flight, "a repetition of theirs says ours is missing");
        bench.flight.received(&[23, 9]);
        assert!(bench.repeated(5_000).is_empty());
    }

    #[test]
    fn an_answered_flight_gives_way_to_the_next() {
        let bench = Bench::new();
        bench.send(0, &[22, 1]);
        bench.flight.received(&[22, 2]);
        bench.send(10, &[22, 3]);
        bench.send(11, &[20, 4]);
        assert_eq!(bench.repeated(95), [[22, 3], [20, 4]]);
    }

    #[test]
    fn what_is_not_handshake_is_never_repeated() {
        let bench = Bench::new();
        bench.send(0, &[0, 1]);
        bench.send(0, &[23, 1]);
        bench.send(0, &[0x80, 111]);
        assert!(bench.repeated(1_000).is_empty());
    }
}
