//! The echo's path, learned, and the echo taken away.
//!
//! In: blocks of 10 ms of what is heard, with what was sent around the echo's lag. Out: the block less
//! the echo. A partitioned-block frequency-domain Kalman filter (Enzner and Vary 2006; Kuech, Mabande
//! and Enzner 2014): each bin's step follows from how unsure its weight is and how loud everything
//! else is, so it learns in a second and stands still while the person talks. Owned by
//! [`super::EchoGuard`]; adds no delay.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

/// Samples of a block: 10 ms at 16 kHz.
pub(super) const BLOCK: usize = 160;

/// Blocks of echo path that are modelled: 160 ms.
pub(super) const PARTS: usize = 16;

const FFT: usize = 2 * BLOCK;
const BINS: usize = BLOCK + 1;

/// How much of a weight is kept from block to block; the rest is doubt.
const KEEP: f32 = 0.9995;

/// Doubt about an unknown path.
const UNKNOWN: f32 = 0.3;

/// How fast the level of everything but the echo is followed.
const OTHER: f32 = 0.5;

/// Partitions brought back to 10 ms after each block, in turn.
const TIDIED: usize = 4;

/// One partition's weights and how unsure they are.
#[derive(Clone)]
struct Part {
    weights: Vec<Complex32>,
    doubt: Vec<f32>,
    /// The spectrum of what was sent that meets these weights; shifted round.
    sent: Vec<Complex32>,
}

/// The adaptive filter.
pub(super) struct Canceller {
    forward: Arc<dyn RealToComplex<f32>>,
    back: Arc<dyn ComplexToReal<f32>>,
    time: Vec<f32>,
    bins: Vec<Complex32>,
    scratch: Vec<Complex32>,
    parts: Vec<Part>,
    /// The partition that holds the newest spectrum.
    newest: usize,
    error: Vec<Complex32>,
    other: Vec<f32>,
    tidy: usize,
}

impl Canceller {
    pub(super) fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        let forward = planner.plan_fft_forward(FFT);
        let back = planner.plan_fft_inverse(FFT);
        let zero = Complex32::default();
        let part =
            Part { weights: vec![zero; BINS], doubt: vec![UNKNOWN; BINS], sent: vec![zero; BINS] };
        let scratch = forward.get_scratch_len().max(back.get_scratch_len());
        Self {
            forward,
            back,
            time: vec![0.0; FFT],
            bins: vec![zero; BINS],
            scratch: vec![zero; scratch],
            parts: vec![part; PARTS],
            newest: 0,
            error: vec![zero; BINS],
            other: vec![0.0; BINS],
            tidy: 0,
        }
    }

    /// Starts over with an unknown path.
    pub(super) fn forget(&mut self) {
        for part in &mut self.parts {
            part.weights.fill(Complex32::default());
            part.doubt.fill(UNKNOWN);
            part.sent.fill(Complex32::default());
        }
        self.other.fill(0.0);
    }

    /// Takes `sent`, the two blocks that end with the one that belongs to this one (less the head
    /// start), without cancelling anything: so the history is there when the filter starts.
    pub(super) fn remember(&mut self, sent: &[f32; FFT]) {
        self.newest = (self.newest + PARTS - 1) % PARTS;
        self.time.copy_from_slice(sent);
        self.forward
            .process_with_scratch(
                &mut self.time,
                &mut self.parts[self.newest].sent,
                &mut self.scratch,
            )
            .expect("the buffers were made for this transform");
    }

    /// Takes the echo of what was remembered out of `block`, and learns.
    pub(super) fn cancel(&mut self, block: &mut [f32]) {
        self.estimate();
        for (sample, echo) in block.iter_mut().zip(&self.time[BLOCK..]) {
            *sample -= echo / FFT as f32;
        }
        self.learn(block);
    }

    /// The echo's estimate into the second half of `time`, times the transform's length.
    fn estimate(&mut self) {
        self.bins.fill(Complex32::default());
        for p in 0..PARTS {
            let sent = &self.parts[(self.newest + p) % PARTS].sent;
            for ((sum, w), x) in self.bins.iter_mut().zip(&self.parts[p].weights).zip(sent) {
                *sum += w * x;
            }
        }
        self.inverse();
    }

    fn learn(&mut self, error: &[f32]) {
        self.time[..BLOCK].fill(0.0);
        self.time[BLOCK..].copy_from_slice(error);
        self.forward
            .process_with_scratch(&mut self.time, &mut self.error, &mut self.scratch)
            .expect("the buffers were made for this transform");
        // What the error would be of doubt alone, and of everything else.
        for (k, other) in self.other.iter_mut().enumerate() {
            *other += OTHER * (self.error[k].norm_sqr() - *other);
        }
        for k in 0..BINS {
            let mut expected = 2.0 * self.other[k] + 1e-6;
            for p in 0..PARTS {
                let x = self.parts[(self.newest + p) % PARTS].sent[k];
                expected += self.parts[p].doubt[k] * x.norm_sqr();
            }
            self.bins[k] = self.error[k] / expected;
        }
        for p in 0..PARTS {
            let at = (self.newest + p) % PARTS;
            for k in 0..BINS {
                let x = self.parts[at].sent[k];
                let scaled = self.bins[k];
                let part = &mut self.parts[p];
                let doubt = part.doubt[k];
                part.weights[k] = part.weights[k] * KEEP + x.conj() * scaled * doubt;
            }
        }
        self.grow_sure();
        for _ in 0..TIDIED {
            self.tidy_next();
        }
    }

    /// Doubt falls with what was learned and rises with time.
    fn grow_sure(&mut self) {
        for k in 0..BINS {
            let mut expected = 2.0 * self.other[k] + 1e-6;
            for p in 0..PARTS {
                let x = self.parts[(self.newest + p) % PARTS].sent[k];
                expected += self.parts[p].doubt[k] * x.norm_sqr();
            }
            for p in 0..PARTS {
                let x = self.parts[(self.newest + p) % PARTS].sent[k].norm_sqr();
                let part = &mut self.parts[p];
                let doubt = part.doubt[k];
                let less = 1.0 - 0.5 * doubt * x / expected;
                let rise = (1.0 - KEEP * KEEP) * part.weights[k].norm_sqr();
                part.doubt[k] = (KEEP * KEEP * doubt * less + rise).min(UNKNOWN);
            }
        }
    }

    /// Keeps one partition's response within its 10 ms.
    fn tidy_next(&mut self) {
        self.tidy = (self.tidy + 1) % PARTS;
        self.bins.copy_from_slice(&self.parts[self.tidy].weights);
        self.inverse();
        self.time[BLOCK..].fill(0.0);
        self.time[..BLOCK].iter_mut().for_each(|t| *t /= FFT as f32);
        self.forward
            .process_with_scratch(
                &mut self.time,
                &mut self.parts[self.tidy].weights,
                &mut self.scratch,
            )
            .expect("the buffers were made for this transform");
    }

    /// `bins` to `time`, unscaled.
    fn inverse(&mut self) {
        self.bins[0].im = 0.0;
        self.bins[BINS - 1].im = 0.0;
        self.back
            .process_with_scratch(&mut self.bins, &mut self.time, &mut self.scratch)
            .expect("the buffers were made for this transform");
    }
}
