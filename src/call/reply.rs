//! The making of one reply: tokens to pieces to sound, with tools in between.
//!
//! In: a prompt, and the permission to run tools. Out: [`Made`]: text pieces and 48 kHz sound with
//! word times, in order. What the model says before it calls a tool is spoken while the tool runs;
//! the result goes back to the model, whose answer goes on in the same reply. Joins `thinking/` and
//! `speaking/`; knows nothing of playout or turns. Dropping it withdraws the reply and ends its tools.

pub(crate) mod rounds;
pub(crate) mod spoken;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use self::rounds::{Ended, Rounds};
use self::spoken::Spoken;
pub(crate) use self::spoken::{Sentence, Sound};
use super::Engines;
use crate::audio::WIRE_RATE;
use crate::ids::ReplyId;
use crate::inference::Urgency;
use crate::private::Private;
use crate::speaking::{SpeakError, Speech, SpokenChunk, Voice};
use crate::thinking::sentences::{Piece, Splitter};
use crate::thinking::{LlmError, LlmEvent, Message, Prompt, ToolCall, ToolSpec, Usage};

/// Pieces that may wait for the voice; the model waits beyond that.
const WAITING_PIECES: usize = 16;

/// What became of a reply.
#[derive(Debug)]
pub(crate) enum Made {
    /// The first token came.
    FirstToken,
    /// A piece of text is complete.
    Piece,
    /// Sound of the sentence that is being spoken.
    Sound(Sound),
    /// Text of a reply that is not spoken.
    Text(Private<String>),
    /// The model calls tools that the client runs; the reply ends without their results. Only after
    /// [`ReplyMaker::permit`].
    HandedOver(Vec<ToolCall>),
    /// A tool runs; nothing may come for as long as it may take. Only after [`ReplyMaker::permit`].
    ToolStarted {
        /// Its name, from the owner's file.
        name: String,
    },
    /// A tool has ended; the model is asked again when all have.
    ToolEnded {
        /// Its name.
        name: String,
        /// Whether it did what it was asked; if not, the model is told why.
        ok: bool,
        /// How long it took.
        took: Duration,
    },
    /// The language model failed; what was made before stays.
    Failed(LlmError),
    /// All sound has been made.
    Finished,
}

/// How a reply is made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manner {
    /// It is written, not spoken.
    pub mute: bool,
    /// Tools that the client runs.
    pub handed_over: Arc<[ToolSpec]>,
}

/// One reply in the making.
pub(crate) struct ReplyMaker {
    pub(crate) id: ReplyId,
    voice: Arc<dyn Voice>,
    tokens: Option<mpsc::Receiver<LlmEvent>>,
    rounds: Rounds,
    splitter: Splitter,
    pieces: VecDeque<String>,
    speaking: Option<Spoken>,
    seen_token: bool,
    /// A sentence of EVA's own was added.
    apologised: bool,
    seen_sound: bool,
    /// Things to tell before anything new is waited for.
    ready: VecDeque<Made>,
    finished: bool,
    /// The text so far, where it is written and not spoken.
    written: Option<String>,
}

impl ReplyMaker {
    /// Starts a reply to a prompt. Its tools wait for [`Self::permit`].
    pub(crate) fn start(id: ReplyId, engines: &Engines, prompt: Prompt, manner: Manner) -> Self {
        let rounds = Rounds::new(engines.llm.clone(), engines.tools.clone(), prompt);
        let rounds = rounds.handing_over(manner.handed_over);
        let tokens = rounds.ask();
        let mut reply = Self::new(id, engines.voice.clone(), rounds, Some(tokens));
        reply.written = manner.mute.then(String::new);
        reply
    }

    /// A reply of EVA's own, without the model.
    pub(crate) fn of_text(id: ReplyId, engines: &Engines, prompt: Prompt, text: &str) -> Self {
        let rounds = Rounds::new(engines.llm.clone(), engines.tools.clone(), prompt);
        let mut reply = Self::new(id, engines.voice.clone(), rounds, None);
        // Its words are not the model's, and that is no failure.
        reply.say(text);
        reply
    }

    fn new(
        id: ReplyId,
        voice: Arc<dyn Voice>,
        rounds: Rounds,
        tokens: Option<mpsc::Receiver<LlmEvent>>,
    ) -> Self {
        Self {
            id,
            voice,
            tokens,
            rounds,
            splitter: Splitter::new(),
            pieces: VecDeque::new(),
            speaking: None,
            seen_token: false,
            apologised: false,
            seen_sound: false,
            ready: VecDeque::new(),
            finished: false,
            written: None,
        }
    }

    /// The whole text of a reply that is written and not spoken.
    pub(crate) fn written(&self) -> Option<&str> {
        self.written.as_deref()
    }

    /// What it has cost so far.
    pub(crate) fn usage(&self) -> Usage {
        self.rounds.usage()
    }

    /// The turn is committed and the reply released: its tools may run.
    pub(crate) fn permit(&mut self) {
        self.rounds.permit();
    }

    /// The turn is open again: tools that do not run yet wait for the next [`Self::permit`].
    pub(crate) fn forbid(&mut self) {
        self.rounds.forbid();
    }

    /// Tokens the model has written so far, for the count of those wasted by a withdrawal.
    pub(crate) fn tokens_seen(&self) -> u32 {
        self.rounds.tokens()
    }

    /// The calls of tools and their results so far, for the history
    /// ([`History::exchange`](crate::thinking::history::History::exchange)). To be asked once, when
    /// the reply ends or is cut: a tool that still runs is ended.
    pub(crate) fn take_exchange(&mut self) -> Vec<Message> {
        self.rounds.take_exchange()
    }

    /// Adds a sentence of EVA's own (an apology) behind what the model said.
    pub(crate) fn say(&mut self, text: &str) {
        match &mut self.written {
            Some(written) => {
                written.push_str(text);
                self.ready.push_back(Made::Text(Private::new(text.to_owned())));
            }
            None => self.pieces.push_back(text.to_owned()),
        }
        self.apologised = true;
        self.finished = false;
    }

    /// Whether the model has neither said nor called anything so far.
    pub(crate) fn is_empty(&self) -> bool {
        !self.seen_token && !self.rounds.has_handed_over()
    }

    /// Whether [`Self::say`] was used: one apology is enough.
    pub(crate) fn has_apologised(&self) -> bool {
        self.apologised
    }

    /// Waits for the next thing made. Cancel-safe. Never resolves after [`Made::Finished`].
    pub(crate) async fn next(&mut self) -> Made {
        loop {
            if let Some(made) = self.ready.pop_front() {
                return made;
            }
            self.speak_next();
            if self.run_tools() {
                continue;
            }
            if self.tokens.is_none() && self.speaking.is_none() && !self.rounds.is_open() {
                if self.finished {
                    return std::future::pending().await;
                }
                self.finished = true;
                return Made::Finished;
            }
            let room = self.pieces.len() < WAITING_PIECES;
            tokio::select! {
                event = from_model(&mut self.tokens), if room => self.take_event(event),
                chunk = from_voice(&mut self.speaking) => self.take_chunk(chunk),
                ended = self.rounds.next_ended() => self.take_result(ended),
            }
        }
    }

    fn speak_next(&mut self) {
        if self.speaking.is_some() {
            return;
        }
        let Some(text) = self.pieces.pop_front() else { return };
        let urgency = if self.seen_sound { Urgency::Later } else { Urgency::Now };
        let speech = Speech { reply: self.id, text: Private::new(text), urgency };
        self.speaking = Some(Spoken::start(&*self.voice, speech, WIRE_RATE));
    }

    /// Starts the tools that may run, and asks the model again once all have ended; whether there
    /// is something new to look at.
    fn run_tools(&mut self) -> bool {
        if self.tokens.is_some() {
            return false;
        }
        let started = self.rounds.start().into_iter();
        self.ready.extend(started.map(|name| Made::ToolStarted { name }));
        if self.rounds.close() {
            self.tokens = Some(self.rounds.ask());
        }
        self.ready.extend(self.rounds.hand_over().map(Made::HandedOver));
        !self.ready.is_empty()
    }

    fn take_result(&mut self, ended: Ended) {
        self.rounds.take_result(&ended);
        let Ended { name, ok, took, .. } = ended;
        self.ready.push_back(Made::ToolEnded { name, ok, took });
    }

    fn take_event(&mut self, event: Option<LlmEvent>) {
        match event {
            Some(LlmEvent::Text(text)) => {
                self.rounds.count_token();
                if !self.seen_token && !text.reveal().trim().is_empty() {
                    self.seen_token = true;
                    self.ready.push_back(Made::FirstToken);
                }
                match &mut self.written {
                    Some(written) => {
                        written.push_str(text.reveal());
                        self.ready.push_back(Made::Text(text));
                    }
                    None => {
                        let pieces = self.splitter.push(text.reveal());
                        self.take_pieces(pieces);
                    }
                }
            }
            Some(LlmEvent::ToolCall(call)) => {
                // What was said before it is spoken while it runs.
                self.finish_pieces();
                self.rounds.call(call);
            }
            Some(LlmEvent::Done(usage)) => {
                self.model_ended(usage);
                if self.rounds.is_speechless() && self.written.is_none() {
                    let why = "it said nothing to the results of its tools".to_owned();
                    self.ready.push_back(Made::Failed(LlmError::Model(why)));
                }
            }
            Some(LlmEvent::Failed(error)) => self.model_failed(error),
            None => self.model_failed(LlmError::Model("it ended without a word".to_owned())),
        }
    }

    fn model_failed(&mut self, error: LlmError) {
        self.rounds.give_up();
        self.model_ended(Usage::default());
        self.ready.push_back(Made::Failed(error));
    }

    fn model_ended(&mut self, usage: Usage) {
        self.tokens = None;
        self.rounds.count_round(usage);
        if let Some(written) = &self.written {
            self.rounds.say(written);
        }
        self.finish_pieces();
    }

    fn finish_pieces(&mut self) {
        let rest = std::mem::replace(&mut self.splitter, Splitter::new()).finish();
        self.take_pieces(rest);
    }

    fn take_pieces(&mut self, pieces: impl IntoIterator<Item = Piece>) {
        for piece in pieces {
            self.rounds.say(&piece.text);
            self.pieces.push_back(piece.text);
            self.ready.push_back(Made::Piece);
        }
    }

    fn take_chunk(&mut self, chunk: Option<Result<SpokenChunk, SpeakError>>) {
        let Some(speaking) = &mut self.speaking else { return };
        match chunk {
            Some(Ok(chunk)) => {
                let last = chunk.last;
                if let Some(sound) = speaking.take(chunk) {
                    self.seen_sound = true;
                    self.ready.push_back(Made::Sound(sound));
                }
                if last {
                    self.speaking = None;
                }
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "a sentence was not spoken");
                self.speaking = None;
            }
            // Nothing in it could be spoken, or the voice broke: the reply goes on.
            None => self.speaking = None,
        }
    }
}

async fn from_model(tokens: &mut Option<mpsc::Receiver<LlmEvent>>) -> Option<LlmEvent> {
    match tokens {
        Some(tokens) => tokens.recv().await,
        None => std::future::pending().await,
    }
}

async fn from_voice(speaking: &mut Option<Spoken>) -> Option<Result<SpokenChunk, SpeakError>> {
    match speaking {
        Some(speaking) => speaking.chunk().await,
        None => std::future::pending().await,
    }
}
