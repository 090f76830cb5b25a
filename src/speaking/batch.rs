//! Who runs beside whom, for devices that run several sentences as one batch.
//!
//! In: texts that wait for their next step, with their urgency. Out: batches of texts whose next
//! step is of the same kind, the most urgent text first, and when the thread should turn to the
//! next batch. Knows nothing of networks or threads, and is told the time.

use std::time::Instant;

use crate::inference::Urgency;

/// What a text needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The lengths of its next utterance.
    Lengths,
    /// Its next chunk of sound.
    Chunk,
}

/// What decides about a text's company.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Of its next step.
    pub urgency: Urgency,
    /// Among texts as urgent, the one due first goes first.
    pub due: Instant,
    /// Its next step.
    pub step: Step,
    /// How much work it is: places for ids, or frames.
    pub size: usize,
}

/// Texts that run as one batch.
#[derive(Debug)]
pub struct Batch<T> {
    /// What all of them need.
    pub step: Step,
    /// How much work the most urgent one is.
    pub size: usize,
    /// The most urgent one first.
    pub texts: Vec<T>,
}

/// The texts that wait for their next step.
#[derive(Debug)]
pub struct Pool<T> {
    /// In order of arrival.
    waiting: Vec<(Place, T)>,
    /// Turns queued with the thread, by urgency: at most one of each.
    turns: [bool; LEVELS.len()],
}

const LEVELS: [Urgency; 4] = [Urgency::Background, Urgency::Later, Urgency::Now, Urgency::Frame];

impl<T> Pool<T> {
    /// Nobody waits.
    pub fn new() -> Self {
        Self { waiting: Vec::new(), turns: [false; LEVELS.len()] }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// A text waits for a step, behind those that came before.
    pub fn enter(&mut self, place: Place, text: T) {
        self.waiting.push((place, text));
    }

    /// With which urgency a turn has to be queued, if one has to be. The caller queues it, or says
    /// by [`Self::turn_ended`] that it could not.
    pub fn wants_turn(&mut self) -> Option<Urgency> {
        let urgency = self.waiting.iter().map(|(place, _)| place.urgency).max()?;
        let level = level(urgency);
        if self.turns[level..].contains(&true) {
            return None;
        }
        self.turns[level] = true;
        Some(urgency)
    }

    /// The turn of this urgency is no longer queued.
    pub fn turn_ended(&mut self, urgency: Urgency) {
        self.turns[level(urgency)] = false;
    }

    /// Takes out the next batch of at most `slots` texts, after dropping all that are `gone`.
    ///
    /// The most urgent text leads, among equals the one due first. Others that need the
    /// same step fill the other slots in the same order. A text whose step is more work than the
    /// leader's comes along only where it can be cut to the leader's size: chunks can, lengths
    /// cannot.
    pub fn take(&mut self, slots: usize, gone: impl Fn(&T) -> bool) -> Option<Batch<T>> {
        self.waiting.retain(|(_, text)| !gone(text));
        // The sort is stable: those due at once keep their order of arrival.
        self.waiting.sort_by_key(|(place, _)| (std::cmp::Reverse(place.urgency), place.due));
        let Place { step, size, .. } = self.waiting.first()?.0;
        let fits =
            |place: &Place| place.step == step && (step == Step::Chunk || place.size <= size);
        let mut texts = Vec::new();
        let mut left = Vec::with_capacity(self.waiting.len());
        for (place, text) in self.waiting.drain(..) {
            if texts.len() < slots && fits(&place) {
                texts.push(text);
            } else {
                left.push((place, text));
            }
        }
        self.waiting = left;
        Some(Batch { step, size, texts })
    }
}

fn level(urgency: Urgency) -> usize {
    LEVELS.iter().position(|&level| level == urgency).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Place, Pool, Step};
    use crate::inference::Urgency::{self, Background, Later, Now};

    fn pool(texts: &[(Urgency, Step, usize)]) -> Pool<usize> {
        let (mut pool, due) = (Pool::new(), Instant::now());
        for (n, &(urgency, step, size)) in texts.iter().enumerate() {
            pool.enter(Place { urgency, due, step, size }, n);
        }
        pool
    }

    #[test]
    fn the_most_urgent_leads_and_equals_keep_their_order() {
        use Step::Chunk;
        let mut pool = pool(&[
            (Later, Chunk, 48),
            (Background, Chunk, 48),
            (Now, Chunk, 8),
            (Later, Chunk, 24),
            (Now, Chunk, 24),
        ]);
        let batch = pool.take(4, |_| false).expect("five wait");
        assert_eq!((batch.texts, batch.size), (vec![2, 4, 0, 3], 8));
        assert_eq!(pool.take(4, |_| false).expect("one waits").texts, [1]);
        assert!(pool.take(4, |_| false).is_none());
    }

    #[test]
    fn among_equals_the_one_due_first_leads() {
        let (mut pool, now) = (Pool::new(), Instant::now());
        for (text, after) in [(0, 30), (1, 10), (2, 20)] {
            let due = now + Duration::from_millis(after);
            pool.enter(Place { urgency: Now, due, step: Step::Chunk, size: 8 }, text);
        }
        assert_eq!(pool.take(2, |_| false).expect("three wait").texts, [1, 2]);
    }

    #[test]
    fn a_batch_does_one_kind_of_step_and_nothing_longer_than_its_leader() {
        use Step::{Chunk, Lengths};
        let mut pool = pool(&[
            (Later, Chunk, 48),
            (Now, Lengths, 64),
            (Later, Lengths, 256),
            (Later, Lengths, 32),
        ]);
        let batch = pool.take(8, |_| false).expect("four wait");
        assert_eq!((batch.step, batch.texts), (Lengths, vec![1, 3]));
        assert_eq!(pool.take(8, |_| false).expect("two wait").texts, [0]);
        assert_eq!(pool.take(8, |_| false).expect("one waits").texts, [2]);
    }

    #[test]
    fn who_is_gone_takes_no_place() {
        let mut pool = pool(&[(Now, Step::Chunk, 8), (Later, Step::Chunk, 8)]);
        assert_eq!(pool.take(1, |&text| text == 0).expect("one is left").texts, [1]);
        assert_eq!(pool.len(), 0);
    }

    #[test]
    fn a_turn_is_queued_once_and_again_for_somebody_more_urgent() {
        let mut pool = pool(&[(Later, Step::Chunk, 8)]);
        assert_eq!(pool.wants_turn(), Some(Later));
        assert_eq!(pool.wants_turn(), None);
        let due = Instant::now();
        pool.enter(Place { urgency: Now, due, step: Step::Lengths, size: 32 }, 1);
        assert_eq!(pool.wants_turn(), Some(Now));
        pool.turn_ended(Now);
        pool.take(8, |_| false).expect("the urgent one");
        // The turn for the other one is still queued.
        assert_eq!(pool.wants_turn(), None);
        pool.turn_ended(Later);
        assert_eq!(pool.wants_turn(), Some(Later));
    }
}
