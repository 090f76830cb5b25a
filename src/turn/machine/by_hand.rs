//! Turns that the person marks by hand: a button that is held, words that are typed.
//!
//! In: the button, the words. Out: the same turns and replies as with a voice. What is done by hand is
//! meant: nothing is waited for and nothing doubted.

use super::{Reply, ReplyPhase, TurnMachine};
use crate::ids::TurnId;
use crate::private::Private;
use crate::turn::endpointing::{Floor, Pause};
use crate::turn::{Action, At, PassId};

impl TurnMachine {
    /// The button is down: the person has the floor, and EVA stops.
    pub(super) fn pressed(&mut self) {
        self.cancel();
        if self.overlaps.end(&mut self.agenda) {
            self.agenda.act(Action::Unduck);
        }
        self.close_pause();
        self.listening.turn_over();
        self.floor = Floor::Speaking;
    }

    /// The button is up: the turn is over once [`Input::Paused`](crate::turn::Input::Paused) says that
    /// all of its sound is there, and its words are known.
    pub(super) fn released(&mut self, now: At) {
        if !matches!(self.floor, Floor::Speaking) {
            return;
        }
        self.counts.passes += 1;
        let pass = PassId(self.counts.passes);
        self.floor = Floor::Pausing(Pause { by_hand: true, ..Pause::new(pass) });
        self.speculation.pass_begins(now);
        self.agenda.act(Action::StartPass { pass });
    }

    /// What the open turn holds is not meant for EVA.
    pub(super) fn let_go(&mut self) {
        if !matches!(self.floor, Floor::Quiet) {
            self.nothing_said();
        }
    }

    /// The person types: a turn of its own, whatever is heard at the time.
    pub(super) fn typed(&mut self, now: At, words: Private<String>) {
        self.cancel();
        self.hold_reply(&words);
        self.quiet.asked = false;
        self.counts.turns += 1;
        let turn = TurnId(self.counts.turns);
        self.agenda.act(Action::CommitTyped { turn, words });
        if let Some(Reply { id, phase, asked, .. }) = &mut self.reply {
            (*phase, *asked) = (ReplyPhase::Released, true);
            self.agenda.act(Action::Release { reply: *id });
            self.late.expect(now, &self.settings, &mut self.agenda);
        }
    }

    /// Whether the turn that pauses was ended by hand.
    pub(super) fn is_by_hand(&self) -> bool {
        matches!(&self.floor, Floor::Pausing(pause) if pause.by_hand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ReplyId;
    use crate::turn::{Hypothesis, Input, Settings, State};

    fn at(ms: u64) -> At {
        At::from_millis(ms)
    }

    fn words(text: &str) -> Private<String> {
        Private::new(text.to_owned())
    }

    fn heard(pass: u32, text: &str) -> Input {
        let heard = Hypothesis {
            words: words(text),
            confidence: 0.5,
            no_speech: 0.3,
            level_dbfs: -30.0,
            as_of: at(0),
        };
        Input::FinalWords { pass: PassId(pass), heard }
    }

    fn told(machine: &mut TurnMachine, ms: u64, input: Input) -> Vec<Action> {
        machine.handle(at(ms), input);
        std::iter::from_fn(|| machine.poll_action()).collect()
    }

    #[test]
    fn a_turn_ends_with_its_button_whatever_its_words_are() {
        let mut machine = TurnMachine::new(Settings::default());
        assert_eq!(told(&mut machine, 0, Input::Pressed), [Action::Show(State::Hearing)]);
        let (deadline, _) = machine.poll_timeout().expect("the longest call");
        assert!(deadline > at(3_600_000), "nobody is asked for while the button is held");
        let pass = PassId(1);
        assert_eq!(told(&mut machine, 900, Input::Released), [Action::StartPass { pass }]);
        let (reply, turn, open) = (ReplyId(1), TurnId(1), words("I would like to"));
        assert!(told(&mut machine, 1000, heard(1, "I would like to")).is_empty(), "sound may come");
        assert_eq!(
            told(&mut machine, 1050, Input::Paused { last_voiced: at(900) }),
            [
                Action::StartReply { reply, words: open.clone() },
                Action::Commit { turn, words: open },
                Action::Release { reply },
                Action::Show(State::Thinking),
            ]
        );
    }

    #[test]
    fn a_reply_to_whole_words_is_begun_while_the_last_sound_is_waited_for() {
        let mut machine = TurnMachine::new(Settings::default());
        told(&mut machine, 0, Input::Pressed);
        told(&mut machine, 900, Input::Released);
        let (reply, turn, whole) = (ReplyId(1), TurnId(1), words("What time is it?"));
        let begun = told(&mut machine, 950, heard(1, "What time is it?"));
        assert_eq!(begun, [Action::StartReply { reply, words: whole.clone() }]);
        let paused = told(&mut machine, 1050, Input::Paused { last_voiced: at(900) });
        assert_eq!(paused[..2], [Action::Commit { turn, words: whole }, Action::Release { reply }]);
    }

    #[test]
    fn the_button_stops_her_and_one_word_is_enough() {
        let mut machine = TurnMachine::new(Settings::default());
        let reply = ReplyId(1);
        told(&mut machine, 0, Input::Asked);
        told(&mut machine, 100, Input::ReplySounds { reply });
        let pressed = told(&mut machine, 500, Input::Pressed);
        assert_eq!(pressed, [Action::Stop { reply }, Action::Show(State::Hearing)]);
        told(&mut machine, 900, Input::Released);
        told(&mut machine, 1000, heard(1, "Yes."));
        let commits = told(&mut machine, 1050, Input::Paused { last_voiced: at(900) });
        assert!(
            commits.iter().any(|action| matches!(action, Action::Commit { .. })),
            "{commits:?}"
        );
    }

    #[test]
    fn a_press_without_words_is_nothing_and_a_second_one_goes_on() {
        let mut machine = TurnMachine::new(Settings::default());
        told(&mut machine, 0, Input::Pressed);
        told(&mut machine, 500, Input::Released);
        let nothing = [Action::DropPass { pass: PassId(1) }, Action::Discard];
        let listening = [Action::Show(State::Listening)];
        told(&mut machine, 600, heard(1, ""));
        let paused = told(&mut machine, 650, Input::Paused { last_voiced: at(500) });
        assert_eq!(paused, [&nothing[..], &listening].concat());
        told(&mut machine, 700, Input::Pressed);
        told(&mut machine, 900, Input::Released);
        assert_eq!(told(&mut machine, 950, Input::Pressed), [Action::DropPass { pass: PassId(2) }]);
        assert_eq!(
            told(&mut machine, 990, Input::LetGo),
            [&[Action::Discard][..], &listening].concat()
        );
        assert!(told(&mut machine, 999, Input::LetGo).is_empty());
    }

    #[test]
    fn typed_words_are_a_turn_and_a_voice_does_not_take_them_back() {
        let mut machine = TurnMachine::new(Settings::default());
        let (reply, turn, typed) = (ReplyId(1), TurnId(1), words("Hi"));
        assert_eq!(
            told(&mut machine, 0, Input::Typed { words: typed.clone() }),
            [
                Action::StartReply { reply, words: typed.clone() },
                Action::CommitTyped { turn, words: typed },
                Action::Release { reply },
                Action::Show(State::Thinking),
            ]
        );
        let voice = told(&mut machine, 50, Input::SpeechStarted { onset: at(40) });
        assert!(!voice.iter().any(|action| matches!(action, Action::Reopen { .. })), "{voice:?}");
        let again = told(&mut machine, 90, Input::Typed { words: words("No") });
        assert_eq!(again[0], Action::Withdraw { reply });
    }
}
