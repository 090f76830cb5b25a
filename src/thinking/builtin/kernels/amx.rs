//! AMX: `tdpbssd` multiplies a tile of 16 token rows by a tile of 16 weight rows, 32 columns at once.
//!
//! Worth its set-up from a few token rows on. A block of weights already lies as a tile wants it
//! (eight vectors of four columns); it is unpacked to signed bytes once for all token rows. Rust has
//! no stable intrinsics for tiles, hence the assembly. Linux hands the registers out on request.

use std::arch::asm;
use std::arch::x86_64::*;

use super::{BLOCK, Format, LANES, Tokens, Weights};

/// Token rows of one tile.
const TILE_ROWS: usize = LANES;
/// From this many token rows on tiles are faster than vectors.
pub(super) const WORTH: usize = 9;
/// Blocks unpacked at once: 16 KiB, a third of the first-level cache.
const STRETCH: usize = 32;

/// Whether the processor has byte tiles; asks the system for them.
pub(super) fn available() -> bool {
    #[cfg(target_os = "linux")]
    {
        const TILE: u32 = 1 << 24;
        const INT8: u32 = 1 << 25;
        const REQUEST_PERMISSION: libc::c_long = 0x1023;
        const TILE_DATA: libc::c_long = 18;
        if __get_cpuid_max(0).0 < 7 || __cpuid_count(7, 0).edx & (TILE | INT8) != TILE | INT8 {
            return false;
        }
        // SAFETY: asks for a register file; changes nothing else, and says no where there is none.
        unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0 }
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// The shapes of the tiles: products 16 × 16 i32 (0), tokens 16 × 32 bytes (1), weights 8 × 64 bytes
/// (2).
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIG: Config = Config {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 32, 64, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Bytes at the start of a cache line.
#[repr(align(64))]
struct Lines<const N: usize>(#[allow(dead_code, reason = "used by pointer")] [u8; N]);

/// Blocks whose products are made in one go, before they are added up: a product takes 52 cycles to
/// appear, and one can be begun every 16.
const FLIGHT: usize = 8;
/// Bytes of one block of 16 weight rows, unpacked.
const WEIGHTS: usize = LANES * BLOCK;
/// Bytes of one block of 16 token rows.
const TOKENS: usize = TILE_ROWS * BLOCK;
/// Bytes of one block's products: 16 token rows × 16 weight rows.
const PRODUCTS: usize = TILE_ROWS * LANES * 4;

/// All token rows; see [`super::multiply`]. Reads token rows up to a multiple of 16.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn rows(weights: Weights, tokens: Tokens, out: *mut f32, stride: usize) {
    let mut signed = std::mem::MaybeUninit::<Lines<{ STRETCH * WEIGHTS }>>::uninit();
    let signed: *mut u8 = signed.as_mut_ptr().cast();
    // SAFETY: the permission was granted when this kernel was chosen.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly)) };
    let mut first = 0;
    while first < tokens.blocks {
        let count = STRETCH.min(tokens.blocks - first);
        // SAFETY: the shapes, by the caller's promise; `signed` has room for `count` blocks.
        unsafe {
            unpack(weights, first, count, signed);
            for row in (0..tokens.rows).step_by(TILE_ROWS) {
                let out = out.add(row * stride);
                tile(weights, tokens.skip(row), first..first + count, signed, out, stride);
            }
        }
        first += count;
    }
    // SAFETY: gives the tiles back, so that a switch of threads need not save them.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// Weights of `count` blocks as signed bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn unpack(weights: Weights, first: usize, count: usize, signed: *mut u8) {
    let nibble = _mm512_set1_epi8(15);
    let sixteen = _mm512_set1_epi8(16);
    for block in 0..count {
        // SAFETY: the caller's promise.
        unsafe {
            let from = weights.payload.add((first + block) * weights.format.block_bytes());
            let to = signed.add(block * WEIGHTS);
            let store = |vector: usize, bytes| {
                _mm512_store_si512(to.add(vector * 64).cast(), bytes);
            };
            match weights.format {
                Format::Bytes => {
                    for vector in 0..8 {
                        let bytes = _mm512_loadu_si512(from.add(vector * 64).cast());
                        store(vector, _mm512_xor_si512(bytes, _mm512_set1_epi8(-128)));
                    }
                }
                Format::Five => {
                    // A weight whose fifth bit is clear is 16 less than its nibble.
                    let high = from.add(256).cast::<u64>();
                    for pair in 0..4 {
                        let both = _mm512_loadu_si512(from.add(pair * 64).cast());
                        let low = _mm512_and_si512(both, nibble);
                        let up = _mm512_and_si512(_mm512_srli_epi16::<4>(both), nibble);
                        let clear = (!*high.add(pair), !*high.add(pair + 4));
                        store(pair, _mm512_mask_sub_epi8(low, clear.0, low, sixteen));
                        store(pair + 4, _mm512_mask_sub_epi8(up, clear.1, up, sixteen));
                    }
                }
            }
        }
    }
}

/// Adds some blocks' products of up to 16 token rows to their results; the first blocks replace what
/// was there.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile(
    weights: Weights,
    tokens: Tokens,
    blocks: std::ops::Range<usize>,
    signed: *const u8,
    out: *mut f32,
    stride: usize,
) {
    let mut products = std::mem::MaybeUninit::<Lines<{ FLIGHT * PRODUCTS }>>::uninit();
    let products: *mut u8 = products.as_mut_ptr().cast();
    let mut totals = [_mm512_setzero_ps(); TILE_ROWS];
    let lines = weights.format.block_bytes() / 64;
    // May lie past the end of the matrix: a prefetch reads nothing.
    let next = weights.payload.wrapping_add(blocks.end * lines * 64);
    let first_rows = tokens.first == 0;
    // SAFETY: the shapes, by the caller's promise.
    unsafe {
        let (values, scales, _) = tokens.begin();
        let (values, scales) =
            (values.add(blocks.start * TOKENS), scales.add(blocks.start * TILE_ROWS));
        let weight_scales = weights.scales.add(blocks.start * LANES);
        // Summed in the same order as without tiles: a reply does not depend on how it was batched.
        if blocks.start > 0 {
            for (t, total) in totals.iter_mut().enumerate().take(tokens.rows) {
                *total = _mm512_loadu_ps(out.add(t * stride));
            }
        }
        for flight in (0..blocks.len()).step_by(FLIGHT) {
            let flight = flight..blocks.len().min(flight + FLIGHT);
            for index in flight.clone() {
                let place = products.add((index - flight.start) * PRODUCTS);
                let (tokens, weights) = (values.add(index * TOKENS), signed.add(index * WEIGHTS));
                one_block(tokens, weights, place);
                if first_rows {
                    // The next stretch comes from memory while this one is multiplied.
                    for line in 0..lines {
                        let line = next.wrapping_add((index * lines + line) * 64).cast();
                        _mm_prefetch::<_MM_HINT_T1>(line);
                    }
                }
            }
            for index in flight.clone() {
                let place = products.add((index - flight.start) * PRODUCTS).cast::<__m512i>();
                let scale = weight_scales.add(index * LANES).cast();
                let scale = _mm512_cvtph_ps(_mm256_loadu_si256(scale));
                let token_scales = scales.add(index * TILE_ROWS);
                for (t, total) in totals.iter_mut().enumerate() {
                    let product = _mm512_cvtepi32_ps(_mm512_load_si512(place.add(t)));
                    let scale = _mm512_mul_ps(scale, _mm512_set1_ps(*token_scales.add(t)));
                    *total = _mm512_fmadd_ps(product, scale, *total);
                }
            }
        }
        for (t, total) in totals.into_iter().enumerate().take(tokens.rows) {
            _mm512_storeu_ps(out.add(t * stride), total);
        }
    }
}

/// Products of one block: 16 token rows × 16 weight rows.
#[inline(always)]
unsafe fn one_block(tokens: *const i8, weights: *const u8, products: *mut u8) {
    // SAFETY: reads 16 × 32 and 512 bytes, writes 1 KiB, by the caller's promise.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tileloadd tmm1, [{a} + {half}]",
            "tileloadd tmm2, [{b} + {line}]",
            "tdpbssd tmm0, tmm1, tmm2",
            "tilestored [{c} + {line}], tmm0",
            a = in(reg) tokens,
            b = in(reg) weights,
            c = in(reg) products,
            half = in(reg) BLOCK,
            line = in(reg) 64usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _,
            options(nostack),
        );
    }
}
