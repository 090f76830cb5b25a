//! Values and raw knots in; the values an inverse spline moves them to out, all on the device.
//!
//! Monotone rational-quadratic splines with linear tails (Durkan et al. 2019). The same as
//! `unspline` of the CPU's duration predictor, for many values at once.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::layers::Store;
use crate::speaking::vits::durations::BINS;

/// Beyond ± this a spline is the identity.
const TAIL: f64 = 5.0;
const MIN_SIZE: f64 = 1e-3;
const MIN_SLOPE: f64 = 1e-3;

/// What all splines of one flow share.
pub struct Spline {
    /// Scale of the raw sizes.
    scale: f64,
    /// [BINS, BINS + 1]: sums up the sizes of the bins before each knot, as one small product.
    before: Tensor,
    /// [1, 1, 2]: the knots on both sides of a bin.
    sides: Tensor,
}

impl Spline {
    /// A spline whose raw sizes are scaled by `scale`.
    pub fn new(store: &Store, scale: f64) -> Result<Self> {
        let before = (0..BINS).flat_map(|bin| (0..=BINS).map(move |knot| f32::from(bin < knot)));
        Ok(Self {
            scale,
            before: store.upload(before.collect(), &[BINS, BINS + 1])?,
            sides: store.upload(vec![0.0, 1.0], &[1, 1, 2])?,
        })
    }

    /// [values], given their [values, 3 · BINS - 1]: widths, heights, and slopes between them.
    pub fn undo(&self, y: &Tensor, raw: &Tensor) -> Result<Tensor> {
        let count = y.dim(0)?;
        let sizes = (raw.narrow(1, 0, 2 * BINS)?.contiguous()? * self.scale)?;
        let sizes = softmax_last_dim(&sizes.reshape((count * 2, BINS))?)?;
        let sizes = sizes.affine(1.0 - MIN_SIZE * BINS as f64, MIN_SIZE)?;
        // [values, 2, knots]: positions of the knots, across and up.
        let knots = sizes.matmul(&self.before)?.affine(2.0 * TAIL, -TAIL)?;
        let knots = knots.reshape((count, 2, BINS + 1))?;
        let inner = knots.narrow(1, 1, 1)?.squeeze(1)?.narrow(1, 1, BINS - 1)?;
        let bin = y.unsqueeze(1)?.broadcast_ge(&inner)?.to_dtype(DType::F32)?.sum(1)?;
        let slopes = slopes(&raw.narrow(1, 2 * BINS, BINS - 1)?)?.unsqueeze(1)?;
        let sides = bin.reshape((count, 1, 1))?.broadcast_add(&self.sides)?.to_dtype(DType::U32)?;
        let sides = sides.broadcast_as((count, 3, 2))?.contiguous()?;
        // [values, (across, up, slope), sides].
        let bins = Tensor::cat(&[knots, slopes], 1)?.gather(&sides, 2)?;
        let inside = y.abs()?.le(TAIL)?;
        inside.where_cond(&root(y, &bins)?, y)
    }
}

/// [values, knots]: the slope at both ends is one, so that the tails continue it.
fn slopes(raw: &Tensor) -> Result<Tensor> {
    // ln(1 + e^x), without overflow.
    let soft = ((raw.abs()?.neg()?.exp()? + 1.0)?.log()? + raw.relu()?)?;
    let ends = ones(raw.dim(0)?, raw.device())?;
    Tensor::cat(&[&ends, &(soft + MIN_SLOPE)?, &ends], 1)
}

fn ones(count: usize, device: &Device) -> Result<Tensor> {
    Tensor::ones((count, 1), DType::F32, device)
}

/// Where within its bin each value came from.
fn root(y: &Tensor, bins: &Tensor) -> Result<Tensor> {
    let part = |row: usize, side: usize| bins.narrow(1, row, 1)?.narrow(2, side, 1)?.flatten_all();
    let (x0, y0, d0, d1) = (part(0, 0)?, part(1, 0)?, part(2, 0)?, part(2, 1)?);
    let (width, height) = ((part(0, 1)? - &x0)?, (part(1, 1)? - &y0)?);
    let delta = (&height / &width)?;
    let above = (y - y0)?;
    let bend = ((&d0 + d1)? - (&delta * 2.0)?)?;
    let lean = (&above * bend)?;
    let a = (&lean + (&height * (&delta - &d0)?)?)?;
    let b = ((height * d0)? - lean)?;
    let c = (delta * above)?.neg()?;
    let square = ((b.sqr()? - ((a * &c)? * 4.0)?)?).relu()?;
    let root = ((c * 2.0)? / (b.neg()? - square.sqrt()?)?)?;
    (root * width)? + x0
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::{BINS, Spline};
    use crate::speaking::vits::durations::unspline;
    use crate::speaking::vits::graph::layers::Store;
    use crate::speaking::vits::weights::Weights;

    #[test]
    fn the_spline_on_the_device_equals_the_one_on_the_host() {
        let weights = Weights::default();
        let store = Store::new(&weights, &Device::Cpu, candle_core::DType::F32);
        let spline = Spline::new(&store, 0.5).expect("small arrays");
        let wave = |n: usize| 3.0 * (n as f32 * 0.7).sin() + (n as f32 * 0.031).cos();
        // Inside, at both ends, beyond them.
        let values: Vec<f32> = (0..200).map(|n| n as f32 * 0.06 - 6.0).collect();
        let raw: Vec<f32> = (0..values.len() * (3 * BINS - 1)).map(wave).collect();
        let moved = {
            let y = Tensor::from_slice(&values, values.len(), &Device::Cpu).expect("an array");
            let dims = (values.len(), 3 * BINS - 1);
            let raw = Tensor::from_slice(&raw, dims, &Device::Cpu).expect("an array");
            let moved = spline.undo(&y, &raw).expect("the CPU does not fail");
            moved.to_vec1::<f32>().expect("one row")
        };
        for (n, (&value, moved)) in values.iter().zip(moved).enumerate() {
            let row = &raw[n * (3 * BINS - 1)..];
            let widths = std::array::from_fn(|bin| row[bin] * 0.5);
            let heights = std::array::from_fn(|bin| row[BINS + bin] * 0.5);
            let slopes = std::array::from_fn(|knot| row[2 * BINS + knot]);
            let wanted = unspline(value, widths, heights, slopes);
            assert!((moved - wanted).abs() < 2e-4, "{value}: {moved}, not {wanted}");
        }
    }
}
