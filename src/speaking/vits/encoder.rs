//! Phoneme ids in; what the flow and the durations are made from out.
//!
//! The text encoder of VITS (Kim et al. 2021, section 2.5.1): a transformer with relative
//! position attention (Shaw et al. 2018, window of 4) over the phonemes of one sentence.

use super::conv::{Conv, Mat, Norm, Rectify, Sink, View};
use super::kernels::Simd;
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
        let layers: Vec<Layer> = (0..count)
            .map(|n| {
                let at = |part: &str, suffix: &str| format!("enc_p.encoder.{part}.{n}.{suffix}");
                let norm = |part: &str| -> Result<Norm, Missing> {
                    Ok(Norm::new(
                        weights.get(&at(part, "gamma"), &[hidden])?,
                        weights.get(&at(part, "beta"), &[hidden])?,
                    ))
                };
                let ffn1 = conv(weights, &at("ffn_layers", "conv_1"), (0, hidden))?;
                let ffn2 = conv(weights, &at("ffn_layers", "conv_2"), (hidden, ffn1.outputs))?;
                Ok(Layer {
                    attention: Attention::load(
                        weights,
                        &format!("enc_p.encoder.attn_layers.{n}"),
                        hidden,
                    )?,
                    norm1: norm("norm_layers_1")?,
                    ffn1,
                    ffn2,
                    norm2: norm("norm_layers_2")?,
                })
            })
            .collect::<Result<_, Missing>>()?;
        let proj = conv(weights, "enc_p.proj", (0, hidden))?;
        if layers.is_empty() || proj.taps != 1 || proj.outputs % 4 != 0 {
            return Err(Missing("enc_p.proj.weight".into()));
        }
        Ok(Self { embedding, layers, proj })
    }

    /// Channels of [`Encoded::hidden`].
    pub fn hidden(&self) -> usize {
        self.embedding.dims[1]
    }

    /// Channels of the flow: half the rows of [`Encoded::prior`].
    pub fn channels(&self) -> usize {
        self.proj.outputs / 2
    }

    /// How many different ids there are.
    pub fn symbols(&self) -> usize {
        self.embedding.dims[0]
    }

    /// Floating-point operations of each id, and of each pair of ids.
    pub fn flops(&self) -> [f64; 2] {
        let layer = |layer: &Layer| {
            let Attention { query, key, value, output, .. } = &layer.attention;
            let convs = [query, key, value, output, &layer.ffn1, &layer.ffn2];
            convs.into_iter().map(Conv::flops).sum::<f64>()
        };
        let pairs = 4.0 * (self.hidden() * self.layers.len()) as f64;
        [self.layers.iter().map(layer).sum::<f64>() + self.proj.flops(), pairs]
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
        self.norm1.run(simd, &mut normed);
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
        self.norm2.run(simd, &mut out);
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
        if !hidden.is_multiple_of(width) || distances % 2 == 0 || values.dims != keys.dims {
            return Err(Missing(format!("{module}.emb_rel_k {:?}", keys.dims)));
        }
        let square =
            |part: &str| weights.get(&format!("{module}.{part}.weight"), &[hidden, hidden, 1]);
        let bias = |part: &str| match weights.find(&format!("{module}.{part}.bias")) {
            Some(_) => weights.get(&format!("{module}.{part}.bias"), &[hidden]).map(Some),
            None => Ok(None),
        };
        let scale = 1.0 / (width as f32).sqrt();
        let scaled = |array: &Array| Array {
            dims: array.dims.clone(),
            values: array.values.iter().map(|value| value * scale).collect(),
        };
        let part = |name: &str| -> Result<Conv, Missing> {
            Ok(Conv::from_array(square(name)?, bias(name)?, 1))
        };
        Ok(Self {
            query: Conv::from_array(
                &scaled(square("conv_q")?),
                bias("conv_q")?.map(scaled).as_ref(),
                1,
            ),
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
        softmax_over_rows(simd, &mut scores);
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
fn softmax_over_rows(simd: Simd, scores: &mut Mat) {
    let mut greatest = vec![f32::NEG_INFINITY; scores.len];
    for row in 0..scores.rows {
        simd.raise(&mut greatest, scores.row(row));
    }
    let mut sum = vec![0.0f32; scores.len];
    for row in 0..scores.rows {
        simd.exp_and_add(scores.row_mut(row), &greatest, &mut sum);
    }
    for sum in &mut sum {
        *sum = 1.0 / *sum;
    }
    for row in 0..scores.rows {
        simd.multiply(scores.row_mut(row), &sum);
    }
}

/// The longest stretch of samples a convolution may read for one output: far more than any
/// published voice's.
const LONGEST_SPAN: usize = 4096;

/// The centred convolution of a module, with so many (output, input) channels (0: any), dilated
/// as the file says.
pub(super) fn conv(
    weights: &Weights,
    module: &str,
    (outputs, inputs): (usize, usize),
) -> Result<Conv, Missing> {
    let name = format!("{module}.weight");
    let weight = weights.get(&name, &[outputs, inputs, 0])?;
    let bias = match weights.find(&format!("{module}.bias")) {
        Some(_) => Some(weights.get(&format!("{module}.bias"), &[weight.dims[0]])?),
        None => None,
    };
    let dilation = weights.shape(module).map_or(1, |shape| shape.dilation);
    let span = (weight.dims[2] - 1).checked_mul(dilation);
    if dilation == 0 || span.is_none_or(|span| span % 2 != 0 || span > LONGEST_SPAN) {
        return Err(Missing(format!("{name} {:?}, dilated by {dilation}", weight.dims)));
    }
    Ok(Conv::from_array(weight, bias, dilation))
}
