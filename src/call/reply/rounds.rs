//! The rounds of one reply: the model calls tools, their results go back to it, it goes on.
//!
//! In: the calls of a round, the permission to run them. Out: the prompt of the next round, and the
//! exchange for the history. Tools run only once the reply may be heard, and no longer than this
//! lives. Knows nothing of sound.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::private::Private;
use crate::thinking::tools::{Outcome, Toolbox};
use crate::thinking::{Llm, LlmEvent, Message, Prompt, ToolCall, ToolSpec, Usage};

/// Rounds of calls in one reply; then the model must answer in words.
const MOST_ROUNDS: u32 = 3;
/// Calls of one round that run; a model that asks for more is lost.
const MOST_CALLS: usize = 4;

/// Told the model in place of a result that was not waited for.
const CUT_OFF: &str = "Error: The person interrupted before the result came. It is not known \
                       whether the tool did its work.";
const TOO_MANY: &str = "Error: Too many calls at once.";

/// A tool that ended.
pub(crate) struct Ended {
    call: usize,
    /// The tool's name.
    pub name: String,
    /// Whether it did what it was asked.
    pub ok: bool,
    /// How long it took.
    pub took: Duration,
    text: Private<String>,
}

/// One reply's dealings with its model and its tools.
pub(crate) struct Rounds {
    llm: Arc<dyn Llm>,
    toolbox: Toolbox,
    prompt: Prompt,
    permitted: bool,
    /// Rounds whose results went back to the model.
    done: u32,
    /// The messages of those rounds.
    exchange: Vec<Message>,
    /// What was said in this round.
    said: Vec<String>,
    /// What the model calls in this round, with the results so far.
    calls: Vec<(ToolCall, Option<Private<String>>)>,
    started: bool,
    running: FuturesUnordered<Pin<Box<dyn Future<Output = Ended> + Send>>>,
    /// Tokens of earlier rounds, and those written in this one so far.
    tokens: (Usage, u32),
    handed: Handed,
}

/// Tools that the client runs, and what the model calls of them.
#[derive(Default)]
struct Handed {
    tools: Arc<[ToolSpec]>,
    calls: Vec<ToolCall>,
    /// The client was told.
    told: bool,
    /// They are among the messages of a round.
    kept: bool,
}

impl Rounds {
    pub(crate) fn new(llm: Arc<dyn Llm>, toolbox: Toolbox, prompt: Prompt) -> Self {
        Self {
            llm,
            toolbox,
            prompt,
            permitted: false,
            done: 0,
            exchange: Vec::new(),
            said: Vec::new(),
            calls: Vec::new(),
            started: false,
            running: FuturesUnordered::new(),
            tokens: (Usage::default(), 0),
            handed: Handed::default(),
        }
    }

    /// The same with tools that the client runs: a call of one ends the reply.
    pub(crate) fn handing_over(mut self, tools: Arc<[ToolSpec]>) -> Self {
        self.handed.tools = tools;
        self
    }

    /// Asks the model for this round.
    pub(crate) fn ask(&self) -> mpsc::Receiver<LlmEvent> {
        self.llm.reply(self.prompt.clone())
    }

    /// The reply may be heard, so its tools may run.
    pub(crate) fn permit(&mut self) {
        self.permitted = true;
    }

    /// The reply may not be heard yet after all: no further tool runs.
    pub(crate) fn forbid(&mut self) {
        self.permitted = false;
    }

    /// The model calls a tool; ignored if it may not.
    pub(crate) fn call(&mut self, call: ToolCall) {
        let named = |tool: &ToolSpec| tool.name == call.name;
        if self.prompt.offer.is_open() && self.handed.tools.iter().any(named) {
            self.handed.calls.push(call);
        } else if self.prompt.offer.is_open() {
            let result = self.calls.len() >= MOST_CALLS;
            let result = result.then(|| Private::new(TOO_MANY.to_owned()));
            self.calls.push((call, result));
        }
    }

    /// A piece of text of this round is said.
    pub(crate) fn say(&mut self, piece: &str) {
        self.said.push(piece.trim().to_owned());
    }

    /// Counts what the model wrote.
    pub(crate) fn count_token(&mut self) {
        self.tokens.1 += 1;
    }

    /// The model has written this round to its end.
    pub(crate) fn count_round(&mut self, usage: Usage) {
        let (spent, written) = &mut self.tokens;
        spent.prompt_tokens += usage.prompt_tokens;
        spent.cached_tokens += usage.cached_tokens;
        spent.completion_tokens += usage.completion_tokens.max(*written);
        *written = 0;
    }

    /// Tokens the model wrote so far.
    pub(crate) fn tokens(&self) -> u32 {
        self.tokens.0.completion_tokens + self.tokens.1
    }

    /// What all rounds have cost so far.
    pub(crate) fn usage(&self) -> Usage {
        Usage { completion_tokens: self.tokens(), ..self.tokens.0 }
    }

    /// The model failed: what it called in this round is not run.
    pub(crate) fn give_up(&mut self) {
        self.calls.clear();
        self.handed.calls.clear();
    }

    /// Whether tools run, or wait for the permission.
    pub(crate) fn is_open(&self) -> bool {
        !self.calls.is_empty() || !self.handed.calls.is_empty() && !self.handed.told
    }

    /// Whether the client runs some of what the model called.
    pub(crate) fn has_handed_over(&self) -> bool {
        !self.handed.calls.is_empty()
    }

    /// What the client is to run, once, when it may be.
    pub(crate) fn hand_over(&mut self) -> Option<Vec<ToolCall>> {
        let may = self.permitted && self.calls.is_empty();
        let Handed { calls, told, .. } = &mut self.handed;
        if !may || calls.is_empty() || std::mem::replace(told, true) {
            return None;
        }
        Some(calls.clone())
    }

    /// Whether the model has said nothing to the results of its tools.
    pub(crate) fn is_speechless(&self) -> bool {
        self.done > 0
            && self.said.is_empty()
            && self.calls.is_empty()
            && self.handed.calls.is_empty()
    }

    /// Starts this round's tools if they may run and do not yet; the names of those that run.
    pub(crate) fn start(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        if !self.permitted || self.started || self.calls.is_empty() {
            return names;
        }
        self.started = true;
        for (index, (call, result)) in self.calls.iter_mut().enumerate() {
            if result.is_some() {
                continue;
            }
            match self.toolbox.prepare(call) {
                Ok(run) => {
                    names.push(run.name.clone());
                    let running = async move {
                        let Outcome { ok, text, took } = run.result.await;
                        Ended { call: index, name: run.name, ok, took, text }
                    };
                    self.running.push(Box::pin(running));
                }
                Err(sentence) => *result = Some(sentence),
            }
        }
        names
    }

    /// Waits for the next tool that ends. Cancel-safe; never resolves while none runs.
    pub(crate) async fn next_ended(&mut self) -> Ended {
        match self.running.next().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    /// Keeps a tool's result.
    pub(crate) fn take_result(&mut self, ended: &Ended) {
        self.calls[ended.call].1 = Some(ended.text.clone());
    }

    /// Closes the round if every call has its result; true if the model is to be asked again: not if
    /// the client runs some of them.
    pub(crate) fn close(&mut self) -> bool {
        if !self.started || self.calls.iter().any(|(_, result)| result.is_none()) {
            return false;
        }
        if !self.handed.calls.is_empty() {
            let messages = self.round();
            self.exchange.extend(messages);
            return false;
        }
        let messages = self.round();
        self.prompt.messages.extend(messages.iter().cloned());
        self.exchange.extend(messages);
        self.done += 1;
        self.prompt.offer.words_only = self.done >= MOST_ROUNDS;
        true
    }

    /// The messages of all rounds, for the history; of one under way too, since its tools may have
    /// done something. Calls that never ran are not in it.
    pub(crate) fn take_exchange(&mut self) -> Vec<Message> {
        let mut messages = std::mem::take(&mut self.exchange);
        if self.started || self.handed.told && !self.handed.kept {
            self.running.clear();
            messages.extend(self.round());
        }
        messages
    }

    /// This round as messages; a new one begins.
    fn round(&mut self) -> Vec<Message> {
        self.started = false;
        let said = std::mem::take(&mut self.said).join(" ");
        let (calls, results): (Vec<_>, Vec<_>) = self.calls.drain(..).unzip();
        let cut_off = || Private::new(CUT_OFF.to_owned());
        let results = calls.iter().zip(results);
        let results: Vec<Message> = results
            .map(|(call, result)| Message::result(call, result.unwrap_or_else(cut_off)))
            .collect();
        let handed = match std::mem::replace(&mut self.handed.kept, true) {
            true => Vec::new(),
            false => self.handed.calls.clone(),
        };
        let calls = calls.into_iter().chain(handed).collect();
        [Message::calling(said, calls)].into_iter().chain(results).collect()
    }
}
