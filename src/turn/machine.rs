//! The state of one conversation and its transitions.

mod by_hand;

use super::agenda::{Agenda, Deadline};
use super::backchannel::Listening;
use super::barge_in::{Decision, Overlaps};
use super::endpointing::{Floor, Pause, Verdict};
use super::filler::Late;
use super::pauses::Pauses;
use super::silence::Quiet;
use super::speculation::{DOUBT, Speculation};
use super::words::same_words;
use super::{Action, At, Hypothesis, Input, PassId, Settings, State, WhyHangUp};
use crate::ids::{ReplyId, TurnId};
use crate::private::Private;

/// The reply in progress.
#[derive(Clone, Debug)]
struct Reply {
    id: ReplyId,
    phase: ReplyPhase,
    /// What it answers.
    words: Private<String>,
    /// The committed turn it answers, which can be reopened until something is heard.
    turn: Option<TurnId>,
    /// A client asked for it: the person's voice alone does not take it back.
    asked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReplyPhase {
    /// Made behind the gate; its turn is not committed.
    Held,
    /// May be heard, is not yet.
    Released,
    /// Is heard.
    Sounding,
    /// Was faded out, and may go on.
    Suspended,
}

/// How many there were.
#[derive(Debug, Default)]
struct Counts {
    passes: u32,
    turns: u32,
    replies: u32,
}

/// One conversation. See the module's text for how to drive it.
#[derive(Debug)]
pub struct TurnMachine {
    settings: Settings,
    floor: Floor,
    pauses: Pauses,
    speculation: Speculation,
    overlaps: Overlaps,
    listening: Listening,
    late: Late,
    quiet: Quiet,
    reply: Option<Reply>,
    agenda: Agenda,
    counts: Counts,
    shown: State,
}

impl TurnMachine {
    /// A conversation in which nothing has been said.
    pub fn new(settings: Settings) -> Self {
        let mut agenda = Agenda::default();
        agenda.wake(Deadline::EndLongCall, settings.silence.longest_call);
        let mut machine = Self {
            settings,
            floor: Floor::Quiet,
            pauses: Pauses::default(),
            speculation: Speculation::default(),
            overlaps: Overlaps::default(),
            listening: Listening::default(),
            late: Late::default(),
            quiet: Quiet::default(),
            reply: None,
            agenda,
            counts: Counts::default(),
            shown: State::Listening,
        };
        machine.settle(At::ZERO);
        machine
    }

    /// The next thing to do, in order; `None` until there is more input.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.agenda.next_action()
    }

    /// When to call [`Self::handle_timeout`], and why.
    pub fn poll_timeout(&self) -> Option<(At, Deadline)> {
        self.agenda.next()
    }

    /// Takes what happened at `now`.
    pub fn handle(&mut self, now: At, input: Input) {
        match input {
            Input::SpeechStarted { onset } => self.voice(now, onset),
            Input::SpeechResumed => self.voice(now, now),
            Input::SilenceHint => self.silence(now),
            Input::Paused { last_voiced } => self.paused(now, last_voiced),
            Input::PartialWords(heard) => self.partial(now, &heard),
            Input::FinalWords { pass, heard } => self.words(now, pass, heard),
            Input::PassFailed { pass } => self.words(now, pass, nothing_heard()),
            Input::EndOfTurn { pass, probability } => {
                if let Some(pause) = self.pause_of(pass) {
                    // As it was at the first silence: silence alone turns later ones to yes.
                    pause.vote.get_or_insert(probability);
                    self.weigh(now);
                }
            }
            Input::ReplySounds { reply } => self.sounds(reply),
            Input::SentenceSounds { reply, text } => {
                if self.is_current(reply) {
                    self.overlaps.says(text);
                }
            }
            Input::ReplyWaits { reply } => {
                if self.is_current(reply) && self.phase() == Some(ReplyPhase::Sounding) {
                    self.late.expect(now, &self.settings, &mut self.agenda);
                }
            }
            Input::ReplyFlows { reply } => {
                if self.is_current(reply) {
                    self.late.sounds(&mut self.agenda);
                }
            }
            Input::Asked => self.answer(now),
            Input::Cancelled => self.cancel(),
            Input::Pressed => self.pressed(),
            Input::Released => self.released(now),
            Input::LetGo => self.let_go(),
            Input::Typed { words } => self.typed(now, words),
            Input::Configured(settings) => self.settings = *settings,
            Input::Speaks { language } => self.settings.language = language,
            Input::ReplyEnded { reply } => self.ended(reply),
        }
        self.settle(now);
    }

    /// Takes that `now` has come; does nothing before a deadline.
    pub fn handle_timeout(&mut self, now: At) {
        while let Some(why) = self.agenda.take_due(now) {
            match why {
                Deadline::CommitTurn | Deadline::VoteOverdue => self.weigh(now),
                Deadline::DropSpeculation => self.drop_speculation(),
                Deadline::JudgeInterruption => {
                    if matches!(self.floor, Floor::Speaking) {
                        let decision = self.overlaps.unheard();
                        self.decide(decision);
                    }
                }
                Deadline::RestoreVoice => {
                    let speaking = matches!(self.floor, Floor::Speaking);
                    let decision = self.overlaps.duck_limit(speaking);
                    self.decide(decision);
                }
                Deadline::ResumeReply => self.nothing_said(),
                Deadline::FillSilence => self.fill(now),
                Deadline::AskIfThere => self.ask_if_there(),
                Deadline::EndSilentCall => {
                    self.agenda.act(Action::HangUp(WhyHangUp::Silence));
                }
                Deadline::EndLongCall => self.agenda.act(Action::HangUp(WhyHangUp::TooLong)),
            }
        }
        self.settle(now);
    }

    // The person's side.

    /// The person's voice starts or comes back.
    fn voice(&mut self, now: At, onset: At) {
        if matches!(self.floor, Floor::Speaking) {
            return;
        }
        self.leave_pause(now, onset);
        self.floor = Floor::Speaking;
        if self.listening.voice(now, onset) {
            self.agenda.act(Action::Hush);
        }
        let Some(reply) = &self.reply else { return };
        let id = reply.id;
        match reply.phase {
            ReplyPhase::Held => self.agenda.wake(Deadline::DropSpeculation, now + DOUBT),
            ReplyPhase::Released if !reply.asked => self.go_on(now, id),
            ReplyPhase::Released | ReplyPhase::Sounding => {
                if self.overlaps.begin(onset, &self.settings, &mut self.agenda) {
                    self.agenda.act(Action::Duck);
                }
            }
            ReplyPhase::Suspended => self.agenda.cancel(&[Deadline::ResumeReply]),
        }
    }

    /// The person speaks on after their turn was committed, and nothing of its reply was heard.
    fn go_on(&mut self, now: At, id: ReplyId) {
        let turn = self.reply.as_mut().and_then(|reply| reply.turn.take());
        let Some(turn) = turn else { return self.withdraw(id) };
        // It keeps its id when it is committed again.
        self.counts.turns -= 1;
        if self.late.has_filled() {
            self.withdraw(id);
        } else {
            self.late.over(&mut self.agenda);
            self.agenda.act(Action::Withhold { reply: id });
            self.set_phase(ReplyPhase::Held);
            self.agenda.wake(Deadline::DropSpeculation, now + DOUBT);
        }
        self.agenda.act(Action::Reopen { turn });
    }

    /// The person goes on: the pause was inside the turn, its pass is of no use any more.
    fn leave_pause(&mut self, now: At, onset: At) {
        let pause = match &self.floor {
            Floor::Pausing(pause) => pause.confirmed.and(pause.last_voiced),
            _ => None,
        };
        self.pauses.voice(now, onset, pause);
        self.close_pause();
    }

    fn close_pause(&mut self) {
        self.agenda.cancel(&[Deadline::CommitTurn, Deadline::VoteOverdue]);
        if let Floor::Pausing(pause) = std::mem::take(&mut self.floor) {
            self.agenda.act(Action::DropPass { pass: pause.pass });
        }
    }

    fn silence(&mut self, now: At) {
        if !matches!(self.floor, Floor::Speaking) {
            return;
        }
        self.counts.passes += 1;
        let pass = PassId(self.counts.passes);
        self.floor = Floor::Pausing(Pause::new(pass));
        self.speculation.pass_begins(now);
        self.agenda.act(Action::StartPass { pass });
        if self.phase() == Some(ReplyPhase::Suspended) {
            let at = now + self.settings.barge_in.resume_after;
            self.agenda.wake(Deadline::ResumeReply, at);
        }
    }

    fn paused(&mut self, now: At, last_voiced: At) {
        if let Floor::Pausing(pause) = &mut self.floor {
            pause.confirmed.get_or_insert(now);
            pause.last_voiced.get_or_insert(last_voiced);
        }
        self.weigh(now);
    }

    fn pause_of(&mut self, of: PassId) -> Option<&mut Pause> {
        match &mut self.floor {
            Floor::Pausing(pause) if pause.pass == of => Some(pause),
            _ => None,
        }
    }

    fn partial(&mut self, now: At, heard: &Hypothesis) {
        let decision = self.overlaps.hear(now, heard, false, &self.settings);
        self.decide(decision);
    }

    fn words(&mut self, now: At, pass: PassId, mut heard: Hypothesis) {
        let before = self.reply.as_ref().filter(|reply| reply.phase == ReplyPhase::Held);
        if heard.words.reveal().trim().is_empty()
            && let Some(reply) = before
        {
            // The turn had words before the voice came back, and has not lost them.
            heard = Hypothesis {
                words: reply.words.clone(),
                confidence: 1.0,
                no_speech: 0.0,
                level_dbfs: heard.level_dbfs,
                as_of: now,
            };
        }
        let Some(pause) = self.pause_of(pass) else { return };
        pause.heard = Some(heard.clone());
        self.speculation.words_came(now);
        if self.is_heard() {
            // Words that interrupt need no pause to be sure of.
            let decision = self.overlaps.hear(now, &heard, true, &self.settings);
            self.decide(decision);
        }
        self.weigh(now);
    }

    /// Decides what a pause means as far as is known at `now`.
    fn weigh(&mut self, now: At) {
        let Floor::Pausing(pause) = &self.floor else { return };
        let (vote, heard) = (pause.vote, pause.heard.clone());
        match pause.verdict(now, &self.settings, &self.pauses) {
            Verdict::Incomplete => {
                let early = self.speculation.begins_early(pause, &self.settings);
                if let (true, false, Some(heard)) = (early, self.is_heard(), heard) {
                    self.hold_reply(&heard.words);
                }
            }
            Verdict::Nothing => self.nothing_said(),
            Verdict::AwaitVote(until) => {
                self.agenda.wake(Deadline::VoteOverdue, until);
                self.wants_reply(now, &heard.unwrap_or_else(nothing_heard));
            }
            Verdict::CommitAt(at) => {
                self.agenda.cancel(&[Deadline::VoteOverdue]);
                let heard = heard.unwrap_or_else(nothing_heard);
                if !self.wants_reply(now, &heard) {
                    return;
                }
                if at <= now {
                    self.commit(now, heard.words);
                } else {
                    self.wait(now, at, vote);
                }
            }
        }
    }

    /// The person may go on: waits until `at`, and may say "mhm".
    fn wait(&mut self, now: At, at: At, vote: Option<f32>) {
        self.agenda.wake(Deadline::CommitTurn, at);
        let wait = at.saturating_sub(now);
        if !self.is_heard() && self.listening.says(now, wait, vote, &self.settings) {
            self.agenda.act(Action::Backchannel);
        }
    }

    /// Starts the reply to these words behind the gate, unless they do not want one.
    ///
    /// Returns whether they do.
    fn wants_reply(&mut self, now: At, heard: &Hypothesis) -> bool {
        if self.is_heard() {
            if !self.is_by_hand() && !self.overlaps.interrupts(now, heard, &self.settings) {
                self.nothing_said();
                return false;
            }
            self.stop();
        } else if self.overlaps.only_confirms(now, heard, &self.settings) {
            self.nothing_said();
            return false;
        }
        if self.speculation.allowed(&self.settings) {
            self.hold_reply(&heard.words);
        }
        true
    }

    /// Starts a reply behind the gate, or keeps the one that answers the same words.
    fn hold_reply(&mut self, words: &Private<String>) {
        if let Some(reply) = &self.reply {
            if same_words(reply.words.reveal(), words.reveal()) {
                self.agenda.cancel(&[Deadline::DropSpeculation]);
                return;
            }
            let id = reply.id;
            self.withdraw(id);
        }
        self.counts.replies += 1;
        let id = ReplyId(self.counts.replies);
        self.reply = Some(Reply {
            id,
            phase: ReplyPhase::Held,
            words: words.clone(),
            turn: None,
            asked: false,
        });
        self.agenda.act(Action::StartReply { reply: id, words: words.clone() });
    }

    /// The voice came back and stayed: what was made for the words before will not do.
    fn drop_speculation(&mut self) {
        if let Some(Reply { id, phase: ReplyPhase::Held, .. }) = self.reply
            && matches!(self.floor, Floor::Speaking)
        {
            self.withdraw(id);
        }
    }

    fn commit(&mut self, now: At, words: Private<String>) {
        if self.settings.endpointing.respond {
            self.hold_reply(&words);
        }
        self.agenda.cancel(&[Deadline::CommitTurn, Deadline::DropSpeculation]);
        if let Floor::Pausing(pause) = std::mem::take(&mut self.floor) {
            self.pauses.turn_ended(pause.last_voiced);
            self.overlaps.know_level(pause.heard.map(|heard| heard.level_dbfs));
        }
        self.overlaps.end(&mut self.agenda);
        self.listening.turn_over();
        self.quiet.asked = false;
        self.counts.turns += 1;
        let turn = TurnId(self.counts.turns);
        self.agenda.act(Action::Commit { turn, words });
        if let Some(reply) = self.reply.as_mut().filter(|reply| reply.phase == ReplyPhase::Held) {
            reply.phase = ReplyPhase::Released;
            reply.turn = Some(turn);
            self.agenda.act(Action::Release { reply: reply.id });
            self.late.expect(now, &self.settings, &mut self.agenda);
        }
    }

    /// The open turn holds no words that want an answer.
    fn nothing_said(&mut self) {
        self.close_pause();
        self.floor = Floor::Quiet;
        self.listening.turn_over();
        self.agenda.act(Action::Discard);
        if let Some(Reply { id, phase: ReplyPhase::Held, .. }) = self.reply {
            self.withdraw(id);
        }
        self.no_interruption();
    }

    // EVA's side.

    fn decide(&mut self, decision: Decision) {
        match (decision, self.phase()) {
            (Decision::Interrupt, Some(ReplyPhase::Sounding)) => {
                if let Some(reply) = &mut self.reply {
                    reply.phase = ReplyPhase::Suspended;
                    self.agenda.act(Action::Suspend { reply: reply.id });
                }
            }
            // The second look says the same.
            (Decision::Interrupt, Some(ReplyPhase::Suspended)) => self.stop(),
            (Decision::Restore, _) => self.agenda.act(Action::Unduck),
            _ => {}
        }
    }

    fn no_interruption(&mut self) {
        let ducked = self.overlaps.end(&mut self.agenda);
        if let Some(reply) = &mut self.reply
            && reply.phase == ReplyPhase::Suspended
        {
            reply.phase = ReplyPhase::Sounding;
            self.agenda.act(Action::Resume { reply: reply.id });
        }
        if ducked {
            self.agenda.act(Action::Unduck);
        }
    }

    fn stop(&mut self) {
        self.overlaps.end(&mut self.agenda);
        self.late.over(&mut self.agenda);
        if let Some(Reply { id, phase, .. }) = self.reply.take() {
            let heard = phase != ReplyPhase::Released;
            let stop = Action::Stop { reply: id };
            self.agenda.act(if heard { stop } else { Action::Withdraw { reply: id } });
        }
    }

    fn withdraw(&mut self, id: ReplyId) {
        self.agenda.cancel(&[Deadline::DropSpeculation]);
        self.late.over(&mut self.agenda);
        self.reply = None;
        self.agenda.act(Action::Withdraw { reply: id });
    }

    fn fill(&mut self, now: At) {
        let waited_for = [Some(ReplyPhase::Released), Some(ReplyPhase::Sounding)];
        if let Some(reply) = &self.reply
            && waited_for.contains(&self.phase())
            && matches!(self.floor, Floor::Quiet)
        {
            self.agenda.act(Action::Filler { reply: reply.id });
            self.late.filled(now, &self.settings, &mut self.agenda);
        }
    }

    fn ask_if_there(&mut self) {
        self.quiet.asked = true;
        self.counts.replies += 1;
        let id = ReplyId(self.counts.replies);
        let words = Private::default();
        self.reply =
            Some(Reply { id, phase: ReplyPhase::Released, words, turn: None, asked: false });
        self.agenda.act(Action::AskIfThere { reply: id });
    }

    /// Starts the reply that a client asked for.
    fn answer(&mut self, now: At) {
        self.cancel();
        self.counts.replies += 1;
        let id = ReplyId(self.counts.replies);
        let words = Private::default();
        let phase = ReplyPhase::Released;
        self.reply = Some(Reply { id, phase, words, turn: None, asked: true });
        self.quiet.asked = false;
        self.agenda.act(Action::Answer { reply: id });
        self.late.expect(now, &self.settings, &mut self.agenda);
    }

    /// A client ends the reply in progress.
    fn cancel(&mut self) {
        match self.reply {
            Some(Reply { id, phase: ReplyPhase::Held, .. }) => self.withdraw(id),
            Some(_) => {
                self.agenda.cancel(&[Deadline::DropSpeculation]);
                self.stop();
            }
            None => {}
        }
    }

    fn sounds(&mut self, id: ReplyId) {
        if let Some(reply) = &mut self.reply
            && reply.id == id
            && reply.phase == ReplyPhase::Released
        {
            reply.phase = ReplyPhase::Sounding;
            reply.turn = None;
            self.late.sounds(&mut self.agenda);
        }
    }

    fn ended(&mut self, id: ReplyId) {
        let over = |reply: &Reply| reply.id == id && reply.phase != ReplyPhase::Held;
        if self.reply.take_if(|reply| over(reply)).is_some() {
            self.late.over(&mut self.agenda);
            if self.overlaps.reply_over(&mut self.agenda) {
                self.agenda.act(Action::Unduck);
            }
        }
    }

    fn is_current(&self, id: ReplyId) -> bool {
        self.reply.as_ref().is_some_and(|reply| reply.id == id)
    }

    fn phase(&self) -> Option<ReplyPhase> {
        self.reply.as_ref().map(|reply| reply.phase)
    }

    /// Whether the person hears the reply, has heard some of it, or a client waits for it: words must
    /// interrupt it to end it.
    fn is_heard(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| match reply.phase {
            ReplyPhase::Held => false,
            ReplyPhase::Released => reply.asked,
            ReplyPhase::Sounding | ReplyPhase::Suspended => true,
        })
    }

    fn set_phase(&mut self, phase: ReplyPhase) {
        if let Some(reply) = &mut self.reply {
            reply.phase = phase;
        }
    }

    /// Looks at the whole after each change: is it quiet, and what do people see.
    fn settle(&mut self, now: At) {
        let quiet = matches!(self.floor, Floor::Quiet) && self.reply.is_none();
        self.quiet.observe(now, quiet, &self.settings, &mut self.agenda);
        let state = match (&self.floor, self.phase()) {
            (Floor::Speaking | Floor::Pausing(_), _) => State::Hearing,
            (Floor::Quiet, Some(ReplyPhase::Sounding | ReplyPhase::Suspended)) => State::Speaking,
            (Floor::Quiet, Some(_)) => State::Thinking,
            (Floor::Quiet, None) => State::Listening,
        };
        if state != self.shown {
            self.shown = state;
            self.agenda.act(Action::Show(state));
        }
    }
}

fn nothing_heard() -> Hypothesis {
    Hypothesis {
        words: Private::default(),
        confidence: 0.0,
        no_speech: 1.0,
        level_dbfs: -30.0,
        as_of: At::ZERO,
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "machine_properties.rs"]
mod properties;
