//! How many requests there were and how long they took, in windows that show the present.
//!
//! In: what became of each request, with its time. Out: [`Figures`] of the last minute, the last
//! hour and since the start. Told the time. Keeps the newest [`KEPT`] requests one by one, and of
//! all others only a histogram with steps of 5 %.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Serialize;

/// Requests kept one by one; in an hour with more of them, "the last hour" is the newest of them.
const KEPT: usize = 20_000;
const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
/// Steps of the histogram: from 0.1 ms on, 5 % each, up to more than an hour.
const STEPS: usize = 360;
const STEP: f64 = 1.05;
const FIRST_MS: f64 = 0.1;

/// One request that was served.
#[derive(Clone, Copy, Debug)]
struct Request {
    at: Duration,
    first_ms: f32,
    whole_ms: f32,
}

/// The requests of one kind.
#[derive(Debug, Default)]
pub struct Tally {
    newest: VecDeque<Request>,
    first: Histogram,
    whole: Histogram,
    failed: u64,
}

/// Median and 95th percentile, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Times {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// Mean.
    pub mean: f64,
}

/// One window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Window {
    /// Requests served.
    pub requests: u64,
    /// From the request to the first token, or the first sound.
    pub first_ms: Times,
    /// From the request to its end.
    pub latency_ms: Times,
}

/// All windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// The last minute.
    pub last_minute: Window,
    /// The last hour.
    pub last_hour: Window,
    /// Since the start.
    pub all: Window,
    /// Requests that failed, since the start; in no window.
    pub failed: u64,
}

impl Tally {
    /// A request was served to its end.
    pub fn served(&mut self, now: Duration, first: Duration, whole: Duration) {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        self.first.add(ms(first));
        self.whole.add(ms(whole));
        if self.newest.len() == KEPT {
            self.newest.pop_front();
        }
        let (first_ms, whole_ms) = (ms(first) as f32, ms(whole) as f32);
        self.newest.push_back(Request { at: now, first_ms, whole_ms });
    }

    /// A request failed.
    pub fn failed(&mut self) {
        self.failed += 1;
    }

    /// Requests served so far.
    pub fn requests(&self) -> u64 {
        self.whole.count
    }

    /// What the windows show.
    pub fn figures(&mut self, now: Duration) -> Figures {
        while self.newest.front().is_some_and(|request| now.saturating_sub(request.at) > HOUR) {
            self.newest.pop_front();
        }
        let all = Window {
            requests: self.whole.count,
            first_ms: self.first.times(),
            latency_ms: self.whole.times(),
        };
        Figures {
            last_minute: self.window(now, MINUTE),
            last_hour: self.window(now, HOUR),
            all,
            failed: self.failed,
        }
    }

    fn window(&self, now: Duration, length: Duration) -> Window {
        let from = self.newest.partition_point(|request| now.saturating_sub(request.at) > length);
        let inside = || self.newest.iter().skip(from);
        Window {
            requests: inside().count() as u64,
            first_ms: times(inside().map(|request| f64::from(request.first_ms)).collect()),
            latency_ms: times(inside().map(|request| f64::from(request.whole_ms)).collect()),
        }
    }
}

fn times(mut values: Vec<f64>) -> Times {
    values.sort_by(f64::total_cmp);
    let rank = |share: f64| {
        let place = (share * values.len() as f64).ceil() as usize;
        rounded(values.get(place.max(1) - 1).copied().unwrap_or_default())
    };
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    Times { p50: rank(0.5), p95: rank(0.95), mean: rounded(mean) }
}

fn rounded(ms: f64) -> f64 {
    (ms * 10.0).round() / 10.0
}

/// Counts by steps of 5 %.
#[derive(Debug)]
struct Histogram {
    counts: [u64; STEPS],
    count: u64,
    sum: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: [0; STEPS], count: 0, sum: 0.0 }
    }
}

impl Histogram {
    fn add(&mut self, ms: f64) {
        let step = ((ms / FIRST_MS).max(1.0).ln() / STEP.ln()) as usize;
        self.counts[step.min(STEPS - 1)] += 1;
        self.count += 1;
        self.sum += ms;
    }

    fn times(&self) -> Times {
        let rank = |share: f64| {
            let wanted = (share * self.count as f64).ceil() as u64;
            let mut seen = 0;
            let at = self.counts.iter().position(|count| {
                seen += count;
                seen >= wanted.max(1)
            });
            at.map_or(0.0, |step| rounded(FIRST_MS * STEP.powf(step as f64 + 0.5)))
        };
        let mean = rounded(self.sum / self.count.max(1) as f64);
        Times { p50: rank(0.5), p95: rank(0.95), mean }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn windows_show_the_present_and_all_shows_everything() {
        let mut tally = Tally::default();
        for second in 0..7_200u64 {
            // Slow in the first hour, fast in the second, fastest in the last minute.
            let whole = match second {
                0..3_600 => 1_000,
                3_600..7_140 => 200,
                _ => 100,
            };
            tally.served(Duration::from_secs(second), ms(whole / 2), ms(whole));
        }
        tally.failed();
        let figures = tally.figures(Duration::from_secs(7_199));
        assert_eq!(figures.last_minute.requests, 61);
        assert_eq!(figures.last_minute.latency_ms.p50, 100.0);
        assert_eq!(figures.last_minute.first_ms.p50, 50.0);
        assert_eq!(figures.last_hour.requests, 3_601);
        assert_eq!(figures.last_hour.latency_ms.p50, 200.0);
        assert_eq!(figures.all.requests, 7_200);
        assert!((figures.all.latency_ms.p95 - 1_000.0).abs() < 50.0, "{figures:?}");
        assert!((figures.all.latency_ms.mean - 599.2).abs() < 1.0, "{figures:?}");
        assert_eq!(figures.failed, 1);
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(Tally::default().figures(ms(5)), Figures::default());
    }

    #[test]
    fn memory_is_bounded() {
        let mut tally = Tally::default();
        for at in 0..2 * KEPT as u64 {
            tally.served(ms(at), ms(1), ms(2));
        }
        assert_eq!(tally.newest.len(), KEPT);
        assert_eq!(tally.requests(), 2 * KEPT as u64);
    }
}
