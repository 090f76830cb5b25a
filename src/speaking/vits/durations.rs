//! The encoder's values in; how many frames each phoneme lasts out.
//!
//! The stochastic duration predictor of VITS (section 2.2.2), run backwards from noise: dilated
//! depth-separable convolutions and rational-quadratic spline flows (Durkan et al. 2019).

use super::conv::{Conv, Mat, Norm};
use super::encoder::conv;
use super::kernels::Simd;
use super::math;
use super::weights::{Missing, Weights};

/// Bins of a spline.
pub const BINS: usize = 10;
/// Beyond ± this a spline is the identity.
const TAIL: f32 = 5.0;

/// The stochastic duration predictor.
pub struct Durations {
    pre: Conv,
    convs: Separable,
    proj: Conv,
    /// In the order they are undone.
    splines: Vec<SplineFlow>,
    /// Means and scales of the last, elementwise step.
    mean: [f32; 2],
    scale: [f32; 2],
}

impl Durations {
    /// Takes the weights below `dp`.
    pub fn load(weights: &Weights) -> Result<Self, Missing> {
        let mean = weights.get("dp.flows.0.m", &[2, 1])?;
        let logs = weights.get("dp.flows.0.logs", &[2, 1])?;
        // Flow 1 is dropped at inference (as the published code does).
        let flows: Vec<usize> = (2..32)
            .rev()
            .filter(|n| weights.find(&format!("dp.flows.{n}.proj.weight")).is_some())
            .collect();
        Ok(Self {
            pre: conv(weights, "dp.pre")?,
            convs: Separable::load(weights, "dp.convs")?,
            proj: conv(weights, "dp.proj")?,
            splines: flows
                .into_iter()
                .map(|n| SplineFlow::load(weights, &format!("dp.flows.{n}")))
                .collect::<Result<_, _>>()?,
            mean: [mean.values[0], mean.values[1]],
            scale: [(-logs.values[0]).exp(), (-logs.values[1]).exp()],
        })
    }

    /// The logarithm of each phoneme's length in frames. `noise` holds two rows of standard
    /// normal values, already scaled.
    pub fn run(&self, simd: Simd, hidden: &Mat, noise: [Vec<f32>; 2]) -> Vec<f32> {
        let mut x = hidden.through(simd, &self.pre, 0);
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
    fn load(weights: &Weights, module: &str) -> Result<Self, Missing> {
        let count = weights.count(&format!("{module}.convs_sep"), "weight");
        let layers = (0..count)
            .map(|n| {
                let weight = weights.get(&format!("{module}.convs_sep.{n}.weight"), &[0, 1, 0])?;
                let (channels, taps) = (weight.dims[0], weight.dims[2]);
                let bias = weights.get(&format!("{module}.convs_sep.{n}.bias"), &[channels])?;
                let norm = |part: &str| -> Result<Norm, Missing> {
                    Ok(Norm::new(
                        weights.get(&format!("{module}.{part}.{n}.gamma"), &[channels])?,
                        weights.get(&format!("{module}.{part}.{n}.beta"), &[channels])?,
                    ))
                };
                Ok(SeparableLayer {
                    depthwise: weight.values.clone(),
                    bias: bias.values.clone(),
                    taps,
                    dilation: taps.pow(n as u32),
                    norm1: norm("norms_1")?,
                    pointwise: conv(weights, &format!("{module}.convs_1x1.{n}"))?,
                    norm2: norm("norms_2")?,
                })
            })
            .collect::<Result<_, Missing>>()?;
        Ok(Self { layers })
    }

    fn run(&self, simd: Simd, x: &mut Mat) {
        for layer in &self.layers {
            let mut y = layer.depthwise(x);
            layer.norm1.run(&mut y, math::gelu);
            let mut y = y.through(simd, &layer.pointwise, 0);
            layer.norm2.run(&mut y, math::gelu);
            add(x, &y);
        }
    }
}

impl SeparableLayer {
    fn depthwise(&self, x: &Mat) -> Mat {
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
                for (sum, &value) in output[first..last].iter_mut().zip(inputs) {
                    *sum += weight * value;
                }
            }
        }
        out
    }
}

fn add(x: &mut Mat, y: &Mat) {
    for row in 0..x.rows {
        for (sum, &value) in x.row_mut(row).iter_mut().zip(y.row(row)) {
            *sum += value;
        }
    }
}

/// "ConvFlow": moves one row by a spline whose knots the other row and the text decide.
struct SplineFlow {
    pre: Conv,
    convs: Separable,
    proj: Conv,
}

impl SplineFlow {
    fn load(weights: &Weights, module: &str) -> Result<Self, Missing> {
        let proj = conv(weights, &format!("{module}.proj"))?;
        if proj.outputs != 3 * BINS - 1 {
            return Err(Missing(format!("{module}.proj.weight")));
        }
        Ok(Self {
            pre: conv(weights, &format!("{module}.pre"))?,
            convs: Separable::load(weights, &format!("{module}.convs"))?,
            proj,
        })
    }

    fn undo(&self, simd: Simd, text: &Mat, still: &[f32], moved: &mut [f32]) {
        let mut row = Mat::new(1, still.len(), 0);
        row.row_mut(0).copy_from_slice(still);
        let mut x = row.through(simd, &self.pre, 0);
        add(&mut x, text);
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
