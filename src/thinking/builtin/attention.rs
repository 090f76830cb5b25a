//! Keys and values of the tokens read so far, and attention over them.
//!
//! Grouped-query attention: several query heads share one key and value head, so one pass over the
//! keys serves them all. Keys lie transposed in blocks of 16 positions, so that 16 scores are
//! computed side by side without sums across lanes; values lie position by position. Softmax runs
//! in one pass with a running maximum (Milakov and Gimelshein, "Online normalizer calculation for
//! softmax", 2018).

use super::kernels::{Isa, LANES};
use super::lanes::{Lanes, Plain};

/// Positions whose scores are worked on at once.
const STRETCH: usize = 8 * LANES;

/// Keys and values of one sequence: `layers · heads` heads of `dims` numbers a position.
#[derive(Clone)]
pub(super) struct Kv {
    heads: Vec<Head>,
    heads_per_layer: usize,
    dims: usize,
    len: usize,
}

/// One key and value head of one layer.
#[derive(Clone, Default)]
struct Head {
    /// `[block of 16 positions][dim][position in the block]`
    keys: Vec<f32>,
    /// `[position][dim]`
    values: Vec<f32>,
}

impl Kv {
    /// Nothing read yet.
    pub(super) fn new(layers: usize, heads_per_layer: usize, dims: usize) -> Self {
        let heads = vec![Head::default(); layers * heads_per_layer];
        Self { heads, heads_per_layer, dims, len: 0 }
    }

    /// Positions that every layer has.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Forgets all positions from `len` on.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// A copy of the first `len` positions.
    pub(super) fn prefix(&self, len: usize) -> Self {
        let len = len.min(self.len);
        let heads = self
            .heads
            .iter()
            .map(|head| Head {
                keys: head.keys[..len.next_multiple_of(LANES) * self.dims].to_vec(),
                values: head.values[..len * self.dims].to_vec(),
            })
            .collect();
        Self { heads, len, ..*self }
    }

    /// Writes the keys and values (each `heads · dims` numbers) of one position of one layer.
    pub(super) fn write(&mut self, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        let dims = self.dims;
        let heads = &mut self.heads[layer * self.heads_per_layer..][..self.heads_per_layer];
        for (index, head) in heads.iter_mut().enumerate() {
            let key_room = (position + 1).next_multiple_of(LANES) * dims;
            if head.keys.len() < key_room {
                head.keys.resize(key_room, 0.);
            }
            if head.values.len() < (position + 1) * dims {
                head.values.resize((position + 1) * dims, 0.);
            }
            let block = &mut head.keys[position / LANES * LANES * dims..][..LANES * dims];
            for (dim, key) in keys[index * dims..][..dims].iter().enumerate() {
                block[dim * LANES + position % LANES] = *key;
            }
            head.values[position * dims..][..dims].copy_from_slice(&values[index * dims..][..dims]);
        }
    }

    /// Says that every layer has been written up to `len` positions.
    pub(super) fn advance(&mut self, len: usize) {
        self.len = len;
    }

    /// Attends with some query heads (`queries`: heads × dims, already scaled) of one token over the
    /// first `len` positions of the key and value head they share; results replace `out`.
    pub(super) fn attend(
        &self,
        isa: Isa,
        (layer, head): (usize, usize),
        len: usize,
        queries: &[f32],
        out: &mut [f32],
    ) {
        let head = &self.heads[layer * self.heads_per_layer + head];
        let dims = self.dims;
        let mut done = 0;
        while done < queries.len() {
            let left = (queries.len() - done) / dims;
            let width = if left >= 7 { 7 } else { left.min(4) };
            let span = done..done + width * dims;
            let task =
                Task { head, dims, len, queries: &queries[span.clone()], out: &mut out[span] };
            match width {
                7 => run::<7>(isa, task),
                4 => run::<4>(isa, task),
                3 => run::<3>(isa, task),
                2 => run::<2>(isa, task),
                _ => run::<1>(isa, task),
            }
            done += width * dims;
        }
    }
}

struct Task<'a> {
    head: &'a Head,
    dims: usize,
    len: usize,
    queries: &'a [f32],
    out: &'a mut [f32],
}

fn run<const Q: usize>(isa: Isa, task: Task<'_>) {
    match isa {
        // SAFETY: the instructions were detected.
        #[cfg(target_arch = "x86_64")]
        Isa::Amx | Isa::Avx512Vnni => unsafe { wide::<Q>(task) },
        // SAFETY: the instructions were detected.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { narrow::<Q>(task) },
        // SAFETY: needs no instructions.
        Isa::Portable => unsafe { attend::<Plain, Q>(task) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
unsafe fn wide<const Q: usize>(task: Task<'_>) {
    // SAFETY: passed on.
    unsafe { attend::<super::lanes::Wide, Q>(task) };
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn narrow<const Q: usize>(task: Task<'_>) {
    // SAFETY: passed on.
    unsafe { attend::<super::lanes::Narrow, Q>(task) };
}

/// # Safety
/// The processor has `L`'s instructions.
#[inline(always)]
unsafe fn attend<L: Lanes, const Q: usize>(task: Task<'_>) {
    let Task { head, dims, len, queries, out } = task;
    let mut most = [f32::NEG_INFINITY; Q];
    let mut total = [0f32; Q];
    let mut scores = [[0f32; STRETCH]; Q];
    out.fill(0.);
    let mut from = 0;
    while from < len {
        let count = STRETCH.min(len - from);
        let blocks = count.div_ceil(LANES);
        let keys = &head.keys[from * dims..][..blocks * LANES * dims];
        // SAFETY: the caller's promise.
        unsafe { score::<L, Q>(keys, queries, dims, &mut scores) };
        for q in 0..Q {
            let row = &mut scores[q][..blocks * LANES];
            row[count..].fill(f32::NEG_INFINITY);
            let shrink = soften(row, &mut most[q], &mut total[q]);
            for x in &mut out[q * dims..][..dims] {
                *x *= shrink;
            }
        }
        let values = &head.values[from * dims..][..count * dims];
        // SAFETY: the caller's promise.
        unsafe { gather::<L, Q>(values, &scores, dims, out) };
        from += count;
    }
    for (row, total) in out.chunks_exact_mut(dims).zip(total) {
        for x in row {
            *x /= total;
        }
    }
}

/// One stretch of the softmax: scores become weights relative to the largest score so far. Returns
/// what the weights of earlier stretches shrink by.
#[inline(always)]
fn soften(row: &mut [f32], most: &mut f32, total: &mut f32) -> f32 {
    let mut peaks = [*most; LANES];
    for sixteen in row.chunks_exact(LANES) {
        for (peak, score) in peaks.iter_mut().zip(sixteen) {
            *peak = if *score > *peak { *score } else { *peak };
        }
    }
    let peak = peaks.iter().fold(f32::NEG_INFINITY, |most, x| most.max(*x));
    let shrink = exp(*most - peak);
    let mut sums = [0f32; LANES];
    for sixteen in row.chunks_exact_mut(LANES) {
        for (score, sum) in sixteen.iter_mut().zip(&mut sums) {
            *score = exp(*score - peak);
            *sum += *score;
        }
    }
    *most = peak;
    *total = *total * shrink + sums.iter().sum::<f32>();
    shrink
}

/// Scores of whole blocks of 16 keys.
///
/// # Safety
/// The processor has `L`'s instructions.
#[inline(always)]
unsafe fn score<L: Lanes, const Q: usize>(
    keys: &[f32],
    queries: &[f32],
    dims: usize,
    scores: &mut [[f32; STRETCH]; Q],
) {
    assert!(queries.len() == Q * dims && keys.len() <= STRETCH * dims);
    for (block, keys) in keys.chunks_exact(LANES * dims).enumerate() {
        // SAFETY: `keys` holds `dims` times 16 numbers, `queries` `Q` times `dims`.
        unsafe {
            let mut sums = [L::splat(0.); Q];
            for dim in 0..dims {
                let sixteen = L::load(keys.as_ptr().add(dim * LANES));
                for (q, sum) in sums.iter_mut().enumerate() {
                    let query = L::splat(*queries.as_ptr().add(q * dims + dim));
                    *sum = sixteen.times_plus(query, *sum);
                }
            }
            for (row, sum) in scores.iter_mut().zip(sums) {
                sum.store(row[block * LANES..][..LANES].as_mut_ptr());
            }
        }
    }
}

/// Adds the values, weighed by the scores, to the results.
///
/// # Safety
/// The processor has `L`'s instructions.
#[inline(always)]
unsafe fn gather<L: Lanes, const Q: usize>(
    values: &[f32],
    scores: &[[f32; STRETCH]; Q],
    dims: usize,
    out: &mut [f32],
) {
    assert!(out.len() == Q * dims && values.len() <= STRETCH * dims && dims.is_multiple_of(LANES));
    for dim in (0..dims).step_by(LANES) {
        // SAFETY: 16 numbers from `dim` on lie within each position and each result.
        unsafe {
            let mut sums = [L::splat(0.); Q];
            for (q, sum) in sums.iter_mut().enumerate() {
                *sum = L::load(out.as_ptr().add(q * dims + dim));
            }
            for position in 0..values.len() / dims {
                let sixteen = L::load(values.as_ptr().add(position * dims + dim));
                for (q, sum) in sums.iter_mut().enumerate() {
                    let weight = L::splat(*scores[q].as_ptr().add(position));
                    *sum = sixteen.times_plus(weight, *sum);
                }
            }
            for (q, sum) in sums.into_iter().enumerate() {
                sum.store(out.as_mut_ptr().add(q * dims + dim));
            }
        }
    }
}

/// e to the power of `x`, to 2 · 10⁻⁷ of its value; 0 far below. Branch-free, so it vectorises.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.3, 88.3);
    // Adding 1.5 · 2²³ rounds to whole numbers and leaves them in the low bits.
    const ROUND: f32 = 12_582_912.;
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    // ln 2 in two parts, so that the remainder loses no digits.
    let rest = whole.mul_add(-0.693_359_4, x);
    let rest = whole.mul_add(2.121_944_4e-4, rest);
    let mut power = 1.388_888_9e-3f32;
    for factor in [8.333_334e-3, 4.166_666_6e-2, 1.666_666_7e-1, 0.5, 1., 1.] {
        power = power.mul_add(rest, factor);
    }
    power * f32::from_bits(shifted.to_bits().wrapping_add(127) << 23)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::{Isa, Kv, exp};

    #[test]
    fn exp_is_exact_to_seven_digits() {
        for i in -800..800 {
            let x = i as f32 * 0.1 + 0.013;
            let wanted = f64::from(x).exp();
            assert!((f64::from(exp(x)) / wanted - 1.).abs() < 4e-7, "e^{x}");
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn attention_equals_the_plain_formula_on_every_processor_and_length() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(3);
        let (dims, group) = (64, 7);
        let mut kv = Kv::new(2, 2, dims);
        let rows: Vec<(Vec<f32>, Vec<f32>)> = (0..300)
            .map(|_| {
                let mut row = || (0..2 * dims).map(|_| rng.random_range(-1.0..1.0)).collect();
                (row(), row())
            })
            .collect();
        for (position, (keys, values)) in rows.iter().enumerate() {
            kv.write(1, position, keys, values);
        }
        let queries: Vec<f32> = (0..group * dims).map(|_| rng.random_range(-0.5..0.5)).collect();
        for len in [1, 15, 16, 17, 127, 128, 129, 300] {
            let mut wanted = vec![0f64; group * dims];
            for q in 0..group {
                let score = |row: &(Vec<f32>, Vec<f32>)| {
                    let keys = &row.0[dims..];
                    let dot: f64 = queries[q * dims..][..dims]
                        .iter()
                        .zip(keys)
                        .map(|(a, b)| f64::from(*a) * f64::from(*b))
                        .sum();
                    dot.exp()
                };
                let total: f64 = rows[..len].iter().map(score).sum();
                for row in &rows[..len] {
                    for dim in 0..dims {
                        wanted[q * dims + dim] += score(row) / total * f64::from(row.1[dims + dim]);
                    }
                }
            }
            for isa in Isa::available() {
                let mut out = vec![9f32; group * dims];
                kv.attend(isa, (1, 1), len, &queries, &mut out);
                for (got, wanted) in out.iter().zip(&wanted) {
                    assert!((f64::from(*got) - wanted).abs() < 1e-5, "{len} positions, {isa:?}");
                }
            }
        }
    }
}
