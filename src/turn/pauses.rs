//! The person's own pauses, learned in this call.
//!
//! In: how long the pauses were after which the person went on. Out: how long such a pause is expected
//! to be. Keeps the last few; old ones fade. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use super::At;

/// Pauses that are remembered; what lies further back has faded to a third.
const KEPT: usize = 16;
/// What a pause still counts when another one has come.
const FADING: f32 = 0.93;
/// What is taken for granted before anything is known, in ms, each as good as one pause heard.
const PRIOR: [u32; 5] = [300, 400, 500, 600, 800];
/// Pauses up to the expected one: this part of all.
const QUANTILE: f32 = 0.8;
/// Nobody is taken to be quicker or slower than this, whatever happened in a call, in ms.
const BOUNDS: [u32; 2] = [400, 1200];

/// A voice that comes back so soon after its turn was committed had not finished.
const GOES_ON: Duration = Duration::from_millis(1500);

/// The person's own pauses.
#[derive(Clone, Debug, Default)]
pub(super) struct Pauses {
    /// Newest first, in ms.
    heard: VecDeque<u32>,
    /// Where the voice of the last committed turn ended.
    ended: Option<At>,
}

impl Pauses {
    /// A turn is taken to be over; its voice ended there.
    pub(super) fn turn_ended(&mut self, last_voiced: Option<At>) {
        self.ended = last_voiced;
    }

    /// The person speaks: in a pause since then, or after a turn that was taken to be over, and may
    /// not have been.
    pub(super) fn voice(&mut self, now: At, onset: At, paused_since: Option<At>) {
        let ended = self.ended.take().filter(|ended| onset < *ended + GOES_ON);
        if let Some(since) = paused_since.or(ended) {
            self.inner(now.saturating_sub(since));
        }
    }

    /// The person went on after a pause this long: it was inside a turn.
    pub(super) fn inner(&mut self, length: Duration) {
        self.heard.truncate(KEPT - 1);
        self.heard.push_front(u32::try_from(length.as_millis()).unwrap_or(u32::MAX));
    }

    /// How much longer than usual this person's pauses are, at least 1.
    pub(super) fn slowness(&self) -> f32 {
        let usual = Self::default().expected();
        (self.expected().as_secs_f32() / usual.as_secs_f32()).max(1.0)
    }

    /// How long a pause may last after which this person still goes on: the length that four in five
    /// of their pauses keep to.
    pub(super) fn expected(&self) -> Duration {
        let weights = std::iter::successors(Some(1.0), |weight| Some(weight * FADING));
        let heard = self.heard.iter().copied().zip(weights);
        let mut all: Vec<(u32, f32)> = heard.chain(PRIOR.map(|length| (length, 1.0))).collect();
        all.sort_by_key(|(length, _)| *length);
        let enough = QUANTILE * all.iter().map(|(_, weight)| weight).sum::<f32>() - 1e-3;
        let mut sum = 0.0;
        let place = all.iter().position(|(_, weight)| {
            sum += weight;
            sum >= enough
        });
        let length = place.map_or(BOUNDS[1], |place| all[place].0);
        Duration::from_millis(length.clamp(BOUNDS[0], BOUNDS[1]).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(lengths: impl IntoIterator<Item = u64>) -> u128 {
        let mut pauses = Pauses::default();
        lengths.into_iter().for_each(|length| pauses.inner(Duration::from_millis(length)));
        assert!(pauses.heard.len() <= KEPT);
        pauses.expected().as_millis()
    }

    #[test]
    fn the_person_is_learned_and_one_pause_is_none() {
        for (name, lengths, expected) in [
            ("nothing known", vec![], 600),
            ("one long pause", vec![1500], 800),
            ("a slow speaker", vec![900, 1000, 900, 1100, 900, 1000], 1000),
            ("a quick speaker", vec![250; 12], 500),
            ("one outlier of many", [vec![300; 10], vec![5000], vec![300; 5]].concat(), 500),
            ("slow once, quick for long", [vec![1100; 5], vec![300; 16]].concat(), 500),
            ("slow beyond reason", vec![60_000; 100], 1200),
        ] {
            assert_eq!(after(lengths), expected, "{name}");
        }
    }
}
