//! The kernels' meaning in plain Rust, for any processor; also what the others are tested against.

use super::{BLOCK, Format, LANES, Tokens, Weights};

/// The weight of `row` and `column` of one block, without its scale.
///
/// # Safety
/// `payload` points to a whole block of that format.
unsafe fn weight(payload: *const u8, format: Format, row: usize, column: usize) -> i32 {
    let (vector, byte) = (column / 4, row * 4 + column % 4);
    // SAFETY: every index stays within `Format::block_bytes`.
    unsafe {
        match format {
            Format::Bytes => i32::from(*payload.add(vector * 64 + byte)) - 128,
            Format::Five => {
                let nibbles = *payload.add(vector % 4 * 64 + byte);
                let low = if vector < 4 { nibbles & 15 } else { nibbles >> 4 };
                let high = *payload.add(256 + vector * 8 + byte / 8) >> (byte % 8) & 1;
                i32::from(low | high << 4) - 16
            }
        }
    }
}

/// One token row; see [`super::multiply`]. Returns 1.
pub(super) unsafe fn tile(weights: Weights, tokens: Tokens, out: *mut f32) -> usize {
    let mut sums = [0f32; LANES];
    // SAFETY: the caller's promise.
    let (values, scales, _) = unsafe { tokens.begin() };
    for block in 0..tokens.blocks {
        // SAFETY: the caller's promise on the shapes.
        unsafe {
            let payload = weights.payload.add(block * weights.format.block_bytes());
            let scale = *scales.add(block * LANES);
            for (row, sum) in sums.iter_mut().enumerate() {
                let dot: i32 = (0..BLOCK)
                    .map(|column| {
                        weight(payload, weights.format, row, column)
                            * i32::from(*values.add(block * LANES * BLOCK + column))
                    })
                    .sum();
                let bits = *weights.scales.add(block * LANES + row);
                *sum += half::f16::from_bits(bits).to_f32() * scale * dot as f32;
            }
        }
    }
    // SAFETY: `out` has room for sixteen.
    unsafe { std::ptr::copy_nonoverlapping(sums.as_ptr(), out, LANES) };
    1
}
