//! WebRTC: from packets on the gateway's one UDP and one TCP port to RTP of a call, and back.
//!
//! In: an SDP offer, then STUN, DTLS, SRTP and SCTP packets of every call. Out: an SDP answer,
//! then per call [`LegEvent`]s (Opus payloads, texts of the data channel, the end) and, through
//! [`LegSender`], Opus payloads and texts to the caller.
//!
//! [`RtcEndpoint`] owns the two sockets and shares them among all calls: `mux` finds the call of a
//! datagram, `tcp` the call of a connection; `port` is one call's place there and follows its
//! caller from path to path and from ICE session to ICE session (`ice`); `runtime` shows that to the WebRTC library as a socket of its own;
//! `flight` repeats lost handshakes.
//! `leg` holds one connected call, whoever dialled; [`Caller`] is the dialling side. `voice` sends
//! EVA's sound to all who listen to a call; a [`LegHandle`] is what signaling holds of a connection.
//! `sdp` checks offers and completes answers, `reoffer` answers later ones, `fragment` reads those of
//! WHIP, `tap` reads RTP and RTCP where they leave the library, `inbox`
//! keeps them for the call.
//!
//! This is the only module that names the crates `webrtc` and `rtc`. It decodes no audio, orders no
//! packets (the jitter buffer does), and decides nothing about the conversation.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;

mod caller;
mod endpoint;
mod flight;
mod fragment;
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod ice;
mod inbox;
mod leg;
mod mux;
mod nearby;
mod peer;
mod port;
mod reoffer;
mod runtime;
mod sdp;
pub mod stun;
mod tap;
mod tcp;
mod voice;

pub use caller::{Caller, CallerConfig};
pub use endpoint::RtcEndpoint;
pub use fragment::{FragmentError, IceFragment};
pub use handle::LegHandle;
pub use ice::IceCredentials;
pub use inbox::LegEvents;
pub use leg::{LegSender, WebLeg};

/// The label of the data channel that carries a call's events, opened by the client before its
/// offer. On a channel with another label nothing is read or said; its end ends the leg, too.
pub const EVENTS_CHANNEL: &str = "oai-events";

/// Log directives (as `tracing_subscriber::EnvFilter` reads them) that silence what the library
/// warns of on every ordinary call.
pub const QUIET_LOGS: &str =
    "webrtc=error,rtc=error,rtc_ice=error,rtc_dtls=error,rtc_sctp=error,rtc_interceptor=error";

/// Players that may listen to one call at once, beside its own connection. Each costs the gateway what
/// sending to a call costs.
pub const MOST_PLAYERS: usize = 8;

/// Which way sound goes on a connection that the gateway answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Both ways, or as much of that as the client offers.
    Both,
    /// From the client to the gateway only.
    FromClient,
    /// From the gateway to the client only.
    ToClient,
}

/// Where the gateway takes media, and how patient it is.
#[derive(Debug, Clone)]
pub struct RtcConfig {
    /// The UDP address all calls share. Port 0 takes a free one. `[::]` serves IPv4 as well.
    pub udp: SocketAddr,
    /// The TCP address all calls share, for callers whose UDP is blocked (RFC 6544, passive).
    pub tcp: Option<SocketAddr>,
    /// Addresses put into answers. Empty: the bound address, or, bound to a wildcard, those of
    /// all interfaces that are up.
    pub public_addresses: Vec<IpAddr>,
    /// Packets from other machines are dropped, whatever address the ports are bound to.
    pub this_machine_only: bool,
    /// How long a caller may send nothing at all before the call counts as lost.
    pub silence_limit: Duration,
    /// Bits per second we ask callers to send Opus at (`maxaveragebitrate`, RFC 7587).
    pub max_average_bitrate: u32,
}

impl RtcConfig {
    /// UDP on `udp` only, the bound address announced, 8 s until a silent caller is given up.
    pub fn new(udp: SocketAddr) -> Self {
        Self {
            udp,
            tcp: None,
            public_addresses: Vec::new(),
            this_machine_only: false,
            silence_limit: Duration::from_secs(8),
            max_average_bitrate: 32_000,
        }
    }
}

/// What can go wrong while opening the ports or agreeing on a call.
#[derive(Debug, thiserror::Error)]
pub enum RtcError {
    /// The UDP or TCP port for media cannot be opened.
    #[error(
        "the media port {transport} {address} cannot be opened ({source}): \
         stop the program that holds it or choose another address"
    )]
    Bind {
        /// `UDP` or `TCP`.
        transport: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The text is not a session description this gateway can answer.
    #[error("this is not a usable WebRTC offer: {0}")]
    BadOffer(String),
    /// The offer is well-formed, but has no audio section with Opus to talk on.
    #[error("the offer has no Opus audio: add an audio track (or transceiver) before the offer")]
    NoAudio,
    /// The answer to our own offer cannot be used.
    #[error("the answer cannot be used: {0}")]
    BadAnswer(String),
    /// The connection has ended.
    #[error("the call is over")]
    Over,
    /// All places for players are taken.
    #[error("{MOST_PLAYERS} players listen to this call already; end one of them first")]
    TooManyPlayers,
    /// The WebRTC library failed in a way nothing in the offer explains.
    #[error("the WebRTC connection could not be set up: {0}")]
    Setup(String),
}

/// One thing that happened on a call's media leg.
#[derive(Debug)]
pub enum LegEvent {
    /// Media can flow both ways: ICE has a path, DTLS is done. Once per call.
    Connected,
    /// The data channel [`EVENTS_CHANNEL`] is open: texts can be sent. At most once per call.
    ChannelOpen,
    /// An Opus packet, in order of arrival, not of sequence.
    Rtp(RtpIn),
    /// A text message of the data channel.
    Text(String),
    /// The leg is over; nothing follows.
    Closed(CloseReason),
}

/// An Opus packet as it arrived.
#[derive(Debug, Clone)]
pub struct RtpIn {
    /// RTP sequence number, wraps.
    pub sequence: u16,
    /// RTP timestamp in 48 kHz samples, wraps.
    pub timestamp: u32,
    /// Set on the first packet after silence (RFC 3551 section 4.1).
    pub marker: bool,
    /// One Opus packet (RFC 6716).
    pub payload: Bytes,
    /// When the packet was read from the socket.
    pub arrived: Instant,
}

/// Why a leg is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The caller closed the data channel or its whole connection (DTLS `close_notify`).
    ChannelClosed,
    /// The caller has no data channel and said RTCP BYE.
    Bye,
    /// Nothing was heard of the caller for `silence_limit`.
    TimedOut,
    /// The connection never came about.
    Failed,
    /// This side hung up: [`LegSender::close`], or all its handles were dropped.
    Local,
}

/// Over which transport a call runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// ICE-TCP (RFC 6544), for callers whose UDP is blocked.
    Tcp,
}

/// How the wire does, as known at this moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LegStats {
    /// Round-trip time of the last connectivity check.
    pub rtt: Option<Duration>,
    /// How packets travel at the moment; `None` before the caller has come.
    pub transport: Option<Transport>,
    /// Packets the far side says it missed, from its receiver reports (RFC 3550 section 6.4.1).
    pub lost_by_remote: u32,
    /// Share of packets the far side missed since its report before, 0 to 1.
    pub fraction_lost_by_remote: f32,
    /// Interarrival jitter the far side sees, in 48 kHz samples.
    pub jitter_at_remote: u32,
    /// Opus packets that arrived.
    pub received: u64,
    /// Of those, dropped (the oldest) because [`LegEvents`] was read too slowly.
    pub dropped_unread: u64,
    /// Opus packets handed to the library.
    pub sent: u64,
}
