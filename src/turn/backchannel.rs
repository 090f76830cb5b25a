//! EVA's own "mhm".
//!
//! In: that the person has the floor and pauses, and how sure it is that they go on. Out: whether to
//! confirm that one listens. Owns when that was done. What is said never enters the history.

use std::collections::VecDeque;
use std::time::Duration;

use super::{At, Settings};

/// The window of the rate.
const MINUTE: Duration = Duration::from_secs(60);
/// No clip is longer.
const LONGEST_CLIP: Duration = Duration::from_millis(1200);

/// What EVA has said while listening.
#[derive(Debug, Default)]
pub(super) struct Listening {
    /// Since when the person has the floor.
    floor_since: Option<At>,
    /// When EVA said something, in the last minute.
    said: VecDeque<At>,
}

impl Listening {
    /// The person speaks. Returns whether what EVA says may still sound, and has to go.
    pub(super) fn voice(&mut self, now: At, onset: At) -> bool {
        self.floor_since.get_or_insert(onset);
        self.said.back().is_some_and(|at| now < *at + LONGEST_CLIP)
    }

    /// The person's turn is over, or was none.
    pub(super) fn turn_over(&mut self) {
        self.floor_since = None;
    }

    /// Whether to say "mhm" in this pause, in which the machine waits for another `wait` on `vote`;
    /// if so, it counts as said.
    pub(super) fn says(
        &mut self,
        now: At,
        wait: Duration,
        vote: Option<f32>,
        settings: &Settings,
    ) -> bool {
        let wanted = &settings.backchannels;
        while self.said.front().is_some_and(|at| *at + MINUTE <= now) {
            self.said.pop_front();
        }
        let room = self.said.len() < wanted.per_minute as usize;
        let rested = self.said.back().is_none_or(|at| now >= *at + wanted.apart);
        let held = self.floor_since.is_some_and(|since| now >= since + wanted.floor_held);
        let goes_on = vote.is_some_and(|vote| vote <= wanted.highest_vote);
        let says = wanted.on && room && rested && held && goes_on && wait >= wanted.least_wait;
        if says {
            self.said.push_back(now);
        }
        says
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> At {
        At::from_secs(seconds)
    }

    #[test]
    fn it_is_rare_and_only_where_the_person_goes_on() {
        let settings = Settings::default();
        let mut listening = Listening::default();
        let wait = Duration::from_millis(2000);
        assert!(!listening.says(at(100), wait, Some(0.1), &settings), "nobody has the floor");
        listening.voice(at(100), at(100));
        assert!(!listening.says(at(101), wait, Some(0.1), &settings), "too soon");
        assert!(!listening.says(at(104), wait, Some(0.6), &settings), "the turn may be over");
        assert!(!listening.says(at(104), wait, None, &settings), "nobody knows");
        let short = Duration::from_millis(300);
        assert!(!listening.says(at(104), short, Some(0.1), &settings), "it does not fit");
        let said = (104..164).filter(|s| listening.says(at(*s), wait, Some(0.1), &settings));
        assert_eq!(said.collect::<Vec<_>>(), [104, 112, 120, 128, 136, 144]);
        assert!(listening.says(at(164), wait, Some(0.1), &settings), "the minute is over");
    }

    #[test]
    fn it_gives_way_to_the_person() {
        let mut listening = Listening::default();
        assert!(!listening.voice(at(1), at(1)));
        assert!(listening.says(at(5), at(2), Some(0.1), &Settings::default()));
        assert!(listening.voice(at(5) + Duration::from_millis(500), at(5)));
        assert!(!listening.voice(at(7), at(7)));
    }
}
