//! Whisper's log-mel picture of sound, which Whisper and Smart Turn both look at.
//!
//! In: 16 kHz mono samples. Out: 80 mel bands by frames of 10 ms, scaled to about -1..1. Owns the
//! FFT plan and the filters; knows nothing of the networks that read it.
//!
//! Source: Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022),
//! section 2.2: windows of 25 ms, steps of 10 ms, 80 bands on Slaney's mel scale.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

/// Mel bands in a frame.
pub const MEL_BANDS: usize = 80;
/// Samples from one frame to the next (10 ms).
pub const HOP: usize = 160;
const WINDOW: usize = 400;
const BINS: usize = WINDOW / 2 + 1;
/// The least power that counts; what lies below is silence.
const POWER_FLOOR: f32 = 1e-10;
/// The picture spans this many decades below its loudest point.
const DECADES: f32 = 8.0;

/// One triangular filter: its weights from bin `first` on.
struct Band {
    first: usize,
    weights: Vec<f32>,
}

/// Makes log-mel pictures; holds the buffers for it.
pub struct LogMel {
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    bands: Vec<Band>,
    padded: Vec<f32>,
    framed: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl Default for LogMel {
    fn default() -> Self {
        Self::new()
    }
}

impl LogMel {
    /// Plans the FFT and computes the filters.
    pub fn new() -> Self {
        let fft = RealFftPlanner::<f32>::new().plan_fft_forward(WINDOW);
        let window = (0..WINDOW)
            .map(|i| {
                let phase = 2.0 * std::f64::consts::PI * i as f64 / WINDOW as f64;
                (0.5 - 0.5 * phase.cos()) as f32
            })
            .collect();
        Self {
            framed: fft.make_input_vec(),
            spectrum: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            fft,
            window,
            bands: mel_bands(),
            padded: Vec::new(),
        }
    }

    /// The picture of `sound`, `frames` frames long: `[MEL_BANDS][frames]`, band after band.
    ///
    /// Sound that ends early is followed by silence; sound beyond `frames * HOP` is not looked at.
    pub fn picture(&mut self, sound: &[f32], frames: usize) -> Vec<f32> {
        let sound = &sound[..sound.len().min(frames * HOP)];
        self.pad(sound, frames * HOP);
        let mut mel = vec![POWER_FLOOR.log10(); MEL_BANDS * frames];
        // A frame is silent from where its window begins after the sound's end.
        let sounding = (sound.len() + WINDOW / 2).div_ceil(HOP).min(frames);
        for frame in 0..sounding {
            self.power_spectrum(frame * HOP);
            for (band, row) in self.bands.iter().zip(mel.chunks_exact_mut(frames)) {
                let bins = &self.spectrum[band.first..band.first + band.weights.len()];
                let power: f32 = bins.iter().zip(&band.weights).map(|(bin, w)| bin.re * w).sum();
                row[frame] = power.max(POWER_FLOOR).log10();
            }
        }
        let loudest = mel.iter().copied().fold(f32::MIN, f32::max);
        for value in &mut mel {
            *value = (value.max(loudest - DECADES) + 4.0) / 4.0;
        }
        mel
    }

    /// Fills `padded` with the sound and silence up to `length`, mirrored by half a window at both
    /// ends.
    fn pad(&mut self, sound: &[f32], length: usize) {
        let half = WINDOW / 2;
        let at = |i: usize| sound.get(i).copied().unwrap_or(0.0);
        self.padded.clear();
        self.padded.extend((1..=half).rev().map(at));
        self.padded.extend_from_slice(sound);
        self.padded.resize(half + length, 0.0);
        self.padded.extend((0..half).map(|i| at(length.saturating_sub(i + 2))));
    }

    /// Leaves the power of each bin of the window at `start` in the real parts of `spectrum`.
    fn power_spectrum(&mut self, start: usize) {
        let samples = &self.padded[start..start + WINDOW];
        for ((framed, sample), w) in self.framed.iter_mut().zip(samples).zip(&self.window) {
            *framed = sample * w;
        }
        self.fft
            .process_with_scratch(&mut self.framed, &mut self.spectrum, &mut self.scratch)
            .expect("the FFT's buffers are of the length it was planned for");
        for bin in &mut self.spectrum {
            bin.re = bin.norm_sqr();
        }
    }
}

/// Slaney's mel scale: linear up to 1 kHz, logarithmic above.
fn mel_to_hertz(mel: f64) -> f64 {
    if mel < 15.0 { mel * 200.0 / 3.0 } else { 1000.0 * ((mel - 15.0) * 6.4f64.ln() / 27.0).exp() }
}

/// Triangles of equal area, evenly spaced in mel from 0 to 8 kHz.
fn mel_bands() -> Vec<Band> {
    let highest = 15.0 + 8.0f64.ln() * 27.0 / 6.4f64.ln();
    let edge = |i: usize| mel_to_hertz(highest * i as f64 / (MEL_BANDS + 1) as f64);
    let bin_hertz = f64::from(super::LISTENING_RATE) / WINDOW as f64;
    let band = |i: usize| {
        let (low, mid, high) = (edge(i), edge(i + 1), edge(i + 2));
        let weight = |bin: usize| {
            let hertz = bin as f64 * bin_hertz;
            let height = ((hertz - low) / (mid - low)).min((high - hertz) / (high - mid));
            height.max(0.0) * 2.0 / (high - low)
        };
        let first = (0..BINS).find(|&bin| weight(bin) > 0.0).unwrap_or(0);
        let weights = (first..BINS).map(weight).take_while(|&w| w > 0.0).map(|w| w as f32);
        Band { first, weights: weights.collect() }
    };
    (0..MEL_BANDS).map(band).collect()
}

#[cfg(test)]
mod tests {
    use super::{HOP, LogMel, MEL_BANDS};

    #[test]
    fn a_tone_lights_its_own_band_and_silence_is_flat() {
        let tone: Vec<f32> = (0..16_000)
            .map(|i| (i as f32 * 1000.0 * std::f32::consts::TAU / 16_000.0).sin() * 0.5)
            .collect();
        let frames = 200;
        let picture = LogMel::new().picture(&tone, frames);
        let column =
            |frame: usize| (0..MEL_BANDS).map(|b| picture[b * frames + frame]).collect::<Vec<_>>();
        let loud = column(50);
        let loudest = loud.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        // 1 kHz is 15 mel of 45.2 in all; band i peaks at (i + 1) / 81 of them.
        assert_eq!(loudest, 26);
        let silent = column(150);
        assert!(silent.iter().all(|v| (v - silent[0]).abs() < 1e-6));
        assert!((loud[loudest] - silent[0] - 2.0).abs() < 1e-4, "eight decades are two units");
    }

    #[test]
    fn sound_beyond_the_picture_is_not_looked_at() {
        let sound = vec![0.1; 100 * HOP];
        assert_eq!(LogMel::new().picture(&sound, 10).len(), 10 * MEL_BANDS);
    }
}
