//! The voices, languages and personas that a call chooses among, before it begins and while it lasts.
//!
//! In: what a caller asks for, checked against what this gateway has. Out: a [`Plan`], and the
//! [`Cast`] that speaks for it. Loading a voice blocks; whoever asks finds a thread for it.

use std::sync::Arc;

use super::frames::Change;
use super::{Engines, Tongue};
use crate::language::{Language, LanguageError};
use crate::personas::{Persona, Personas, UnknownPersona};
use crate::speaking::clips::Clips;
use crate::speaking::{SpecError, Voice, VoiceSpec};
use crate::voices::{self, VoiceError, Voices};

/// What a call can choose among.
#[derive(Clone)]
pub struct Choices {
    personas: Arc<Personas>,
    /// Whether the multilingual recogniser is loaded.
    multilingual: bool,
    /// The language of calls that ask for none.
    language: Language,
    /// The voice of calls that ask for none.
    own: (Arc<dyn Voice>, Clips),
    voices: Arc<Voices>,
}

/// What a call has chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The voice that the caller named.
    pub voice: Option<VoiceSpec>,
    /// The language.
    pub language: Language,
    /// The persona.
    pub persona: Arc<Persona>,
}

/// Who speaks in a call.
pub struct Cast {
    /// The voice to begin with.
    pub voice: Arc<dyn Voice>,
    /// Its fillers and backchannels.
    pub clips: Clips,
    /// A voice for each of the call's languages, unless the caller named one for all.
    pub tongues: Vec<Tongue>,
}

/// Why a wish cannot be met.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    /// The language is not spoken here.
    #[error(transparent)]
    Language(#[from] LanguageError),
    /// There is no such persona.
    #[error(transparent)]
    Persona(#[from] UnknownPersona),
    /// The voice is not written as voices are.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// There is no such voice, or it cannot be had now.
    #[error(transparent)]
    Voice(#[from] VoiceError),
}

impl ChoiceError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Language(_) => "bad_language",
            Self::Persona(_) => "bad_persona",
            Self::Spec(_) | Self::Voice(_) => "bad_voice",
        }
    }

    /// A sentence for people.
    pub fn sentence(&self) -> String {
        let text = self.to_string();
        let mut letters = text.chars();
        let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
        format!("{first}{}.", letters.as_str().trim_end_matches('.'))
    }
}

impl Choices {
    /// What there is to choose among with these engines, whose voice is that of calls that ask for
    /// none.
    pub fn new(
        engines: &Engines,
        personas: Arc<Personas>,
        language: Language,
        multilingual: bool,
    ) -> Self {
        let own = (engines.voice.clone(), engines.clips.clone());
        Self { personas, multilingual, language, own, voices: engines.voices.clone() }
    }

    /// The plan of a call that asks for nothing.
    pub fn usual(&self) -> Plan {
        let persona = self.personas.default_one().clone();
        Plan { voice: None, language: self.language, persona }
    }

    /// The plan with what is asked for; empty texts ask for the usual.
    ///
    /// # Errors
    /// What cannot be had. Nothing is loaded for it.
    pub(super) fn changed(&self, plan: Plan, change: &Change) -> Result<Plan, ChoiceError> {
        let Change { voice, language, persona } = change;
        self.asked(plan, voice.as_deref(), language.as_deref(), persona.as_deref())
    }

    /// The same with the wishes by name.
    ///
    /// # Errors
    /// What cannot be had. Nothing is loaded for it.
    pub fn asked(
        &self,
        mut plan: Plan,
        voice: Option<&str>,
        language: Option<&str>,
        persona: Option<&str>,
    ) -> Result<Plan, ChoiceError> {
        if let Some(voice) = voice.map(str::trim) {
            plan.voice = if voice.is_empty() { None } else { Some(voice.parse()?) };
        }
        if language.is_some() {
            plan.language = Language::asked_for(language, self.language, self.multilingual)?;
        }
        if let Some(persona) = persona {
            plan.persona = self.personas.get(persona)?.clone();
        }
        Ok(plan)
    }

    /// Whether [`Self::cast`] would load nothing.
    pub fn is_ready(&self, plan: &Plan) -> bool {
        let specs = self.roles(plan).into_iter().filter_map(|(_, spec)| spec);
        let mut specs = specs.chain(plan.voice.clone());
        specs.all(|spec| !matches!(self.voices.loaded(&spec), Ok(None)))
    }

    /// Who speaks for a plan: the voice that the caller named; else for each language the persona's
    /// voice if it speaks it, the gateway's own if that does, or any that does. Blocks while a voice
    /// is loaded; needs the async runtime.
    ///
    /// # Errors
    /// The voice that the caller named cannot be had.
    pub fn cast(&self, plan: &Plan) -> Result<Cast, VoiceError> {
        if let Some(spec) = &plan.voice {
            let (voice, clips) = voices::for_call(&self.voices, self.voices.get(spec)?);
            return Ok(Cast { voice, clips, tongues: Vec::new() });
        }
        let (mut voice, mut clips) = self.own.clone();
        let mut tongues = Vec::new();
        for (language, spec) in self.roles(plan) {
            let known = match spec {
                None => Some(self.own.clone()),
                // A call is better with another language's voice than refused.
                Some(spec) => match self.voices.get(&spec) {
                    Ok(voice) => Some(voices::for_call(&self.voices, voice)),
                    Err(error) => {
                        tracing::warn!(%error, "a call goes without the voice of its choice");
                        None
                    }
                },
            };
            let Some((voice, clips)) = known else { continue };
            tongues.push(Tongue { language, voice, clips });
        }
        // Until it is known what the person speaks, EVA has the voice she usually has.
        let own = plan.language == Language::Auto && plan.persona.voice.is_none();
        if let Some(first) = tongues.first().filter(|_| !own) {
            (voice, clips) = (first.voice.clone(), first.clips.clone());
        }
        Ok(Cast { voice, clips, tongues })
    }

    /// A voice for each language of the call; the gateway's own where `None`.
    fn roles(&self, plan: &Plan) -> Vec<(Language, Option<VoiceSpec>)> {
        let languages: &[Language] = match plan.language {
            _ if plan.voice.is_some() => &[],
            Language::Auto => &[Language::En, Language::Fr],
            Language::En => &[Language::En],
            Language::Fr => &[Language::Fr],
        };
        let own = self.own.0.name();
        let of_persona = plan.persona.voice.as_ref();
        let of_persona = of_persona.filter(|spec| self.voices.check(spec).is_ok());
        let voice = |language: &Language| {
            let fits = |spec: &&VoiceSpec| voices::may_speak(&spec.model, *language);
            match of_persona.filter(fits) {
                Some(spec) => Some((*language, Some(spec.clone()))),
                None if voices::speaks(&own, *language) => Some((*language, None)),
                None => self.voices.speaking(*language).map(|spec| (*language, Some(spec))),
            }
        };
        languages.iter().filter_map(voice).collect()
    }
}
