//! A reply in writing, token by token, with tools in between.
//!
//! In: a turn. Out: [`Said`]. Tools run at once: in a chat every message is meant. Dropping it
//! withdraws the reply; the history keeps what was sent until then.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::turn::{ChatTurn, Summary};
use crate::call::reply::rounds::{Ended, Rounds};
use crate::ids::SessionId;
use crate::thinking::{LlmError, LlmEvent, Usage};

/// What became of a reply.
#[derive(Debug)]
pub enum Said {
    /// More of its text.
    Text(String),
    /// A tool runs, or has ended.
    Tool {
        /// Its name, from the owner's file.
        name: String,
        /// Once it has ended: whether it did what it was asked.
        ok: Option<bool>,
    },
    /// It is complete; nothing follows.
    Done(Summary),
    /// It failed; nothing follows. What came before stays.
    Failed(LlmError),
}

impl Said {
    /// Whether nothing follows.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed(_))
    }
}

/// One reply in writing.
pub struct TextTurn {
    turn: ChatTurn,
    rounds: Rounds,
    tokens: Option<mpsc::Receiver<LlmEvent>>,
    /// The text of this round.
    round: String,
    /// An earlier answer to the same greeting.
    cached: Option<String>,
    ready: VecDeque<Said>,
    /// The client gets all of it at once, or nothing.
    at_once: bool,
}

impl TextTurn {
    pub(super) fn start(turn: ChatTurn) -> Self {
        let engines = turn.engines();
        let cached = turn.cached();
        let mut rounds = Rounds::new(engines.llm.clone(), engines.tools.clone(), turn.prompt());
        rounds.permit();
        let tokens = cached.is_none().then(|| rounds.ask());
        let (round, ready) = (String::new(), VecDeque::new());
        Self { turn, rounds, tokens, round, cached, ready, at_once: false }
    }

    /// Nothing is sent before the reply is whole: one that is not leaves nothing in the history.
    #[must_use]
    pub fn at_once(mut self) -> Self {
        self.at_once = true;
        self
    }

    /// The session it belongs to.
    pub fn session_id(&self) -> &SessionId {
        self.turn.session_id()
    }

    /// Waits for the next thing. Cancel-safe. Not to be asked after [`Said::is_end`].
    pub async fn next(&mut self) -> Said {
        if let Some(text) = self.cached.take() {
            self.turn.begun();
            self.turn.sent(&text);
            self.ready.push_back(Said::Done(self.turn.whole(true)));
            return Said::Text(text);
        }
        loop {
            if let Some(said) = self.ready.pop_front() {
                return said;
            }
            if self.run_tools() {
                continue;
            }
            if self.tokens.is_none() && !self.rounds.is_open() {
                return Said::Done(self.turn.whole(false));
            }
            tokio::select! {
                event = from_model(&mut self.tokens) => self.take_event(event),
                ended = self.rounds.next_ended() => self.take_result(&ended),
            }
        }
    }

    /// Starts the tools of a round that is written, and asks again once all have ended; whether
    /// there is something new.
    fn run_tools(&mut self) -> bool {
        if self.tokens.is_some() {
            return false;
        }
        let started = self.rounds.start().into_iter();
        self.ready.extend(started.map(|name| Said::Tool { name, ok: None }));
        let closed = self.rounds.close();
        if closed {
            self.tokens = Some(self.rounds.ask());
        }
        closed || !self.ready.is_empty()
    }

    fn take_result(&mut self, ended: &Ended) {
        self.rounds.take_result(ended);
        self.ready.push_back(Said::Tool { name: ended.name.clone(), ok: Some(ended.ok) });
    }

    fn take_event(&mut self, event: Option<LlmEvent>) {
        match event {
            Some(LlmEvent::Text(text)) => self.take_text(text.into_revealed()),
            Some(LlmEvent::ToolCall(call)) => self.rounds.call(call),
            Some(LlmEvent::Done(usage)) => {
                self.round_ended(usage);
                let nothing = self.turn.text().trim().is_empty() && !self.rounds.is_open();
                if self.rounds.is_speechless() || nothing {
                    self.fail(LlmError::Model("its reply was empty".to_owned()));
                }
            }
            Some(LlmEvent::Failed(error)) => {
                self.rounds.give_up();
                self.round_ended(Usage::default());
                self.fail(error);
            }
            None => self.fail(LlmError::Model("it ended without a word".to_owned())),
        }
    }

    fn take_text(&mut self, mut text: String) {
        self.rounds.count_token();
        if !text.trim().is_empty() {
            self.turn.begun();
        }
        // The words before a tool's call and those after its result are two sentences.
        let after =
            self.round.is_empty() && self.turn.text().ends_with(|c: char| !c.is_whitespace());
        if after && !text.starts_with(char::is_whitespace) {
            text.insert(0, ' ');
        }
        self.round.push_str(&text);
        self.turn.sent(&text);
        self.ready.push_back(Said::Text(text));
    }

    fn round_ended(&mut self, usage: Usage) {
        self.tokens = None;
        let round = std::mem::take(&mut self.round);
        if !round.trim().is_empty() {
            self.rounds.say(&round);
        }
        self.rounds.count_round(usage);
    }

    fn fail(&mut self, error: LlmError) {
        self.tokens = None;
        self.turn.failed();
        self.ready.push_back(Said::Failed(error));
    }
}

impl Drop for TextTurn {
    fn drop(&mut self) {
        if self.at_once && !self.turn.is_whole() {
            self.turn.unsend();
        }
        let tools = self.rounds.take_exchange();
        self.turn.settle(tools);
    }
}

async fn from_model(tokens: &mut Option<mpsc::Receiver<LlmEvent>>) -> Option<LlmEvent> {
    match tokens {
        Some(tokens) => tokens.recv().await,
        None => std::future::pending().await,
    }
}
