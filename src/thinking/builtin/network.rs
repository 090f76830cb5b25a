//! The forward pass of Qwen2 (Yang et al., "Qwen2 Technical Report", 2024).
//!
//! In: some tokens of one or several sequences, each with the keys and values of what came before.
//! Out: logits of the next token where asked. Sequences share every pass over the weights, so that
//! several replies cost little more than one. Owns weights and scratch memory; knows no text.

use candle_core::quantized::QTensor;
use candle_core::{Device, Tensor};

use super::attention::{Kv, exp};
use super::kernels::{BLOCK, Isa, LANES};
use super::packed::{Activations, Packed, Quantiser};
use super::pool::{Pool, Shared};

/// The most token rows of one pass; bounds the scratch memory.
pub(super) const MOST_ROWS: usize = 64;

/// The model's measures.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) layers: usize,
    pub(super) hidden: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) feed_forward: usize,
    pub(super) vocabulary: usize,
    pub(super) epsilon: f32,
    pub(super) rope_base: f32,
    /// The most positions of one sequence.
    pub(super) context: usize,
}

impl Shape {
    /// Numbers of one head.
    pub(super) fn dims(&self) -> usize {
        self.hidden / self.heads
    }

    /// Numbers of all key heads.
    fn kv_dims(&self) -> usize {
        self.kv_heads * self.dims()
    }
}

/// The weights of one layer.
pub(super) struct Layer {
    pub(super) attention_norm: Vec<f32>,
    pub(super) query: Packed,
    pub(super) key: Packed,
    pub(super) value: Packed,
    /// Biases of query, key and value, one after the other.
    pub(super) bias: Vec<f32>,
    pub(super) output: Packed,
    pub(super) forward_norm: Vec<f32>,
    pub(super) gate: Packed,
    pub(super) up: Packed,
    pub(super) down: Packed,
}

/// All weights.
pub(super) struct Weights {
    pub(super) embedding: QTensor,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: Vec<f32>,
    pub(super) head: Packed,
}

/// The network, ready to run.
pub(super) struct Network {
    shape: Shape,
    weights: Weights,
    isa: Isa,
    /// Cosine and sine of each position's angles, `[position][dims / 2]` pairs.
    angles: Vec<(f32, f32)>,
    scratch: Scratch,
}

/// Memory of one pass, reused.
struct Scratch {
    /// The residual stream, `[row][hidden]`.
    stream: Vec<f32>,
    /// Query, key and value, `[row][hidden + 2 · kv]`; then attention's result in the query's place.
    attention: Vec<f32>,
    /// Gate and up, `[row][2 · feed_forward]`.
    forward: Vec<f32>,
    /// Results of the projections back to the stream, `[row][hidden]`.
    back: Vec<f32>,
    narrow: Activations,
    wide: Activations,
}

/// Some next tokens of one sequence.
pub(super) struct Segment<'a> {
    pub(super) kv: &'a mut Kv,
    pub(super) tokens: &'a [u32],
    /// Whether the logits after the last of them are wanted.
    pub(super) wants_logits: bool,
}

/// Where one token row belongs.
#[derive(Clone, Copy)]
struct Row {
    segment: usize,
    position: usize,
}

impl Network {
    pub(super) fn new(shape: Shape, weights: Weights, isa: Isa) -> Self {
        let half = shape.dims() / 2;
        let angles = (0..shape.context * half)
            .map(|index| {
                let (position, pair) = (index / half, index % half);
                let speed = f64::from(shape.rope_base).powf(-(pair as f64) / half as f64);
                let (sin, cos) = (position as f64 * speed).sin_cos();
                (cos as f32, sin as f32)
            })
            .collect();
        let scratch = Scratch {
            stream: vec![0.; MOST_ROWS * shape.hidden],
            attention: vec![0.; MOST_ROWS * (shape.hidden + 2 * shape.kv_dims())],
            forward: vec![0.; MOST_ROWS * 2 * shape.feed_forward],
            back: vec![0.; MOST_ROWS * shape.hidden],
            narrow: Activations::new(MOST_ROWS, shape.hidden),
            wide: Activations::new(MOST_ROWS, shape.feed_forward),
        };
        Self { shape, weights, isa, angles, scratch }
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(super) fn isa(&self) -> Isa {
        self.isa
    }

    /// Keys and values of a new sequence.
    pub(super) fn new_kv(&self) -> Kv {
        Kv::new(self.shape.layers, self.shape.kv_heads, self.shape.dims())
    }

    /// Bytes of weights that one token's pass reads.
    pub(super) fn bytes_per_pass(&self) -> usize {
        let layers: usize = self
            .weights
            .layers
            .iter()
            .flat_map(|l| [&l.query, &l.key, &l.value, &l.output, &l.gate, &l.up, &l.down])
            .map(Packed::bytes)
            .sum();
        layers + self.weights.head.bytes()
    }

    /// Feeds the segments' tokens (at most [`MOST_ROWS`] together, each sequence within the
    /// context); returns `vocabulary` logits for each segment that wants them, in order.
    pub(super) fn forward(
        &mut self,
        pool: &Pool,
        segments: &mut [Segment<'_>],
    ) -> candle_core::Result<Vec<Vec<f32>>> {
        let rows: Vec<Row> = segments
            .iter()
            .enumerate()
            .flat_map(|(segment, s)| {
                let from = s.kv.len();
                (0..s.tokens.len()).map(move |i| Row { segment, position: from + i })
            })
            .collect();
        assert!(rows.len() <= MOST_ROWS, "a pass has too many rows");
        assert!(
            rows.iter().all(|row| row.position < self.shape.context),
            "a sequence is longer than the context"
        );
        self.embed(segments)?;
        pool.enter(|| {
            for layer in 0..self.shape.layers {
                self.attention_block(pool, layer, &rows, segments);
                self.forward_block(pool, layer, rows.len());
            }
        });
        for segment in segments.iter_mut() {
            segment.kv.advance(segment.kv.len() + segment.tokens.len());
        }
        Ok(self.logits(pool, segments))
    }

    /// The tokens' vectors into the stream.
    fn embed(&mut self, segments: &[Segment<'_>]) -> candle_core::Result<()> {
        let ids: Vec<u32> = segments.iter().flat_map(|s| s.tokens.iter().copied()).collect();
        let count = ids.len();
        let vectors =
            self.weights.embedding.embedding(&Tensor::from_vec(ids, count, &Device::Cpu)?)?;
        let vectors = vectors.flatten_all()?.to_vec1::<f32>()?;
        self.scratch.stream[..vectors.len()].copy_from_slice(&vectors);
        Ok(())
    }

    fn attention_block(
        &mut self,
        pool: &Pool,
        index: usize,
        rows: &[Row],
        segments: &mut [Segment<'_>],
    ) {
        let (hidden, dims, kv_dims) = (self.shape.hidden, self.shape.dims(), self.shape.kv_dims());
        let wide = hidden + 2 * kv_dims;
        let layer = &self.weights.layers[index];
        let scratch = &mut self.scratch;
        let (isa, count) = (self.isa, rows.len());

        let narrow = scratch.narrow.begin(count);
        let epsilon = self.shape.epsilon;
        normalise(pool, &scratch.stream, &layer.attention_norm, epsilon, count, &narrow);
        let out = Shared::new(&mut scratch.attention);
        let narrow = &scratch.narrow;
        let parts = [(&layer.query, 0), (&layer.key, hidden), (&layer.value, hidden + kv_dims)];
        multiply_all(pool, isa, &parts, narrow, &out, wide);

        let scale = 1. / (dims as f32).sqrt();
        for (row, at) in rows.iter().zip(scratch.attention.chunks_exact_mut(wide)) {
            for (x, bias) in at.iter_mut().zip(&layer.bias) {
                *x += bias;
            }
            let angles = &self.angles[row.position * dims / 2..][..dims / 2];
            let (queries, rest) = at.split_at_mut(hidden);
            let (keys, values) = rest.split_at_mut(kv_dims);
            rotate(queries, dims, angles, scale);
            rotate(keys, dims, angles, 1.);
            segments[row.segment].kv.write(index, row.position, keys, values);
        }

        let group = hidden / self.shape.kv_heads;
        let kv_heads = self.shape.kv_heads;
        let segments = &*segments;
        let queries = Shared::new(&mut scratch.attention);
        pool.each(count * kv_heads, |part| {
            let (row, head) = (part / kv_heads, part % kv_heads);
            // SAFETY: each part has its own query heads of its own row.
            let queries = unsafe { queries.part(row * wide + head * group, group) };
            let Row { segment, position } = rows[row];
            let asked = queries.to_vec();
            segments[segment].kv.attend(isa, (index, head), position + 1, &asked, queries);
        });

        let narrow = scratch.narrow.begin(count);
        let attention = &scratch.attention;
        pool.each(count, |row| {
            // SAFETY: each part has its own row.
            unsafe { narrow.row(row, &attention[row * wide..][..hidden]) };
        });
        let back = Shared::new(&mut scratch.back);
        multiply_all(pool, isa, &[(&layer.output, 0)], &scratch.narrow, &back, hidden);
        add(&mut scratch.stream[..count * hidden], &scratch.back);
    }

    fn forward_block(&mut self, pool: &Pool, index: usize, count: usize) {
        let (hidden, wide) = (self.shape.hidden, self.shape.feed_forward);
        let layer = &self.weights.layers[index];
        let scratch = &mut self.scratch;
        let isa = self.isa;

        let narrow = scratch.narrow.begin(count);
        normalise(pool, &scratch.stream, &layer.forward_norm, self.shape.epsilon, count, &narrow);
        let narrow = &scratch.narrow;
        let writer = scratch.wide.begin(count);
        let out = Shared::new(&mut scratch.forward);
        // One part is 64 columns of the wide layer: gate, up, their product and its quantisation.
        const GROUPS: usize = 4;
        let groups = layer.gate.groups();
        pool.each(groups.div_ceil(GROUPS), |part| {
            let span = part * GROUPS..groups.min((part + 1) * GROUPS);
            // SAFETY: each part has its own columns, of both halves and of the quantised rows.
            unsafe {
                layer.gate.multiply(isa, span.clone(), narrow, &out, 2 * wide, 0);
                layer.up.multiply(isa, span.clone(), narrow, &out, 2 * wide, wide);
                for row in 0..count {
                    let (from, len) = (span.start * LANES, span.len() * LANES);
                    let gate = out.part(row * 2 * wide + from, len);
                    let up = out.part(row * 2 * wide + wide + from, len);
                    gated(isa, gate, up);
                    for (block, values) in gate.chunks_exact(BLOCK).enumerate() {
                        writer.block(row, from / BLOCK + block, values);
                    }
                }
            }
        });
        let back = Shared::new(&mut scratch.back);
        multiply_all(pool, isa, &[(&layer.down, 0)], &scratch.wide, &back, hidden);
        add(&mut scratch.stream[..count * hidden], &scratch.back);
    }

    /// Logits after the last token of each segment that wants them.
    fn logits(&mut self, pool: &Pool, segments: &[Segment<'_>]) -> Vec<Vec<f32>> {
        let (hidden, vocabulary) = (self.shape.hidden, self.weights.head.rows());
        let mut last = Vec::new();
        let mut end = 0;
        for segment in segments {
            end += segment.tokens.len();
            if segment.wants_logits && !segment.tokens.is_empty() {
                last.extend_from_slice(&self.scratch.stream[(end - 1) * hidden..][..hidden]);
            }
        }
        let count = last.len() / hidden;
        if count == 0 {
            return Vec::new();
        }
        let mut logits = vec![0f32; count * vocabulary];
        let (norm, epsilon) = (&self.weights.norm, self.shape.epsilon);
        pool.enter(|| {
            let narrow = self.scratch.narrow.begin(count);
            normalise(pool, &last, norm, epsilon, count, &narrow);
            let out = Shared::new(&mut logits);
            let head = [(&self.weights.head, 0)];
            multiply_all(pool, self.isa, &head, &self.scratch.narrow, &out, vocabulary);
        });
        logits.chunks_exact(vocabulary).map(|row| row[..self.shape.vocabulary].to_vec()).collect()
    }
}

/// All rows of some matrices (each with its first column of the results) times all token rows.
fn multiply_all(
    pool: &Pool,
    isa: Isa,
    matrices: &[(&Packed, usize)],
    tokens: &Activations,
    out: &Shared<f32>,
    stride: usize,
) {
    let total: usize = matrices.iter().map(|(matrix, _)| matrix.groups()).sum();
    // Some parts more than threads, so that a thread that was interrupted does not hold up all.
    let size = (total / (pool.count() * 8)).clamp(1, 64);
    pool.each(total.div_ceil(size), |part| {
        let (mut from, to) = (part * size, total.min((part + 1) * size));
        let mut first = 0;
        for (matrix, column) in matrices {
            let end = first + matrix.groups();
            if from < end.min(to) {
                // SAFETY: the groups are this part's alone.
                unsafe {
                    let groups = from - first..end.min(to) - first;
                    matrix.multiply(isa, groups, tokens, out, stride, *column);
                }
                from = end.min(to);
            }
            first = end;
        }
    });
}

/// Root-mean-square normalisation of the rows (Zhang and Sennrich, 2019), quantised.
fn normalise(pool: &Pool, rows: &[f32], norm: &[f32], epsilon: f32, count: usize, out: &Quantiser) {
    let width = norm.len();
    pool.each(count, |row| {
        let values = &rows[row * width..][..width];
        let mut squares = [0f32; LANES];
        for sixteen in values.chunks_exact(LANES) {
            for (square, x) in squares.iter_mut().zip(sixteen) {
                *square = x.mul_add(*x, *square);
            }
        }
        let scale = 1. / (squares.iter().sum::<f32>() / width as f32 + epsilon).sqrt();
        let mut scaled = [0f32; BLOCK];
        for (block, (values, norm)) in
            values.chunks_exact(BLOCK).zip(norm.chunks_exact(BLOCK)).enumerate()
        {
            for ((to, x), weight) in scaled.iter_mut().zip(values).zip(norm) {
                *to = x * scale * weight;
            }
            // SAFETY: each part has its own row.
            unsafe { out.block(row, block, &scaled) };
        }
    });
}

/// Rotary position embedding (Su et al., "RoFormer", 2021), halves of a head paired; then `scale`.
fn rotate(heads: &mut [f32], dims: usize, angles: &[(f32, f32)], scale: f32) {
    for head in heads.chunks_exact_mut(dims) {
        let (low, high) = head.split_at_mut(dims / 2);
        for ((a, b), (cos, sin)) in low.iter_mut().zip(high).zip(angles) {
            (*a, *b) = ((*a * cos - *b * sin) * scale, (*a * sin + *b * cos) * scale);
        }
    }
}

/// `gate ← silu(gate) · up`
fn gated(isa: Isa, gate: &mut [f32], up: &[f32]) {
    #[inline(always)]
    fn plain(gate: &mut [f32], up: &[f32]) {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1. + exp(-*gate)) * up;
        }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,fma")]
    unsafe fn wide(gate: &mut [f32], up: &[f32]) {
        plain(gate, up);
    }
    match isa {
        // SAFETY: the instructions were detected.
        #[cfg(target_arch = "x86_64")]
        Isa::Amx | Isa::Avx512Vnni => unsafe { wide(gate, up) },
        _ => plain(gate, up),
    }
}

fn add(stream: &mut [f32], back: &[f32]) {
    for (x, y) in stream.iter_mut().zip(back) {
        *x += y;
    }
}
