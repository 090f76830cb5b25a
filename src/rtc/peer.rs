//! How this project sets up the library's peer connection, for calls that come in and go out.
//!
//! One audio track (Opus, 48 kHz), no video, receiver and sender reports, no retransmission (late
//! sound is worth nothing), no mDNS, no STUN or TURN servers, ICE as a full agent: its checks give
//! round-trip times and notice a caller who vanished.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::Slot;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::MIME_TYPE_OPUS;
use rtc::peer_connection::transport::RTCDtlsRole;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RtpCodecKind,
};
use tokio::sync::mpsc;
use webrtc::data_channel::DataChannel;
use webrtc::error::Result;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    MediaEngine, PeerConnectionBuilder, PeerConnectionEventHandler, RTCPeerConnectionState,
    Registry, SettingEngineBuilder, configure_rtcp_reports,
};

use super::CloseReason;
use super::ice::IceCredentials;
use super::inbox::Inbox;
use super::tap::{SLOT, Tap};

/// How often a path is checked while connected; answers keep a silent caller alive.
const KEEPALIVE: Duration = Duration::from_secs(2);
/// How often paths are tried until one works, and how many times each: 8 s.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
const CHECKS: u16 = 160;
/// Bytes a data channel may hold unsent before texts are refused.
const CHANNEL_BUFFER: usize = 1 << 20;
/// Data channels announced and not yet looked at; more than a client opens at once.
const CHANNELS: usize = 8;
/// What Opus is offered with: in-band FEC (RFC 7587), frames of 10 ms and more.
const OPUS_FMTP: &str = "minptime=10;useinbandfec=1";
/// The payload type we offer Opus under, the customary one. Answers keep the offer's.
const OPUS_PAYLOAD_TYPE: u8 = 111;

/// Data channels the far side has opened.
pub(super) type Channels = mpsc::Receiver<Arc<dyn DataChannel>>;

/// Everything that makes a connection ours; as an answerer it begins the DTLS handshake, unless the
/// far side wants to (`dtls_server`). On which ports and runtime is left to the caller.
pub(super) fn builder(
    inbox: &Arc<Inbox>,
    ssrc: u32,
    ice: &IceCredentials,
    silence_limit: Duration,
    dtls_server: bool,
) -> Result<(PeerConnectionBuilder<String>, Channels)> {
    let mut media = MediaEngine::default();
    media.register_codec(
        RTCRtpCodecParameters { rtp_codec: opus(), payload_type: OPUS_PAYLOAD_TYPE },
        RtpCodecKind::Audio,
    )?;
    let none = Some(Duration::ZERO);
    let mut settings = SettingEngineBuilder::new()
        .with_ice_credentials(ice.ufrag.clone(), ice.password.clone())
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        // Disconnected after half the limit, failed after the other half.
        .with_ice_timeouts(Some(silence_limit / 2), Some(silence_limit / 2), Some(KEEPALIVE))
        .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(CHECKS))
        .with_srflx_acceptance_min_wait(none)
        .with_prflx_acceptance_min_wait(none);
    if dtls_server {
        settings = settings.with_answering_dtls_role(RTCDtlsRole::Server);
    }
    let settings = settings.build();
    let registry = configure_rtcp_reports(Registry::new())
        .with(Slot::from(SLOT), Tap::new(inbox.clone(), ssrc));
    let (announced, channels) = mpsc::channel(CHANNELS);
    let builder = PeerConnectionBuilder::new()
        .with_media_engine(media)
        .with_setting_engine(settings)
        .with_interceptor_registry(registry)
        .with_data_channel_send_buffer_limit(CHANNEL_BUFFER)
        .with_handler(Arc::new(Handler { inbox: inbox.clone(), announced }));
    Ok((builder, channels))
}

/// The track our voice goes out on.
pub(super) fn voice_track(ssrc: u32) -> Arc<TrackLocalStaticRTP> {
    Arc::new(TrackLocalStaticRTP::new(MediaStreamTrack::new(
        "eva".to_owned(),
        "eva-voice".to_owned(),
        "voice".to_owned(),
        RtpCodecKind::Audio,
        vec![RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters {
                ssrc: Some(ssrc),
                ..Default::default()
            },
            codec: opus(),
            ..Default::default()
        }],
    )))
}

fn opus() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_OPUS.to_owned(),
        clock_rate: 48_000,
        // Always 2 in SDP, whatever is sent (RFC 7587 section 7).
        channels: 2,
        sdp_fmtp_line: OPUS_FMTP.to_owned(),
        rtcp_feedback: vec![],
    }
}

/// What the driver calls. It holds no connection, so that none can keep itself alive.
struct Handler {
    inbox: Arc<Inbox>,
    announced: mpsc::Sender<Arc<dyn DataChannel>>,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        match state {
            RTCPeerConnectionState::Connected => self.inbox.connected(),
            RTCPeerConnectionState::Failed if self.inbox.is_connected() => {
                self.inbox.end(CloseReason::TimedOut);
            }
            RTCPeerConnectionState::Failed => self.inbox.end(CloseReason::Failed),
            RTCPeerConnectionState::Closed => self.inbox.end(CloseReason::ChannelClosed),
            _ => {}
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        // A client that opens more at once than fit does not get the rest.
        let _ = self.announced.try_send(channel);
    }
}
