//! The encoder's values in; how many frames each phoneme lasts out.
//!
//! Either the stochastic duration predictor of VITS (section 2.2.2), run backwards from noise:
//! dilated depth-separable convolutions and rational-quadratic spline flows (Durkan et al. 2019);
//! or the plain one of the published code (after FastSpeech's), the same every time.

use super::conv::{Conv, Mat, Norm, Rectify, Sink};
use super::encoder::conv;
use super::kernels::Simd;
use super::speakers::{Condition, Speaker, Speakers};
use super::weights::{Missing, Weights};

/// Bins of a spline.
pub const BINS: usize = 10;
/// Beyond ± this a spline is the identity.
pub const TAIL: f32 = 5.0;
/// The most a depthwise convolution may be dilated: more than any sentence is long.
const LONGEST_DILATION: usize = 1 << 16;

/// A duration predictor of either kind.
pub enum Durations {
    /// Drawn from noise.
    Stochastic(Stochastic),
    /// The same every time.
    Plain(Plain),
}

impl Durations {
    /// Takes the weights below `dp`; `hidden` channels come in.
    pub fn load(weights: &Weights, hidden: usize, speakers: &Speakers) -> Result<Self, Missing> {
        if weights.find("dp.conv_1.weight").is_some() {
            return Plain::load(weights, hidden, speakers).map(Self::Plain);
        }
        Stochastic::load(weights, hidden, speakers).map(Self::Stochastic)
    }

    /// What a speaker changes ([`Speaker::durations`]).
    pub fn speaker(&self, embedding: &[f32]) -> Option<Vec<f32>> {
        match self {
            Self::Stochastic(predictor) => {
                let condition = predictor.condition.as_ref()?;
                Some(predictor.pre.biased(&condition.run(embedding)))
            }
            Self::Plain(predictor) => Some(predictor.condition.as_ref()?.run(embedding)),
        }
    }

    /// Floating-point operations of each id in convolutions that mix channels.
    pub fn flops(&self) -> f64 {
        match self {
            Self::Stochastic(predictor) => {
                let spline =
                    |flow: &SplineFlow| flow.pre.flops() + flow.convs.flops() + flow.proj.flops();
                let splines = predictor.splines.iter().map(spline).sum::<f64>();
                predictor.pre.flops() + predictor.convs.flops() + predictor.proj.flops() + splines
            }
            Self::Plain(predictor) => {
                let layers = predictor.layers.iter().map(|(conv, _)| conv.flops());
                layers.sum::<f64>() + predictor.proj.flops()
            }
        }
    }

    /// The logarithm of each phoneme's length in frames. `noise` holds two rows of standard
    /// normal values, already scaled; the plain kind does not read it.
    pub fn run(
        &self,
        simd: Simd,
        hidden: &Mat,
        noise: [Vec<f32>; 2],
        speaker: &Speaker,
    ) -> Vec<f32> {
        let change = speaker.durations.as_deref();
        match self {
            Self::Stochastic(predictor) => predictor.run(simd, hidden, noise, change),
            Self::Plain(predictor) => predictor.run(simd, hidden, change),
        }
    }
}

/// Two convolutions, rectified and normalised ("DurationPredictor" of the published code).
pub struct Plain {
    condition: Option<Condition>,
    layers: [(Conv, Norm); 2],
    proj: Conv,
}

impl Plain {
    fn load(weights: &Weights, hidden: usize, speakers: &Speakers) -> Result<Self, Missing> {
        let layer = |n: usize, inputs: usize| -> Result<(Conv, Norm), Missing> {
            let conv = conv(weights, &format!("dp.conv_{n}"), (0, inputs))?;
            let norm = Norm::new(
                weights.get(&format!("dp.norm_{n}.gamma"), &[conv.outputs])?,
                weights.get(&format!("dp.norm_{n}.beta"), &[conv.outputs])?,
            );
            Ok((conv, norm))
        };
        let first = layer(1, hidden)?;
        let second = layer(2, first.0.outputs)?;
        Ok(Self {
            condition: Condition::load(weights, "dp.cond", hidden, speakers)?,
            proj: conv(weights, "dp.proj", (1, second.0.outputs))?,
            layers: [first, second],
        })
    }

    fn run(&self, simd: Simd, hidden: &Mat, change: Option<&[f32]>) -> Vec<f32> {
        let [(first, _), (second, _)] = &self.layers;
        let mut x = hidden.padded(first.reach());
        for (row, add) in change.into_iter().flatten().enumerate() {
            x.row_mut(row).iter_mut().for_each(|value| *value += add);
        }
        for ((conv, norm), pad) in self.layers.iter().zip([second.reach(), self.proj.reach()]) {
            let mut y = Mat::new(conv.outputs, x.len, pad);
            let relu = Rectify { scale: 1.0, slope: 0.0 };
            let mut sink = Sink { act: Some((y.view_mut(0), relu)), ..Sink::default() };
            conv.run(simd, x.view(0, conv.reach()), x.len, &mut sink);
            norm.run(simd, &mut y);
            x = y;
        }
        x.through(simd, &self.proj, 0).row(0).to_vec()
    }
}

/// The stochastic duration predictor.
pub struct Stochastic {
    condition: Option<Condition>,
    pre: Conv,
    convs: Separable,
    proj: Conv,
    /// In the order they are undone.
    splines: Vec<SplineFlow>,
    /// Means and scales of the last, elementwise step.
    mean: [f32; 2],
    scale: [f32; 2],
}

impl Stochastic {
    fn load(weights: &Weights, hidden: usize, speakers: &Speakers) -> Result<Self, Missing> {
        let mean = weights.get("dp.flows.0.m", &[2, 1])?;
        let logs = weights.get("dp.flows.0.logs", &[2, 1])?;
        // Flow 1 is dropped at inference (as the published code does).
        let flows: Vec<usize> = (2..32)
            .rev()
            .filter(|n| weights.find(&format!("dp.flows.{n}.proj.weight")).is_some())
            .collect();
        let pre = pointwise(weights, "dp.pre", (0, hidden))?;
        let inner = pre.outputs;
        Ok(Self {
            condition: Condition::load(weights, "dp.cond", inner, speakers)?,
            pre,
            convs: Separable::load(weights, "dp.convs", inner)?,
            proj: pointwise(weights, "dp.proj", (inner, inner))?,
            splines: flows
                .into_iter()
                .map(|n| SplineFlow::load(weights, &format!("dp.flows.{n}"), inner))
                .collect::<Result<_, _>>()?,
            mean: [mean.values[0], mean.values[1]],
            scale: [(-logs.values[0]).exp(), (-logs.values[1]).exp()],
        })
    }

    fn run(
        &self,
        simd: Simd,
        hidden: &Mat,
        noise: [Vec<f32>; 2],
        bias: Option<&[f32]>,
    ) -> Vec<f32> {
        let mut x = Mat::new(self.pre.outputs, hidden.len, 0);
        let mut sink = Sink { bias, raw: Some(x.view_mut(0)), ..Sink::default() };
        self.pre.run(simd, hidden.view(0, 0), hidden.len, &mut sink);
        self.convs.run(simd, &mut x);
        let x = x.through(simd, &self.proj, 0);
        // Every step before the last swaps the two rows.
        let [mut still, mut moved] = noise;
        for flow in &self.splines {
            std::mem::swap(&mut still, &mut moved);
            flow.undo(simd, &x, &still, &mut moved);
        }
        std::mem::swap(&mut still, &mut moved);
        still.iter().map(|value| (value - self.mean[0]) * self.scale[0]).collect()
    }
}

/// A convolution of one tap.
fn pointwise(weights: &Weights, module: &str, channels: (usize, usize)) -> Result<Conv, Missing> {
    let conv = conv(weights, module, channels)?;
    if conv.taps == 1 { Ok(conv) } else { Err(Missing(format!("{module}.weight"))) }
}

/// "DDSConv": depthwise dilated convolutions, each with a pointwise one, and residuals.
struct Separable {
    layers: Vec<SeparableLayer>,
}

struct SeparableLayer {
    /// [channels, taps].
    depthwise: Vec<f32>,
    bias: Vec<f32>,
    taps: usize,
    dilation: usize,
    norm1: Norm,
    pointwise: Conv,
    norm2: Norm,
}

impl Separable {
    fn load(weights: &Weights, module: &str, channels: usize) -> Result<Self, Missing> {
        let count = weights.count(&format!("{module}.convs_sep"), "weight");
        let layers = (0..count)
            .map(|n| SeparableLayer::load(weights, module, n, channels))
            .collect::<Result<_, _>>()?;
        Ok(Self { layers })
    }

    fn flops(&self) -> f64 {
        self.layers.iter().map(|layer| layer.pointwise.flops()).sum()
    }

    fn run(&self, simd: Simd, x: &mut Mat) {
        for layer in &self.layers {
            let mut y = layer.depthwise(simd, x);
            layer.norm1.run_gelu(simd, &mut y);
            let mut y = y.through(simd, &layer.pointwise, 0);
            layer.norm2.run_gelu(simd, &mut y);
            add(simd, x, &y);
        }
    }
}

impl SeparableLayer {
    fn load(weights: &Weights, module: &str, n: usize, channels: usize) -> Result<Self, Missing> {
        let name = format!("{module}.convs_sep.{n}");
        let weight = weights.get(&format!("{name}.weight"), &[channels, 1, 0])?;
        let bias = weights.get(&format!("{name}.bias"), &[channels])?;
        let taps = weight.dims[2];
        let dilation = u32::try_from(n).ok().and_then(|n| taps.checked_pow(n));
        let dilation = dilation.filter(|&dilation| taps % 2 == 1 && dilation <= LONGEST_DILATION);
        let norm = |part: &str| -> Result<Norm, Missing> {
            Ok(Norm::new(
                weights.get(&format!("{module}.{part}.{n}.gamma"), &[channels])?,
                weights.get(&format!("{module}.{part}.{n}.beta"), &[channels])?,
            ))
        };
        Ok(Self {
            depthwise: weight.values.clone(),
            bias: bias.values.clone(),
            taps,
            dilation: dilation.ok_or_else(|| Missing(format!("{name}.weight")))?,
            norm1: norm("norms_1")?,
            pointwise: pointwise(
                weights,
                &format!("{module}.convs_1x1.{n}"),
                (channels, channels),
            )?,
            norm2: norm("norms_2")?,
        })
    }

    fn depthwise(&self, simd: Simd, x: &Mat) -> Mat {
        let mut out = Mat::new(x.rows, x.len, 0);
        let reach = (self.taps - 1) * self.dilation / 2;
        for row in 0..x.rows {
            let input = x.row(row);
            let output = out.row_mut(row);
            output.fill(self.bias[row]);
            for tap in 0..self.taps {
                let weight = self.depthwise[row * self.taps + tap];
                let shift = tap * self.dilation;
                // Outputs whose input at this tap lies within the sentence.
                let first = reach.saturating_sub(shift).min(x.len);
                let last = (x.len + reach).saturating_sub(shift).min(x.len);
                if first >= last {
                    continue;
                }
                let inputs = &input[first + shift - reach..last + shift - reach];
                simd.add_scaled(&mut output[first..last], weight, inputs);
            }
        }
        out
    }
}

fn add(simd: Simd, x: &mut Mat, y: &Mat) {
    for row in 0..x.rows {
        simd.add(x.row_mut(row), y.row(row));
    }
}

/// "ConvFlow": moves one row by a spline whose knots the other row and the text decide.
struct SplineFlow {
    pre: Conv,
    convs: Separable,
    proj: Conv,
}

impl SplineFlow {
    fn load(weights: &Weights, module: &str, channels: usize) -> Result<Self, Missing> {
        Ok(Self {
            pre: pointwise(weights, &format!("{module}.pre"), (channels, 1))?,
            convs: Separable::load(weights, &format!("{module}.convs"), channels)?,
            proj: pointwise(weights, &format!("{module}.proj"), (3 * BINS - 1, channels))?,
        })
    }

    fn undo(&self, simd: Simd, text: &Mat, still: &[f32], moved: &mut [f32]) {
        let mut row = Mat::new(1, still.len(), 0);
        row.row_mut(0).copy_from_slice(still);
        let mut x = row.through(simd, &self.pre, 0);
        add(simd, &mut x, text);
        self.convs.run(simd, &mut x);
        let knots = x.through(simd, &self.proj, 0);
        let scale = 1.0 / (self.pre.outputs as f32).sqrt();
        for (at, value) in moved.iter_mut().enumerate() {
            let column: [f32; 3 * BINS - 1] = std::array::from_fn(|row| knots.row(row)[at]);
            let widths = std::array::from_fn(|bin| column[bin] * scale);
            let heights = std::array::from_fn(|bin| column[BINS + bin] * scale);
            let slopes = std::array::from_fn(|knot| column[2 * BINS + knot]);
            *value = unspline(*value, widths, heights, slopes);
        }
    }
}

/// The inverse of a monotone rational-quadratic spline with linear tails.
pub fn unspline(y: f32, widths: [f32; BINS], heights: [f32; BINS], slopes: [f32; BINS - 1]) -> f32 {
    const MIN_SLOPE: f32 = 1e-3;
    if !(-TAIL..=TAIL).contains(&y) {
        return y;
    }
    let xs = knots(widths);
    let ys = knots(heights);
    let bin = (1..BINS).take_while(|&knot| y >= ys[knot]).count();
    // The slope at both ends is one, so that the tails continue it.
    let slope = |knot: usize| {
        if knot == 0 || knot == BINS {
            1.0
        } else {
            let raw = slopes[knot - 1];
            MIN_SLOPE + if raw > 20.0 { raw } else { raw.exp().ln_1p() }
        }
    };
    let (width, height) = (xs[bin + 1] - xs[bin], ys[bin + 1] - ys[bin]);
    let delta = height / width;
    let (d0, d1) = (slope(bin), slope(bin + 1));
    let above = y - ys[bin];
    let bend = d0 + d1 - 2.0 * delta;
    let a = above * bend + height * (delta - d0);
    let b = height * d0 - above * bend;
    let c = -delta * above;
    let root = 2.0 * c / (-b - (b * b - 4.0 * a * c).max(0.0).sqrt());
    root * width + xs[bin]
}

/// Positions of the knots from unnormalised bin sizes.
fn knots(raw: [f32; BINS]) -> [f32; BINS + 1] {
    const MIN_SIZE: f32 = 1e-3;
    let greatest = raw.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let sizes = raw.map(|value| (value - greatest).exp());
    let sum: f32 = sizes.iter().sum();
    let mut knots = [-TAIL; BINS + 1];
    let mut reached = 0.0;
    for (knot, size) in knots[1..].iter_mut().zip(sizes) {
        reached += MIN_SIZE + (1.0 - MIN_SIZE * BINS as f32) * size / sum;
        *knot = 2.0 * TAIL * reached - TAIL;
    }
    knots[BINS] = TAIL;
    knots
}
