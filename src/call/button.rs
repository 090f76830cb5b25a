//! Push-to-talk: the person's turns begin and end with a button.
//!
//! In: the button, and the time. Out: sound that counts while it is down, and a turn at its release.
//! The tail of what was said is still on its way when the button goes up: it is waited for, and the words
//! are looked for meanwhile. Where the tail is silent, they are whole.

use std::time::Duration;

use super::task::Call;
use crate::observability::{Milestone, TurnClock};
use crate::turn::{At, Input};

/// How long sound counts after the button went up: what the network and the jitter buffer hold.
const TAIL: Duration = Duration::from_millis(150);
/// A shorter press is a slip of the finger.
const LEAST_PRESS: Duration = Duration::from_millis(100);
/// A longer press ends by itself: the recogniser hears no more at once.
const LONGEST_PRESS: Duration = Duration::from_secs(30);

/// What the button does.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Button {
    /// There is none: the voice says where turns begin and end.
    #[default]
    Absent,
    /// It is up.
    Up,
    /// It is down, and ends the turn by itself at this time.
    Down {
        /// When.
        until: At,
    },
    /// It went up, and sound counts until this time.
    Lifted {
        /// When it went up.
        at: At,
        /// When the sound ends.
        until: At,
    },
}

impl Button {
    /// When [`Call::wake_button`] is due.
    pub(super) fn due(self) -> Option<At> {
        match self {
            Self::Absent | Self::Up => None,
            Self::Down { until } | Self::Lifted { until, .. } => Some(until),
        }
    }
}

impl Call {
    /// Turns begin and end with a button from now on, or with the voice again. What is open is
    /// dropped.
    pub(super) fn push_to_talk(&mut self, on: bool) {
        let button = &mut self.record.own.button;
        if on != (*button == Button::Absent) {
            return;
        }
        *button = if on { Button::Up } else { Button::Absent };
        self.turn.tell(self.clock.now(), Input::LetGo);
        self.ears.follow_button(on);
    }

    /// The button is down. False if there is none.
    pub(super) fn press(&mut self, now: At) -> bool {
        let until = now + LONGEST_PRESS;
        match self.record.own.button {
            Button::Absent => return false,
            Button::Down { .. } => {}
            // The turn goes on.
            Button::Lifted { .. } => {
                self.record.own.button = Button::Down { until };
                self.ears.voice_resumed(now);
                self.turn.tell(now, Input::SpeechResumed);
            }
            Button::Up => {
                self.record.own.button = Button::Down { until };
                self.ears.press(now);
                self.turn.tell(now, Input::Pressed);
            }
        }
        true
    }

    /// The button is up. False if there is none.
    pub(super) fn release(&mut self, now: At) -> bool {
        match self.record.own.button {
            Button::Absent => return false,
            Button::Down { .. } => {
                self.record.own.button = Button::Lifted { at: now, until: now + TAIL };
                self.ears.release();
                self.end_turn_by_hand(now, now);
            }
            Button::Up | Button::Lifted { .. } => {}
        }
        true
    }

    /// Does what is due: a press that is too long ends; a turn ends when its sound is there.
    pub(super) fn wake_button(&mut self, now: At) {
        let button = self.record.own.button;
        if button.due().is_none_or(|due| due > now) {
            return;
        }
        let Button::Lifted { at: released, .. } = button else {
            self.release(now);
            return;
        };
        self.record.own.button = Button::Up;
        if self.ears.lift() < TAIL + LEAST_PRESS {
            return self.turn.tell(now, Input::LetGo);
        }
        if self.ears.spoke_on() {
            // The words that are being looked for lack their end.
            self.turn.tell(now, Input::SpeechResumed);
            self.end_turn_by_hand(now, released);
        }
        self.record.clock.pass_again(Milestone::Pause, now);
        self.turn.tell(now, Input::Paused { last_voiced: released });
    }

    fn end_turn_by_hand(&mut self, now: At, released: At) {
        self.record.clock = TurnClock::default();
        self.record.clock.pass(Milestone::SpeechEnd, released);
        self.turn.tell(now, Input::Released);
    }
}
