//! Any sample rate to any other.
//!
//! In: mono samples, in chunks of any size or whole. Out: mono samples at the other rate, as many
//! as there should be. Owned by whoever has the sound; wraps rubato. A windowed sinc with one phase
//! per output position (exact for the usual rates: 22.05 → 48 kHz repeats every 320 samples), which
//! holds back 1.5 ms where rubato's FFT in blocks holds back 10 ms and more.

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{
    Async, FixedAsync, Resampler as _, Resizable as _, SincInterpolationParameters,
    SincInterpolationType, WindowFunction,
};

/// The rates that will do, in Hz; they bound the filter's memory.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=384_000;

/// Most samples taken at a time.
const CHUNK: usize = 1_024;

/// Filter length in input samples when going up; its delay is half of it. From 22.05 to 48 kHz, 64
/// with a Blackman window passes 9.5 kHz at -0.5 dB and keeps images 80 dB down. rubato's FFT
/// costs a third of it, but for the same band it takes blocks of 147 samples: 10 ms in all.
const SINC_LEN: usize = 64;

/// Shorter skirts than rubato's default, Blackman-Harris squared, which takes 0.8 dB at 8 kHz.
const WINDOW: WindowFunction = WindowFunction::Blackman;

/// Beyond this many phases the filter is interpolated between 256 of them.
const MAX_PHASES: u32 = 1_000;

/// Why a resampler cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot resample from {from} Hz to {to} Hz; rates from 1000 to 384000 Hz will do")]
pub struct BadRate {
    /// The rate asked from, in Hz.
    pub from: u32,
    /// The rate asked to, in Hz.
    pub to: u32,
}

/// A stream of mono sound from one rate to another.
pub struct Resampler {
    from: u32,
    to: u32,
    /// `None` where the rates are equal.
    inner: Option<Async<f32>>,
    scratch: Vec<f32>,
    /// Output samples of the filter's delay still to leave out.
    trim: usize,
    taken: u64,
    given: u64,
}

impl Resampler {
    /// Ready for the first chunk.
    pub fn new(from: u32, to: u32) -> Result<Self, BadRate> {
        let bad = || BadRate { from, to };
        if ![from, to].iter().all(|rate| RATES.contains(rate)) {
            return Err(bad());
        }
        let inner = if from == to { None } else { Some(make(from, to).ok_or_else(bad)?) };
        let trim = inner.as_ref().map_or(0, |r| r.output_delay());
        let room = inner.as_ref().map_or(0, |r| r.output_frames_max());
        Ok(Self { from, to, inner, scratch: vec![0.0; room], trim, taken: 0, given: 0 })
    }

    /// The rate it gives, in Hz.
    pub fn output_rate(&self) -> u32 {
        self.to
    }

    /// What the filter holds back, in input samples.
    pub fn delay(&self) -> usize {
        self.inner.as_ref().map_or(0, |r| {
            (r.output_delay() as u64 * u64::from(self.from)).div_ceil(u64::from(self.to)) as usize
        })
    }

    /// Takes a chunk of any length in; appends what is ready to `out`.
    pub fn push(&mut self, pcm: &[f32], out: &mut Vec<f32>) {
        self.taken += pcm.len() as u64;
        if self.inner.is_none() {
            self.given += pcm.len() as u64;
            out.extend_from_slice(pcm);
            return;
        }
        for chunk in pcm.chunks(CHUNK) {
            self.process(chunk, u64::MAX, out);
        }
    }

    /// Appends what the filter still holds, so that all that was given is exactly
    /// `round(taken * to / from)` samples; ready for the next sound afterwards.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let whole = total(self.taken, self.from, self.to);
        while self.given < whole && self.inner.is_some() {
            self.process(&[0.0; 64], whole, out);
        }
        if let Some(inner) = &mut self.inner {
            inner.reset();
            self.trim = inner.output_delay();
        }
        self.taken = 0;
        self.given = 0;
    }

    /// Runs one chunk (at most [`CHUNK`]) and appends up to `most` samples in all.
    fn process(&mut self, chunk: &[f32], most: u64, out: &mut Vec<f32>) {
        let Some(inner) = &mut self.inner else { return };
        inner
            .set_chunk_size(chunk.len())
            .expect("a chunk is within the size the filter was made for");
        let room = self.scratch.len();
        let input = SequentialSlice::new(chunk, 1, chunk.len()).expect("one channel fits");
        let mut output =
            SequentialSlice::new_mut(&mut self.scratch, 1, room).expect("one channel fits");
        let (_, made) = inner
            .process_into_buffer(&input, &mut output, None)
            .expect("the buffers are as large as the filter asks");
        let skip = self.trim.min(made);
        self.trim -= skip;
        let n = ((made - skip) as u64).min(most - self.given) as usize;
        out.extend_from_slice(&self.scratch[skip..skip + n]);
        self.given += n as u64;
    }
}

/// Resamples a whole sound: `round(len * to / from)` samples.
pub fn resample(pcm: &[f32], from: u32, to: u32) -> Result<Vec<f32>, BadRate> {
    let mut resampler = Resampler::new(from, to)?;
    let mut out = Vec::with_capacity(total(pcm.len() as u64, from, to) as usize + 1);
    resampler.push(pcm, &mut out);
    resampler.finish(&mut out);
    Ok(out)
}

fn total(samples: u64, from: u32, to: u32) -> u64 {
    (samples * u64::from(to) + u64::from(from) / 2) / u64::from(from)
}

fn make(from: u32, to: u32) -> Option<Async<f32>> {
    let phases = to / gcd(from, to);
    let (oversampling, interpolation) = if phases <= MAX_PHASES {
        // Every output position is a phase of its own: nothing to interpolate.
        let enough = 128u32.div_ceil(phases) * phases;
        (enough, SincInterpolationType::Nearest)
    } else {
        (256, SincInterpolationType::Linear)
    };
    // Going down the cutoff is lower, and the filter longer for it.
    let stretch = (f64::from(from) / f64::from(to)).clamp(1.0, 12.0);
    let length = ((SINC_LEN as f64 * stretch / 8.0).ceil() * 8.0) as usize;
    let parameters = SincInterpolationParameters::new(length, WINDOW)
        .oversampling_factor(oversampling as usize)
        .interpolation(interpolation);
    let ratio = f64::from(to) / f64::from(from);
    Async::new_sinc(ratio, 1.0, &parameters, CHUNK, 1, FixedAsync::Input).ok()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::level::{peak, rms_dbfs};

    fn sine(hz: f64, rate: u32, samples: usize) -> Vec<f32> {
        (0..samples)
            .map(|i| (0.5 * (i as f64 * hz * std::f64::consts::TAU / f64::from(rate)).sin()) as f32)
            .collect()
    }

    /// Signal to error in dB against the ideal sine, edges left out; at the best shift below one
    /// output sample.
    fn snr(out: &[f32], hz: f64, rate: u32) -> f32 {
        let middle = 2_000..out.len() - 2_000;
        // The least-squares fit of a sine and cosine leaves the error.
        let (mut ss, mut sc, mut cc, mut ys, mut yc) = (0.0, 0.0, 0.0, 0.0, 0.0);
        let w = hz * std::f64::consts::TAU / f64::from(rate);
        for i in middle.clone() {
            let (s, c) = (w * i as f64).sin_cos();
            let y = f64::from(out[i]);
            (ss, sc, cc, ys, yc) = (ss + s * s, sc + s * c, cc + c * c, ys + y * s, yc + y * c);
        }
        let det = ss * cc - sc * sc;
        let (a, b) = ((ys * cc - yc * sc) / det, (yc * ss - ys * sc) / det);
        let error: Vec<f32> = middle
            .clone()
            .map(|i| {
                let (s, c) = (w * i as f64).sin_cos();
                (f64::from(out[i]) - a * s - b * c) as f32
            })
            .collect();
        // Amplitude and phase must be right as well.
        assert!((a.hypot(b) - 0.5).abs() < 0.01, "amplitude {}", a.hypot(b));
        assert!(b.atan2(a).abs() < w * 1.1, "shifted by {} samples", b.atan2(a) / w);
        rms_dbfs(&out[middle]) - rms_dbfs(&error)
    }

    #[test]
    fn speech_rates_come_out_clean_and_as_long_as_they_should() {
        for (from, to) in [
            (22_050, 48_000),
            (16_000, 48_000),
            (24_000, 48_000),
            (8_000, 48_000),
            (48_000, 16_000),
            (44_100, 48_000),
            (44_100, 16_000),
            (22_050, 16_000),
        ] {
            let out = resample(&sine(1_000.0, from, from as usize), from, to).unwrap();
            assert_eq!(out.len(), to as usize);
            let snr = snr(&out, 1_000.0, to);
            assert!(snr > 75.0, "{from} -> {to}: {snr} dB");
        }
    }

    #[test]
    fn odd_rates_are_good_enough() {
        let out = resample(&sine(1_000.0, 22_051, 22_051), 22_051, 48_000).unwrap();
        let snr = snr(&out, 1_000.0, 48_000);
        assert!(snr > 60.0, "{snr} dB");
    }

    #[test]
    fn chunk_borders_do_not_show() {
        let whole = sine(440.0, 22_050, 30_000);
        let expected = resample(&whole, 22_050, 48_000).unwrap();
        let mut resampler = Resampler::new(22_050, 48_000).unwrap();
        for sizes in [&[1usize, 7, 256, 3_000][..], &[1], &[256]] {
            let mut out = Vec::new();
            let (mut at, mut turn) = (0, 0);
            while at < whole.len() {
                let n = sizes[turn % sizes.len()].min(whole.len() - at);
                resampler.push(&whole[at..at + n], &mut out);
                at += n;
                turn += 1;
            }
            resampler.finish(&mut out);
            assert_eq!(out.len(), expected.len());
            let difference: Vec<f32> = out.iter().zip(&expected).map(|(a, b)| a - b).collect();
            assert!(peak(&difference) < 1e-5, "{}", peak(&difference));
        }
    }

    #[test]
    fn little_is_held_back() {
        let mut resampler = Resampler::new(22_050, 48_000).unwrap();
        let mut out = Vec::new();
        resampler.push(&[0.1; 2_205], &mut out);
        let held_ms = 100.0 - out.len() as f32 / 48.0;
        assert!(held_ms < 3.0, "{held_ms} ms");
        assert!(resampler.delay() <= 64);
    }

    #[test]
    fn what_is_above_the_new_band_is_gone() {
        let out = resample(&sine(11_000.0, 48_000, 48_000), 48_000, 16_000).unwrap();
        assert!(rms_dbfs(&out[500..15_500]) < -80.0, "{}", rms_dbfs(&out[500..15_500]));
    }

    #[test]
    fn any_two_rates_give_the_right_length() {
        let rates = [1_000, 7_999, 8_000, 11_025, 22_050, 44_101, 48_000, 96_000, 384_000];
        for from in rates {
            for to in rates {
                let out = resample(&[0.25; 3_001], from, to).unwrap();
                let exact = 3_001.0 * f64::from(to) / f64::from(from);
                assert_eq!(out.len() as f64, (exact + 0.5).floor(), "{from} -> {to}");
                assert!(peak(&out) < 0.4, "{from} -> {to}: {}", peak(&out));
            }
        }
    }

    #[test]
    fn tiny_and_empty_sounds_keep_their_length() {
        assert!(resample(&[], 22_050, 48_000).unwrap().is_empty());
        assert_eq!(resample(&[0.5], 22_050, 48_000).unwrap().len(), 2);
        assert_eq!(resample(&[0.5; 3], 48_000, 48_000).unwrap(), vec![0.5; 3]);
        assert_eq!(resample(&[0.5; 10], 48_000, 8_000).unwrap().len(), 2);
        assert!(Resampler::new(0, 48_000).is_err());
        assert!(Resampler::new(48_000, 1_000_000).is_err());
    }
}
