//! Phoneme ids in; what the flow and the durations are made from out.
//!
//! The text encoder of VITS (Kim et al. 2021, section 2.5.1): a transformer with relative
//! position attention (Shaw et al. 2018, window of 4) over the phonemes of one sentence.

use super::conv::{Conv, Mat, Norm, Rectify, Sink, View};
use super::kernels::Simd;
use super::math;
use super::onnx::Array;
use super::weights::{Missing, Weights};

/// The text encoder.
pub struct Encoder {
    embedding: Array,
    layers: Vec<Layer>,
    proj: Conv,
}

/// What the encoder makes of one sentence.
pub struct Encoded {
    /// [hidden, phonemes], without padding: what the durations are predicted from.
    pub hidden: Mat,
    /// [2 · channels, phonemes]: means, then log deviations of the prior.
    pub prior: Mat,
}

struct Layer {
    attention: Attention,
    norm1: Norm,
    ffn1: Conv,
    ffn2: Conv,
    norm2: Norm,
}

impl Encoder {
    /// Takes the weights below `enc_p`.
    pub fn load(weights: &Weights) -> Result<Self, Missing> {
        let embedding = weights.get("enc_p.emb.weight", &[0, 0])?.clone();
        let hidden = embedding.dims[1];
        let count = weights.count("enc_p.encoder.attn_layers", "conv_q.weight");
        let layers = (0..count)
            .map(|n| {
                let at = |part: &str, suffix: &str| format!("enc_p.encoder.{part}.{n}.{suffix}");
                let norm = |part: &str| -> Result<Norm, Missing> {
                    Ok(Norm::new(
                        weights.get(&at(part, "gamma"), &[hidden])?,
                        weights.get(&at(part, "beta"), &[hidden])?,
                    ))
                };
                let ffn = |part: &str| -> Result<Conv, Missing> {
                    conv(weights, &at("ffn_layers", part))
                };
                Ok(Layer {
                    attention: Attention::load(
                        weights,
                        &format!("enc_p.encoder.attn_layers.{n}"),
                        hidden,
                    )?,
                    norm1: norm("norm_layers_1")?,
                    ffn1: ffn("conv_1")?,
                    ffn2: ffn("conv_2")?,
                    norm2: norm("norm_layers_2")?,
                })
            })
            .collect::<Result<_, Missing>>()?;
        Ok(Self { embedding, layers, proj: conv(weights, "enc_p.proj")? })
    }

    /// How many different phoneme ids there are.
    pub fn symbols(&self) -> usize {
        self.embedding.dims[0]
    }

    /// Encodes one sentence; ids the voice lacks count as the last it has.
    pub fn run(&self, simd: Simd, ids: &[u32]) -> Encoded {
        let hidden = self.embedding.dims[1];
        let scale = (hidden as f32).sqrt();
        let mut x = Mat::new(hidden, ids.len(), 0);
        for row in 0..hidden {
            for (value, &id) in x.row_mut(row).iter_mut().zip(ids) {
                let id = (id as usize).min(self.symbols() - 1);
                *value = self.embedding.values[id * hidden + row] * scale;
            }
        }
        for layer in &self.layers {
            x = layer.run(simd, &x);
        }
        let prior = x.through(simd, &self.proj, 0);
        Encoded { hidden: x, prior }
    }
}

impl Layer {
    fn run(&self, simd: Simd, x: &Mat) -> Mat {
        let attended = self.attention.run(simd, x);
        let mut normed = Mat::new(x.rows, x.len, self.ffn1.reach());
        let mut sink = Sink {
            add: [Some(x.view(0, 0)), None],
            raw: Some(normed.view_mut(0)),
            ..Sink::default()
        };
        self.attention.output.run(simd, attended.view(0, 0), x.len, &mut sink);
        self.norm1.run(&mut normed, |value| value);
        let mut wide = Mat::new(self.ffn1.outputs, x.len, self.ffn2.reach());
        let relu = Rectify { scale: 1.0, slope: 0.0 };
        let mut sink = Sink { act: Some((wide.view_mut(0), relu)), ..Sink::default() };
        self.ffn1.run(simd, normed.view(0, self.ffn1.reach()), x.len, &mut sink);
        let mut out = Mat::new(x.rows, x.len, 0);
        let mut sink = Sink {
            add: [Some(normed.view(0, 0)), None],
            raw: Some(out.view_mut(0)),
            ..Sink::default()
        };
        self.ffn2.run(simd, wide.view(0, self.ffn2.reach()), x.len, &mut sink);
        self.norm2.run(&mut out, |value| value);
        out
    }
}

struct Attention {
    /// Scaled by 1/√(width of a head).
    query: Conv,
    key: Conv,
    value: Conv,
    output: Conv,
    /// [2 · window + 1] scores of a query against the relative key of each distance.
    relative_key: Conv,
    /// The relative values, as a product over distances.
    relative_value: Conv,
    heads: usize,
}

impl Attention {
    fn load(weights: &Weights, module: &str, hidden: usize) -> Result<Self, Missing> {
        let keys = weights.get(&format!("{module}.emb_rel_k"), &[1, 0, 0])?;
        let values = weights.get(&format!("{module}.emb_rel_v"), &[1, 0, 0])?;
        let (distances, width) = (keys.dims[1], keys.dims[2]);
        if width == 0 || !hidden.is_multiple_of(width) || values.dims != keys.dims {
            return Err(Missing(format!("{module}.emb_rel_k {:?}", keys.dims)));
        }
        let square =
            |part: &str| weights.get(&format!("{module}.{part}.weight"), &[hidden, hidden, 1]);
        let bias = |part: &str| weights.get(&format!("{module}.{part}.bias"), &[hidden]);
        let scale = 1.0 / (width as f32).sqrt();
        let scaled = |array: &Array| Array {
            dims: array.dims.clone(),
            values: array.values.iter().map(|value| value * scale).collect(),
        };
        let part = |name: &str| -> Result<Conv, Missing> {
            Ok(Conv::from_array(square(name)?, Some(bias(name)?), 1))
        };
        Ok(Self {
            query: Conv::from_array(&scaled(square("conv_q")?), Some(&scaled(bias("conv_q")?)), 1),
            key: part("conv_k")?,
            value: part("conv_v")?,
            output: part("conv_o")?,
            relative_key: Conv::pack((distances, width, 1), 1, None, |o, i, _| {
                keys.values[o * width + i]
            }),
            relative_value: Conv::pack((width, distances, 1), 1, None, |o, i, _| {
                values.values[i * width + o]
            }),
            heads: hidden / width,
        })
    }

    /// All heads' sums, before `output`.
    fn run(&self, simd: Simd, x: &Mat) -> Mat {
        let query = x.through(simd, &self.query, 0);
        let key = x.through(simd, &self.key, 0);
        let value = x.through(simd, &self.value, 0);
        let width = x.rows / self.heads;
        let mut out = Mat::new(x.rows, x.len, 0);
        for first in (0..x.rows).step_by(width) {
            self.head(simd, (&query, &key, &value), first, &mut out);
        }
        out
    }

    /// One head: rows `first..first + width` of query, key and value.
    ///
    /// Scores are kept transposed, [key position, query position], so that the softmax and both
    /// products run along the queries, which are contiguous.
    fn head(
        &self,
        simd: Simd,
        (query, key, value): (&Mat, &Mat, &Mat),
        first: usize,
        out: &mut Mat,
    ) {
        let len = query.len;
        let width = query.rows / self.heads;
        let queries = query.view(first, 0);
        let keys = Conv::pack((len, width, 1), 1, None, |o, i, _| key.row(first + i)[o]);
        let mut scores = product(simd, &keys, queries, len);
        let relative = product(simd, &self.relative_key, queries, len);
        let distances = self.relative_key.outputs;
        let window = distances / 2;
        for position in 0..len {
            let row = scores.row_mut(position);
            for distance in 0..distances {
                // The query that lies `distance - window` before this key.
                if let Some(at) = (position + window).checked_sub(distance)
                    && at < len
                {
                    row[at] += relative.row(distance)[at];
                }
            }
        }
        softmax_over_rows(&mut scores);
        let mut near = Mat::new(distances, len, 0);
        for distance in 0..distances {
            for at in 0..len {
                if let Some(position) = (at + distance).checked_sub(window)
                    && position < len
                {
                    near.row_mut(distance)[at] = scores.row(position)[at];
                }
            }
        }
        let values = Conv::pack((width, len, 1), 1, None, |o, i, _| value.row(first + o)[i]);
        let mut sink = Sink { raw: Some(out.view_mut(first)), ..Sink::default() };
        values.run(simd, scores.view(0, 0), len, &mut sink);
        sink.accumulate = true;
        self.relative_value.run(simd, near.view(0, 0), len, &mut sink);
    }
}

fn product(simd: Simd, left: &Conv, right: View<'_>, len: usize) -> Mat {
    let mut out = Mat::new(left.outputs, len, 0);
    let mut sink = Sink { raw: Some(out.view_mut(0)), ..Sink::default() };
    left.run(simd, right, len, &mut sink);
    out
}

/// Makes every column sum to one.
fn softmax_over_rows(scores: &mut Mat) {
    let mut greatest = vec![f32::NEG_INFINITY; scores.len];
    for row in 0..scores.rows {
        for (greatest, &score) in greatest.iter_mut().zip(scores.row(row)) {
            *greatest = greatest.max(score);
        }
    }
    let mut sum = vec![0.0f32; scores.len];
    for row in 0..scores.rows {
        let values = scores.row_mut(row).iter_mut();
        for ((score, &greatest), sum) in values.zip(&greatest).zip(&mut sum) {
            *score = math::exp(*score - greatest);
            *sum += *score;
        }
    }
    for sum in &mut sum {
        *sum = 1.0 / *sum;
    }
    for row in 0..scores.rows {
        for (score, &share) in scores.row_mut(row).iter_mut().zip(&sum) {
            *score *= share;
        }
    }
}

/// The convolution of a module, dilated as the graph says.
pub(super) fn conv(weights: &Weights, module: &str) -> Result<Conv, Missing> {
    let weight = weights.get(&format!("{module}.weight"), &[0, 0, 0])?;
    let bias = weights.find(&format!("{module}.bias"));
    if bias.is_some_and(|bias| bias.values.len() != weight.dims[0]) {
        return Err(Missing(format!("{module}.bias")));
    }
    let dilation = weights.shape(module).map_or(1, |shape| shape.dilation);
    Ok(Conv::from_array(weight, bias, dilation))
}
