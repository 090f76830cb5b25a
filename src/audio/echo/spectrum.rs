//! Spectra of 32 ms of sound.
//!
//! Owned by whoever looks at sound; allocates once.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

/// Samples in a spectrum's window; its bins are 31.25 Hz each.
pub(super) const WINDOW: usize = 512;

/// Turns windows into spectra.
pub(super) struct Spectrum {
    fft: Arc<dyn RealToComplex<f32>>,
    hann: Vec<f32>,
    input: Vec<f32>,
    scratch: Vec<Complex32>,
    /// The latest spectrum.
    pub(super) bins: Vec<Complex32>,
}

impl Spectrum {
    pub(super) fn new() -> Self {
        let fft = RealFftPlanner::new().plan_fft_forward(WINDOW);
        let step = std::f32::consts::TAU / WINDOW as f32;
        Self {
            hann: (0..WINDOW).map(|i| 0.5 - 0.5 * (i as f32 * step).cos()).collect(),
            input: fft.make_input_vec(),
            scratch: fft.make_scratch_vec(),
            bins: fft.make_output_vec(),
            fft,
        }
    }

    /// The spectrum of `samples`, with the voice's fall over frequency taken out.
    pub(super) fn of(&mut self, samples: &[f32; WINDOW]) -> &[Complex32] {
        let mut before = samples[0];
        for ((x, s), w) in self.input.iter_mut().zip(samples).zip(&self.hann) {
            *x = (s - 0.9 * before) * w;
            before = *s;
        }
        self.fft
            .process_with_scratch(&mut self.input, &mut self.bins, &mut self.scratch)
            .expect("the buffers were made for this transform");
        &self.bins
    }
}
