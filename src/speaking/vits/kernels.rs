//! One tile of a convolution: eight output channels by up to 48 samples, with bias, sums and
//! activation applied before it is stored.
//!
//! Time is contiguous in memory, so a tap is the same row read a little further on: nothing is
//! rearranged before the multiplications. AVX-512 where the processor has it, else plain loops
//! that the compiler vectorises, for AVX2 where it has that. All `unsafe` of the voice is here, in
//! [`super::conv`] and in [`super::loops`].

use super::loops::FUSES;

/// Output channels of a tile; weights are packed in groups of as many.
pub const ROWS: usize = 8;
/// The most samples of a tile.
pub const COLS: usize = 48;

/// One tile's work. Pointers may be null where `Option` would say so: `add`, `raw`, `act`.
#[derive(Clone, Copy)]
pub struct Tile {
    /// Input channel 0, at the first output sample's first tap.
    pub x: *const f32,
    /// Floats from one input channel to the next.
    pub x_stride: usize,
    /// Weights `[input channel][tap][ROWS]` of this group of output channels.
    pub w: *const f32,
    /// Input channels, taps, and samples from one tap to the next.
    pub shape: (usize, usize, usize),
    /// Bias of the group's channels.
    pub bias: *const f32,
    /// Up to two things to add, at the tile's first output, and their row strides.
    pub add: [(*const f32, usize); 2],
    /// Where the sum goes, and its row stride.
    pub raw: (*mut f32, usize),
    /// Where the scaled and rectified sum goes, and its row stride.
    pub act: (*mut f32, usize),
    /// Factor applied before the rectifier, and the rectifier's slope below zero.
    pub scale: f32,
    /// See `scale`.
    pub slope: f32,
    /// Rows (≤ [`ROWS`]) and samples (≤ [`COLS`]) to store.
    pub size: (usize, usize),
}

/// The instruction sets a tile can run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Simd {
    /// 512-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 256-bit vectors, fused products and sums.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Whatever the program was compiled for.
    Compiled,
}

impl Simd {
    /// The best this processor has.
    pub fn detect() -> Self {
        Self::available().next().unwrap_or(Self::Compiled)
    }

    /// All this processor has, the best first.
    pub fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let sets = {
            let fma = std::arch::is_x86_feature_detected!("fma");
            let avx2 = fma && std::arch::is_x86_feature_detected!("avx2");
            let avx512 = avx2 && std::arch::is_x86_feature_detected!("avx512f");
            [(avx512, Self::Avx512), (avx2, Self::Avx2), (true, Self::Compiled)]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let sets = [(true, Self::Compiled)];
        sets.into_iter().filter_map(|(has, set)| has.then_some(set))
    }

    /// Computes one tile.
    ///
    /// # Safety
    /// Every pointer of the tile must be valid for what its fields say: `x` for all taps of
    /// `size.1` samples in every channel, `w` for the packed group, `bias` for [`ROWS`] floats,
    /// the others for `size.0` rows of `size.1` floats; `raw` and `act` may overlap `add` only
    /// at the same place. `Avx512` and `Avx2` only where the processor has them.
    #[inline]
    pub unsafe fn tile(self, tile: &Tile) {
        // SAFETY: passed on to the caller.
        unsafe {
            match self {
                #[cfg(target_arch = "x86_64")]
                Self::Avx512 => match tile.size.1.div_ceil(16) {
                    0 => {}
                    1 => avx512::tile::<1>(tile),
                    2 => avx512::tile::<2>(tile),
                    _ => avx512::tile::<3>(tile),
                },
                #[cfg(target_arch = "x86_64")]
                Self::Avx2 => avx2(tile),
                Self::Compiled => compiled::tile::<FUSES>(tile),
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{ROWS, Tile};

    /// Weights fetched ahead, in floats.
    const PREFETCH: usize = 64 * ROWS;

    /// # Safety
    /// As [`super::Simd::tile`].
    #[target_feature(enable = "avx512f")]
    pub unsafe fn tile<const V: usize>(tile: &Tile) {
        let (channels, taps, dilation) = tile.shape;
        let cols = tile.size.1;
        let mut masks = [0u16; V];
        for (v, mask) in masks.iter_mut().enumerate() {
            let left = cols.saturating_sub(16 * v).min(16);
            *mask = ((1u32 << left) - 1) as u16;
        }
        let full = cols == 16 * V;
        // SAFETY: the caller vouches for the pointers; partial vectors are masked.
        unsafe {
            let mut sums = [[_mm512_setzero_ps(); V]; ROWS];
            for (row, sum) in sums.iter_mut().enumerate() {
                *sum = [_mm512_set1_ps(*tile.bias.add(row)); V];
            }
            let mut w = tile.w;
            for channel in 0..channels {
                let mut x = tile.x.add(channel * tile.x_stride);
                for _ in 0..taps {
                    // A little more than the latency of the L2 cache ahead.
                    _mm_prefetch::<_MM_HINT_T0>(w.wrapping_add(PREFETCH).cast());
                    let mut inputs = [_mm512_setzero_ps(); V];
                    if full {
                        for (v, input) in inputs.iter_mut().enumerate() {
                            *input = _mm512_loadu_ps(x.add(16 * v));
                        }
                    } else {
                        for (v, input) in inputs.iter_mut().enumerate() {
                            *input = _mm512_maskz_loadu_ps(masks[v], x.add(16 * v));
                        }
                    }
                    for (row, sum) in sums.iter_mut().enumerate() {
                        let weight = _mm512_set1_ps(*w.add(row));
                        for v in 0..V {
                            sum[v] = _mm512_fmadd_ps(weight, inputs[v], sum[v]);
                        }
                    }
                    w = w.add(ROWS);
                    x = x.add(dilation);
                }
            }
            // Through memory, so that the sums above are only ever indexed by constants and stay
            // in registers.
            let mut held = Held([[[0.0; 16]; V]; ROWS]);
            for (held, sums) in held.0.iter_mut().zip(&sums) {
                for (held, &sum) in held.iter_mut().zip(sums) {
                    _mm512_store_ps(held.as_mut_ptr(), sum);
                }
            }
            store(tile, &held, &masks);
        }
    }

    #[repr(align(64))]
    struct Held<const V: usize>([[[f32; 16]; V]; ROWS]);

    /// # Safety
    /// As [`super::Simd::tile`].
    #[target_feature(enable = "avx512f")]
    unsafe fn store<const V: usize>(tile: &Tile, held: &Held<V>, masks: &[u16; V]) {
        let scale = _mm512_set1_ps(tile.scale);
        let slope = _mm512_set1_ps(tile.slope);
        for (row, sums) in held.0.iter().enumerate().take(tile.size.0) {
            for (v, sum) in sums.iter().enumerate() {
                // SAFETY: the caller vouches for the pointers; partial vectors are masked.
                unsafe {
                    let mut value = _mm512_load_ps(sum.as_ptr());
                    for (add, stride) in tile.add {
                        if !add.is_null() {
                            let add = add.add(row * stride + 16 * v);
                            value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(masks[v], add));
                        }
                    }
                    if !tile.raw.0.is_null() {
                        let raw = tile.raw.0.add(row * tile.raw.1 + 16 * v);
                        _mm512_mask_storeu_ps(raw, masks[v], value);
                    }
                    if !tile.act.0.is_null() {
                        let act = tile.act.0.add(row * tile.act.1 + 16 * v);
                        let scaled = _mm512_mul_ps(value, scale);
                        let rectified = _mm512_max_ps(scaled, _mm512_mul_ps(scaled, slope));
                        _mm512_mask_storeu_ps(act, masks[v], rectified);
                    }
                }
            }
        }
    }
}

/// # Safety
/// As [`Simd::tile`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(tile: &Tile) {
    // SAFETY: passed on to the caller.
    unsafe { compiled::tile::<true>(tile) }
}

/// Plain loops, of whatever instructions the caller is compiled for.
mod compiled {
    use super::super::math::fused;
    use super::{COLS, ROWS, Tile};

    /// Samples summed at a time: with four channels that fits sixteen 256-bit registers.
    const WIDTH: usize = 16;
    /// The same for what is left.
    const TAIL: usize = 4;
    const HALF: usize = ROWS / 2;

    /// # Safety
    /// As [`super::Simd::tile`].
    #[inline(always)]
    pub unsafe fn tile<const FMA: bool>(tile: &Tile) {
        let mut sums = [[0.0f32; COLS]; ROWS];
        let cols = tile.size.1;
        // SAFETY: the caller vouches for the pointers.
        unsafe {
            for half in [0, HALF] {
                let mut at = 0;
                while at + WIDTH <= cols {
                    block::<WIDTH, FMA>(tile, half, at, &mut sums);
                    at += WIDTH;
                }
                if at < cols && cols >= WIDTH {
                    // What is left, and some of it again: cheaper than narrow steps.
                    block::<WIDTH, FMA>(tile, half, cols - WIDTH, &mut sums);
                    at = cols;
                }
                while at + TAIL <= cols {
                    block::<TAIL, FMA>(tile, half, at, &mut sums);
                    at += TAIL;
                }
                while at < cols {
                    block::<1, FMA>(tile, half, at, &mut sums);
                    at += 1;
                }
            }
            for (row, sum) in sums.iter().enumerate().take(tile.size.0) {
                store(tile, row, &sum[..cols]);
            }
        }
    }

    /// # Safety
    /// As [`super::Simd::tile`]; `at + W` lies within the tile.
    #[inline(always)]
    unsafe fn block<const W: usize, const FMA: bool>(
        tile: &Tile,
        half: usize,
        at: usize,
        sums: &mut [[f32; COLS]; ROWS],
    ) {
        let (channels, taps, dilation) = tile.shape;
        let mut acc = [[0.0f32; W]; HALF];
        // SAFETY: the caller vouches for the pointers.
        unsafe {
            let mut w = tile.w.add(half);
            for channel in 0..channels {
                let mut x = tile.x.add(channel * tile.x_stride + at);
                for _ in 0..taps {
                    let inputs = &*x.cast::<[f32; W]>();
                    for (row, acc) in acc.iter_mut().enumerate() {
                        let weight = *w.add(row);
                        for (sum, &input) in acc.iter_mut().zip(inputs) {
                            *sum = fused::<FMA>(weight, input, *sum);
                        }
                    }
                    w = w.add(ROWS);
                    x = x.add(dilation);
                }
            }
            for (row, acc) in acc.iter().enumerate() {
                let bias = *tile.bias.add(half + row);
                for (sum, &value) in sums[half + row][at..at + W].iter_mut().zip(acc) {
                    *sum = value + bias;
                }
            }
        }
    }

    /// # Safety
    /// As [`super::Simd::tile`].
    #[inline(always)]
    unsafe fn store(tile: &Tile, row: usize, sums: &[f32]) {
        for (col, &sum) in sums.iter().enumerate() {
            // SAFETY: the caller vouches for the pointers.
            unsafe {
                let mut value = sum;
                for (add, stride) in tile.add {
                    if !add.is_null() {
                        value += *add.add(row * stride + col);
                    }
                }
                if !tile.raw.0.is_null() {
                    *tile.raw.0.add(row * tile.raw.1 + col) = value;
                }
                if !tile.act.0.is_null() {
                    let scaled = value * tile.scale;
                    *tile.act.0.add(row * tile.act.1 + col) = scaled.max(scaled * tile.slope);
                }
            }
        }
    }
}
