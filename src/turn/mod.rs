//! What was heard, said and how late it is in; what to do next out.
//!
//! [`TurnMachine`] decides the conversation and nothing else: when the person's turn is over, when a
//! reply starts, is released, withdrawn, suspended or stopped, when EVA fills a silence or says
//! "mhm". It is pure: told the time as the [`At`] since the call began, it keeps no clock, starts
//! nothing and waits for nothing. Drive it with [`TurnMachine::handle`], take
//! [`TurnMachine::poll_action`] until it is empty, and call [`TurnMachine::handle_timeout`] when
//! [`TurnMachine::poll_timeout`] has come. [`trace`] keeps what it was told, so that a call can be
//! replayed.
//!
//! One concern a file, each with its own state: `endpointing`, `doubt` and `pauses` (is the turn over),
//! `speculation` (replies made too early on purpose), `barge_in` and `evidence` (speech over EVA's
//! voice), `backchannel` (her own "mhm"), `filler` (replies that are late), `silence`.
//!
//! Owned by the call's task. Knows neither sound nor models nor the wire.

#![deny(clippy::disallowed_methods)]

mod agenda;
mod backchannel;
mod barge_in;
mod doubt;
mod endpointing;
mod evidence;
mod filler;
mod machine;
mod pauses;
mod settings;
mod silence;
mod speculation;
pub mod trace;
mod words;

pub use agenda::Deadline;
pub use machine::TurnMachine;
pub use settings::{Backchannels, BargeIn, Endpointing, Fillers, Settings, SettingsError, Silence};
pub use words::{is_backchannel, looks_unfinished};

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{ReplyId, TurnId};
use crate::language::Language;
use crate::private::Private;

/// Time since the call began.
pub type At = Duration;

/// One pass of the recogniser over the words of an open turn, counted within the call.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct PassId(pub u32);

/// Words, and how sure the recogniser was of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hypothesis {
    /// The words; empty if nothing was said.
    #[serde(with = "trace::revealed")]
    pub words: Private<String>,
    /// Mean probability the recogniser gave its tokens, 0-1.
    pub confidence: f32,
    /// Its probability that there is no speech at all, 0-1.
    pub no_speech: f32,
    /// How loud the speech was, dBFS.
    pub level_dbfs: f32,
    /// How far the sound reached that the words were made of.
    #[serde(with = "trace::micros")]
    pub as_of: At,
}

/// What the machine is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// The person began to speak; `onset` is where the voice starts.
    SpeechStarted {
        /// Estimated start of the voice.
        #[serde(with = "trace::micros")]
        onset: At,
    },
    /// The first frames without voice: a pause may come.
    SilenceHint,
    /// Voice again before the pause was confirmed, or after it.
    SpeechResumed,
    /// The pause is confirmed.
    Paused {
        /// When the last voiced sample arrived.
        #[serde(with = "trace::micros")]
        last_voiced: At,
    },
    /// The newest hypothesis on the open turn while the person speaks.
    PartialWords(Hypothesis),
    /// A final pass has its words.
    FinalWords {
        /// The pass.
        pass: PassId,
        /// What was said.
        heard: Hypothesis,
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
    /// A sentence of a reply begins to sound.
    SentenceSounds {
        /// The reply.
        reply: ReplyId,
        /// The sentence.
        #[serde(with = "trace::revealed")]
        text: Private<String>,
    },
    /// A reply that is not complete has fallen silent: a tool is at work.
    ReplyWaits {
        /// The reply.
        reply: ReplyId,
    },
    /// It has sound again.
    ReplyFlows {
        /// The reply.
        reply: ReplyId,
    },
    /// The person was found to speak this language.
    Speaks {
        /// The language.
        language: Language,
    },
    /// A client asks for a reply to the conversation as it stands; one in progress makes way.
    Asked,
    /// A client ends the reply in progress.
    Cancelled,
    /// The person holds the button down: they have the floor, and EVA stops.
    Pressed,
    /// They let go of it: their turn is over, once [`Input::Paused`] says that its sound is there.
    Released,
    /// What was heard of the open turn is not meant for EVA.
    LetGo,
    /// The person typed this: a turn, to be answered at once.
    Typed {
        /// The words; not empty.
        #[serde(with = "trace::revealed")]
        words: Private<String>,
    },
    /// The conversation goes on under other settings.
    Configured(Box<Settings>),
    /// A reply has been played to its end.
    ReplyEnded {
        /// The reply.
        reply: ReplyId,
    },
}

/// What the call is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// Start a reply to the open turn's words, held: made, but not heard, and without its tools.
    StartReply {
        /// The reply.
        reply: ReplyId,
        /// The words it answers.
        #[serde(with = "trace::revealed")]
        words: Private<String>,
    },
    /// Let a held reply be heard, and use its tools.
    Release {
        /// The reply.
        reply: ReplyId,
    },
    /// Close the gate again on a released reply of which nothing was heard: the person may go on.
    Withhold {
        /// The reply.
        reply: ReplyId,
    },
    /// Nothing of a released reply is heard: say something short in its place.
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
        #[serde(with = "trace::revealed")]
        words: Private<String>,
    },
    /// The person's typed words are a turn, and enter the history; what is heard meanwhile goes on.
    CommitTyped {
        /// The turn.
        turn: TurnId,
        /// Its words.
        #[serde(with = "trace::revealed")]
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
    /// This seems to be an interruption: fade the reply out, and keep the rest of it.
    Suspend {
        /// The reply.
        reply: ReplyId,
    },
    /// It was none: the reply goes on where it was.
    Resume {
        /// The reply.
        reply: ReplyId,
    },
    /// It is one: drop the rest of the reply, keep in the history what was heard.
    Stop {
        /// The reply.
        reply: ReplyId,
    },
    /// Say "mhm": the person has the floor, and pauses.
    Backchannel,
    /// Fade that out at once: the person goes on.
    Hush,
    /// Nobody has spoken for long: ask whether the person is still there, as this reply.
    AskIfThere {
        /// The reply; it is released.
        reply: ReplyId,
    },
    /// A client asked for it: start a reply to the conversation as it stands, as this one; it is
    /// released.
    Answer {
        /// The reply.
        reply: ReplyId,
    },
    /// End the call.
    HangUp(WhyHangUp),
    /// Tell the clients the state.
    Show(State),
}

/// Why EVA ends a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyHangUp {
    /// Nobody has spoken for too long.
    Silence,
    /// The call is longer than calls may be.
    TooLong,
    /// The gateway's owner has ended it.
    Operator,
}

/// The state people see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
