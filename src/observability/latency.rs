//! The latency record of one turn.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::turn::At;

/// The points a turn passes, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Milestone {
    /// The packet with the person's last voiced sample arrived.
    SpeechEnd,
    /// The pause was confirmed.
    Pause,
    /// The final words were there.
    Words,
    /// The turn was committed.
    Committed,
    /// The first token of the reply came.
    FirstToken,
    /// The first speakable piece was complete.
    FirstPiece,
    /// The first sound of it was made.
    FirstSound,
    /// The first audible packet went out.
    Wire,
}

const COUNT: usize = 8;

/// When one turn passed its milestones.
#[derive(Clone, Debug, Default)]
pub struct TurnClock {
    passed: [Option<At>; COUNT],
}

/// The differences between neighbouring milestones in milliseconds; each milestone counts as no
/// earlier than the one before, so they add up to the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Parts {
    /// Speech end to confirmed pause.
    pub pause: f64,
    /// Pause to final words.
    pub words: f64,
    /// Words to commit.
    pub committed: f64,
    /// Commit to first token.
    pub first_token: f64,
    /// First token to first speakable piece.
    pub first_piece: f64,
    /// First piece to first sound.
    pub first_sound: f64,
    /// First sound to the wire.
    pub wire: f64,
}

impl Parts {
    /// The whole turn in milliseconds.
    pub fn total(&self) -> f64 {
        round(self.pause + self.words + self.committed + self.without_capture())
    }

    /// From the commit on.
    fn without_capture(&self) -> f64 {
        self.first_token + self.first_piece + self.first_sound + self.wire
    }

    /// The whole less what the language model took from the commit to its first piece.
    pub fn without_brain(&self) -> f64 {
        self.total() - self.first_token - self.first_piece
    }
}

impl TurnClock {
    /// Notes a milestone; the first note counts.
    pub fn pass(&mut self, milestone: Milestone, at: At) {
        self.passed[milestone as usize].get_or_insert(at);
    }

    /// Notes a milestone that replaces an earlier note (a pause that was resumed).
    pub fn pass_again(&mut self, milestone: Milestone, at: At) {
        self.passed[milestone as usize] = Some(at);
    }

    /// Whether a milestone was noted.
    pub fn has(&self, milestone: Milestone) -> bool {
        self.passed[milestone as usize].is_some()
    }

    /// The parts, once the first sound is on the wire.
    pub fn parts(&self) -> Option<Parts> {
        self.passed[Milestone::Wire as usize]?;
        let mut reached = self.passed[Milestone::SpeechEnd as usize]?;
        let mut part = |milestone: Milestone| {
            let at = self.passed[milestone as usize].unwrap_or(reached).max(reached);
            let part = ms(at - reached);
            reached = at;
            part
        };
        Some(Parts {
            pause: part(Milestone::Pause),
            words: part(Milestone::Words),
            committed: part(Milestone::Committed),
            first_token: part(Milestone::FirstToken),
            first_piece: part(Milestone::FirstPiece),
            first_sound: part(Milestone::FirstSound),
            wire: part(Milestone::Wire),
        })
    }
}

fn ms(span: Duration) -> f64 {
    round(span.as_secs_f64() * 1e3)
}

/// To a tenth of a millisecond.
fn round(ms: f64) -> f64 {
    (ms * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> At {
        At::from_millis(ms)
    }

    #[test]
    fn parts_add_up_though_a_reply_was_made_before_its_commit() {
        let mut clock = TurnClock::default();
        clock.pass(Milestone::SpeechEnd, at(1000));
        clock.pass(Milestone::Words, at(1150));
        clock.pass(Milestone::Pause, at(1200));
        clock.pass(Milestone::FirstToken, at(1260));
        clock.pass(Milestone::FirstPiece, at(1400));
        assert!(clock.parts().is_none(), "nothing is on the wire yet");
        clock.pass(Milestone::Committed, at(1800));
        clock.pass(Milestone::FirstSound, at(1450));
        clock.pass(Milestone::Wire, at(1810));
        let parts = clock.parts().unwrap();
        assert_eq!((parts.pause, parts.words, parts.committed), (200.0, 0.0, 600.0));
        assert_eq!((parts.first_token, parts.first_piece, parts.first_sound), (0.0, 0.0, 0.0));
        assert_eq!(parts.total(), 810.0);
        assert_eq!(parts.without_brain(), 810.0);
    }
}
