//! What was heard, said and how late it is in; what to do next out.
//!
//! [`TurnMachine`] decides the conversation and nothing else: when the person's turn is over, when a
//! reply starts, is released, withdrawn or stopped. It is pure: told the time as the [`At`] since
//! the call began, it keeps no clock, starts nothing and waits for nothing. Drive it with
//! [`TurnMachine::handle`], take [`TurnMachine::poll_action`] until it is empty, and call
//! [`TurnMachine::handle_timeout`] when [`TurnMachine::poll_timeout`] has come.
//!
//! Owned by the call's task. Knows neither sound nor models nor the wire.

#![deny(clippy::disallowed_methods)]

mod barge_in;
mod doubt;
mod endpointing;
#[allow(dead_code)]
mod evidence;
mod machine;
#[allow(dead_code)]
mod pauses;
#[allow(dead_code)]
mod words;

pub use machine::TurnMachine;
pub use words::{is_backchannel, looks_unfinished};

use std::time::Duration;

use crate::ids::{ReplyId, TurnId};
use crate::language::Language;
use crate::private::Private;

/// Time since the call began.
pub type At = Duration;

/// One pass of the recogniser over the words of an open turn, counted within the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PassId(pub u32);

/// What the machine is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// The person began to speak; `onset` is where the voice starts.
    SpeechStarted {
        /// Estimated start of the voice.
        onset: At,
    },
    /// The first frames without voice: a pause may come.
    SilenceHint,
    /// Voice again before the pause was confirmed, or after it.
    SpeechResumed,
    /// The pause is confirmed.
    Paused {
        /// When the last voiced sample arrived.
        last_voiced: At,
    },
    /// Words so far of the open turn (what two hypotheses agree on).
    PartialWords {
        /// The words.
        words: Private<String>,
    },
    /// A final pass has its words; empty if nothing was said.
    FinalWords {
        /// The pass.
        pass: PassId,
        /// The words.
        words: Private<String>,
    },
    /// A final pass failed.
    PassFailed {
        /// The pass.
        pass: PassId,
    },
    /// The end-of-turn model's vote on the sound of a pass.
    EndOfTurn {
        /// The pass.
        pass: PassId,
        /// Probability that the turn is over, 0-1.
        probability: f32,
    },
    /// The first sound of a reply went out.
    ReplySounds {
        /// The reply.
        reply: ReplyId,
    },
    /// A reply has been played to its end.
    ReplyEnded {
        /// The reply.
        reply: ReplyId,
    },
}

/// What the call is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Start a final pass over the open turn's sound, and ask for the end-of-turn vote on it.
    StartPass {
        /// The pass.
        pass: PassId,
    },
    /// Withdraw a pass and its vote.
    DropPass {
        /// The pass.
        pass: PassId,
    },
    /// Start a reply to the open turn's words, held: made, but not heard.
    StartReply {
        /// The reply.
        reply: ReplyId,
        /// The words it answers.
        words: Private<String>,
    },
    /// Let a held reply be heard.
    Release {
        /// The reply.
        reply: ReplyId,
    },
    /// Nothing of a released reply is heard yet: say something short in its place.
    Filler {
        /// The reply that is late.
        reply: ReplyId,
    },
    /// Drop a reply of which nothing was heard.
    Withdraw {
        /// The reply.
        reply: ReplyId,
    },
    /// The open turn is over: its words enter the history.
    Commit {
        /// The turn.
        turn: TurnId,
        /// Its words.
        words: Private<String>,
    },
    /// The last turn goes on after all (nothing of its reply was heard): it leaves the history, and
    /// its sound belongs to the open turn again. It is committed again under the same id.
    Reopen {
        /// The turn.
        turn: TurnId,
    },
    /// Nothing was said: forget the open turn's sound.
    Discard,
    /// Lower EVA's voice while the person speaks over it.
    Duck,
    /// Bring EVA's voice back.
    Unduck,
    /// The person interrupts: fade the reply out, keep in the history what was heard.
    Stop {
        /// The reply.
        reply: ReplyId,
    },
    /// Tell the clients the state.
    Show(State),
}

/// The state people see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nobody speaks.
    Listening,
    /// The person speaks.
    Hearing,
    /// The turn is over, the reply is not sounding yet.
    Thinking,
    /// EVA speaks.
    Speaking,
}

/// Why the machine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deadline {
    /// The wait after the pause is over: commit the turn.
    CommitTurn,
    /// The end-of-turn vote is too late: decide on the words alone.
    VoteOverdue,
    /// Speech over EVA's voice has lasted long enough to be an interruption.
    JudgeInterruption,
    /// EVA's voice was lowered and nothing came of it.
    RestoreVoice,
    /// The reply to a committed turn is late.
    FillSilence,
}

/// The settings of the conversation, each with its default's reason.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Language of the lists that judge words.
    pub language: Language,
    /// Votes at or above this call the turn over. Smart Turn's own threshold.
    pub vote_threshold: f32,
    /// How long to wait, counted from the pause, when the words look finished but the vote says no.
    pub wait_on_doubt: Duration,
    /// How long to wait when the vote says yes but the words end in mid-sentence.
    pub wait_on_open_words: Duration,
    /// How long to wait when both say that the person goes on.
    pub wait_on_unfinished: Duration,
    /// How long the words wait for the vote.
    pub vote_patience: Duration,
    /// Speech over EVA's voice that lasts this long is an interruption whatever its words.
    pub interruption_after: Duration,
    /// How long EVA's voice stays lowered for something that proves to be no interruption.
    pub duck_limit: Duration,
    /// A reply that is not heard so long after its turn was committed gets a filler before it;
    /// none ever where `None`.
    pub filler_after: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            language: Language::En,
            vote_threshold: 0.5,
            wait_on_doubt: Duration::from_millis(600),
            wait_on_open_words: Duration::from_millis(1000),
            wait_on_unfinished: Duration::from_millis(2500),
            vote_patience: Duration::from_millis(150),
            interruption_after: Duration::from_millis(500),
            duck_limit: Duration::from_millis(2000),
            filler_after: Some(Duration::from_millis(400)),
        }
    }
}
