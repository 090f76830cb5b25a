//! One message and its reply, whichever way it is sent.
//!
//! In: the message and its session, held. Out: the prompt, and when the reply is over, whole or cut
//! short, what was sent of it in the session's history. Knows neither tokens nor sound.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;

use super::bound::Permit;
use super::sessions::Session;
use super::{Chat, Kind};
use crate::call::Engines;
use crate::ids::{ReplyId, SessionId};
use crate::private::Private;
use crate::storage::{Channel, Turn};
use crate::thinking::{Message, Prompt};

/// A reply that is complete.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The whole reply.
    pub text: Private<String>,
    /// From the request to the reply's end.
    pub latency: Duration,
    /// From the request to the first token.
    pub first_token: Duration,
    /// It is an earlier answer to the same greeting.
    pub cached: bool,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It has not, or the client is gone.
    Open,
    Whole,
    Failed,
}

/// One message and its reply.
pub(super) struct ChatTurn {
    chat: Arc<Chat>,
    session: OwnedMutexGuard<Session>,
    owner: String,
    id: SessionId,
    words: Private<String>,
    reply: ReplyId,
    began: Instant,
    first: Option<Duration>,
    sent: String,
    greeting: Option<&'static str>,
    outcome: Outcome,
    _place: Permit,
}

impl ChatTurn {
    pub(super) fn new(
        chat: Arc<Chat>,
        mut session: OwnedMutexGuard<Session>,
        (owner, id): (&str, SessionId),
        words: Private<String>,
        began: Instant,
        place: Permit,
    ) -> Self {
        let greeting = chat.greetings.find(words.reveal()).filter(|_| session.is_new());
        Self {
            reply: session.next_reply(),
            chat,
            session,
            owner: owner.to_owned(),
            id,
            words,
            began,
            first: None,
            sent: String::new(),
            greeting,
            outcome: Outcome::Open,
            _place: place,
        }
    }

    pub(super) fn session_id(&self) -> &SessionId {
        &self.id
    }

    pub(super) fn reply_id(&self) -> ReplyId {
        self.reply
    }

    pub(super) fn engines(&self) -> &Engines {
        &self.chat.engines
    }

    pub(super) fn chat(&self) -> &Chat {
        &self.chat
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    pub(super) fn prompt(&self) -> Prompt {
        self.chat.prompt(&self.session, &self.words)
    }

    /// An earlier answer, if the message is a greeting and the session's first.
    pub(super) fn cached(&self) -> Option<String> {
        self.chat.greetings.answer(self.greeting?)
    }

    /// The first token came.
    pub(super) fn begun(&mut self) {
        if self.first.is_none() {
            self.first = Some(self.began.elapsed());
        }
    }

    /// This was sent to the client.
    pub(super) fn sent(&mut self, text: &str) {
        self.sent.push_str(text);
    }

    /// Whether the reply is complete.
    pub(super) fn is_whole(&self) -> bool {
        self.outcome == Outcome::Whole
    }

    /// Nothing was sent after all.
    pub(super) fn unsend(&mut self) {
        self.sent.clear();
    }

    /// What was sent so far.
    pub(super) fn text(&self) -> &str {
        &self.sent
    }

    /// The reply failed.
    pub(super) fn failed(&mut self) {
        self.outcome = Outcome::Failed;
        self.chat.failed(Kind::Chat);
    }

    /// The reply is complete. `cached`: it was an earlier one.
    pub(super) fn whole(&mut self, cached: bool) -> Summary {
        self.outcome = Outcome::Whole;
        let latency = self.began.elapsed();
        let first_token = self.first.unwrap_or(latency);
        if cached {
            self.chat.tallies().cached += 1;
        } else {
            self.chat.served(Kind::Chat, first_token, latency);
        }
        let text = Private::new(self.sent.trim().to_owned());
        Summary { text, latency, first_token, cached }
    }

    /// The turn is over: what was sent, and what tools did, goes into the history. A message that
    /// got nothing is forgotten, as it will be sent again.
    pub(super) fn settle(&mut self, tools: Vec<Message>) {
        let reply = self.sent.trim();
        if reply.is_empty() && tools.is_empty() {
            return;
        }
        if let (Some(greeting), Outcome::Whole, true) =
            (self.greeting, self.outcome, tools.is_empty())
        {
            self.chat.greetings.learn(greeting, reply);
        }
        let history = &mut self.session.history;
        history.user(self.words.reveal());
        history.exchange(self.reply, tools.clone());
        history.assistant(self.reply, reply);
        let owner = std::mem::take(&mut self.owner);
        let mut kept = Turn::new(owner, self.id.clone(), Channel::Chat);
        (kept.user, kept.reply) = (self.words.clone(), Private::new(reply.to_owned()));
        kept.exchange = tools;
        kept.latency_ms = self.first.map(|first| first.as_secs_f64() * 1e3);
        self.chat.sessions.keep(kept);
    }
}
