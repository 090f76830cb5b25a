//! A recording cut at its silences.
//!
//! In: 16 kHz samples in portions of any size. Out: [`Stretch`]es of some seconds that begin and end
//! in silence, each with its place in the recording. Told everything, knows no clock and no
//! recogniser; keeps less than [`LONGEST_S`] of sound.

use crate::audio::HEARING_RATE;

/// One frame of loudness, in samples (20 ms).
const FRAME: usize = HEARING_RATE as usize / 50;
const FRAMES_PER_S: f32 = 50.0;
/// No stretch is longer, seconds: the recogniser hears 30 at a time.
const LONGEST_S: f32 = 28.0;
/// From this length on (seconds) a pause of so many frames ends a stretch.
const PAUSES: [(f32, usize); 3] = [(15.0, 8), (5.0, 15), (1.5, 40)];
/// A stretch that found no pause is cut at its quietest moment after this, seconds.
const LOOK_FROM_S: f32 = 15.0;
/// Sound this far below the loudest counts as silence, dB.
const BELOW_SPEECH_DB: f32 = 32.0;
/// Below this nothing is heard, dBFS.
const INAUDIBLE_DB: f32 = -55.0;
/// Silence kept before and after the words, in frames.
const MARGIN: usize = 10;

/// A part of a recording with something in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// Where it begins, seconds from the recording's beginning.
    pub start_s: f64,
    /// Its sound, with a little silence at both ends.
    pub samples: Vec<f32>,
}

impl Stretch {
    /// Where it ends, seconds.
    pub fn end_s(&self) -> f64 {
        self.start_s + self.samples.len() as f64 / f64::from(HEARING_RATE)
    }
}

/// Cuts one recording.
#[derive(Debug, Default)]
pub struct Cutter {
    samples: Vec<f32>,
    /// Loudness of each whole frame of `samples`, dBFS.
    levels: Vec<f32>,
    /// Samples of the recording before `samples`.
    before: u64,
    /// The loudest frame so far, dBFS, sinking slowly.
    loudest: f32,
}

impl Cutter {
    /// At the beginning of a recording.
    pub fn new() -> Self {
        Self { loudest: INAUDIBLE_DB, ..Self::default() }
    }

    /// Takes more sound.
    pub fn push(&mut self, samples: &[f32]) {
        self.samples.extend_from_slice(samples);
        while let Some(frame) = self.samples.get(self.levels.len() * FRAME..).and_then(first_frame)
        {
            let power = frame.iter().map(|sample| sample * sample).sum::<f32>() / FRAME as f32;
            let level = 10.0 * power.max(1e-12).log10();
            // 0.3 dB a second: a quiet speaker after a loud one is found again.
            self.loudest = level.max(self.loudest - 0.3 / FRAMES_PER_S);
            self.levels.push(level);
        }
    }

    /// The next stretch that is complete.
    pub fn next(&mut self) -> Option<Stretch> {
        loop {
            let end = self.end_of_stretch()?;
            if let Some(stretch) = self.take(end) {
                return Some(stretch);
            }
        }
    }

    /// The recording has ended: what is left of it, if there is something in it.
    pub fn finish(&mut self) -> Option<Stretch> {
        self.next().or_else(|| self.take(self.levels.len()))
    }

    /// Seconds of the recording so far.
    pub fn seconds(&self) -> f64 {
        (self.before + self.samples.len() as u64) as f64 / f64::from(HEARING_RATE)
    }

    fn threshold(&self) -> f32 {
        (self.loudest - BELOW_SPEECH_DB).max(INAUDIBLE_DB)
    }

    /// The frame after a stretch: in the middle of a pause, at the quietest moment, or where a long
    /// silence ends.
    fn end_of_stretch(&self) -> Option<usize> {
        let threshold = self.threshold();
        let first = self.levels.iter().position(|level| *level > threshold);
        let Some(first) = first else {
            // Silence alone is let go, but for what may be the breath before a word.
            let enough = self.levels.len() > 4 * MARGIN;
            return enough.then(|| self.levels.len() - MARGIN);
        };
        let mut silent = 0;
        for (at, level) in self.levels.iter().enumerate().skip(first) {
            silent = if *level > threshold { 0 } else { silent + 1 };
            let spoken_s = (at - first + 1 - silent) as f32 / FRAMES_PER_S;
            let pause = PAUSES.iter().find(|(from, _)| spoken_s >= *from);
            if pause.is_some_and(|(_, frames)| silent >= *frames) {
                return Some(at + 1 - silent / 2);
            }
        }
        let longest = (LONGEST_S * FRAMES_PER_S) as usize;
        if self.levels.len() < longest {
            return None;
        }
        let from = (LOOK_FROM_S * FRAMES_PER_S) as usize;
        // The quietest 100 ms.
        let sums = self.levels[from..longest].windows(5).map(|five| five.iter().sum::<f32>());
        let quietest = sums.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
        quietest.map(|(at, _)| from + at + 2)
    }

    /// Takes the frames before `end` out; `None` if there is nothing in them.
    fn take(&mut self, end: usize) -> Option<Stretch> {
        let threshold = self.threshold();
        let levels: Vec<f32> = self.levels.drain(..end).collect();
        // What is less than a frame goes with the last stretch.
        let all = if self.levels.is_empty() { self.samples.len() } else { end * FRAME };
        let samples: Vec<f32> = self.samples.drain(..all).collect();
        let start = self.before;
        self.before += samples.len() as u64;
        let heard = |level: &f32| *level > threshold;
        let first = levels.iter().position(heard)?.saturating_sub(MARGIN);
        let last = levels.iter().rposition(heard)? + 1 + MARGIN;
        let kept = first * FRAME..(last * FRAME).min(samples.len());
        let start_s = (start + kept.start as u64) as f64 / f64::from(HEARING_RATE);
        Some(Stretch { start_s, samples: samples[kept].to_vec() })
    }
}

fn first_frame(samples: &[f32]) -> Option<&[f32]> {
    samples.get(..FRAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds of tone (true) and silence (false).
    fn sound(parts: &[(bool, f32)]) -> Vec<f32> {
        let mut samples = Vec::new();
        for (loud, seconds) in parts {
            let count = (seconds * HEARING_RATE as f32) as usize;
            let volume = if *loud { 0.3 } else { 0.0005 };
            samples.extend((0..count).map(|i| volume * (i as f32 * 0.3).sin()));
        }
        samples
    }

    fn cut(samples: &[f32]) -> Vec<(f64, f64)> {
        let mut cutter = Cutter::new();
        let mut found = Vec::new();
        for part in samples.chunks(1_111) {
            cutter.push(part);
            found.extend(std::iter::from_fn(|| cutter.next()));
        }
        found.extend(std::iter::from_fn(|| cutter.finish()));
        assert!((cutter.seconds() - samples.len() as f64 / 16_000.0).abs() < 1e-9);
        found.iter().map(|stretch| (stretch.start_s, stretch.end_s())).collect()
    }

    fn near(found: &[(f64, f64)], expected: &[(f64, f64)]) {
        let close = |a: f64, b: f64| (a - b).abs() < 0.25;
        let same = found.len() == expected.len()
            && found.iter().zip(expected).all(|(f, e)| close(f.0, e.0) && close(f.1, e.1));
        assert!(same, "{found:?}, not {expected:?}");
    }

    #[test]
    fn a_short_recording_is_one_stretch_without_its_silence() {
        near(
            &cut(&sound(&[(false, 1.0), (true, 3.0), (false, 0.3), (true, 1.0), (false, 2.0)])),
            &[(1.0, 5.3)],
        );
    }

    #[test]
    fn pauses_part_a_long_recording() {
        let parts = [(true, 6.0), (false, 0.5), (true, 2.0), (false, 1.0), (true, 6.0)];
        near(&cut(&sound(&parts)), &[(0.0, 6.2), (6.3, 8.7), (9.3, 15.5)]);
    }

    #[test]
    fn speech_without_a_pause_is_cut_at_its_quietest_moment() {
        let mut samples = sound(&[(true, 60.0)]);
        for sample in &mut samples[20 * 16_000..20 * 16_000 + 2_000] {
            *sample *= 0.1;
        }
        let found = cut(&samples);
        assert!((found[0].1 - 20.05).abs() < 0.1, "{found:?}");
        assert!(found.iter().all(|(start, end)| end - start <= 28.1), "{found:?}");
        assert!((found.last().expect("some").1 - 60.0).abs() < 0.01);
    }

    #[test]
    fn silence_has_no_stretches_and_takes_no_memory() {
        let mut cutter = Cutter::new();
        for _ in 0..1_000 {
            cutter.push(&[0.0; 16_000]);
            assert_eq!(cutter.next(), None);
            assert!(cutter.samples.len() < 32_000);
        }
        assert_eq!(cutter.finish(), None);
    }
}
