//! Builds the engines, admits calls, shuts down.
//!
//! In: a [`GatewayConfig`], invitations from `signaling/`. Out: calls, each a task of its own. Owns the
//! engines, the media endpoint and the table of calls; holds no state of a call beyond its handle.

mod catalogue;
mod connections;
mod operator;
mod protocol;

pub use catalogue::{Catalogue, ListedVoice};
pub use connections::Playing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::CallTicket;
use crate::call::{self, CallSettings, ChoiceError, Choices, Engines, Leg, Plan, Recall, Setup};
use crate::chat::{Chat, ChatSettings};
use crate::ids::{CallId, SessionId};
use crate::language::Language;
use crate::observability::Metrics;
use crate::observability::live::{Board, CallProtocol};
use crate::personas::Personas;
use crate::realtime::{self, Session};
use crate::rtc::{Flow, LegHandle, RtcConfig, RtcEndpoint, RtcError};
use crate::speaking::clips::Clips;
use crate::speaking::{VitsVoice, Voice, VoiceSpec};
use crate::storage::Storage;
use crate::turn;
use crate::voices::{self, VoiceError};

/// What a caller offers.
#[derive(Debug)]
pub struct Invitation {
    /// The SDP offer.
    pub offer_sdp: String,
    /// How the call should be.
    pub wishes: Wishes,
    /// The session's settings, if the client speaks OpenAI's Realtime protocol.
    pub realtime: Option<realtime::Config>,
    /// The caller's leave to call, kept as long as the call; none where nobody counts.
    pub ticket: Option<CallTicket>,
}

/// How a caller wants the call; the gateway's own settings where a wish is absent.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// `en`, `fr` or `auto`; the gateway's own language where absent.
    pub language: Option<String>,
    /// The voice to answer with, as [`VoiceSpec`] reads it; the gateway's own where absent.
    pub voice: Option<String>,
    /// The persona's name; the default one where absent.
    pub persona: Option<String>,
    /// Turns begin and end with a button.
    pub push_to_talk: bool,
    /// Changes to the conversation's settings, as [`turn::Settings::changed_by`] takes them.
    pub conversation: Option<serde_json::Value>,
    /// The conversation to go on with; a new one where absent.
    pub session: Option<SessionId>,
    /// Whose it is (see [`crate::storage`]).
    pub owner: String,
}

/// An admitted call.
#[derive(Debug)]
pub struct Admitted {
    /// Its id.
    pub call_id: CallId,
    /// The complete SDP answer.
    pub answer_sdp: String,
    /// The session that the call belongs to, if it is kept.
    pub session: Option<SessionId>,
}

/// Why a call is not admitted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// All places are taken.
    #[error("All lines are busy; try again in {retry_after_s} seconds.")]
    Busy {
        /// When to try again, seconds.
        retry_after_s: u32,
    },
    /// The gateway shuts down.
    #[error("The gateway is shutting down; try again in {retry_after_s} seconds.")]
    Closing {
        /// When to try again, seconds.
        retry_after_s: u32,
    },
    /// The offer cannot be answered.
    #[error("{0}")]
    BadOffer(String),
    /// The language is not spoken here.
    #[error("{0}")]
    Language(String),
    /// There is no such persona here.
    #[error("{0}")]
    Persona(String),
    /// There is no such voice here.
    #[error("{0}.")]
    Voice(String),
    /// The conversation cannot be set up like that.
    #[error("{0}")]
    Conversation(#[from] turn::SettingsError),
    /// The call is over, or never was.
    #[error("There is no such call; it may have ended already.")]
    UnknownCall,
    /// The player is gone, or never was.
    #[error("There is no such player; it may have ended already.")]
    UnknownPlayer,
    /// All places of a call's players are taken.
    #[error("{message}.")]
    TooManyPlayers {
        /// How many there may be.
        message: String,
        /// When to try again, seconds.
        retry_after_s: u32,
    },
    /// The media side failed.
    #[error(
        "The call could not be set up ({0}); try again, and look at the gateway's log if it goes on."
    )]
    Media(String),
}

/// What the call page shows before a call.
#[derive(Clone, Debug)]
pub struct About {
    /// Name of the voice.
    pub voice: String,
    /// Name of the language model.
    pub brain: String,
    /// Language of calls that ask for none.
    pub language: Language,
    /// Days that what is said is kept; 0 where it is not.
    pub keeps_days: u32,
    /// Calls are recorded.
    pub recording: bool,
}

/// How a gateway is set up; the engines come beside it.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Media ports and addresses.
    pub rtc: RtcConfig,
    /// Calls at once; one more is refused.
    pub max_calls: usize,
    /// What every call starts with.
    pub call: CallSettings,
    /// How chats are.
    pub chat: ChatSettings,
    /// Whether the multilingual recogniser is loaded.
    pub multilingual: bool,
    /// Who EVA can be.
    pub personas: Arc<Personas>,
    /// Where conversations are kept.
    pub storage: Storage,
}

/// The gateway: engines, media endpoint, calls.
pub struct Gateway {
    endpoint: RtcEndpoint,
    engines: Engines,
    chat: Arc<Chat>,
    config: GatewayConfig,
    calls: Arc<DashMap<CallId, CancellationToken>>,
    /// What can be asked of the calls' connections.
    legs: Arc<DashMap<CallId, LegHandle>>,
    /// What the calls are doing.
    board: Arc<Board>,
    tasks: TaskTracker,
    closing: AtomicBool,
    catalogue: catalogue::Cached,
    started: Instant,
    metrics: Metrics,
}

impl Gateway {
    /// Binds the media ports. The engines are warm already.
    pub async fn start(config: GatewayConfig, engines: Engines) -> Result<Arc<Self>, RtcError> {
        let endpoint = RtcEndpoint::bind(config.rtc.clone()).await?;
        for persona in config.personas.all() {
            let voice = persona.voice.as_ref().map(|spec| engines.voices.check(spec));
            if let Some(Err(error)) = voice {
                let persona = &persona.name;
                tracing::warn!(%error, persona, "a persona speaks with another voice than its own");
            }
        }
        let chat = Chat::new(
            engines.clone(),
            config.call.clone(),
            config.chat.clone(),
            config.storage.clone(),
        );
        Ok(Arc::new(Self {
            endpoint,
            engines,
            chat,
            config,
            calls: Arc::default(),
            legs: Arc::default(),
            board: Arc::default(),
            tasks: TaskTracker::new(),
            closing: AtomicBool::new(false),
            catalogue: catalogue::Cached::default(),
            started: Instant::now(),
            metrics: Metrics::install(),
        }))
    }

    /// Answers an offer and starts the call.
    pub async fn admit(&self, invitation: Invitation) -> Result<Admitted, Refusal> {
        self.admit_as(invitation, Flow::Both).await
    }

    /// Takes a place, and gets ready what the call wants.
    async fn prepare(&self, wishes: &Wishes) -> Result<Prepared, Refusal> {
        let choices = self.choices();
        let plan = planned(&choices, wishes)?;
        let mut settings = self.settings_for(wishes, &plan)?;
        if self.closing.load(Ordering::Acquire) {
            return Err(Refusal::Closing { retry_after_s: 10 });
        }
        let place = self.take_place()?;
        let engines = self.engines_for(&choices, &plan).await?;
        settings.memory = self.recall(wishes).await;
        Ok(Prepared { place, engines, settings, choices, plan })
    }

    /// What was said in the session before. A call is better without it than refused.
    async fn recall(&self, wishes: &Wishes) -> Option<Recall> {
        let storage = self.config.storage.clone();
        if storage.is_off() {
            return None;
        }
        let mut turns = Vec::new();
        if let Some(session) = &wishes.session {
            turns = storage.load(&wishes.owner, session).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "a call begins without what was said before");
                Vec::new()
            });
        }
        let session = wishes.session.clone().unwrap_or_else(SessionId::random);
        Some(Recall { storage, owner: wishes.owner.clone(), session, turns })
    }

    /// Starts the call's task.
    fn begin(
        &self,
        prepared: Prepared,
        leg: Leg,
        realtime: Option<Box<Session>>,
        ticket: Option<CallTicket>,
    ) -> CallId {
        let Prepared { place, engines, settings, choices, plan } = prepared;
        let id = place.id;
        if let Leg::Web(leg) = &leg
            && let Some(handle) = leg.handle()
        {
            self.legs.insert(id, handle);
        }
        let mut about = operator::about(&leg, &settings, &plan);
        about.voice = engines.voice.name();
        if realtime.is_some() {
            about.protocol = CallProtocol::Realtime;
        }
        let live = self.board.post(id, about);
        let setup = Setup { leg, engines, settings, realtime, choices, plan, live };
        self.tasks.spawn(async move {
            call::run(id, setup, place.ended.clone()).await;
            drop((ticket, place));
        });
        id
    }

    /// What a call can choose among.
    fn choices(&self) -> Choices {
        let GatewayConfig { personas, call, multilingual, .. } = &self.config;
        Choices::new(&self.engines, personas.clone(), call.language, *multilingual)
    }

    fn settings_for(&self, wishes: &Wishes, plan: &Plan) -> Result<CallSettings, Refusal> {
        let mut settings = self.config.call.clone();
        if let Some(changes) = &wishes.conversation {
            settings.turn = settings.turn.changed_by(changes)?;
        }
        settings.set_language(plan.language);
        settings.persona = plan.persona.clone();
        settings.push_to_talk |= wishes.push_to_talk;
        Ok(settings)
    }

    /// The engines of a call, with the voices of its plan, loaded if need be.
    async fn engines_for(&self, choices: &Choices, plan: &Plan) -> Result<Engines, Refusal> {
        let cast = if choices.is_ready(plan) {
            choices.cast(plan)
        } else {
            let (choices, plan) = (choices.clone(), plan.clone());
            let loading = tokio::task::spawn_blocking(move || choices.cast(&plan));
            loading.await.map_err(|error| Refusal::Media(error.to_string()))?
        };
        let call::Cast { voice, clips, tongues } = cast.map_err(voice_refusal)?;
        Ok(Engines { voice, clips, tongues, ..self.engines.clone() })
    }

    /// A voice and its clips, loaded if need be.
    pub async fn voice(&self, spec: VoiceSpec) -> Result<(Arc<dyn Voice>, Clips), Refusal> {
        let voice = self.voice_alone(spec).await?;
        Ok(voices::for_call(&self.engines.voices, voice))
    }

    /// A voice, loaded if need be; no clips are made for it.
    pub async fn voice_alone(&self, spec: VoiceSpec) -> Result<VitsVoice, Refusal> {
        let voices = self.engines.voices.clone();
        match voices.loaded(&spec).map_err(|error| bad_voice(&error))? {
            Some(voice) => Ok(voice),
            None => {
                let loading = tokio::task::spawn_blocking(move || voices.get(&spec));
                let loaded = loading.await.map_err(|error| Refusal::Media(error.to_string()))?;
                loaded.map_err(voice_refusal)
            }
        }
    }

    /// Takes one of the places for calls; it is given back when dropped.
    fn take_place(&self) -> Result<Place, Refusal> {
        let id = CallId::random();
        let ended = CancellationToken::new();
        self.calls.insert(id, ended.clone());
        let (calls, legs) = (self.calls.clone(), self.legs.clone());
        let place = Place { id, ended, calls, legs, board: self.board.clone() };
        if self.calls.len() > self.config.max_calls {
            Metrics::call_refused("busy");
            return Err(Refusal::Busy { retry_after_s: 5 });
        }
        Metrics::call_began(self.calls.len());
        Ok(place)
    }

    /// Ends a call; whether there was one.
    pub fn hang_up(&self, call: CallId) -> bool {
        self.calls.get(&call).map(|ended| ended.cancel()).is_some()
    }

    /// Whether this call is in progress.
    pub fn is_active(&self, call: CallId) -> bool {
        self.calls.contains_key(&call)
    }

    /// Calls in progress.
    pub fn active(&self) -> usize {
        self.calls.len()
    }

    /// Calls that can be in progress at once.
    pub fn max_calls(&self) -> usize {
        self.config.max_calls
    }

    /// Whether a new call would be taken.
    pub fn takes_calls(&self) -> bool {
        !self.closing.load(Ordering::Acquire) && self.active() < self.config.max_calls
    }

    /// Time since the start.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// What the call page shows before a call.
    pub fn about(&self) -> About {
        About {
            voice: self.engines.voice.name(),
            brain: self.engines.llm.name(),
            language: self.config.call.language,
            keeps_days: self.config.storage.kept_days(),
            recording: self.recordings().is_some(),
        }
    }

    /// The engines that all calls share.
    pub fn engines(&self) -> &Engines {
        &self.engines
    }

    /// Conversations and speech without a call.
    pub fn chat(&self) -> &Arc<Chat> {
        &self.chat
    }

    /// Whether other languages than English are understood.
    pub fn is_multilingual(&self) -> bool {
        self.config.multilingual
    }

    /// What every call starts with.
    pub fn call_settings(&self) -> &CallSettings {
        &self.config.call
    }

    /// Where conversations are kept.
    pub fn storage(&self) -> &Storage {
        &self.config.storage
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The media endpoint, for its addresses.
    pub fn endpoint(&self) -> &RtcEndpoint {
        &self.endpoint
    }

    /// Takes no more calls, ends those in progress and waits for their tasks, and until what was said
    /// is kept.
    pub async fn shut_down(&self) {
        self.closing.store(true, Ordering::Release);
        self.board.wake();
        self.chat.close();
        self.tasks.close();
        for call in self.calls.iter() {
            call.value().cancel();
        }
        self.tasks.wait().await;
        self.config.storage.flush().await;
    }
}

/// A call that may begin.
struct Prepared {
    place: Place,
    engines: Engines,
    settings: CallSettings,
    choices: Choices,
    plan: Plan,
}

/// One call's place in the table.
struct Place {
    id: CallId,
    ended: CancellationToken,
    calls: Arc<DashMap<CallId, CancellationToken>>,
    legs: Arc<DashMap<CallId, LegHandle>>,
    board: Arc<Board>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.board.remove(self.id);
        self.legs.remove(&self.id);
        self.calls.remove(&self.id);
        Metrics::call_ended(self.calls.len());
    }
}

/// The plan for a caller's wishes.
fn planned(choices: &Choices, wishes: &Wishes) -> Result<Plan, Refusal> {
    let voice = wishes.voice.as_deref();
    let (language, persona) = (wishes.language.as_deref(), wishes.persona.as_deref());
    choices.asked(choices.usual(), voice, language, persona).map_err(|error| match error {
        ChoiceError::Language(error) => Refusal::Language(error.to_string()),
        ChoiceError::Persona(error) => Refusal::Persona(error.to_string()),
        ChoiceError::Spec(error) => bad_voice(&error),
        ChoiceError::Voice(error) => voice_refusal(error),
    })
}

fn bad_voice(error: &dyn std::error::Error) -> Refusal {
    Metrics::call_refused("bad_voice");
    Refusal::Voice(error.to_string())
}

fn voice_refusal(error: VoiceError) -> Refusal {
    match error {
        VoiceError::Full => {
            Metrics::call_refused("busy");
            Refusal::Busy { retry_after_s: 10 }
        }
        error if error.is_askers() => bad_voice(&error),
        error => {
            tracing::error!(%error, "a voice could not be loaded");
            Metrics::call_refused("voice");
            Refusal::Media("the voice could not be loaded".to_owned())
        }
    }
}

fn refusal(error: RtcError) -> Refusal {
    if let Some(refusal) = connections::of_connection(&error) {
        return refusal;
    }
    if matches!(error, RtcError::BadOffer(_) | RtcError::NoAudio) {
        Metrics::call_refused("bad_offer");
        Refusal::BadOffer(error.to_string())
    } else {
        tracing::error!(%error, "a call could not be set up");
        Metrics::call_refused("media");
        Refusal::Media(error.to_string())
    }
}
