//! Calls whose clients speak OpenAI's Realtime protocol.
//!
//! In: a session's settings. Out: the call's session, checked against what this gateway has. The
//! protocol itself is in `crate::realtime`, what it does to a call in `crate::call`.

use super::{Gateway, Prepared, Refusal, Wishes};
use crate::admission::CallTicket;
use crate::call::{self, SocketEnds};
use crate::ids::CallId;
use crate::language::Language;
use crate::realtime::{self, Abilities, Carrier, Session};
use crate::speaking::{SpecError, VoiceSpec};

impl Gateway {
    /// Starts a call over a WebSocket, whose client speaks OpenAI's Realtime protocol.
    pub async fn admit_socket(
        &self,
        mut wishes: Wishes,
        config: realtime::Config,
        ticket: CallTicket,
    ) -> Result<(CallId, SocketEnds), Refusal> {
        ticket.connected();
        self.follow(&mut wishes, &config);
        let prepared = self.prepare(&wishes).await?;
        let session = self.session(&prepared, Carrier::WebSocket, config);
        let (leg, ends) = call::socket();
        Ok((self.begin(prepared, leg, Some(session), Some(ticket)), ends))
    }

    /// A session's settings are wishes too.
    pub(super) fn follow(&self, wishes: &mut Wishes, config: &realtime::Config) {
        let named = config.voice_spec(&self.engines.voice.name());
        wishes.voice = named.or(wishes.voice.take());
        let asked = config.input.transcription.as_ref().and_then(|asked| asked.language.clone());
        wishes.language = asked.or(wishes.language.take());
    }

    pub(super) fn session(
        &self,
        prepared: &Prepared,
        carrier: Carrier,
        config: realtime::Config,
    ) -> Box<Session> {
        let voices = prepared.engines.voices.clone();
        let multilingual = self.config.multilingual;
        let abilities = Abilities {
            check_voice: Box::new(move |wanted| {
                let spec: VoiceSpec =
                    wanted.parse().map_err(|error: SpecError| format!("{error}."))?;
                voices.check(&spec).map_err(|error| format!("{error}."))
            }),
            check_language: Box::new(move |language| {
                Language::asked_for(Some(language), Language::En, multilingual)
                    .map(drop)
                    .map_err(|error| error.to_string())
            }),
            own_voice: prepared.engines.voice.name(),
            own_model: prepared.engines.llm.name(),
        };
        Box::new(Session::new(prepared.place.id, carrier, config, abilities))
    }
}
