//! Joins the stations for one call.
//!
//! In: a leg, the engines, settings. Out: a conversation. One task owns all state of the call by
//! value; dropping it frees the call. [`run`] waits for whatever comes first (a packet, a mark, words,
//! a piece of a reply, a deadline), tells the turn machine, and does what it says.

mod asides;
mod button;
mod choices;
mod client;
mod conversation;
mod ears;
mod frames;
mod leg;
mod line;
mod live;
mod memory;
mod own;
mod playout;
mod realtime;
mod recorder;
mod recording;
pub(crate) mod reply;
mod task;
mod telling;
mod turn_sound;

pub use choices::{Cast, ChoiceError, Choices, Plan};
pub use client::{Event, Word};
pub use leg::{Leg, SocketEnds, SocketLeg, socket};
pub use memory::Recall;
pub use task::{Setup, run};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::language::Language;
use crate::listening::Transcriber;
use crate::listening::silero::VadEngine;
use crate::listening::smart_turn::EndOfTurnEngine;
use crate::personas::{Persona, Personas};
use crate::recordings::Recordings;
use crate::speaking::Voice;
use crate::speaking::clips::Clips;
use crate::thinking::Llm;
use crate::thinking::tools::Toolbox;
use crate::turn::{self, At};
use crate::voices::Voices;

/// The engines all calls share.
#[derive(Clone)]
pub struct Engines {
    /// Voice activity.
    pub vad: VadEngine,
    /// End of turn.
    pub end_of_turn: EndOfTurnEngine,
    /// Speech to words.
    pub transcriber: Arc<dyn Transcriber>,
    /// The language model.
    pub llm: Arc<dyn Llm>,
    /// What the language model may call.
    pub tools: Toolbox,
    /// The voice of calls that ask for none; in a call, the call's own.
    pub voice: Arc<dyn Voice>,
    /// That voice's fillers and backchannels.
    pub clips: Clips,
    /// The voices that calls can ask for.
    pub voices: Arc<Voices>,
    /// In a call whose language is found out while it lasts: the voices to choose from.
    pub tongues: Vec<Tongue>,
}

/// A voice for one language.
#[derive(Clone)]
pub struct Tongue {
    /// The language.
    pub language: Language,
    /// The voice.
    pub voice: Arc<dyn Voice>,
    /// Its fillers and backchannels.
    pub clips: Clips,
}

/// What one call starts with.
#[derive(Clone, Debug)]
pub struct CallSettings {
    /// What the person speaks.
    pub language: Language,
    /// Who EVA is.
    pub persona: Arc<Persona>,
    /// Turns begin and end with a button.
    pub push_to_talk: bool,
    /// Instructions to the language model; the persona's own where `None`.
    pub instructions: Option<String>,
    /// The most tokens of a reply.
    pub max_tokens: u32,
    /// Sampling temperature, where the persona has none.
    pub temperature: f32,
    /// The conversation's settings.
    pub turn: turn::Settings,
    /// Folder for the traces of the turn machine, which hold what people say; none are written
    /// where `None`.
    pub traces: Option<PathBuf>,
    /// Where the call's sound is kept; it is not where `None`.
    pub recordings: Option<Recordings>,
    /// The session that the call belongs to; nothing of the call is kept where `None`.
    pub memory: Option<Recall>,
}

impl Default for CallSettings {
    fn default() -> Self {
        Self {
            language: Language::En,
            persona: Personas::default().default_one().clone(),
            push_to_talk: false,
            instructions: None,
            max_tokens: 200,
            temperature: 0.4,
            turn: turn::Settings::default(),
            traces: None,
            recordings: None,
            memory: None,
        }
    }
}

impl CallSettings {
    /// Changes the language and what follows from it.
    pub fn set_language(&mut self, language: Language) {
        self.language = language;
        self.turn.language = language;
    }

    /// The instructions in force.
    pub fn instructions(&self) -> String {
        let own = || self.persona.instructions(self.language).to_owned();
        self.instructions.clone().unwrap_or_else(own)
    }

    /// The sampling temperature in force.
    pub fn temperature(&self) -> f32 {
        self.persona.temperature.unwrap_or(self.temperature)
    }
}

/// The call's clock: the one place that turns instants into time since the call began. It counts
/// whole microseconds, as traces do.
#[derive(Clone, Copy, Debug)]
struct Clock {
    began: Instant,
}

impl Clock {
    fn now(self) -> At {
        self.at(Instant::now())
    }

    fn at(self, instant: Instant) -> At {
        let since = instant.saturating_duration_since(self.began);
        At::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    fn instant(self, at: At) -> Instant {
        self.began + at
    }
}
