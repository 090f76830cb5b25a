//! Weight matrices and activations in the kernels' layout.
//!
//! A weight matrix is cut into groups of 16 rows and blocks of 32 columns. One block of a group is
//! eight 64-byte vectors; byte `4·r + c` of vector `v` is the weight of row `r`, column `4·v + c`.
//! [`Format::Bytes`] stores them as they are (128 added). [`Format::Five`] stores the low nibbles of
//! vectors `v` and `v + 4` in one byte each (256 bytes), then bit 4 of each vector's 64 bytes (8
//! masks of 64 bits); 16 added. Scales lie apart: 16 f16 a block.
//!
//! GGUF's Q5_0 and Q8_0 go into this exactly; every other type is dequantised and rounded to eight
//! bits a weight, a sixteenth of a four-bit step.

use super::kernels::{self, BLOCK, Format, Isa, LANES, block_index};
use super::pool::{Pool, Shared};

/// Memory that starts at a cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u8; 64]);

/// A weight matrix, rows × columns.
pub(super) struct Packed {
    format: Format,
    rows: usize,
    blocks: usize,
    payload: Vec<Line>,
    scales: Vec<u16>,
}

/// Where a matrix's weights come from, row after row.
pub(super) enum Source<'a> {
    /// GGUF's Q5_0: 22 bytes a block of 32.
    Q5_0(&'a [u8]),
    /// GGUF's Q8_0: 34 bytes a block of 32.
    Q8_0(&'a [u8]),
    /// Plain numbers.
    Floats(&'a [f32]),
}

/// A matrix whose numbers cannot be weights.
#[derive(Debug, thiserror::Error)]
pub(super) enum PackError {
    #[error("{rows} × {columns} weights do not fit rows of 16 and columns of 32")]
    Shape { rows: usize, columns: usize },
    #[error("a matrix of {rows} × {columns} has the wrong number of bytes")]
    Length { rows: usize, columns: usize },
    #[error("some weights are not numbers")]
    NotFinite,
}

impl Packed {
    /// Packs a matrix, on all threads of the pool.
    pub(super) fn new(
        source: &Source<'_>,
        rows: usize,
        columns: usize,
        pool: &Pool,
    ) -> Result<Self, PackError> {
        if rows == 0
            || columns == 0
            || !rows.is_multiple_of(LANES)
            || !columns.is_multiple_of(BLOCK)
        {
            return Err(PackError::Shape { rows, columns });
        }
        let blocks = columns / BLOCK;
        let whole = match source {
            Source::Q5_0(bytes) => bytes.len() == rows * blocks * 22,
            Source::Q8_0(bytes) => bytes.len() == rows * blocks * 34,
            Source::Floats(floats) => floats.len() == rows * columns,
        };
        if !whole {
            return Err(PackError::Length { rows, columns });
        }
        let format = match source {
            Source::Q5_0(_) => Format::Five,
            _ => Format::Bytes,
        };
        let lines = format.block_bytes() / 64;
        let count = rows / LANES * blocks * lines;
        let mut payload = Vec::with_capacity(count);
        prefer_huge_pages(payload.spare_capacity_mut());
        payload.resize(count, Line([0; 64]));
        let mut packed = Self { format, rows, blocks, payload, scales: vec![0; rows * blocks] };
        let payload = Shared::new(&mut packed.payload);
        let scales = Shared::new(&mut packed.scales);
        let broken = std::sync::atomic::AtomicBool::new(false);
        pool.each(rows / LANES, |group| {
            // SAFETY: each group has its own lines and scales.
            let (lines_of, scales_of) = unsafe {
                (
                    payload.part(group * blocks * lines, blocks * lines),
                    scales.part(group * blocks * LANES, blocks * LANES),
                )
            };
            for block in 0..blocks {
                for lane in 0..LANES {
                    let (values, scale) = source.block(group * LANES + lane, block, blocks);
                    if !half::f16::from_bits(scale).is_finite() {
                        broken.store(true, std::sync::atomic::Ordering::Relaxed);
                    }
                    scales_of[block * LANES + lane] = scale;
                    place(&mut lines_of[block * lines..][..lines], format, lane, &values);
                }
            }
        });
        if broken.into_inner() { Err(PackError::NotFinite) } else { Ok(packed) }
    }

    /// Rows of the matrix.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Groups of 16 rows.
    pub(super) fn groups(&self) -> usize {
        self.rows / LANES
    }

    /// Bytes that one pass over the matrix reads.
    pub(super) fn bytes(&self) -> usize {
        self.payload.len() * 64 + self.scales.len() * 2
    }

    /// Products of the rows of `groups` with all token rows; token row `t`'s go to
    /// `out[t · stride + first_row ..]`.
    ///
    /// # Safety
    /// No other part writes these rows' places in `out` meanwhile.
    pub(super) unsafe fn multiply(
        &self,
        isa: Isa,
        groups: std::ops::Range<usize>,
        tokens: &Activations,
        out: &Shared<f32>,
        stride: usize,
        first_row: usize,
    ) {
        assert_eq!(self.blocks, tokens.blocks, "a matrix meets activations of another width");
        if tokens.rows == 0 {
            return;
        }
        let lines = self.format.block_bytes() / 64;
        for group in groups {
            let payload = &self.payload[group * self.blocks * lines..][..self.blocks * lines];
            let scales = &self.scales[group * self.blocks * LANES..][..self.blocks * LANES];
            let from = first_row + group * LANES;
            assert!(first_row + self.rows <= stride, "rows do not fit the results");
            // Only sixteen places of each row are written; they are this part's alone.
            let results = out.pointer(from, (tokens.rows - 1) * stride + LANES);
            let weights = kernels::Weights {
                payload: payload.as_ptr().cast(),
                scales: scales.as_ptr(),
                format: self.format,
            };
            // SAFETY: `isa` was detected; payload, scales, tokens and results have these shapes.
            unsafe {
                kernels::multiply(isa, weights, tokens.view(), results, stride);
            }
        }
    }
}

impl Source<'_> {
    /// One row's block: 32 weights with the format's offset added, and the bits of its f16 scale.
    fn block(&self, row: usize, block: usize, blocks: usize) -> ([u8; BLOCK], u16) {
        let mut values = [0; BLOCK];
        let index = row * blocks + block;
        match self {
            Self::Q5_0(bytes) => {
                let bytes = &bytes[index * 22..][..22];
                let high = u32::from_le_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]);
                for (i, byte) in bytes[6..].iter().enumerate() {
                    values[i] = byte & 15 | ((high >> i & 1) as u8) << 4;
                    values[i + 16] = byte >> 4 | ((high >> (i + 16) & 1) as u8) << 4;
                }
                (values, u16::from_le_bytes([bytes[0], bytes[1]]))
            }
            Self::Q8_0(bytes) => {
                let bytes = &bytes[index * 34..][..34];
                for (value, byte) in values.iter_mut().zip(&bytes[2..]) {
                    *value = byte ^ 0x80;
                }
                (values, u16::from_le_bytes([bytes[0], bytes[1]]))
            }
            Self::Floats(floats) => {
                let floats = &floats[index * BLOCK..][..BLOCK];
                let largest = floats.iter().fold(0f32, |most, x| most.max(x.abs()));
                let scale = half::f16::from_f32(largest / 127.);
                let inverse = if scale.to_f32() > 0. { 1. / scale.to_f32() } else { 0. };
                for (value, float) in values.iter_mut().zip(floats) {
                    *value =
                        ((float * inverse).round_ties_even().clamp(-127., 127.) as i32 + 128) as u8;
                }
                let finite = floats.iter().all(|x| x.is_finite());
                (values, if finite { scale.to_bits() } else { half::f16::NAN.to_bits() })
            }
        }
    }
}

/// Puts one row's 32 weights into a block.
fn place(lines: &mut [Line], format: Format, lane: usize, values: &[u8; BLOCK]) {
    let at = lane * 4;
    for (vector, four) in values.chunks_exact(4).enumerate() {
        match format {
            Format::Bytes => lines[vector].0[at..at + 4].copy_from_slice(four),
            Format::Five => {
                let shift = if vector < 4 { 0 } else { 4 };
                let nibbles = &mut lines[vector % 4].0[at..at + 4];
                for (nibble, value) in nibbles.iter_mut().zip(four) {
                    *nibble |= (value & 15) << shift;
                }
                let high = four.iter().rev().fold(0, |bits, value| bits << 1 | value >> 4);
                lines[4].0[vector * 8 + at / 8] |= high << (at % 8);
            }
        }
    }
}

/// Asks for large pages before the memory is touched: every step reads all weights once, in order.
fn prefer_huge_pages(lines: &mut [std::mem::MaybeUninit<Line>]) {
    #[cfg(target_os = "linux")]
    {
        const PAGE: usize = 4096;
        let start = (lines.as_mut_ptr() as usize).next_multiple_of(PAGE);
        let end = (lines.as_mut_ptr() as usize + std::mem::size_of_val(lines)) / PAGE * PAGE;
        if end > start {
            // SAFETY: whole pages inside the allocation; the call is advice and changes no data.
            unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = lines;
}

/// Token rows, quantised to eight bits a value with one scale per 32.
pub(super) struct Activations {
    blocks: usize,
    rows: usize,
    values: Vec<i8>,
    scales: Vec<f32>,
    sums: Vec<i32>,
}

/// Handles to write the rows or blocks of [`Activations`] from several threads.
pub(super) struct Quantiser {
    blocks: usize,
    values: Shared<i8>,
    scales: Shared<f32>,
    sums: Shared<i32>,
}

impl Activations {
    /// Room for `most` rows of `columns` values.
    pub(super) fn new(most: usize, columns: usize) -> Self {
        let blocks = columns / BLOCK;
        let most = most.next_multiple_of(LANES);
        Self {
            blocks,
            rows: 0,
            values: vec![0; most * columns],
            scales: vec![0.; most * blocks],
            sums: vec![0; most * blocks],
        }
    }

    /// Sets how many rows there are from now on, and hands out the means to write them.
    pub(super) fn begin(&mut self, rows: usize) -> Quantiser {
        assert!(rows * self.blocks <= self.scales.len(), "more token rows than there is room for");
        self.rows = rows;
        Quantiser {
            blocks: self.blocks,
            values: Shared::new(&mut self.values),
            scales: Shared::new(&mut self.scales),
            sums: Shared::new(&mut self.sums),
        }
    }

    fn view(&self) -> kernels::Tokens {
        kernels::Tokens {
            values: self.values.as_ptr(),
            scales: self.scales.as_ptr(),
            sums: self.sums.as_ptr(),
            blocks: self.blocks,
            first: 0,
            rows: self.rows,
        }
    }
}

impl Quantiser {
    /// Quantises one whole row.
    ///
    /// # Safety
    /// The [`Activations`] live, and no other part writes this row.
    pub(super) unsafe fn row(&self, row: usize, floats: &[f32]) {
        assert_eq!(floats.len(), self.blocks * BLOCK, "a row of another width");
        for (block, floats) in floats.chunks_exact(BLOCK).enumerate() {
            // SAFETY: passed on.
            unsafe { self.block(row, block, floats) };
        }
    }

    /// Quantises 32 values of a row.
    ///
    /// # Safety
    /// The [`Activations`] live, and no other part writes this block.
    pub(super) unsafe fn block(&self, row: usize, block: usize, floats: &[f32]) {
        let floats: &[f32; BLOCK] = floats.try_into().expect("a block is 32 values");
        let index = block_index(row, block, self.blocks);
        // SAFETY: the caller's promise.
        let (values, scale, sum) = unsafe {
            (
                self.values.part(index * BLOCK, BLOCK),
                self.scales.part(index, 1),
                self.sums.part(index, 1),
            )
        };
        // Halved again and again: a plain fold would wait for each comparison.
        let mut sizes: [f32; BLOCK] = std::array::from_fn(|i| floats[i].abs());
        let mut half = BLOCK / 2;
        while half > 0 {
            for i in 0..half {
                sizes[i] = if sizes[i] > sizes[i + half] { sizes[i] } else { sizes[i + half] };
            }
            half /= 2;
        }
        let largest = sizes[0];
        let inverse = if largest > 0. { 127. / largest } else { 0. };
        // Adding 1.5 · 2²³ rounds to whole numbers and leaves them in the low bits.
        const ROUND: f32 = 12_582_912.;
        let mut total = 0;
        for (value, float) in values.iter_mut().zip(floats) {
            let bits = float.mul_add(inverse, ROUND).to_bits();
            *value = bits as i8;
            total += bits.wrapping_sub(ROUND.to_bits()) as i32;
        }
        scale[0] = largest / 127.;
        sum[0] = -16 * total;
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::{Activations, BLOCK, Isa, LANES, Packed, Pool, Shared, Source};

    /// `rows` × `columns` products computed the plain way.
    fn plain(weights: &[f32], tokens: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        tokens
            .chunks_exact(columns)
            .flat_map(|token| {
                weights[..rows * columns]
                    .chunks_exact(columns)
                    .map(move |row| row.iter().zip(token).map(|(w, x)| w * x).sum::<f32>())
            })
            .collect()
    }

    fn q5_0(rng: &mut impl Rng, blocks: usize) -> (Vec<u8>, Vec<f32>) {
        let (mut bytes, mut floats) = (Vec::new(), Vec::new());
        for _ in 0..blocks {
            let scale = half::f16::from_f32(rng.random_range(0.01..0.1));
            let (high, low): (u32, [u8; 16]) = (rng.random(), rng.random());
            bytes.extend(scale.to_le_bytes());
            bytes.extend(high.to_le_bytes());
            bytes.extend(low);
            for i in 0..BLOCK {
                let nibble = if i < 16 { low[i] & 15 } else { low[i - 16] >> 4 };
                let weight = i32::from(nibble) + 16 * (high >> i & 1) as i32 - 16;
                floats.push(weight as f32 * scale.to_f32());
            }
        }
        (bytes, floats)
    }

    #[test]
    fn every_kernel_multiplies_as_plain_arithmetic_does() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(1);
        let pool = Pool::new(2, 0).unwrap();
        let (rows, columns, most) = (3 * LANES, 37 * BLOCK, 35);
        let (five_bytes, five) = q5_0(&mut rng, rows * columns / BLOCK);
        let eight: Vec<f32> = (0..rows * columns).map(|_| rng.random_range(-1.0..1.0)).collect();
        let tokens: Vec<f32> = (0..most * columns).map(|_| rng.random_range(-3.0..3.0)).collect();
        for (source, floats) in
            [(Source::Q5_0(&five_bytes), &five), (Source::Floats(&eight), &eight)]
        {
            let packed = Packed::new(&source, rows, columns, &pool).unwrap();
            for isa in Isa::available() {
                for count in [1, 2, 3, 4, 5, 8, 16, 17, most] {
                    let mut quantised = Activations::new(most, columns);
                    let writer = quantised.begin(count);
                    for (row, floats) in tokens.chunks_exact(columns).take(count).enumerate() {
                        // SAFETY: one thread writes.
                        unsafe { writer.row(row, floats) };
                    }
                    let mut out = vec![0f32; count * rows];
                    let shared = Shared::new(&mut out);
                    // SAFETY: one thread writes.
                    unsafe { packed.multiply(isa, 0..3, &quantised, &shared, rows, 0) };
                    let wanted = plain(floats, &tokens[..count * columns], rows, columns);
                    for (got, wanted) in out.iter().zip(&wanted) {
                        // Rounding of 1184 products to eight bits.
                        assert!((got - wanted).abs() < 0.9, "{isa:?}: {got} for {wanted}");
                    }
                }
            }
        }
    }

    #[test]
    fn kernels_agree_with_each_other_to_rounding_of_floats() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(2);
        let pool = Pool::new(1, 0).unwrap();
        let (rows, columns) = (2 * LANES, 28 * BLOCK);
        // Whole bytes at their extremes, where 16-bit sums would overflow.
        let mut bytes = Vec::new();
        for _ in 0..rows * columns / BLOCK {
            bytes.extend(half::f16::from_f32(0.01).to_le_bytes());
            bytes.extend(
                (0..BLOCK).map(|_| *[127u8, 128, 129].get(rng.random_range(0..3)).unwrap()),
            );
        }
        let packed = Packed::new(&Source::Q8_0(&bytes), rows, columns, &pool).unwrap();
        let mut quantised = Activations::new(9, columns);
        let writer = quantised.begin(9);
        for row in 0..9 {
            let floats: Vec<f32> =
                (0..columns).map(|_| if rng.random() { 1. } else { -1. }).collect();
            // SAFETY: one thread writes.
            unsafe { writer.row(row, &floats) };
        }
        let results: Vec<Vec<f32>> = Isa::available()
            .into_iter()
            .map(|isa| {
                let mut out = vec![0f32; 9 * rows];
                let shared = Shared::new(&mut out);
                // SAFETY: one thread writes.
                unsafe { packed.multiply(isa, 0..2, &quantised, &shared, rows, 0) };
                out
            })
            .collect();
        for other in &results[1..] {
            for (a, b) in results[0].iter().zip(other) {
                assert!((a - b).abs() < 1e-3, "{a} and {b}");
            }
        }
    }

    #[test]
    fn a_rows_products_do_not_depend_on_the_rows_beside_it() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(4);
        let pool = Pool::new(1, 0).unwrap();
        let (rows, columns, most) = (LANES, 75 * BLOCK, 33);
        let weights: Vec<f32> = (0..rows * columns).map(|_| rng.random_range(-1.0..1.0)).collect();
        let packed = Packed::new(&Source::Floats(&weights), rows, columns, &pool).unwrap();
        let tokens: Vec<f32> = (0..most * columns).map(|_| rng.random_range(-3.0..3.0)).collect();
        let multiply = |tokens: &[f32]| {
            let count = tokens.len() / columns;
            let mut quantised = Activations::new(count, columns);
            let writer = quantised.begin(count);
            for (row, floats) in tokens.chunks_exact(columns).enumerate() {
                // SAFETY: one thread writes.
                unsafe { writer.row(row, floats) };
            }
            let mut out = vec![0f32; count * rows];
            let shared = Shared::new(&mut out);
            // SAFETY: one thread writes.
            unsafe { packed.multiply(Isa::detect(), 0..1, &quantised, &shared, rows, 0) };
            out
        };
        let together = multiply(&tokens);
        for (row, token) in tokens.chunks_exact(columns).enumerate() {
            assert_eq!(multiply(token), together[row * rows..][..rows], "row {row}");
        }
    }

    #[test]
    fn weights_that_are_no_numbers_are_refused() {
        let pool = Pool::new(1, 0).unwrap();
        let mut floats = vec![0.5; LANES * BLOCK];
        floats[7] = f32::NAN;
        assert!(Packed::new(&Source::Floats(&floats), LANES, BLOCK, &pool).is_err());
        assert!(Packed::new(&Source::Floats(&floats), LANES, BLOCK + 1, &pool).is_err());
    }
}
