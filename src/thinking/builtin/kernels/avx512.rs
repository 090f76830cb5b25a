//! AVX-512 with VNNI: `vpdpbusd` multiplies 64 unsigned by 64 signed bytes in one instruction.

use std::arch::x86_64::*;

use super::{BLOCK, Format, LANES, Tokens, Weights};

/// Up to eight token rows; see [`super::multiply`]. Returns how many.
pub(super) unsafe fn tile(weights: Weights, tokens: Tokens, out: *mut f32, stride: usize) -> usize {
    // SAFETY: passed on.
    unsafe {
        match weights.format {
            Format::Bytes => sized::<false>(weights, tokens, out, stride),
            Format::Five => sized::<true>(weights, tokens, out, stride),
        }
    }
}

unsafe fn sized<const FIVE: bool>(
    weights: Weights,
    tokens: Tokens,
    out: *mut f32,
    stride: usize,
) -> usize {
    // SAFETY: passed on.
    unsafe {
        match tokens.rows {
            0 => return 0,
            1 => rows::<1, FIVE>(weights, tokens, out, stride),
            2 => rows::<2, FIVE>(weights, tokens, out, stride),
            3 => rows::<3, FIVE>(weights, tokens, out, stride),
            4 => rows::<4, FIVE>(weights, tokens, out, stride),
            5 => rows::<5, FIVE>(weights, tokens, out, stride),
            6 => rows::<6, FIVE>(weights, tokens, out, stride),
            7 => rows::<7, FIVE>(weights, tokens, out, stride),
            _ => rows::<8, FIVE>(weights, tokens, out, stride),
        }
    }
    tokens.rows.min(8)
}

/// Adds `T` tokens' four columns from `column` on to the integer sums.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn dot<const T: usize>(
    sums: &mut [__m512i; T],
    vector: __m512i,
    values: *const i8,
    column: usize,
) {
    for (t, sum) in sums.iter_mut().enumerate() {
        // SAFETY: four values of token row `t`, by the caller's promise.
        let four = unsafe { values.add(t * BLOCK + column).cast::<i32>().read_unaligned() };
        *sum = _mm512_dpbusd_epi32(*sum, vector, _mm512_set1_epi32(four));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn rows<const T: usize, const FIVE: bool>(
    weights: Weights,
    tokens: Tokens,
    out: *mut f32,
    stride: usize,
) {
    let nibble = _mm512_set1_epi8(15);
    let sixteen = _mm512_set1_epi8(16);
    // SAFETY: the caller's promise.
    let (all_values, token_scales, token_sums) = unsafe { tokens.begin() };
    let mut totals = [_mm512_setzero_ps(); T];
    for block in 0..tokens.blocks {
        let mut sums = [_mm512_setzero_si512(); T];
        // SAFETY: the shapes, by the caller's promise.
        unsafe {
            for (t, sum) in sums.iter_mut().enumerate() {
                let offset = _mm512_set1_epi32(*token_sums.add(block * LANES + t));
                *sum = if FIVE { offset } else { _mm512_slli_epi32::<3>(offset) };
            }
            let values = all_values.add(block * LANES * BLOCK);
            if FIVE {
                let payload = weights.payload.add(block * const { Format::Five.block_bytes() });
                let high = payload.add(256).cast::<u64>();
                for pair in 0..4 {
                    let both = _mm512_loadu_si512(payload.add(pair * 64).cast());
                    let low = _mm512_and_si512(both, nibble);
                    let low = _mm512_mask_add_epi8(low, *high.add(pair), low, sixteen);
                    dot(&mut sums, low, values, pair * 4);
                    let up = _mm512_and_si512(_mm512_srli_epi16::<4>(both), nibble);
                    let up = _mm512_mask_add_epi8(up, *high.add(pair + 4), up, sixteen);
                    dot(&mut sums, up, values, pair * 4 + 16);
                }
            } else {
                let payload = weights.payload.add(block * const { Format::Bytes.block_bytes() });
                for vector in 0..8 {
                    let bytes = _mm512_loadu_si512(payload.add(vector * 64).cast());
                    dot(&mut sums, bytes, values, vector * 4);
                }
            }
            let scales =
                _mm512_cvtph_ps(_mm256_loadu_si256(weights.scales.add(block * LANES).cast()));
            for t in 0..T {
                let scale = _mm512_set1_ps(*token_scales.add(block * LANES + t));
                totals[t] = _mm512_fmadd_ps(
                    _mm512_cvtepi32_ps(sums[t]),
                    _mm512_mul_ps(scales, scale),
                    totals[t],
                );
            }
        }
    }
    for (t, total) in totals.iter().enumerate() {
        // SAFETY: sixteen results of token row `t`.
        unsafe { _mm512_storeu_ps(out.add(t * stride), *total) };
    }
}
