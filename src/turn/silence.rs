//! When nobody speaks.
//!
//! In: whether it is quiet. Out: deadlines. Owns since when it is, and whether EVA has asked.

use super::agenda::{Agenda, Deadline};
use super::{At, Settings};

/// Since when nobody speaks.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    since: Option<At>,
    /// EVA has asked in this silence: she lets be.
    pub asked: bool,
}

impl Quiet {
    /// Takes whether it is quiet at `now`.
    pub(super) fn observe(
        &mut self,
        now: At,
        quiet: bool,
        settings: &Settings,
        agenda: &mut Agenda,
    ) {
        if quiet == self.since.is_some() {
            return;
        }
        if !quiet {
            self.since = None;
            agenda.cancel(&[Deadline::AskIfThere, Deadline::EndSilentCall]);
            return;
        }
        self.since = Some(now);
        let silence = &settings.silence;
        if silence.ask && !self.asked {
            agenda.wake(Deadline::AskIfThere, now + silence.ask_after);
        }
        agenda.wake(Deadline::EndSilentCall, now + silence.hang_up_after);
    }
}
