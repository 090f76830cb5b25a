//! The turn machine of one call, and the record of what it was told.
//!
//! In: what the call hears and plays, with its time. Out: the machine's actions. Where the owner
//! asked for traces, everything goes to a [`Recorder`] as well, for `eva replay`.

use super::recorder::Recorder;
use crate::turn::trace::Line;
use crate::turn::{Action, At, Input, Settings, TurnMachine};

/// The machine and its recorder.
pub(super) struct Conversation {
    machine: TurnMachine,
    recorder: Option<Recorder>,
}

impl Conversation {
    pub(super) fn new(settings: Settings, recorder: Option<Recorder>) -> Self {
        if let Some(recorder) = &recorder {
            recorder.write(&Line::first(&settings));
        }
        Self { machine: TurnMachine::new(settings), recorder }
    }

    /// When to call [`Self::wake`].
    pub(super) fn poll_timeout(&self) -> Option<At> {
        self.machine.poll_timeout().map(|(at, _)| at)
    }

    /// Tells the machine that time has passed.
    pub(super) fn wake(&mut self, now: At) {
        if self.machine.poll_timeout().is_none_or(|(at, _)| at > now) {
            return;
        }
        if let Some(recorder) = &self.recorder {
            recorder.write(&Line::Woke { at: now });
        }
        self.machine.handle_timeout(now);
    }

    /// Tells the machine what happened.
    pub(super) fn tell(&mut self, now: At, input: Input) {
        if let Some(recorder) = &self.recorder {
            recorder.write(&Line::Told { at: now, input: input.clone() });
        }
        self.machine.handle(now, input);
    }

    /// The next thing to do.
    pub(super) fn poll_action(&mut self) -> Option<Action> {
        let action = self.machine.poll_action()?;
        if let Some(recorder) = &self.recorder {
            recorder.write(&Line::Did { action: action.clone() });
        }
        Some(action)
    }
}
