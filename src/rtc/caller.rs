//! The dialling side, for the headless caller, the bench and the tests.
//!
//! In: how to dial. Out: an SDP offer, then, with the gateway's answer, the [`WebLeg`]. It uses
//! sockets of its own, as a browser does.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rtc::crypto::default_provider;
use tokio::net::{TcpSocket, TcpStream};
use webrtc::data_channel::DataChannel;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{PeerConnection, RTCSessionDescription};

use super::endpoint::LABEL;
use super::flight::Flight;
use super::ice::IceCredentials;
use super::inbox::Inbox;
use super::leg::Parts;
use super::mux::CallLine;
use super::peer::{self, Channels};
use super::port::{CallPort, PEER};
use super::runtime::CallRuntime;
use super::sdp::Answer;
use super::tcp::Connection;
use super::voice::{Players, Voice};
use super::{EVENTS_CHANNEL, RtcError, WebLeg};

/// How long one of the gateway's TCP addresses may take to accept.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// How to dial.
#[derive(Debug, Clone)]
pub struct CallerConfig {
    /// The local address to call from; `None` for all IPv4 and IPv6 addresses of this machine.
    pub bind: Option<IpAddr>,
    /// Use the answer's TCP candidates only, as a client does whose UDP is blocked.
    pub tcp_only: bool,
    /// Open the data channel [`EVENTS_CHANNEL`].
    pub data_channel: bool,
    /// How long the gateway may be silent before the call counts as lost.
    pub silence_limit: Duration,
}

impl Default for CallerConfig {
    fn default() -> Self {
        Self {
            bind: None,
            tcp_only: false,
            data_channel: true,
            silence_limit: Duration::from_secs(8),
        }
    }
}

/// A call that has been offered and waits for the answer.
pub struct Caller {
    connection: Arc<dyn PeerConnection>,
    track: Arc<TrackLocalStaticRTP>,
    ssrc: u32,
    inbox: Arc<Inbox>,
    flight: Arc<Flight>,
    channel: Option<Arc<dyn DataChannel>>,
    channels: Channels,
    bind: Option<IpAddr>,
    /// With `tcp_only`: where the connection's packets go.
    line: Option<CallLine>,
}

impl Caller {
    /// Makes the connection and its offer: one Opus track both ways and, if wanted, the data
    /// channel. The offer has no candidates, since the gateway uses none.
    ///
    /// # Errors
    /// [`RtcError::Setup`] if no local address can be used.
    pub async fn dial(config: CallerConfig) -> Result<(Self, String), RtcError> {
        let inbox = Arc::new(Inbox::default());
        let flight = Arc::new(Flight::default());
        let ssrc = rand::random();
        let ice = IceCredentials::random();
        let (builder, channels) =
            peer::builder(&inbox, ssrc, &ice, config.silence_limit, false).map_err(setup)?;
        let line = if config.tcp_only {
            let crypto = default_provider().map_err(setup)?;
            let port = CallPort::new(&ice, &crypto).map_err(setup)?;
            Some(CallLine::alone(port))
        } else {
            None
        };
        let local = match &line {
            Some(_) => vec![LABEL.to_owned()],
            None => local_addresses(config.bind),
        };
        let builder = builder
            .with_runtime(CallRuntime::new(&inbox, &flight, line.as_ref().map(CallLine::port)))
            .with_udp_addrs(local);
        let connection: Arc<dyn PeerConnection> = Arc::new(builder.build().await.map_err(setup)?);
        let track = peer::voice_track(ssrc);
        let mut caller = Self {
            connection,
            track,
            ssrc,
            inbox,
            flight,
            channel: None,
            channels,
            bind: config.bind,
            line,
        };
        match caller.offer(config.data_channel).await {
            Ok(offer) => Ok((caller, offer)),
            Err(error) => {
                caller.hang_up().await;
                Err(setup(error))
            }
        }
    }

    async fn offer(&mut self, data_channel: bool) -> Result<String, webrtc::error::Error> {
        self.connection.add_track(self.track.clone() as Arc<dyn TrackLocal>).await?;
        if data_channel {
            let channel = self.connection.create_data_channel(EVENTS_CHANNEL, None).await?;
            self.channel = Some(channel);
        }
        let offer = self.connection.create_offer(None).await?;
        let text = offer.sdp.clone();
        self.connection.set_local_description(offer).await?;
        Ok(text)
    }

    /// Takes the gateway's answer; the leg connects from here on.
    ///
    /// # Errors
    /// [`RtcError::BadAnswer`] if the answer does not fit the offer. The call is given up then.
    pub async fn accept(self, answer_sdp: &str) -> Result<WebLeg, RtcError> {
        match self.take_answer(answer_sdp).await {
            Ok(()) => {
                let Self {
                    connection, track, ssrc, inbox, flight, channel, channels, line, ..
                } = self;
                let voice = Voice::new(inbox.clone(), track, ssrc);
                let parts = Parts {
                    connection,
                    voice: Some(Arc::new(voice)),
                    inbox,
                    flight,
                    channel,
                    channels,
                    line,
                    players: Arc::new(Players::default()),
                    seat: None,
                    handle: None,
                };
                Ok(parts.start())
            }
            Err(error) => {
                self.hang_up().await;
                Err(error)
            }
        }
    }

    async fn take_answer(&self, text: &str) -> Result<(), RtcError> {
        let refused = |error: webrtc::error::Error| RtcError::BadAnswer(error.to_string());
        let answer = Answer::read(text)?;
        self.inbox.set_payload_type(answer.payload_type);
        let text = match &self.line {
            Some(line) => {
                line.port().sessions.set_remote(answer.ice.clone()).map_err(setup)?;
                let stream = self.connect(&answer.tcp).await?;
                let gateway = stream.peer_addr().map_err(setup)?;
                let connection =
                    Connection::new(stream, gateway, line.port().clone(), BytesMut::new());
                tokio::spawn(connection.carry());
                answer.reached_at(PEER)
            }
            None => answer.text,
        };
        let description = RTCSessionDescription::answer(text).map_err(refused)?;
        self.connection.set_remote_description(description).await.map_err(refused)
    }

    /// Connects to the first of the gateway's TCP addresses that takes it.
    async fn connect(&self, gateways: &[SocketAddr]) -> Result<TcpStream, RtcError> {
        let mut reason = "it has no TCP candidates".to_owned();
        for gateway in gateways {
            let attempt = tokio::time::timeout(CONNECT_LIMIT, self.connect_one(*gateway));
            match attempt.await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => reason = format!("{gateway}: {error}"),
                Err(_) => reason = format!("{gateway} does not answer"),
            }
        }
        Err(RtcError::BadAnswer(reason))
    }

    async fn connect_one(&self, gateway: SocketAddr) -> io::Result<TcpStream> {
        let socket = if gateway.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(local) = self.bind {
            socket.bind(SocketAddr::new(local, 0))?;
        }
        socket.connect(gateway).await
    }

    /// Gives the call up before it was answered.
    pub async fn hang_up(self) {
        let _ = self.connection.close().await;
    }
}

/// `address:0` for each local address to call from.
fn local_addresses(bind: Option<IpAddr>) -> Vec<String> {
    let addresses = match bind {
        Some(ip) => vec![ip],
        None => {
            let mut found: Vec<IpAddr> = if_addrs::get_if_addrs()
                .unwrap_or_default()
                .iter()
                .filter(|interface| !interface.is_link_local())
                .map(if_addrs::Interface::ip)
                .collect();
            if found.is_empty() {
                found.push(Ipv4Addr::LOCALHOST.into());
            }
            found
        }
    };
    addresses.into_iter().map(|ip| SocketAddr::new(ip, 0).to_string()).collect()
}

fn setup(error: impl std::fmt::Display) -> RtcError {
    RtcError::Setup(error.to_string())
}
