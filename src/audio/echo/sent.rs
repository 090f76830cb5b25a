//! What was sent lately, at the rate of what is heard.
//!
//! In: 48 kHz slots as they go out. Out: the last two seconds at 16 kHz, by position. Owned by
//! [`super::EchoGuard`]. While nothing is said it costs nothing but zeros.

use std::time::Duration;

use crate::audio::resample::Resampler;
use crate::audio::{HEARING_RATE, WIRE_RATE};

/// Two seconds at 16 kHz, and a power of two.
const KEPT: usize = 32_768;

/// Below this a sample is silence.
const SILENCE: f32 = 1e-4;

/// After this much silence the resampler holds nothing but zeros: 40 ms.
const SETTLED: u64 = 640;

/// The clock may be ahead of the slots told of by this much before silence is put in between:
/// 100 ms, more than a late tick.
const LATE: u64 = 1_600;

/// The last two seconds that were sent.
pub(super) struct Sent {
    down: Resampler,
    scratch: Vec<f32>,
    ring: Vec<f32>,
    end: u64,
    loud_end: Option<u64>,
}

impl Sent {
    pub(super) fn new() -> Self {
        Self {
            down: Resampler::new(WIRE_RATE, HEARING_RATE).expect("48 to 16 kHz is usual"),
            scratch: Vec::with_capacity(1_024),
            ring: vec![0.0; KEPT],
            end: 0,
            loud_end: None,
        }
    }

    /// Takes what goes out at `at`, since the call began.
    pub(super) fn push(&mut self, at: Duration, pcm48: &[f32]) {
        let now = at.as_millis() as u64 * u64::from(HEARING_RATE / 1000);
        if now > self.end + LATE {
            self.silence((now - self.end) / 320 * 320);
        }
        let loud = pcm48.iter().any(|s| s.abs() > SILENCE);
        if !loud && self.silent_for() > SETTLED {
            return self.silence(pcm48.len() as u64 / 3);
        }
        self.scratch.clear();
        self.down.push(pcm48, &mut self.scratch);
        for sample in &self.scratch {
            self.ring[self.end as usize % KEPT] = *sample;
            self.end += 1;
        }
        if loud {
            self.loud_end = Some(self.end);
        }
    }

    /// The position after the newest sample.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// How long nothing was said, in samples.
    pub(super) fn silent_for(&self) -> u64 {
        self.loud_end.map_or(u64::MAX, |loud| self.end - loud)
    }

    /// Copies the samples from `from` on; silence where there are none (any more, or yet).
    pub(super) fn copy(&self, from: i64, out: &mut [f32]) {
        let oldest = self.end.saturating_sub(KEPT as u64) as i64;
        for (i, sample) in out.iter_mut().enumerate() {
            let at = from + i as i64;
            let there = at >= oldest && at < self.end as i64;
            *sample = if there { self.ring[at as usize % KEPT] } else { 0.0 };
        }
    }

    fn silence(&mut self, samples: u64) {
        for _ in 0..samples.min(KEPT as u64) {
            self.ring[self.end as usize % KEPT] = 0.0;
            self.end += 1;
        }
        self.end += samples.saturating_sub(KEPT as u64);
    }
}
