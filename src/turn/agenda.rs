//! What is to be done, and when the machine wants to be woken.
//!
//! In: actions and deadlines from all concerns. Out: the same, in order. Decides nothing.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{Action, At};

/// Why the machine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deadline {
    /// The wait after the pause is over: commit the turn.
    CommitTurn,
    /// The end-of-turn vote is too late: decide on the words alone.
    VoteOverdue,
    /// The person has gone on for so long that the reply made before will not do.
    DropSpeculation,
    /// Speech over EVA's voice has lasted, and the recogniser has said nothing about it.
    JudgeInterruption,
    /// EVA's voice was lowered and nothing came of it.
    RestoreVoice,
    /// A reply was suspended and nothing was said.
    ResumeReply,
    /// The reply to a committed turn is late.
    FillSilence,
    /// Nobody has spoken for long.
    AskIfThere,
    /// Nobody has spoken for too long.
    EndSilentCall,
    /// The call is as long as calls may be.
    EndLongCall,
}

/// The machine's outbox and alarm clock.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    deadlines: BTreeMap<Deadline, At>,
    actions: VecDeque<Action>,
}

impl Agenda {
    pub(super) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Wakes the machine at `at` for this reason, and not at another time.
    pub(super) fn wake(&mut self, why: Deadline, at: At) {
        self.deadlines.insert(why, at);
    }

    pub(super) fn cancel(&mut self, why: &[Deadline]) {
        for why in why {
            self.deadlines.remove(why);
        }
    }

    /// The next deadline.
    pub(super) fn next(&self) -> Option<(At, Deadline)> {
        self.deadlines.iter().map(|(why, at)| (*at, *why)).min()
    }

    /// Takes the earliest deadline that has come at `now`.
    pub(super) fn take_due(&mut self, now: At) -> Option<Deadline> {
        let (_, why) = self.next().filter(|(at, _)| *at <= now)?;
        self.deadlines.remove(&why);
        Some(why)
    }
}
