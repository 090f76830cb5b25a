//! Who is read and answered next.
//!
//! Owns the network, the cache and all replies in progress, on the engine's thread. Work goes in
//! steps: one pass of the network with one row for every reply that is being written, rows of
//! prompts for replies that have not begun, and, if there is room, rows that are read ahead. So
//! replies advance together, token by token, and a new one begins without waiting for the others.
//! A step that leaves work queues the next one.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::cache::{Cache, Session};
use super::chat::{self, End};
use super::network::{MOST_ROWS, Network, Segment};
use super::pool::Pool;
use super::reply::{Flow, Reply};
use super::tokenizer::Tokenizer;
use crate::ids::CallId;
use crate::inference::{Resubmitter, Urgency};
use crate::thinking::{LlmError, LlmEvent, Message, OverloadedBrain, Prompt, ToolSpec};

/// Replies in progress; what comes beyond is refused, so that those begun keep a speaking pace.
const MOST_REPLIES: usize = 16;
/// Hints that wait to be read ahead; one that finds no room is dropped, which only costs time.
const MOST_AHEAD: usize = 32;
/// How long a step should take: something more urgent may wait for its end.
const STEP: Duration = Duration::from_millis(45);
/// Rows of a step at least, however busy the machine: a pass over fewer costs nearly as much.
const LEAST_ROWS: usize = 16;
/// A prompt that lacks no more than this is read to its end: a pass of its own would cost as much.
const PASS_ROWS: usize = 16;
/// Rows that are read ahead in a step in which someone waits for a reply.
const AHEAD_BESIDE_REPLIES: usize = 8;

/// The brain's state, on its engine's thread.
pub(super) struct Brain {
    network: Network,
    tokenizer: Tokenizer,
    pool: Pool,
    cache: Cache,
    replies: Vec<Reply>,
    ahead: Vec<Ahead>,
    driver: Option<Resubmitter<Brain>>,
    /// A step is queued.
    stepping: bool,
    /// What one row of a larger pass takes, smoothed.
    row_time: Duration,
    /// Seed of the next reply's sampler.
    seed: u64,
}

/// Tokens to be read before anybody waits for them.
struct Ahead {
    owner: Owner,
    tokens: Vec<u32>,
}

enum Owner {
    /// The beginning of a call's next prompt.
    Call(CallId),
    /// The beginning that new calls share; who waits for it is told when it is read.
    Warm(Session, SyncSender<()>),
}

/// What one step feeds.
struct Plan {
    /// Rows for each reply.
    replies: Vec<usize>,
    /// Which hint, and how many rows of it.
    ahead: Option<(usize, usize)>,
}

impl Brain {
    pub(super) fn new(
        network: Network,
        tokenizer: Tokenizer,
        pool: Pool,
        cached_calls: usize,
        seed: u64,
    ) -> Self {
        Self {
            network,
            tokenizer,
            pool,
            cache: Cache::new(cached_calls),
            replies: Vec::new(),
            ahead: Vec::new(),
            driver: None,
            stepping: false,
            row_time: Duration::from_micros(1300),
            seed,
        }
    }

    /// Gives it the means to queue its own steps.
    pub(super) fn drive_with(&mut self, driver: Resubmitter<Brain>) {
        self.driver = Some(driver);
    }

    /// Begins a reply.
    pub(super) fn reply(&mut self, prompt: &Prompt, events: mpsc::Sender<LlmEvent>) {
        self.flush();
        self.ahead.retain(|ahead| !ahead.is_for(prompt.call));
        if self.replies.len() >= MOST_REPLIES {
            let _ = events.try_send(LlmEvent::Failed(OverloadedBrain.into()));
            return;
        }
        let context = self.network.shape().context;
        let max_tokens = (prompt.max_tokens as usize).clamp(1, context / 2);
        let (messages, tools) = (&prompt.messages, &prompt.offer.tools);
        match chat::encode(&self.tokenizer, messages, tools, End::Reply, context - max_tokens) {
            Ok(tokens) => {
                let network = &self.network;
                let session = self.cache.take(prompt.call, &tokens, || network.new_kv());
                self.seed = self.seed.wrapping_add(1);
                let reply = Reply::new(prompt, session, &tokens, max_tokens, self.seed, events);
                self.replies.push(reply);
            }
            Err(reason) => {
                let _ = events.try_send(LlmEvent::Failed(LlmError::Model(reason)));
            }
        }
        self.schedule();
    }

    /// Takes a hint; it replaces an older one of the same call.
    pub(super) fn read_ahead(&mut self, prompt: &Prompt) {
        self.flush();
        self.ahead.retain(|ahead| !ahead.is_for(prompt.call));
        let most = self.network.shape().context / 2;
        let (messages, tools) = (&prompt.messages, &prompt.offer.tools);
        if let Ok(tokens) = chat::encode(&self.tokenizer, messages, tools, End::Open, most)
            && self.ahead.len() < MOST_AHEAD
        {
            self.ahead.push(Ahead { owner: Owner::Call(prompt.call), tokens });
        }
        self.schedule();
    }

    /// Reads the beginning that new calls share; `done` is told, or dropped if there is no room.
    pub(super) fn warm_up(
        &mut self,
        messages: &[Message],
        tools: &[ToolSpec],
        done: SyncSender<()>,
    ) {
        let most = self.network.shape().context / 2;
        if let Ok(tokens) = chat::encode(&self.tokenizer, messages, tools, End::Open, most)
            && self.ahead.len() < MOST_AHEAD
        {
            let session = Session::new(self.network.new_kv());
            self.ahead.push(Ahead { owner: Owner::Warm(session, done), tokens });
        }
        self.flush();
        self.schedule();
    }

    /// Frees what belongs to a call. A reply that somebody still reads goes on.
    pub(super) fn forget(&mut self, call: CallId) {
        self.ahead.retain(|ahead| !ahead.is_for(call));
        for reply in self.replies.iter_mut().filter(|reply| reply.call() == call) {
            reply.forget_after();
        }
        self.flush();
        self.cache.forget(call);
        self.schedule();
    }

    /// Hands over what readers have room for, and lets go of replies that ended.
    fn flush(&mut self) {
        let Some(driver) = &self.driver else { return };
        let waker = Arc::new(Nudge(driver.clone())).into();
        let cache = &mut self.cache;
        self.replies.retain_mut(|reply| match reply.flush(&waker) {
            Flow::Open => true,
            Flow::Over => {
                if let Some((call, session)) = reply.take_session() {
                    cache.put(call, session);
                }
                false
            }
        });
    }

    /// Queues the next step if there is something to do.
    fn schedule(&mut self) {
        self.settle_ahead();
        let work = self.replies.iter().any(Reply::is_ready)
            || (0..self.ahead.len()).any(|index| self.is_readable(index));
        if !work || self.stepping {
            return;
        }
        if let Some(driver) = &self.driver {
            // If the queue is full, the jobs in it will try again.
            self.stepping = driver.submit(Urgency::Later, Self::guarded_step).is_ok();
        }
    }

    /// One step; if it breaks, its replies fail and the brain goes on with an empty memory.
    fn guarded_step(&mut self) {
        self.stepping = false;
        let step = std::panic::AssertUnwindSafe(|| self.step());
        let outcome = std::panic::catch_unwind(step)
            .unwrap_or_else(|_| Err("a step of the built-in brain broke".to_owned()));
        if let Err(reason) = outcome {
            tracing::error!(reason, "the built-in brain starts afresh");
            for reply in &mut self.replies {
                reply.fail(&reason);
            }
            self.ahead.clear();
            self.cache.clear();
        }
        self.flush();
        self.schedule();
    }

    fn step(&mut self) -> Result<(), String> {
        self.flush();
        self.settle_ahead();
        let plan = self.plan();
        let rows = plan.replies.iter().sum::<usize>() + plan.ahead.map_or(0, |(_, rows)| rows);
        if rows == 0 {
            return Ok(());
        }
        let started = Instant::now();
        let mut ahead = plan.ahead.map(|(index, rows)| (self.ahead.remove(index), rows));
        let mut borrowed = match &mut ahead {
            Some((Ahead { owner: Owner::Call(call), tokens }, _)) => {
                Some(self.cache.take(*call, tokens, || self.network.new_kv()))
            }
            _ => None,
        };
        let mut segments = Vec::new();
        for (reply, rows) in self.replies.iter_mut().zip(&plan.replies) {
            if *rows > 0 {
                segments.push(reply.segment(*rows));
            }
        }
        if let Some((Ahead { owner, tokens }, rows)) = &mut ahead {
            let session = match owner {
                Owner::Call(_) => borrowed.as_mut().expect("taken above"),
                Owner::Warm(session, _) => session,
            };
            let tokens = &tokens[session.len()..][..*rows];
            let kv = session.feed(tokens);
            segments.push(Segment { kv, tokens, wants_logits: false });
        }
        let logits = self.network.forward(&self.pool, &mut segments);
        drop(segments);
        let mut logits = logits.map_err(|error| error.to_string())?.into_iter();
        for (reply, rows) in self.replies.iter_mut().zip(&plan.replies) {
            if *rows > 0 && reply.has_read(*rows) {
                let mut logits = logits.next().expect("one for each that asked");
                reply.write(&self.tokenizer, &mut logits);
            }
        }
        if let Some((ahead, _)) = ahead {
            self.put_back(ahead, borrowed);
        }
        self.learn_pace(rows, started.elapsed());
        Ok(())
    }

    /// Shares the rows of one step out: writing replies first, then prompts, then hints.
    fn plan(&self) -> Plan {
        let budget = (STEP.as_nanos() / self.row_time.as_nanos().max(1)) as usize;
        let mut left = budget.clamp(LEAST_ROWS, MOST_ROWS - PASS_ROWS);
        let mut replies = vec![0; self.replies.len()];
        for (rows, reply) in replies.iter_mut().zip(&self.replies) {
            if reply.is_ready() && reply.is_writing() {
                *rows = 1;
                left = left.saturating_sub(1);
            }
        }
        // The shortest prompt first, equal shares: a long one does not hold up the others.
        let mut prompts: Vec<usize> = (0..self.replies.len())
            .filter(|&index| self.replies[index].is_ready() && replies[index] == 0)
            .collect();
        prompts.sort_by_key(|&index| self.replies[index].unread());
        let mut extra = PASS_ROWS;
        for (done, &index) in prompts.iter().enumerate() {
            let share = left.div_ceil(prompts.len() - done);
            let unread = self.replies[index].unread();
            let rest = unread.saturating_sub(share);
            replies[index] = if share > 0 && rest <= extra { unread } else { share };
            extra -= replies[index].saturating_sub(share);
            left -= replies[index].min(share);
        }
        if replies.iter().any(|rows| *rows > 0) {
            left = left.min(AHEAD_BESIDE_REPLIES);
        }
        let ahead = (0..self.ahead.len())
            .find(|&index| self.is_readable(index))
            .map(|index| (index, left.min(self.unread(index))))
            .filter(|(_, rows)| *rows > 0);
        Plan { replies, ahead }
    }

    /// Whether a hint can be read now: not while a reply of its call holds what has been read.
    fn is_readable(&self, index: usize) -> bool {
        match &self.ahead[index].owner {
            Owner::Call(call) => {
                !self.replies.iter().any(|reply| reply.call() == *call && reply.has_session())
            }
            Owner::Warm(..) => true,
        }
    }

    /// Tokens of a hint that are still to be read; the last one is left to the reply.
    fn unread(&self, index: usize) -> usize {
        let Ahead { owner, tokens } = &self.ahead[index];
        let known = match owner {
            Owner::Call(call) => self.cache.known(*call, tokens),
            Owner::Warm(session, _) => session.len(),
        };
        tokens.len().saturating_sub(1).saturating_sub(known)
    }

    /// Keeps what a step has read ahead. The hint goes first again, so that it is soon complete.
    fn put_back(&mut self, ahead: Ahead, borrowed: Option<Session>) {
        if let (Owner::Call(call), Some(session)) = (&ahead.owner, borrowed) {
            self.cache.put(*call, session);
        }
        self.ahead.insert(0, ahead);
    }

    /// Drops hints that are read.
    fn settle_ahead(&mut self) {
        for index in (0..self.ahead.len()).rev() {
            if self.is_readable(index)
                && self.unread(index) == 0
                && let Owner::Warm(session, done) = self.ahead.remove(index).owner
            {
                self.cache.put_warm(session);
                let _ = done.try_send(());
            }
        }
    }

    /// Learns how many rows fit into a step on this machine, as busy as it is.
    fn learn_pace(&mut self, rows: usize, took: Duration) {
        /// Below this many rows a pass costs what reading the weights costs.
        const MEANINGFUL: usize = 8;
        if rows >= MEANINGFUL {
            self.row_time = (self.row_time * 3 + took / rows as u32) / 4;
        }
    }
}

impl Ahead {
    fn is_for(&self, call: CallId) -> bool {
        matches!(self.owner, Owner::Call(owner) if owner == call)
    }
}

/// Wakes the brain when a slow reader has room again, or has gone.
struct Nudge(Resubmitter<Brain>);

impl std::task::Wake for Nudge {
    fn wake(self: Arc<Self>) {
        // If the queue is full, the jobs in it look after the reader too.
        let _ = self.0.submit(Urgency::Later, |brain| {
            brain.flush();
            brain.schedule();
        });
    }
}

/// What a brain holds on to.
#[cfg(test)]
pub(super) struct Held {
    pub(super) replies: usize,
    pub(super) hints: usize,
    /// Calls with something cached.
    pub(super) calls: usize,
}

#[cfg(test)]
impl Brain {
    pub(super) fn held(&self) -> Held {
        let (replies, hints) = (self.replies.len(), self.ahead.len());
        Held { replies, hints, calls: self.cache.calls() }
    }

    pub(super) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    pub(super) fn parts(&mut self) -> (&mut Network, &Pool) {
        (&mut self.network, &self.pool)
    }
}
