//! A bound on work that is done at once, so that calls always find room.
//!
//! In: a wish to begin. Out: a [`Permit`], or a refusal at once when too many wait already. Holds no
//! work itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A place among those who work; given back when dropped.
pub type Permit = OwnedSemaphorePermit;

/// Too much of this work is under way.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("Too many requests of this kind are under way; try again in a few seconds.")]
pub struct Crowded;

/// So many at once, so many waiting, for so long.
pub struct Bound {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
    patience: Duration,
}

impl Bound {
    /// `at_once` may work, and as many more may wait for up to `patience`.
    pub fn new(at_once: usize, patience: Duration) -> Self {
        let places = Arc::new(Semaphore::new(at_once));
        Self { places, waiting: AtomicUsize::new(0), most_waiting: at_once, patience }
    }

    /// A place.
    ///
    /// # Errors
    /// None came free in time, or too many wait for one.
    pub async fn enter(&self) -> Result<Permit, Crowded> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let waiting = Waiting::new(&self.waiting);
        if waiting.count > self.most_waiting {
            return Err(Crowded);
        }
        let place = tokio::time::timeout(self.patience, self.places.clone().acquire_owned()).await;
        place.ok().and_then(Result::ok).ok_or(Crowded)
    }
}

/// One who waits, counted until dropped.
struct Waiting<'a> {
    waiting: &'a AtomicUsize,
    count: usize,
}

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        Self { waiting, count: waiting.fetch_add(1, Ordering::AcqRel) + 1 }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_finds_no_place_waits_and_who_finds_a_queue_is_refused() {
        let bound = Bound::new(1, Duration::from_millis(20));
        let first = bound.enter().await.expect("a place");
        let (second, third) = tokio::join!(bound.enter(), bound.enter());
        assert!(second.is_err() && third.is_err(), "nobody left in time");
        drop(first);
        let again = bound.enter().await;
        assert!(again.is_ok());
    }
}
