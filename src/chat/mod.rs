//! What people ask of EVA without a call: text conversations, speech of a text, words of a recording.
//!
//! In: messages, texts, files, from the doors under `signaling/`. Out: replies as they are written
//! ([`TextTurn`]) or spoken ([`ExpressiveTurn`]), speech ([`SpeechStream`]), words ([`transcription`]).
//! Joins the stations over the engines that calls use, and comes after calls where it is urgent:
//! all of it is bounded. Owns the sessions in memory, the greetings and the figures; starts no tasks:
//! a reply lives in the request that asked for it and ends with it.

mod bound;
mod cutting;
pub mod encoding;
mod expressive;
mod greetings;
mod sessions;
mod speech;
pub mod stats;
mod text;
pub mod transcription;
mod turn;

pub use bound::{Crowded, Permit};
pub use expressive::{Encoded, Expressed, ExpressiveTurn, Manner};
pub use speech::{SpeechError, SpeechStream};
pub use text::{Said, TextTurn};
pub use turn::Summary;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::bound::Bound;
use self::expressive::Fillers;
use self::greetings::Greetings;
use self::sessions::Sessions;
use self::stats::{Figures, Tally};
use self::turn::ChatTurn;
use crate::call::{CallSettings, Engines};
use crate::ids::SessionId;
use crate::private::Private;
use crate::storage::Storage;
use crate::thinking::Prompt;

/// The longest message, in characters: twice what a history keeps.
pub const LONGEST_MESSAGE: usize = 16_000;
/// Replies in the making at once, over all doors.
const REPLIES_AT_ONCE: usize = 256;
/// Texts being spoken at once; the voice takes 128 sentences, most of them for calls.
const SPEECHES_AT_ONCE: usize = 8;
/// Recordings at once: each holds a thread.
const RECORDINGS_AT_ONCE: usize = 2;
/// Files on their way here at once: each may have 25 MB.
const UPLOADS_AT_ONCE: usize = 8;
/// How long a request waits for a place.
const PATIENCE: Duration = Duration::from_secs(2);

/// How chats are.
#[derive(Clone, Debug)]
pub struct ChatSettings {
    /// Answer a greeting that opens a session with an earlier answer to it.
    pub cached_greetings: bool,
}

impl Default for ChatSettings {
    fn default() -> Self {
        Self { cached_greetings: true }
    }
}

/// Why a message is not answered.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum ChatError {
    /// There is nothing in it.
    #[error("The message is empty: write something.")]
    Empty,
    /// There is too much in it.
    #[error("The message is longer than {LONGEST_MESSAGE} characters; send less at once.")]
    TooLong,
    /// The session's last message is still being answered.
    #[error("This session's last message is still being answered; wait for its reply.")]
    SessionBusy,
    /// Too much is under way.
    #[error(transparent)]
    Crowded(#[from] Crowded),
    /// The gateway ends.
    #[error("The gateway is shutting down; try again in a moment.")]
    Closing,
}

/// Figures for whoever runs the gateway.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Stats {
    /// Replies to messages, without those from the cache.
    pub chat: Figures,
    /// Texts spoken; the first time is that of the first byte.
    pub speech: Figures,
    /// Recordings written down.
    pub transcription: Figures,
    /// Greetings that were answered from the cache.
    pub cached_replies: u64,
}

#[derive(Default)]
struct Tallies {
    chat: Tally,
    speech: Tally,
    transcription: Tally,
    cached: u64,
}

/// The kinds of requests that are counted.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A message was answered.
    Chat,
    /// A text was spoken.
    Speech,
    /// A recording was written down.
    Transcription,
}

/// Conversations and speech without a call.
pub struct Chat {
    engines: Engines,
    call: CallSettings,
    sessions: Sessions,
    greetings: Greetings,
    fillers: Fillers,
    tallies: Mutex<Tallies>,
    replies: Bound,
    speeches: Bound,
    recordings: Bound,
    uploads: Bound,
    started: Instant,
    closing: CancellationToken,
}

impl Chat {
    /// Ready to answer, with engines that stand.
    pub fn new(
        engines: Engines,
        call: CallSettings,
        settings: ChatSettings,
        storage: Storage,
    ) -> Arc<Self> {
        let greetings = Greetings::new(settings.cached_greetings, call.language);
        Arc::new(Self {
            engines,
            sessions: Sessions::new(call.instructions(), storage),
            call,
            greetings,
            fillers: Fillers::default(),
            tallies: Mutex::default(),
            replies: Bound::new(REPLIES_AT_ONCE, PATIENCE),
            speeches: Bound::new(SPEECHES_AT_ONCE, PATIENCE),
            recordings: Bound::new(RECORDINGS_AT_ONCE, PATIENCE),
            uploads: Bound::new(UPLOADS_AT_ONCE, PATIENCE),
            started: Instant::now(),
            closing: CancellationToken::new(),
        })
    }

    /// Forgets what is in memory of a session.
    pub fn forget(&self, owner: &str, session: &SessionId) {
        self.sessions.forget(owner, session);
    }

    /// Answers a message in writing. `began` is when the request came.
    ///
    /// # Errors
    /// The message, the session or the gateway cannot take it now.
    pub async fn reply(
        self: &Arc<Self>,
        owner: &str,
        session: Option<SessionId>,
        message: &str,
        began: Instant,
    ) -> Result<TextTurn, ChatError> {
        let turn = self.turn(owner, session, message, began).await?;
        Ok(TextTurn::start(turn))
    }

    /// Answers a message in writing and in sound.
    ///
    /// # Errors
    /// As [`Self::reply`].
    pub async fn express(
        self: &Arc<Self>,
        owner: &str,
        session: Option<SessionId>,
        message: &str,
        manner: Manner,
        began: Instant,
    ) -> Result<ExpressiveTurn, ChatError> {
        let turn = self.turn(owner, session, message, began).await?;
        Ok(ExpressiveTurn::start(turn, manner))
    }

    /// A place to speak a text in; for [`SpeechStream::new`].
    ///
    /// # Errors
    /// Too many texts are being spoken.
    pub async fn place_to_speak(&self) -> Result<Permit, Crowded> {
        self.speeches.enter().await
    }

    /// A place to write a recording down in; for [`transcription::start`].
    ///
    /// # Errors
    /// Too many recordings are being written down.
    pub async fn place_to_transcribe(&self) -> Result<Permit, Crowded> {
        self.recordings.enter().await
    }

    /// A place to read a recording into memory in, until it can be written down.
    ///
    /// # Errors
    /// Too many recordings are being read.
    pub async fn place_to_upload(&self) -> Result<Permit, Crowded> {
        self.uploads.enter().await
    }

    /// A place for a reply that is written for somebody else's conversation.
    ///
    /// # Errors
    /// Too many replies are being written.
    pub async fn place_to_reply(&self) -> Result<Permit, Crowded> {
        self.replies.enter().await
    }

    /// A request was served: how long it took to its first token or byte, and in all.
    pub fn served(&self, kind: Kind, first: Duration, whole: Duration) {
        let now = self.started.elapsed();
        self.tallies().of(kind).served(now, first, whole);
    }

    /// A request failed.
    pub fn failed(&self, kind: Kind) {
        self.tallies().of(kind).failed();
    }

    /// The figures.
    pub fn stats(&self) -> Stats {
        let now = self.started.elapsed();
        let mut tallies = self.tallies();
        Stats {
            chat: tallies.chat.figures(now),
            speech: tallies.speech.figures(now),
            transcription: tallies.transcription.figures(now),
            cached_replies: tallies.cached,
        }
    }

    /// Sessions that had a message lately.
    pub fn active_sessions(&self) -> usize {
        self.sessions.active()
    }

    /// Resolves when the gateway ends: whoever keeps a connection open closes it then.
    pub async fn closed(&self) {
        self.closing.cancelled().await;
    }

    /// The gateway ends: no further message is answered.
    pub fn close(&self) {
        self.closing.cancel();
    }

    async fn turn(
        self: &Arc<Self>,
        owner: &str,
        session: Option<SessionId>,
        message: &str,
        began: Instant,
    ) -> Result<ChatTurn, ChatError> {
        let message = message.trim();
        if message.is_empty() {
            return Err(ChatError::Empty);
        }
        if message.chars().count() > LONGEST_MESSAGE {
            return Err(ChatError::TooLong);
        }
        if self.closing.is_cancelled() {
            return Err(ChatError::Closing);
        }
        let place = self.replies.enter().await?;
        let id = session.unwrap_or_else(SessionId::random);
        let session = self.sessions.open(owner, &id, &*self.engines.llm).await?;
        let words = Private::new(message.to_owned());
        Ok(ChatTurn::new(self.clone(), session, (owner, id), words, began, place))
    }

    fn prompt(&self, session: &sessions::Session, words: &Private<String>) -> Prompt {
        Prompt {
            call: session.call,
            messages: session.history.prompt_with(words.reveal()),
            offer: self.engines.tools.offer(),
            max_tokens: self.call.max_tokens,
            temperature: self.call.temperature(),
        }
    }

    fn tallies(&self) -> MutexGuard<'_, Tallies> {
        // Each change is one addition.
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tallies {
    fn of(&mut self, kind: Kind) -> &mut Tally {
        match kind {
            Kind::Chat => &mut self.chat,
            Kind::Speech => &mut self.speech,
            Kind::Transcription => &mut self.transcription,
        }
    }
}
