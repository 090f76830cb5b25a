//! AVX2: `vpmaddubsw` multiplies 32 unsigned by 32 signed bytes into 16-bit pairs.
//!
//! Sums of 16 bits must not overflow: five-bit weights (0-31) leave room for four pairs of
//! products; whole bytes are split into sign and magnitude and widened at once.

use std::arch::x86_64::*;

use super::{BLOCK, Format, LANES, Tokens, Weights};

/// Up to four token rows; see [`super::multiply`]. Returns how many.
pub(super) unsafe fn tile(weights: Weights, tokens: Tokens, out: *mut f32, stride: usize) -> usize {
    // SAFETY: passed on.
    unsafe {
        match (weights.format, tokens.rows) {
            (_, 0) => return 0,
            (Format::Bytes, 1) => rows::<1, false>(weights, tokens, out, stride),
            (Format::Bytes, 2) => rows::<2, false>(weights, tokens, out, stride),
            (Format::Bytes, 3) => rows::<3, false>(weights, tokens, out, stride),
            (Format::Bytes, _) => rows::<4, false>(weights, tokens, out, stride),
            (Format::Five, 1) => rows::<1, true>(weights, tokens, out, stride),
            (Format::Five, 2) => rows::<2, true>(weights, tokens, out, stride),
            (Format::Five, 3) => rows::<3, true>(weights, tokens, out, stride),
            (Format::Five, _) => rows::<4, true>(weights, tokens, out, stride),
        }
    }
    tokens.rows.min(4)
}

/// Half a vector (eight rows × four columns) of five-bit weights, 16 added.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn five(payload: *const u8, vector: usize, part: usize) -> __m256i {
    // SAFETY: within one block, by the caller's promise.
    let (both, bits) = unsafe {
        (
            _mm256_loadu_si256(payload.add(vector % 4 * 64 + part * 32).cast()),
            payload.add(256 + vector * 8 + part * 4).cast::<i32>().read_unaligned(),
        )
    };
    let shifted = if vector < 4 { both } else { _mm256_srli_epi16::<4>(both) };
    let low = _mm256_and_si256(shifted, _mm256_set1_epi8(15));
    // Byte i takes bit i: spread the four bytes over eight places each, then test one bit.
    let spread = _mm256_setr_epi8(
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3,
        3, 3,
    );
    let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    let picked = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits), spread), bit);
    let high = _mm256_and_si256(_mm256_cmpeq_epi8(picked, bit), _mm256_set1_epi8(16));
    _mm256_or_si256(low, high)
}

/// Sums of one block's products, from five-bit weights: eight rows for each of `T` token rows.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn sums_of_five<const T: usize>(
    payload: *const u8,
    part: usize,
    values: *const i8,
    offsets: *const i32,
) -> [__m256i; T] {
    let ones = _mm256_set1_epi16(1);
    // SAFETY: one block of weights and of `T` token rows, by the caller's promise.
    unsafe {
        let mut sums: [__m256i; T] = std::array::from_fn(|t| _mm256_set1_epi32(*offsets.add(t)));
        for half in 0..2 {
            let mut short = [_mm256_setzero_si256(); T];
            for vector in half * 4..half * 4 + 4 {
                let weight = five(payload, vector, part);
                for (t, sum) in short.iter_mut().enumerate() {
                    let pairs = _mm256_maddubs_epi16(weight, four(values, t, vector));
                    *sum = _mm256_add_epi16(*sum, pairs);
                }
            }
            for (sum, short) in sums.iter_mut().zip(short) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(short, ones));
            }
        }
        sums
    }
}

/// The same from whole bytes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn sums_of_bytes<const T: usize>(
    payload: *const u8,
    part: usize,
    values: *const i8,
) -> [__m256i; T] {
    let ones = _mm256_set1_epi16(1);
    let mut sums = [_mm256_setzero_si256(); T];
    for vector in 0..8 {
        // SAFETY: one block of weights and of `T` token rows, by the caller's promise.
        unsafe {
            let bytes = _mm256_loadu_si256(payload.add(vector * 64 + part * 32).cast());
            let signed = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));
            let size = _mm256_abs_epi8(signed);
            for (t, sum) in sums.iter_mut().enumerate() {
                let four = _mm256_sign_epi8(four(values, t, vector), signed);
                let pairs = _mm256_maddubs_epi16(size, four);
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
            }
        }
    }
    sums
}

/// Four values of token row `t`, for all lanes.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn four(values: *const i8, t: usize, vector: usize) -> __m256i {
    // SAFETY: within the block, by the caller's promise.
    let four = unsafe { values.add(t * BLOCK + vector * 4).cast::<i32>().read_unaligned() };
    _mm256_set1_epi32(four)
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn rows<const T: usize, const FIVE: bool>(
    weights: Weights,
    tokens: Tokens,
    out: *mut f32,
    stride: usize,
) {
    // SAFETY: the caller's promise.
    let (values, token_scales, token_sums) = unsafe { tokens.begin() };
    for part in 0..2 {
        let mut totals = [_mm256_setzero_ps(); T];
        for block in 0..tokens.blocks {
            // SAFETY: the shapes, by the caller's promise.
            unsafe {
                let values = values.add(block * LANES * BLOCK);
                let payload = weights.payload.add(block * weights.format.block_bytes());
                let sums: [__m256i; T] = if FIVE {
                    sums_of_five(payload, part, values, token_sums.add(block * LANES))
                } else {
                    sums_of_bytes(payload, part, values)
                };
                let scales = weights.scales.add(block * LANES + part * 8);
                let scales = _mm256_cvtph_ps(_mm_loadu_si128(scales.cast()));
                for t in 0..T {
                    let scale = _mm256_set1_ps(*token_scales.add(block * LANES + t));
                    let product = _mm256_cvtepi32_ps(sums[t]);
                    totals[t] = _mm256_fmadd_ps(product, _mm256_mul_ps(scales, scale), totals[t]);
                }
            }
        }
        for (t, total) in totals.iter().enumerate() {
            // SAFETY: eight results of token row `t`.
            unsafe { _mm256_storeu_ps(out.add(t * stride + part * 8), *total) };
        }
    }
}
