//! One reply: what it has to read, what it has written, and who listens.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendError, TrySendError};

use super::cache::Session;
use super::network::Segment;
use super::sampler::Sampler;
use super::tokenizer::{Characters, Tokenizer};
use crate::ids::CallId;
use crate::private::Private;
use crate::thinking::call_text::{CallText, Found};
use crate::thinking::{LlmError, LlmEvent, Prompt, Role, Usage};

type Room =
    Pin<Box<dyn Future<Output = Result<mpsc::OwnedPermit<LlmEvent>, SendError<()>>> + Send>>;

/// Whether a reply goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// There is more to write or to hand over.
    Open,
    /// Everything has been handed over, or nobody listens any more.
    Over,
}

/// A reply in progress.
pub(super) struct Reply {
    call: CallId,
    /// Gone once the reply is complete.
    session: Option<Session>,
    /// Tokens to read next: the prompt's tail, then the token written last.
    unread: Vec<u32>,
    max_tokens: usize,
    sampler: Sampler,
    characters: Characters,
    /// Looks for calls of tools, where some are offered.
    calls: Option<CallText>,
    /// Tools are offered, but the model must answer in words.
    words_only: bool,
    usage: Usage,
    output: Output,
    /// The call is over: what has been read is not kept.
    forget: bool,
}

/// Events on their way to the reader.
struct Output {
    events: mpsc::Sender<LlmEvent>,
    /// At most the last text, calls and the end; while it holds something the reply pauses.
    waiting: VecDeque<LlmEvent>,
    /// Resolves when the reader has room.
    room: Option<Room>,
    /// The end is among what was handed over or waits.
    ended: bool,
}

/// Whether a model this small should answer now: it may call no more, or its tools have answered (or
/// failed) and it would only call all of them again.
fn must_answer(prompt: &Prompt) -> bool {
    let last = prompt.messages.last();
    prompt.offer.words_only || last.is_some_and(|message| message.role == Role::Tool)
}

impl Reply {
    /// `session` has read a beginning of `prompt`, the call's prompt in tokens.
    pub(super) fn new(
        prompt: &Prompt,
        session: Session,
        tokens: &[u32],
        max_tokens: usize,
        seed: u64,
        events: mpsc::Sender<LlmEvent>,
    ) -> Self {
        let usage = Usage {
            prompt_tokens: tokens.len() as u32,
            cached_tokens: session.len() as u32,
            completion_tokens: 0,
        };
        Self {
            call: prompt.call,
            unread: tokens[session.len()..].to_vec(),
            session: Some(session),
            max_tokens,
            sampler: Sampler::new(prompt.temperature, seed),
            characters: Characters::default(),
            calls: (!prompt.offer.tools.is_empty()).then(CallText::default),
            words_only: !prompt.offer.tools.is_empty() && must_answer(prompt),
            usage,
            output: Output { events, waiting: VecDeque::new(), room: None, ended: false },
            forget: false,
        }
    }

    pub(super) fn call(&self) -> CallId {
        self.call
    }

    /// Whether it holds what its call has read.
    pub(super) fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// Whether a step can take it further: it is not complete, and its reader keeps up.
    pub(super) fn is_ready(&self) -> bool {
        self.session.is_some() && self.output.waiting.is_empty()
    }

    /// Whether its prompt is read and its first token written.
    pub(super) fn is_writing(&self) -> bool {
        self.usage.completion_tokens > 0
    }

    /// How many tokens it has to read before it can write.
    pub(super) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// Its next `rows` tokens for a pass; afterwards [`Self::has_read`] must be told.
    pub(super) fn segment(&mut self, rows: usize) -> Segment<'_> {
        let tokens = &self.unread[..rows];
        let kv = self.session.as_mut().expect("only ready replies take part").feed(tokens);
        Segment { kv, tokens, wants_logits: rows == self.unread.len() }
    }

    /// The pass is done; says whether it gave logits.
    pub(super) fn has_read(&mut self, rows: usize) -> bool {
        self.unread.drain(..rows);
        self.unread.is_empty()
    }

    /// Writes the next token.
    pub(super) fn write(&mut self, tokenizer: &Tokenizer, logits: &mut [f32]) {
        if self.words_only {
            for token in &tokenizer.unspoken {
                logits[*token as usize] = f32::NEG_INFINITY;
            }
        }
        let token = match &self.calls {
            Some(calls) if calls.in_call() => self.sampler.surest(logits),
            _ => self.sampler.next(logits),
        };
        let calling = self.calls.is_some() && tokenizer.is_call(token);
        if !calling && !tokenizer.is_text(token) {
            self.end();
            return;
        }
        self.usage.completion_tokens += 1;
        let text = self.characters.push(tokenizer.bytes(token));
        let found = match &mut self.calls {
            Some(calls) => calls.push(&text),
            None => Found { text, calls: Vec::new() },
        };
        self.pass_on(found);
        let rambles = self.calls.as_ref().is_some_and(CallText::rambles);
        if rambles || self.usage.completion_tokens as usize >= self.max_tokens {
            self.end();
        } else {
            self.unread.push(token);
        }
    }

    fn pass_on(&mut self, found: Found) {
        if !found.text.is_empty() {
            self.output.waiting.push_back(LlmEvent::Text(Private::new(found.text)));
        }
        let calls = found.calls.into_iter().filter(|_| !self.words_only);
        self.output.waiting.extend(calls.map(LlmEvent::ToolCall));
    }

    fn end(&mut self) {
        let rest = self.calls.as_mut().map(CallText::finish).unwrap_or_default();
        self.pass_on(rest);
        self.output.waiting.push_back(LlmEvent::Done(self.usage));
        self.output.ended = true;
    }

    /// Ends it with an error, without what it has read.
    pub(super) fn fail(&mut self, reason: &str) {
        self.session = None;
        if !self.output.ended {
            self.output.waiting.push_back(LlmEvent::Failed(LlmError::Model(reason.to_owned())));
            self.output.ended = true;
        }
    }

    /// What has been read is not to be kept.
    pub(super) fn forget_after(&mut self) {
        self.forget = true;
    }

    /// Takes out what has been read, to be kept for the call.
    pub(super) fn take_session(&mut self) -> Option<(CallId, Session)> {
        self.session.take().filter(|_| !self.forget).map(|session| (self.call, session))
    }

    /// Hands over what the reader has room for; `waker` is called when a full reader has room.
    pub(super) fn flush(&mut self, waker: &Waker) -> Flow {
        self.output.flush(waker)
    }
}

impl Output {
    fn flush(&mut self, waker: &Waker) -> Flow {
        if self.events.is_closed() {
            return Flow::Over;
        }
        while let Some(event) = self.waiting.pop_front() {
            if let Some(room) = &mut self.room {
                match room.as_mut().poll(&mut Context::from_waker(waker)) {
                    Poll::Ready(Ok(permit)) => {
                        self.room = None;
                        permit.send(event);
                    }
                    Poll::Ready(Err(_)) => return Flow::Over,
                    Poll::Pending => {
                        self.waiting.push_front(event);
                        return Flow::Open;
                    }
                }
            } else {
                match self.events.try_send(event) {
                    Ok(()) => {}
                    Err(TrySendError::Closed(_)) => return Flow::Over,
                    Err(TrySendError::Full(event)) => {
                        self.waiting.push_front(event);
                        self.room = Some(Box::pin(self.events.clone().reserve_owned()));
                    }
                }
            }
        }
        if self.ended { Flow::Over } else { Flow::Open }
    }
}
