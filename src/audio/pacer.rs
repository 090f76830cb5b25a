//! When each 20 ms slot is due.
//!
//! In: the time. Out: how many slots to send now, and when to ask again. Owned by the call. Slots
//! are counted from the start, so lateness never adds up; it sends nothing itself.

use std::time::Duration;

use super::SLOT_MS;

/// Slots sent together to make up for lateness; more would only swell the other side's buffer, so
/// the rest is skipped.
const MAX_CATCH_UP: u64 = 3;

/// Lateness is counted in classes of 0.1 ms up to this many.
const CLASSES: usize = 500;

const CLASS: Duration = Duration::from_micros(100);

/// What to do now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Slots that are never sent, because it is too late; they come before those to send.
    pub skip: u64,
    /// Slots to send now.
    pub send: u64,
}

/// How punctual the slots were.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PacingStats {
    /// Slots sent.
    pub sent: u64,
    /// Slots skipped.
    pub skipped: u64,
    /// Median lateness in milliseconds.
    pub p50_ms: f32,
    /// 95th percentile of lateness in milliseconds.
    pub p95_ms: f32,
    /// 99th percentile of lateness in milliseconds.
    pub p99_ms: f32,
    /// Greatest lateness in milliseconds.
    pub max_ms: f32,
}

/// Counts out slots of 20 ms.
pub struct Pacer {
    start: Duration,
    /// Slots sent or skipped.
    done: u64,
    skipped: u64,
    /// How many slots were late by how much; the last class holds all beyond.
    lateness: Box<[u32; CLASSES]>,
    worst: Duration,
}

impl Pacer {
    /// The first slot is due at `start`.
    pub fn new(start: Duration) -> Self {
        Self { start, done: 0, skipped: 0, lateness: Box::new([0; CLASSES]), worst: Duration::ZERO }
    }

    /// When the next slot is due.
    pub fn next_due(&self) -> Duration {
        self.time_of(self.done)
    }

    /// The slots due at `now`. They count as done.
    pub fn due(&mut self, now: Duration) -> Due {
        if now < self.next_due() {
            return Due::default();
        }
        let passed =
            (now - self.start).as_nanos() / Duration::from_millis(SLOT_MS.into()).as_nanos();
        let waiting = passed as u64 + 1 - self.done;
        let send = waiting.min(MAX_CATCH_UP);
        let skip = waiting - send;
        for slot in self.done + skip..self.done + waiting {
            self.record(now - self.time_of(slot));
        }
        self.done += waiting;
        self.skipped += skip;
        Due { skip, send }
    }

    /// How punctual the slots were so far.
    pub fn stats(&self) -> PacingStats {
        let sent = self.done - self.skipped;
        PacingStats {
            sent,
            skipped: self.skipped,
            p50_ms: self.percentile(0.50),
            p95_ms: self.percentile(0.95),
            p99_ms: self.percentile(0.99),
            max_ms: self.worst.as_secs_f32() * 1e3,
        }
    }

    fn time_of(&self, slot: u64) -> Duration {
        // Whole milliseconds: exact for 500 million years.
        self.start + Duration::from_millis(slot * u64::from(SLOT_MS))
    }

    fn record(&mut self, late: Duration) {
        let class = (late.as_nanos() / CLASS.as_nanos()) as usize;
        self.lateness[class.min(CLASSES - 1)] += 1;
        self.worst = self.worst.max(late);
    }

    /// The middle of the class that holds the percentile, never above the worst.
    fn percentile(&self, part: f64) -> f32 {
        let all: u64 = self.lateness.iter().map(|n| u64::from(*n)).sum();
        let rank = (all as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (class, n) in self.lateness.iter().enumerate() {
            seen += u64::from(*n);
            if seen >= rank && seen > 0 {
                return ((class as f32 + 0.5) * 0.1).min(self.worst.as_secs_f32() * 1e3);
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn an_hour_of_late_wake_ups_does_not_drift() {
        let start = ms(1_234);
        let mut pacer = Pacer::new(start);
        let mut sent = 0;
        let mut now = start;
        let hour = start + ms(3_600_000);
        let mut seed = 7u64;
        while now < hour {
            sent += pacer.due(now).send;
            // Woken up to 3.9 ms late, as a busy machine does.
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            now = pacer.next_due() + Duration::from_micros((seed >> 33) % 3_900);
        }
        assert_eq!(sent, 180_000);
        assert_eq!(pacer.next_due(), hour);
        let stats = pacer.stats();
        assert_eq!((stats.sent, stats.skipped), (180_000, 0));
        assert!(stats.p50_ms > 1.5 && stats.p50_ms < 2.4, "{stats:?}");
        assert!(stats.p99_ms < 4.0 && stats.max_ms < 4.0, "{stats:?}");
    }

    #[test]
    fn nothing_is_due_early() {
        let mut pacer = Pacer::new(ms(100));
        assert_eq!(pacer.due(ms(99)), Due::default());
        assert_eq!(pacer.due(ms(100)), Due { skip: 0, send: 1 });
        assert_eq!(pacer.due(ms(119)), Due::default());
        assert_eq!(pacer.next_due(), ms(120));
    }

    #[test]
    fn a_little_lateness_is_made_up_for_and_much_is_skipped() {
        let mut pacer = Pacer::new(ms(0));
        assert_eq!(pacer.due(ms(45)), Due { skip: 0, send: 3 });
        assert_eq!(pacer.due(ms(1_000)), Due { skip: 45, send: 3 });
        assert_eq!(pacer.next_due(), ms(1_020));
        assert_eq!(pacer.stats().skipped, 45);
        assert_eq!(pacer.stats().sent, 6);
    }
}
