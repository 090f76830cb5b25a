//! Replies that are late.
//!
//! In: when a reply should be heard, and when it is. Out: when to say something in its place. Owns
//! how many fillers the reply has had.

use super::agenda::{Agenda, Deadline};
use super::{At, Settings};

/// The fillers of the reply in progress.
#[derive(Debug, Default)]
pub(super) struct Late {
    said: u32,
}

impl Late {
    /// A reply was released, or fell silent: it should sound soon.
    pub(super) fn expect(&mut self, now: At, settings: &Settings, agenda: &mut Agenda) {
        let fillers = &settings.fillers;
        if fillers.on && self.said < fillers.most {
            let patience = if self.said == 0 { fillers.after } else { fillers.again };
            agenda.wake(Deadline::FillSilence, now + patience);
        }
    }

    /// A filler is said now.
    pub(super) fn filled(&mut self, now: At, settings: &Settings, agenda: &mut Agenda) {
        self.said += 1;
        if self.said < settings.fillers.most {
            agenda.wake(Deadline::FillSilence, now + settings.fillers.again);
        }
    }

    /// Whether a filler of this reply was heard.
    pub(super) fn has_filled(&self) -> bool {
        self.said > 0
    }

    /// The reply sounds.
    pub(super) fn sounds(&mut self, agenda: &mut Agenda) {
        agenda.cancel(&[Deadline::FillSilence]);
    }

    /// The reply is over, one way or the other.
    pub(super) fn over(&mut self, agenda: &mut Agenda) {
        self.said = 0;
        agenda.cancel(&[Deadline::FillSilence]);
    }
}
