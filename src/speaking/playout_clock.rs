//! When a sentence's next step is due.
//!
//! In: when its text was handed over, and each chunk as it is handed out. Out: a moment for the
//! engine's queue. A caller who waits for a first sound can wait a little longer; a voice that sounds
//! must not run dry. Is told the time.

use std::time::{Duration, Instant};

/// First sounds are due after this, so that a voice that sounds, and would run dry sooner, goes first.
const FIRST_SOUND: Duration = Duration::from_millis(400);
/// A chunk is due as long before the sound runs out: more than another sentence's step takes.
const AHEAD: Duration = Duration::from_millis(60);

/// One sentence's clock: taken as played from its first chunk on, as fast as it sounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlayoutClock {
    asked: Instant,
    runs_dry: Option<Instant>,
}

impl PlayoutClock {
    /// A sentence whose text was handed over at `asked`.
    pub fn new(asked: Instant) -> Self {
        Self { asked, runs_dry: None }
    }

    /// `sound` more was handed out.
    pub fn handed_out(&mut self, now: Instant, sound: Duration) {
        self.runs_dry = Some(self.runs_dry.unwrap_or(now) + sound);
    }

    /// When the next step is due.
    pub fn due(&self) -> Instant {
        match self.runs_dry {
            Some(dry) => dry.checked_sub(AHEAD).unwrap_or(dry),
            None => self.asked + FIRST_SOUND,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::PlayoutClock;

    #[test]
    fn a_voice_about_to_run_dry_goes_before_a_first_sound_and_a_full_one_after() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let waiting = PlayoutClock::new(ms(10));
        let mut sounding = PlayoutClock::new(ms(0));
        assert!(sounding.due() < waiting.due(), "who asked first is served first");
        sounding.handed_out(ms(60), Duration::from_millis(90));
        assert_eq!(sounding.due(), ms(90));
        assert!(sounding.due() < waiting.due());
        sounding.handed_out(ms(100), Duration::from_millis(400));
        assert!(sounding.due() > waiting.due());
    }
}
