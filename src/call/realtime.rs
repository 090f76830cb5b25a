//! What a client that speaks OpenAI's Realtime protocol can have done in a call.
//!
//! In: [`Ask`]s of the session. Out: changes to the call, its turn machine and its history. The
//! protocol itself is in `crate::realtime`.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::ears::COMMITTED;
use super::line::samples;
use super::own;
use super::playout::Heard;
use super::reply::{Manner, ReplyMaker};
use super::task::Call;
use super::{CallSettings, Engines, Tongue};
use crate::ids::ReplyId;
use crate::language::Language;
use crate::private::Private;
use crate::realtime::config::{Eagerness, TurnDetection};
use crate::realtime::{Ask, Config, Happening, Options, ToolChoice, Usage};
use crate::speaking::{VitsVoice, VoiceSpec};
use crate::thinking::{Message, Offer, Prompt, Role, ToolCall, ToolSpec};
use crate::turn::{self, Hypothesis, Input};
use crate::voices::{self, VoiceError};

/// The shortest silence that the detector of voices can tell as a pause.
const PAUSE: Duration = Duration::from_millis(192);

/// A voice that is being loaded.
type Loading = JoinHandle<Result<VitsVoice, VoiceError>>;

/// What a Realtime client wants, and what the call had before.
#[derive(Default)]
pub(super) struct Wishes {
    /// The voice that is being loaded.
    pub voice: Option<Loading>,
    /// The client asked for a reply to sound whose words are not known yet.
    answer_sound: bool,
    /// Sound is committed, and its words are not known yet.
    sound_waits: bool,
    /// The call's own settings of conversation.
    own: turn::Settings,
    /// The call's own voice.
    own_voice: Option<Tongue>,
}

impl Wishes {
    pub(super) fn of(settings: &CallSettings, engines: &Engines) -> Self {
        let (voice, clips) = (engines.voice.clone(), engines.clips.clone());
        let own_voice = Some(Tongue { language: settings.language, voice, clips });
        Self { own: settings.turn.clone(), own_voice, ..Self::default() }
    }
}

/// Waits for a voice. Cancel-safe.
pub(super) async fn loaded(slot: &mut Option<Loading>) -> Option<VitsVoice> {
    let Some(loading) = slot else { return std::future::pending().await };
    let result = loading.await;
    *slot = None;
    own::or_logged(result)
}

impl Call {
    /// Takes a client's text.
    pub(super) fn client(&mut self, text: &str) {
        if self.line.client(text) {
            self.follow_client();
        } else {
            self.own_client(text);
        }
    }

    /// Does what the client wants.
    pub(super) fn follow_client(&mut self) {
        while let Some(ask) = self.line.poll_ask() {
            self.follow(ask);
        }
    }

    fn follow(&mut self, ask: Ask) {
        let now = self.clock.now();
        match ask {
            Ask::Configure => self.configure(),
            Ask::Respond if self.record.wishes.sound_waits => {
                self.record.wishes.answer_sound = true;
            }
            Ask::Respond => self.turn.tell(now, Input::Asked),
            Ask::Cancel => {
                self.record.wishes.answer_sound = false;
                self.turn.tell(now, Input::Cancelled);
            }
            Ask::Append(bytes) => {
                let Some(session) = self.line.session() else { return };
                let format = session.config().input.format;
                self.ears.samples(now, format.rate(), &samples(format, &bytes));
            }
            Ask::CommitSound if self.ears.commit(now) => {
                self.record.wishes.sound_waits = true;
                self.line.happened(Happening::SoundCommitted);
            }
            Ask::CommitSound => {
                if let Some(session) = self.line.session_mut() {
                    session.nothing_to_commit();
                    self.line.flush();
                }
            }
            Ask::ClearSound => self.ears.clear(),
            Ask::Insert { item, place, role, text } => {
                let key = self.history.insert(place, role, &text);
                if let Some(session) = self.line.session_mut() {
                    session.bind(&item, key);
                }
            }
            Ask::Result { call_id, output } => {
                self.history.result(&call_id, Private::new(output));
            }
            Ask::Remove(key) => self.history.remove(key),
            Ask::Rewrite(key, text) => self.history.rewrite(key, &text),
        }
    }

    /// Follows the session's settings.
    fn configure(&mut self) {
        let Some(session) = self.line.session() else { return };
        let config = session.config().clone();
        self.line.configure();
        if let Some(language) = language(&config) {
            self.settings.set_language(language);
            self.record.wishes.own.language = language;
        }
        self.settings.instructions = config.instructions.clone();
        self.history.instruct(self.settings.instructions());
        let socket = self.line.leg.is_socket();
        let settings = conversation(&self.record.wishes.own, &config, socket);
        self.turn.tell(self.clock.now(), Input::Configured(Box::new(settings)));
        let (by_hand, activation) = match config.input.turn_detection {
            TurnDetection::None => (true, None),
            TurnDetection::Silence { threshold, .. } => (false, Some(threshold)),
            TurnDetection::Semantic { .. } => (false, None),
        };
        self.ears.configure(by_hand, self.settings.language, activation);
        self.change_voice(&config);
    }

    fn change_voice(&mut self, config: &Config) {
        let Some(own) = &self.record.wishes.own_voice else { return };
        let Some(wanted) = config.voice_spec(&own.voice.name()) else {
            (self.engines.voice, self.engines.clips) = (own.voice.clone(), own.clips.clone());
            return;
        };
        // The session has checked it.
        let Ok(spec) = wanted.parse::<VoiceSpec>() else { return };
        if let Ok(Some(voice)) = self.engines.voices.loaded(&spec) {
            self.record.wishes.voice = None;
            return self.take_voice(Some(voice));
        }
        let all = self.engines.voices.clone();
        self.record.wishes.voice = Some(tokio::task::spawn_blocking(move || all.get(&spec)));
    }

    /// Speaks with this voice from the next reply on.
    pub(super) fn take_voice(&mut self, voice: Option<VitsVoice>) {
        match voice {
            Some(voice) => {
                (self.engines.voice, self.engines.clips) =
                    voices::for_call(&self.engines.voices, voice);
            }
            None => self.line.happened(Happening::Failed {
                code: "voice_failed",
                message: "The voice could not be loaded; EVA keeps the one she has.",
            }),
        }
    }

    /// Starts the reply that a client has asked for.
    pub(super) fn answer(&mut self, id: ReplyId) {
        self.playout.begin(id);
        self.playout.release(id);
        let (manner, prompt) = (self.manner(), self.prompt(&Private::default()));
        let mut reply = ReplyMaker::start(id, &self.engines, prompt, manner);
        reply.permit();
        self.reply = Some(reply);
        self.line.happened(Happening::ReplyBegins { reply: id });
    }

    /// The words of sound that the client has committed.
    pub(super) fn committed_sound(&mut self, words: Option<(Hypothesis, Language)>) {
        debug_assert_eq!(COMMITTED.0, 0, "the machine counts from 1");
        self.record.wishes.sound_waits = false;
        match words {
            Some((heard, _)) => {
                let words = heard.words.reveal();
                let key = self.history.user(words);
                self.line.happened(Happening::SoundHeard { words: Some((words, key)) });
            }
            None => self.line.happened(Happening::SoundHeard { words: None }),
        }
        if std::mem::take(&mut self.record.wishes.answer_sound) {
            self.turn.tell(self.clock.now(), Input::Asked);
        }
    }

    fn options(&self) -> Options {
        self.line.session().map(|session| session.options()).unwrap_or_default()
    }

    /// The tools of the client that the next reply may call.
    fn client_tools(&self, options: &Options) -> Arc<[ToolSpec]> {
        let Some(session) = self.line.session() else { return Arc::from([]) };
        options.tools.clone().unwrap_or_else(|| session.config().tools.clone())
    }

    pub(super) fn manner(&self) -> Manner {
        let Some(session) = self.line.session() else { return Manner::default() };
        let options = self.options();
        let spoken = options.spoken.unwrap_or(session.config().spoken);
        Manner { mute: !spoken, handed_over: self.client_tools(&options) }
    }

    /// The prompt of the next reply, to these words behind the history.
    pub(super) fn prompt(&self, words: &Private<String>) -> Prompt {
        let config = self.line.session().map(|session| session.config());
        let options = self.options();
        let wanted =
            config.map(|config| config.max_tokens).and_then(|most| options.max_tokens.or(most));
        Prompt {
            call: self.id,
            messages: self.messages(words, &options),
            offer: self.offer(&options),
            max_tokens: wanted.unwrap_or(self.settings.max_tokens),
            temperature: config
                .and_then(|config| config.temperature)
                .unwrap_or_else(|| self.settings.temperature()),
        }
    }

    fn messages(&self, words: &Private<String>, options: &Options) -> Vec<Message> {
        let mut messages = self.history.prompt_with(words.reveal());
        if let Some(input) = &options.input {
            messages.truncate(1);
            messages.extend(input.iter().cloned());
        }
        if let (Some(instructions), Some(first)) = (&options.instructions, messages.first_mut()) {
            *first = Message::new(Role::System, instructions.as_str());
        }
        messages
    }

    fn offer(&self, options: &Options) -> Offer {
        let mut offer = self.engines.tools.offer();
        let client = self.client_tools(options);
        if !client.is_empty() {
            let others =
                offer.tools.iter().filter(|tool| !client.iter().any(|c| c.name == tool.name));
            offer.tools = client.iter().chain(others).cloned().collect();
        }
        let choice = match (&options.tool_choice, self.line.session()) {
            (Some(choice), _) => choice.clone(),
            (None, Some(session)) => session.config().tool_choice.clone(),
            (None, None) => ToolChoice::Auto,
        };
        match choice {
            ToolChoice::Auto => {}
            ToolChoice::None => offer.words_only = true,
            ToolChoice::Required => offer.must_call = true,
            ToolChoice::Function(name) => {
                offer.tools =
                    offer.tools.iter().filter(|tool| tool.name == name).cloned().collect();
                offer.must_call = !offer.tools.is_empty();
            }
        }
        offer
    }

    /// The client is to run these tools; their results belong to this reply.
    pub(super) fn hand_over(&mut self, id: ReplyId, calls: &[ToolCall]) {
        if !self.is_apart() {
            self.keep_exchange(id);
        }
        self.line.happened(Happening::ToolsCalled { calls });
    }

    /// Whether the reply in progress stands beside the conversation.
    pub(super) fn is_apart(&self) -> bool {
        self.line.session().is_some() && self.options().apart
    }

    /// A reply was played, or written, to its end.
    pub(super) fn reply_ended(&mut self, id: ReplyId, text: Private<String>) {
        let reply = self.reply.take();
        let written = reply.as_ref().and_then(ReplyMaker::written).map(str::to_owned);
        let text = written.map_or(text, Private::new);
        let usage = reply.as_ref().map(usage).unwrap_or_default();
        self.reply = reply;
        if !self.is_apart() {
            self.history.assistant(id, text.reveal());
            self.keep_exchange(id);
        }
        self.reply = None;
        let key = self.history.entry_of(id);
        self.line.happened(Happening::ReplyEnded { key, usage });
    }

    /// Tells the client that a reply was cut, and what of it was heard.
    pub(super) fn tell_cut(&mut self, id: ReplyId, heard: &Heard) {
        let usage = self.reply.as_ref().map(usage).unwrap_or_default();
        let key = self.history.entry_of(id);
        let heard_ms = heard.ms;
        let heard = heard.text.reveal();
        self.line.happened(Happening::ReplyCut { reply: id, heard, heard_ms, key, usage });
    }
}

fn usage(reply: &ReplyMaker) -> Usage {
    let spent = reply.usage();
    Usage {
        input: spent.prompt_tokens,
        cached: spent.cached_tokens,
        output: spent.completion_tokens,
    }
}

/// The language that the client's transcription names.
fn language(config: &Config) -> Option<Language> {
    match config.input.transcription.as_ref()?.language.as_deref()? {
        "en" => Some(Language::En),
        "fr" => Some(Language::Fr),
        _ => None,
    }
}

/// The settings of conversation that a session asks for, from the call's own.
fn conversation(own: &turn::Settings, config: &Config, socket: bool) -> turn::Settings {
    let mut settings = own.clone();
    // Clients that ask for replies themselves expect none but those.
    settings.silence.ask = false;
    settings.endpointing.respond = config.input.create_response;
    settings.barge_in.on = config.input.interrupt_response;
    settings.fillers.on &= config.spoken;
    // On a WebSocket sound belongs to a response, and a "mhm" belongs to none.
    settings.backchannels.on &= config.spoken && !socket;
    let waits = &mut settings.endpointing;
    match &config.input.turn_detection {
        TurnDetection::None => waits.respond = false,
        TurnDetection::Semantic { eagerness: Eagerness::Auto } => {}
        TurnDetection::Semantic { eagerness: Eagerness::Low } => {
            (waits.wait_on_doubt, waits.wait_on_open_words) =
                (waits.wait_on_doubt * 2, waits.wait_on_open_words * 2);
            waits.wait_on_unfinished = waits.wait_on_unfinished * 8 / 5;
        }
        TurnDetection::Semantic { eagerness: Eagerness::High } => {
            (waits.wait_on_doubt, waits.wait_on_open_words) =
                (waits.wait_on_doubt / 2, waits.wait_on_open_words / 2);
            waits.wait_on_unfinished /= 2;
        }
        TurnDetection::Silence { silence_duration_ms, idle_timeout_ms, .. } => {
            let wait = Duration::from_millis(*silence_duration_ms).saturating_sub(PAUSE);
            (waits.least_wait, waits.wait_on_doubt) = (wait, wait);
            (waits.wait_on_open_words, waits.wait_on_unfinished) = (wait, wait);
            if let Some(idle) = idle_timeout_ms {
                settings.silence.ask = true;
                settings.silence.ask_after = Duration::from_millis(*idle);
            }
        }
    }
    settings
}
