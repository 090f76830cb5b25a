//! How the call talks with its client: EVA's own events, or OpenAI's Realtime protocol.
//!
//! In: what happens in the call. Out: texts on the leg; on a WebSocket EVA's voice as well. Owns the
//! leg's sending side and the Realtime session, where there is one.

use super::client::Event;
use super::leg::LegOut;
use crate::audio::resample::Resampler;
use crate::audio::{WIRE_RATE, g711};
use crate::realtime::{Ask, Happening, Session, SoundFormat};

/// The line to the client.
pub(super) struct Line {
    pub leg: LegOut,
    session: Option<Box<Session>>,
    voice: Option<SocketVoice>,
    /// The client reads too slowly to be served.
    pub lost: bool,
}

/// EVA's voice for a WebSocket.
struct SocketVoice {
    format: SoundFormat,
    resampler: Resampler,
}

impl Line {
    pub(super) fn new(leg: LegOut, session: Option<Box<Session>>) -> Self {
        let mut line = Self { leg, session, voice: None, lost: false };
        line.configure();
        line
    }

    /// Follows the session's settings.
    pub(super) fn configure(&mut self) {
        let Some(session) = self.session.as_ref().filter(|_| self.leg.is_socket()) else { return };
        let format = session.config().output.format;
        if self.voice.as_ref().is_none_or(|voice| voice.format != format) {
            let resampler = Resampler::new(WIRE_RATE, format.rate()).expect("usual rates");
            self.voice = Some(SocketVoice { format, resampler });
        }
    }

    /// The Realtime session.
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    /// The Realtime session, to be changed; what it has to tell leaves with [`Self::flush`].
    pub(super) fn session_mut(&mut self) -> Option<&mut Session> {
        self.session.as_deref_mut()
    }

    /// Tells one of EVA's own events; a Realtime client gets them if it has asked for them.
    pub(super) fn tell(&mut self, event: &Event<'_>) {
        if self.session().is_none_or(|session| session.config().eva_events) {
            self.send(event.to_json());
        }
    }

    /// Tells the Realtime session.
    pub(super) fn happened(&mut self, happening: Happening<'_>) {
        if let Some(session) = &mut self.session {
            session.happened(happening);
            self.flush();
        }
    }

    /// Takes a client's text; false if the client speaks EVA's own protocol.
    pub(super) fn client(&mut self, text: &str) -> bool {
        let Some(session) = &mut self.session else { return false };
        session.client(text);
        self.flush();
        true
    }

    /// What a Realtime client wants done.
    pub(super) fn poll_ask(&mut self) -> Option<Ask> {
        self.session.as_mut()?.poll_ask()
    }

    /// Sends what the session has to tell.
    pub(super) fn flush(&mut self) {
        while let Some(text) = self.session.as_mut().and_then(|session| session.poll_event()) {
            self.send(text);
        }
    }

    /// Sends 20 ms of EVA's voice (48 kHz) on a WebSocket.
    pub(super) fn voice(&mut self, pcm: &[f32]) {
        let Some(SocketVoice { format, resampler }) = &mut self.voice else { return };
        let mut sound = Vec::with_capacity(pcm.len());
        resampler.push(pcm, &mut sound);
        let payload: Vec<u8> = match format {
            SoundFormat::Pcm24 => {
                let whole = |sample: &f32| (sample.clamp(-1.0, 1.0) * 32_767.0) as i16;
                sound.iter().flat_map(|sample| whole(sample).to_le_bytes()).collect()
            }
            SoundFormat::MuLaw => sound.iter().map(|sample| g711::to_mu_law(*sample)).collect(),
            SoundFormat::ALaw => sound.iter().map(|sample| g711::to_a_law(*sample)).collect(),
        };
        if !payload.is_empty() {
            self.happened(Happening::Sound { payload: &payload });
        }
    }

    fn send(&mut self, text: String) {
        if !self.leg.send_text(text) && !std::mem::replace(&mut self.lost, true) {
            tracing::warn!("a client does not read its events; its call ends");
        }
    }
}

/// A WebSocket's sound as samples.
pub(super) fn samples(format: SoundFormat, bytes: &[u8]) -> Vec<f32> {
    match format {
        SoundFormat::Pcm24 => bytes
            .chunks_exact(2)
            .map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0)
            .collect(),
        SoundFormat::MuLaw => bytes.iter().map(|byte| g711::from_mu_law(*byte)).collect(),
        SoundFormat::ALaw => bytes.iter().map(|byte| g711::from_a_law(*byte)).collect(),
    }
}
