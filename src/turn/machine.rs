//! The state of one conversation and its transitions.

use std::collections::{BTreeMap, VecDeque};

use super::barge_in::Overlap;
use super::endpointing::{Floor, Pause, Verdict};
use super::pauses::Pauses;
use super::{Action, At, Deadline, Input, PassId, Settings, State};
use crate::ids::{ReplyId, TurnId};
use crate::private::Private;

/// The reply in progress.
#[derive(Clone, Copy, Debug)]
struct Reply {
    id: ReplyId,
    phase: ReplyPhase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReplyPhase {
    /// Made behind the gate; its turn is not committed.
    Held,
    /// May be heard, is not yet.
    Released,
    /// Is heard.
    Sounding,
}

/// One conversation. See the module's text for how to drive it.
#[derive(Debug)]
pub struct TurnMachine {
    settings: Settings,
    floor: Floor,
    pauses: Pauses,
    overlap: Option<Overlap>,
    reply: Option<Reply>,
    /// The turn the released reply answers; it can be reopened until something is heard.
    answered: Option<TurnId>,
    deadlines: BTreeMap<Deadline, At>,
    actions: VecDeque<Action>,
    shown: State,
    passes: u32,
    turns: u32,
    replies: u32,
}

impl TurnMachine {
    /// A conversation in which nothing has been said.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            floor: Floor::Quiet,
            pauses: Pauses::default(),
            overlap: None,
            reply: None,
            answered: None,
            deadlines: BTreeMap::new(),
            actions: VecDeque::new(),
            shown: State::Listening,
            passes: 0,
            turns: 0,
            replies: 0,
        }
    }

    /// The next thing to do, in order; `None` until there is more input.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Self::handle_timeout`], and why.
    pub fn poll_timeout(&self) -> Option<(At, Deadline)> {
        self.deadlines.iter().map(|(why, at)| (*at, *why)).min()
    }

    /// Takes what happened at `now`.
    pub fn handle(&mut self, now: At, input: Input) {
        match input {
            Input::SpeechStarted { onset } => self.voice(onset),
            Input::SpeechResumed => self.voice(now),
            Input::SilenceHint => self.silence(),
            Input::Paused { .. } => {
                if let Floor::Pausing(pause) = &mut self.floor {
                    pause.confirmed.get_or_insert(now);
                }
                self.weigh(now);
            }
            Input::PartialWords { words } => self.partial(&words),
            Input::FinalWords { pass, words } => {
                if let Some(pause) = self.pause_of(pass) {
                    pause.words = Some(words);
                    self.weigh(now);
                }
            }
            Input::PassFailed { pass } => {
                if let Some(pause) = self.pause_of(pass) {
                    pause.words = Some(Private::default());
                    self.weigh(now);
                }
            }
            Input::EndOfTurn { pass, probability } => {
                if let Some(pause) = self.pause_of(pass) {
                    pause.vote.get_or_insert(probability);
                    self.weigh(now);
                }
            }
            Input::ReplySounds { reply } => self.sounds(reply),
            Input::ReplyEnded { reply } => self.ended(reply),
        }
        self.show();
    }

    /// Takes that `now` has come; does nothing before a deadline.
    pub fn handle_timeout(&mut self, now: At) {
        let due: Vec<Deadline> =
            self.deadlines.iter().filter(|(_, at)| **at <= now).map(|(why, _)| *why).collect();
        for why in due {
            self.deadlines.remove(&why);
            match why {
                Deadline::CommitTurn | Deadline::VoteOverdue => self.weigh(now),
                Deadline::JudgeInterruption => {
                    if matches!(self.floor, Floor::Speaking) {
                        self.interrupt();
                    }
                }
                Deadline::RestoreVoice => {
                    if !matches!(self.floor, Floor::Speaking) {
                        self.no_interruption();
                    }
                }
                Deadline::FillSilence => {
                    if let Some(Reply { id, phase: ReplyPhase::Released }) = self.reply {
                        self.actions.push_back(Action::Filler { reply: id });
                    }
                }
            }
        }
        self.show();
    }

    fn pause_of(&mut self, of: PassId) -> Option<&mut Pause> {
        match &mut self.floor {
            Floor::Pausing(pause) if pause.pass == of => Some(pause),
            _ => None,
        }
    }

    /// The person's voice starts or comes back.
    fn voice(&mut self, onset: At) {
        if matches!(self.floor, Floor::Speaking) {
            return;
        }
        self.close_pause();
        self.floor = Floor::Speaking;
        let Some(reply) = self.reply else { return };
        match reply.phase {
            ReplyPhase::Held => self.withdraw(reply.id),
            ReplyPhase::Released => {
                self.withdraw(reply.id);
                if let Some(turn) = self.answered.take() {
                    // It keeps its id when it is committed again.
                    self.turns -= 1;
                    self.actions.push_back(Action::Reopen { turn });
                }
            }
            ReplyPhase::Sounding if self.overlap.is_none() => {
                let overlap = Overlap { onset };
                self.actions.push_back(Action::Duck);
                self.deadlines
                    .insert(Deadline::JudgeInterruption, overlap.judged_at(&self.settings));
                self.deadlines.insert(Deadline::RestoreVoice, onset + self.settings.duck_limit);
                self.overlap = Some(overlap);
            }
            ReplyPhase::Sounding => {}
        }
    }

    /// Leaves a pause: its pass is of no use any more.
    fn close_pause(&mut self) {
        self.deadlines.remove(&Deadline::CommitTurn);
        self.deadlines.remove(&Deadline::VoteOverdue);
        if let Floor::Pausing(pause) = std::mem::take(&mut self.floor) {
            self.actions.push_back(Action::DropPass { pass: pause.pass });
        }
    }

    fn silence(&mut self) {
        if !matches!(self.floor, Floor::Speaking) {
            return;
        }
        self.passes += 1;
        let pass = PassId(self.passes);
        self.floor = Floor::Pausing(Pause::new(pass));
        self.actions.push_back(Action::StartPass { pass });
    }

    fn partial(&mut self, words: &Private<String>) {
        if self.overlap.is_some() && Overlap::words_interrupt(words.reveal(), &self.settings) {
            self.interrupt();
        }
    }

    /// Decides what a pause means as far as is known at `now`.
    fn weigh(&mut self, now: At) {
        let Floor::Pausing(pause) = &self.floor else { return };
        let words = pause.words.clone();
        match pause.verdict(now, &self.settings, &self.pauses) {
            Verdict::Incomplete => {}
            Verdict::Nothing => self.nothing_said(),
            Verdict::AwaitVote(until) => {
                self.deadlines.insert(Deadline::VoteOverdue, until);
                self.hold_reply(words);
            }
            Verdict::CommitAt(at) => {
                self.deadlines.remove(&Deadline::VoteOverdue);
                if !self.hold_reply(words.clone()) {
                    return;
                }
                if at <= now {
                    self.commit(now, words.unwrap_or_default());
                } else {
                    self.deadlines.insert(Deadline::CommitTurn, at);
                }
            }
        }
    }

    /// Starts the reply to these words behind the gate, unless they do not want one.
    ///
    /// Returns whether they do.
    fn hold_reply(&mut self, words: Option<Private<String>>) -> bool {
        let words = words.unwrap_or_default();
        if self.is_sounding() {
            if !Overlap::words_interrupt(words.reveal(), &self.settings) {
                self.nothing_said();
                return false;
            }
            self.interrupt();
        }
        if self.reply.is_none() {
            self.replies += 1;
            let id = ReplyId(self.replies);
            self.reply = Some(Reply { id, phase: ReplyPhase::Held });
            self.actions.push_back(Action::StartReply { reply: id, words });
        }
        true
    }

    fn commit(&mut self, now: At, words: Private<String>) {
        self.deadlines.remove(&Deadline::CommitTurn);
        self.floor = Floor::Quiet;
        self.turns += 1;
        let turn = TurnId(self.turns);
        self.actions.push_back(Action::Commit { turn, words });
        if let Some(reply) = &mut self.reply {
            reply.phase = ReplyPhase::Released;
            self.answered = Some(turn);
            self.actions.push_back(Action::Release { reply: reply.id });
            if let Some(after) = self.settings.filler_after {
                self.deadlines.insert(Deadline::FillSilence, now + after);
            }
        }
    }

    /// The open turn holds no words that want an answer.
    fn nothing_said(&mut self) {
        self.close_pause();
        self.actions.push_back(Action::Discard);
        self.no_interruption();
    }

    fn no_interruption(&mut self) {
        self.deadlines.remove(&Deadline::JudgeInterruption);
        self.deadlines.remove(&Deadline::RestoreVoice);
        if self.overlap.take().is_some() {
            self.actions.push_back(Action::Unduck);
        }
    }

    fn interrupt(&mut self) {
        self.deadlines.remove(&Deadline::JudgeInterruption);
        self.deadlines.remove(&Deadline::RestoreVoice);
        self.overlap = None;
        if let Some(reply) = self.reply.take_if(|reply| reply.phase == ReplyPhase::Sounding) {
            self.answered = None;
            self.actions.push_back(Action::Stop { reply: reply.id });
        }
    }

    fn is_sounding(&self) -> bool {
        self.reply.is_some_and(|reply| reply.phase == ReplyPhase::Sounding)
    }

    fn withdraw(&mut self, id: ReplyId) {
        self.deadlines.remove(&Deadline::FillSilence);
        self.reply = None;
        self.actions.push_back(Action::Withdraw { reply: id });
    }

    fn sounds(&mut self, id: ReplyId) {
        if let Some(reply) = &mut self.reply
            && reply.id == id
            && reply.phase == ReplyPhase::Released
        {
            reply.phase = ReplyPhase::Sounding;
            self.deadlines.remove(&Deadline::FillSilence);
            self.answered = None;
        }
    }

    fn ended(&mut self, id: ReplyId) {
        if self.reply.is_some_and(|reply| reply.id == id && reply.phase != ReplyPhase::Held) {
            self.deadlines.remove(&Deadline::FillSilence);
            self.reply = None;
            self.answered = None;
            // What is said over the very end of a reply is a turn of its own.
            self.no_interruption();
        }
    }

    fn show(&mut self) {
        let state = match (&self.floor, self.reply.map(|reply| reply.phase)) {
            (Floor::Speaking | Floor::Pausing(_), _) => State::Hearing,
            (Floor::Quiet, Some(ReplyPhase::Sounding)) => State::Speaking,
            (Floor::Quiet, Some(_)) => State::Thinking,
            (Floor::Quiet, None) => State::Listening,
        };
        if state != self.shown {
            self.shown = state;
            self.actions.push_back(Action::Show(state));
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
