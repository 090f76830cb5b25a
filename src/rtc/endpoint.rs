//! The answering side: one UDP and one TCP port, as many calls as come.
//!
//! In: SDP offers from signaling. Out: a [`WebLeg`] per call and its complete SDP answer; there is
//! no trickling and no gathering to wait for, since the addresses are known from the start.
//!
//! Candidates in an offer are not used: callers reach us, their first proven packet shows where
//! they are, and that is the only place the gateway sends to. So `.local` names need no lookup and
//! no offer can point the gateway at somebody else.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use rtc::crypto::{RTCCryptoProvider, default_provider};
use tokio::task::JoinSet;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{PeerConnection, RTCSessionDescription};

use super::flight::Flight;
use super::handle::{LegHandle, Shared};
use super::ice::IceCredentials;
use super::inbox::Inbox;
use super::leg::Parts;
use super::mux::Mux;
use super::nearby::Doorkeeper;
use super::peer;
use super::port::CallPort;
use super::reoffer::Agreed;
use super::runtime::CallRuntime;
use super::sdp::{self, Direction, Offer, OpusTerms};
use super::voice::{Players, Seat, Voice};
use super::{Flow, IceFragment, RtcConfig, RtcError, WebLeg, tcp};
use crate::ids::PlayerId;

/// What the library binds and lets go of for each call, see `runtime`.
pub(super) const LABEL: &str = "127.0.0.1:0";

/// The gateway's media ports. Dropping it closes them; calls that still run then time out.
pub struct RtcEndpoint {
    config: RtcConfig,
    mux: Arc<Mux>,
    udp: SocketAddr,
    tcp: Option<SocketAddr>,
    crypto: Arc<dyn RTCCryptoProvider>,
    /// The reader of the UDP socket and the acceptor of connections.
    _readers: JoinSet<()>,
}

impl RtcEndpoint {
    /// Opens the ports and starts reading them.
    ///
    /// # Errors
    /// [`RtcError::Bind`] if a port is taken or not allowed.
    pub async fn bind(config: RtcConfig) -> Result<Self, RtcError> {
        let udp_error = |source| RtcError::Bind { transport: "UDP", address: config.udp, source };
        let door = Doorkeeper::new(config.this_machine_only);
        let mux = Arc::new(Mux::bind(config.udp, door).map_err(udp_error)?);
        let udp = mux.local_addr().map_err(udp_error)?;
        let mut readers = JoinSet::new();
        readers.spawn(mux.clone().run());
        let mut tcp = None;
        if let Some(address) = config.tcp {
            let tcp_error = |source| RtcError::Bind { transport: "TCP", address, source };
            let listener = tokio::net::TcpListener::bind(address).await.map_err(tcp_error)?;
            tcp = Some(listener.local_addr().map_err(tcp_error)?);
            readers.spawn(tcp::run(listener, mux.clone()));
        }
        let crypto = default_provider().map_err(setup)?;
        Ok(Self { config, mux, udp, tcp, crypto, _readers: readers })
    }

    /// The bound UDP address, with its real port.
    pub fn udp_addr(&self) -> SocketAddr {
        self.udp
    }

    /// The bound TCP address, with its real port.
    pub fn tcp_addr(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// Calls that hold a place on the ports, connected or not.
    pub fn calls(&self) -> usize {
        self.mux.counts().0
    }

    /// Answers an offer: the leg (not yet connected) and the complete SDP answer, with every
    /// candidate in it. Takes a few milliseconds.
    ///
    /// # Errors
    /// [`RtcError::BadOffer`] and [`RtcError::NoAudio`] say what is wrong with the offer;
    /// [`RtcError::Setup`] that the connection could not be made.
    pub async fn answer(&self, offer_sdp: &str) -> Result<(WebLeg, String), RtcError> {
        self.answer_as(offer_sdp, Flow::Both).await
    }

    /// The same, with sound going this way at most.
    ///
    /// # Errors
    /// The same; an offer for no sound that way is bad.
    pub async fn answer_as(
        &self,
        offer_sdp: &str,
        flow: Flow,
    ) -> Result<(WebLeg, String), RtcError> {
        self.connect(offer_sdp, flow, None).await
    }

    /// Lets a player listen to a call: the handle of its connection, and the answer to its offer.
    ///
    /// # Errors
    /// As [`answer`](Self::answer); [`RtcError::TooManyPlayers`]; [`RtcError::Over`] if the call is.
    pub async fn attach(
        &self,
        call: &LegHandle,
        player: PlayerId,
        offer_sdp: &str,
    ) -> Result<(LegHandle, String), RtcError> {
        let seat = call.seats().reserve(player)?;
        let (leg, answer) = self.connect(offer_sdp, Flow::ToClient, Some(seat)).await?;
        let handle = leg.handle().ok_or(RtcError::Over)?;
        // Nobody reads a player's events: they are few, and kept within bounds.
        call.seats().seat(player, leg.split().0, handle.clone());
        Ok((handle, answer))
    }

    /// Answers a later offer of a connection. New ICE credentials in it restart ICE (RFC 8839
    /// section 4.4.1.1.1): the answer has new ones too, and media goes on meanwhile.
    ///
    /// # Errors
    /// [`RtcError::BadOffer`] if it does not continue what was agreed, [`RtcError::Over`] if the
    /// connection has ended. The connection goes on as it was.
    pub fn reanswer(&self, leg: &LegHandle, offer_sdp: &str) -> Result<String, RtcError> {
        leg.reanswer(offer_sdp, &self.candidates())
    }

    /// Restarts ICE of a connection without an offer, as WHIP does: `remote` are the client's
    /// credentials from now on, and ours are in the fragment. Media goes on meanwhile.
    ///
    /// # Errors
    /// [`RtcError::Over`] if the connection has ended.
    pub fn restart_ice(
        &self,
        leg: &LegHandle,
        remote: IceCredentials,
    ) -> Result<IceFragment, RtcError> {
        let ours = leg.restart(remote)?;
        Ok(leg.fragment(ours, self.candidates()))
    }

    /// Our side of the ICE session in force.
    pub fn ice(&self, leg: &LegHandle) -> IceFragment {
        leg.fragment(leg.ours(), self.candidates())
    }

    async fn connect(
        &self,
        offer_sdp: &str,
        flow: Flow,
        seat: Option<Seat>,
    ) -> Result<(WebLeg, String), RtcError> {
        let offer = Offer::read(offer_sdp)?;
        let direction = wanted(flow, &offer)?;
        let ice = IceCredentials::random();
        let ssrc = rand::random();
        let inbox = Arc::new(Inbox::default());
        let flight = Arc::new(Flight::default());
        let port = CallPort::new(&ice, &self.crypto).map_err(setup)?;
        port.sessions.set_remote(offer.ice.clone()).map_err(setup)?;
        let line = self.mux.enter(port);
        let limit = self.config.silence_limit;
        let (builder, channels) =
            peer::builder(&inbox, ssrc, &ice, limit, offer.dtls_client).map_err(setup)?;
        let connection = builder
            .with_runtime(CallRuntime::new(&inbox, &flight, Some(line.port())))
            .with_udp_addrs(vec![LABEL.to_owned()])
            .build()
            .await
            .map_err(setup)?;
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);
        let sends = direction.narrowed_by(offer.direction).sends();
        let track = sends.then(|| peer::voice_track(ssrc));
        let answer =
            match self.negotiate(&*connection, track.as_ref(), &offer, direction, &inbox).await {
                Ok(answer) => answer,
                Err(error) => {
                    let _ = connection.close().await;
                    return Err(error);
                }
            };
        let voice = track.map(|track| Arc::new(Voice::new(inbox.clone(), track, ssrc)));
        let players = Arc::new(Players::default());
        let handle = LegHandle::new(Shared {
            mux: self.mux.clone(),
            port: line.port().clone(),
            inbox: inbox.clone(),
            voice: voice.clone(),
            players: players.clone(),
            agreed: Mutex::new(Agreed::new(&offer, answer.clone())),
        });
        let (channel, line, handle) = (None, Some(line), Some(handle));
        let parts = Parts {
            connection,
            voice,
            inbox,
            flight,
            channel,
            channels,
            line,
            players,
            seat,
            handle,
        };
        Ok((parts.start(), answer))
    }

    async fn negotiate(
        &self,
        connection: &dyn PeerConnection,
        track: Option<&Arc<TrackLocalStaticRTP>>,
        offer: &Offer,
        direction: Direction,
        inbox: &Inbox,
    ) -> Result<String, RtcError> {
        let refused = |error: webrtc::error::Error| RtcError::BadOffer(error.to_string());
        if let Some(track) = track {
            connection.add_track(track.clone() as Arc<dyn TrackLocal>).await.map_err(setup)?;
        }
        let terms = OpusTerms {
            direction,
            // RFC 9725 section 4.4.1, and WHEP alike.
            mux_only: direction != Direction::SendRecv,
            offered: offer.direction,
            dtx: offer.dtx,
            max_average_bitrate: self.config.max_average_bitrate,
        };
        let offer = RTCSessionDescription::offer(offer.text.clone()).map_err(refused)?;
        connection.set_remote_description(offer).await.map_err(refused)?;
        let answer = connection.create_answer(None).await.map_err(refused)?;
        let (text, payload_type) = sdp::complete(&answer.sdp, &terms, &self.candidates())?;
        inbox.set_payload_type(payload_type);
        connection.set_local_description(answer).await.map_err(refused)?;
        Ok(text)
    }

    /// The candidate lines of every answer, best first.
    fn candidates(&self) -> Vec<String> {
        // A socket bound to `[::]` takes both families.
        let reachable = |ip: &IpAddr| self.udp.is_ipv6() || ip.is_ipv4();
        let addresses = |bound: SocketAddr| -> Vec<IpAddr> {
            if !self.config.public_addresses.is_empty() {
                return self.config.public_addresses.clone();
            }
            if bound.ip().is_unspecified() {
                let all = interface_addresses(self.config.this_machine_only);
                return all.into_iter().filter(reachable).collect();
            }
            vec![bound.ip()]
        };
        sdp::candidates(
            (&addresses(self.udp), self.udp.port()),
            self.tcp.map(|tcp| (addresses(tcp), tcp.port())),
        )
    }
}

/// The most we do on a connection, if the client offers its part of it.
fn wanted(flow: Flow, offer: &Offer) -> Result<Direction, RtcError> {
    let (ours, reason) = match flow {
        Flow::Both => return Ok(Direction::SendRecv),
        // RFC 9725 section 4.4.2.
        Flow::FromClient if offer.audio_sections > 1 => (None, "it has more than one audio track"),
        Flow::FromClient => (
            offer.direction.sends().then_some(Direction::RecvOnly),
            "its audio must be sendonly or sendrecv",
        ),
        Flow::ToClient => (
            offer.direction.receives().then_some(Direction::SendOnly),
            "its audio must be recvonly or sendrecv",
        ),
    };
    ours.ok_or_else(|| RtcError::BadOffer(reason.to_owned()))
}

/// Addresses of the interfaces that are up: no loopback (unless that is wanted, or there is nothing
/// else), no link-local ones, which mean nothing without an interface.
fn interface_addresses(loopback: bool) -> Vec<IpAddr> {
    let all: Vec<IpAddr> = if_addrs::get_if_addrs()
        .unwrap_or_default()
        .iter()
        .filter(|interface| !interface.is_link_local())
        .map(if_addrs::Interface::ip)
        .collect();
    let far: Vec<IpAddr> = all.iter().copied().filter(|ip| !ip.is_loopback()).collect();
    if loopback || far.is_empty() { all } else { far }
}

fn setup(error: impl std::fmt::Display) -> RtcError {
    RtcError::Setup(error.to_string())
}
