//! Convolutions over time on the CPU: packed weights, safe to call, on one thread.
//!
//! Arrays are channel by channel with time contiguous. A convolution reads a [`View`] that begins
//! at the first sample's first tap, so padding is whatever lies there: matrices keep zero columns
//! at both ends ([`Mat`]), streams keep the samples before ([`super::track::Track`]).

use super::kernels::{COLS, ROWS, Simd, Tile};
use super::onnx::Array;

/// Rows of samples to read: the first row's first sample, and the floats from row to row.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// From the first sample needed of the first row on.
    pub data: &'a [f32],
    /// Floats from one row to the next.
    pub stride: usize,
}

/// Rows of samples to write.
pub struct ViewMut<'a> {
    /// From the first sample of the first row on.
    pub data: &'a mut [f32],
    /// Floats from one row to the next.
    pub stride: usize,
}

/// What becomes of a convolution's sums: `v = conv + bias + add[0] + add[1]`.
#[derive(Default)]
pub struct Sink<'a> {
    /// Stands in for the convolution's own bias; from [`Conv::biased`].
    pub bias: Option<&'a [f32]>,
    /// Added before storing.
    pub add: [Option<View<'a>>; 2],
    /// Adds what `raw` holds, too.
    pub accumulate: bool,
    /// Receives `v`.
    pub raw: Option<ViewMut<'a>>,
    /// Receives `leaky_relu(v · scale)`.
    pub act: Option<(ViewMut<'a>, Rectify)>,
}

/// A leaky rectifier with a factor before it.
#[derive(Clone, Copy)]
pub struct Rectify {
    /// Applied first.
    pub scale: f32,
    /// Slope below zero, 0..1; 0 is the plain rectifier.
    pub slope: f32,
}

/// Packed weights of a convolution (or, with one tap, of a matrix product).
pub struct Conv {
    packed: Vec<f32>,
    bias: Vec<f32>,
    /// Output channels.
    pub outputs: usize,
    /// Input channels.
    pub inputs: usize,
    /// Kernel size.
    pub taps: usize,
    /// Samples from one tap to the next.
    pub dilation: usize,
}

impl Conv {
    /// Packs `weight(output, input, tap)`.
    pub fn pack(
        (outputs, inputs, taps): (usize, usize, usize),
        dilation: usize,
        bias: Option<&[f32]>,
        weight: impl Fn(usize, usize, usize) -> f32,
    ) -> Self {
        let groups = outputs.div_ceil(ROWS);
        let mut packed = Vec::with_capacity(groups * ROWS * inputs * taps);
        for group in 0..groups {
            for input in 0..inputs {
                for tap in 0..taps {
                    packed.extend((group * ROWS..(group + 1) * ROWS).map(|output| {
                        if output < outputs { weight(output, input, tap) } else { 0.0 }
                    }));
                }
            }
        }
        let mut padded = vec![0.0; groups * ROWS];
        if let Some(bias) = bias {
            padded[..outputs].copy_from_slice(bias);
        }
        Self { packed, bias: padded, outputs, inputs, taps, dilation }
    }

    /// Packs a weight of shape [outputs, inputs, taps].
    pub fn from_array(weight: &Array, bias: Option<&Array>, dilation: usize) -> Self {
        let shape = (weight.dims[0], weight.dims[1], weight.dims[2]);
        Self::pack(shape, dilation, bias.map(|bias| &bias.values[..]), |o, i, t| {
            weight.values[(o * shape.1 + i) * shape.2 + t]
        })
    }

    /// Its bias with `more` added, for [`Sink::bias`].
    pub fn biased(&self, more: &[f32]) -> Vec<f32> {
        let mut bias = self.bias.clone();
        bias.iter_mut().zip(more).for_each(|(bias, more)| *bias += more);
        bias
    }

    /// Floating-point operations of one sample of all outputs.
    pub fn flops(&self) -> f64 {
        2.0 * (self.outputs * self.inputs * self.taps) as f64
    }

    /// How many samples beyond the first one output needs.
    pub fn span(&self) -> usize {
        (self.taps - 1) * self.dilation
    }

    /// Half of [`Self::span`]: the reach to either side of a centred convolution.
    pub fn reach(&self) -> usize {
        self.span() / 2
    }

    /// Panics unless every array is long enough for all channels and samples.
    fn check(&self, input: View<'_>, samples: usize, sink: &Sink<'_>) {
        let fits = |length: usize, rows: usize, stride: usize, columns: usize| {
            assert!(length >= (rows - 1) * stride + columns, "a convolution's arrays do not fit");
        };
        fits(input.data.len(), self.inputs, input.stride, samples + self.span());
        for add in sink.add.iter().flatten() {
            fits(add.data.len(), self.outputs, add.stride, samples);
        }
        if let Some(raw) = &sink.raw {
            fits(raw.data.len(), self.outputs, raw.stride, samples);
        }
        if let Some((act, _)) = &sink.act {
            fits(act.data.len(), self.outputs, act.stride, samples);
        }
        let bias = sink.bias.map_or(self.bias.len(), <[f32]>::len);
        assert_eq!(bias, self.bias.len(), "a bias of another convolution");
    }

    /// Computes `samples` outputs; `input` begins at the first output's first tap.
    pub fn run(&self, simd: Simd, input: View<'_>, samples: usize, sink: &mut Sink<'_>) {
        if samples == 0 {
            return;
        }
        self.check(input, samples, sink);
        let bias = sink.bias.unwrap_or(&self.bias);
        let add = sink
            .add
            .map(|add| add.map_or((std::ptr::null(), 0), |add| (add.data.as_ptr(), add.stride)));
        let raw = sink
            .raw
            .as_mut()
            .map_or((std::ptr::null_mut(), 0), |raw| (raw.data.as_mut_ptr(), raw.stride));
        let (act, rectify) = sink
            .act
            .as_mut()
            .map_or(((std::ptr::null_mut(), 0), NO_RECTIFIER), |(act, rectify)| {
                ((act.data.as_mut_ptr(), act.stride), *rectify)
            });
        let second = if sink.accumulate {
            assert!(add[1].0.is_null() && !raw.0.is_null(), "nothing to accumulate into");
            (raw.0.cast_const(), raw.1)
        } else {
            add[1]
        };
        let mut tile = Tile {
            x: input.data.as_ptr(),
            x_stride: input.stride,
            w: self.packed.as_ptr(),
            shape: (self.inputs, self.taps, self.dilation),
            bias: bias.as_ptr(),
            add: [add[0], second],
            raw,
            act,
            scale: rectify.scale,
            slope: rectify.slope,
            size: (ROWS, COLS),
        };
        let whole = tile;
        for at in (0..samples).step_by(COLS) {
            for first in (0..self.outputs).step_by(ROWS) {
                tile.size = (ROWS.min(self.outputs - first), COLS.min(samples - at));
                // SAFETY: `check` has checked every array for all rows and samples; `packed` and
                // `bias` hold whole groups of ROWS; null pointers stay null through `offset`.
                unsafe {
                    tile.x = whole.x.add(at);
                    tile.w = whole.w.add(first * self.inputs * self.taps);
                    tile.bias = whole.bias.add(first);
                    for (add, origin) in tile.add.iter_mut().zip(whole.add) {
                        add.0 = offset(origin.0.cast_mut(), first * origin.1 + at).cast_const();
                    }
                    tile.raw.0 = offset(whole.raw.0, first * whole.raw.1 + at);
                    tile.act.0 = offset(whole.act.0, first * whole.act.1 + at);
                    simd.tile(&tile);
                }
            }
        }
    }
}

const NO_RECTIFIER: Rectify = Rectify { scale: 1.0, slope: 1.0 };

/// # Safety
/// `pointer` is null, or `by` lies within its array.
unsafe fn offset(pointer: *mut f32, by: usize) -> *mut f32 {
    // SAFETY: passed on to the caller.
    if pointer.is_null() { pointer } else { unsafe { pointer.add(by) } }
}

/// A whole sentence's values: rows of `len` samples with `pad` zero columns before and after.
pub struct Mat {
    data: Vec<f32>,
    /// Channels.
    pub rows: usize,
    /// Samples of a row.
    pub len: usize,
    pad: usize,
}

impl Mat {
    /// All zero.
    pub fn new(rows: usize, len: usize, pad: usize) -> Self {
        Self { data: vec![0.0; rows * (len + 2 * pad)], rows, len, pad }
    }

    fn stride(&self) -> usize {
        self.len + 2 * self.pad
    }

    /// One channel.
    pub fn row(&self, row: usize) -> &[f32] {
        let start = row * self.stride() + self.pad;
        &self.data[start..start + self.len]
    }

    /// One channel, to write.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        let start = row * self.stride() + self.pad;
        &mut self.data[start..start + self.len]
    }

    /// From row `row`, `before` samples of padding included.
    pub fn view(&self, row: usize, before: usize) -> View<'_> {
        assert!(before <= self.pad, "a matrix with too little padding");
        let stride = self.stride();
        View { data: &self.data[row * stride + self.pad - before..], stride }
    }

    /// To write from row `row` on.
    pub fn view_mut(&mut self, row: usize) -> ViewMut<'_> {
        let stride = self.stride();
        let start = row * stride + self.pad;
        ViewMut { data: &mut self.data[start..], stride }
    }

    /// `conv` centred over all of it, into a new matrix with `pad`.
    pub fn through(&self, simd: Simd, conv: &Conv, pad: usize) -> Mat {
        let mut out = Mat::new(conv.outputs, self.len, pad);
        let mut sink = Sink { raw: Some(out.view_mut(0)), ..Sink::default() };
        conv.run(simd, self.view(0, conv.reach()), self.len, &mut sink);
        out
    }

    /// The same values with `pad` zero columns.
    pub fn padded(&self, pad: usize) -> Mat {
        let mut out = Mat::new(self.rows, self.len, pad);
        (0..self.rows).for_each(|row| out.row_mut(row).copy_from_slice(self.row(row)));
        out
    }
}

/// Layer normalisation over the channels of each sample.
pub struct Norm {
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl Norm {
    /// From `gamma` and `beta`, one value a channel.
    pub fn new(gamma: &Array, beta: &Array) -> Self {
        Self { gamma: gamma.values.clone(), beta: beta.values.clone() }
    }

    /// Normalises in place.
    pub fn run(&self, simd: Simd, mat: &mut Mat) {
        self.each_row(simd, mat, Simd::normalise);
    }

    /// Normalises in place, then applies the Gaussian error linear unit.
    pub fn run_gelu(&self, simd: Simd, mat: &mut Mat) {
        self.each_row(simd, mat, Simd::normalise_gelu);
    }

    fn each_row(
        &self,
        simd: Simd,
        mat: &mut Mat,
        finish: impl Fn(Simd, &mut [f32], &[f32], &[f32], [f32; 2]),
    ) {
        const EPSILON: f32 = 1e-5;
        let share = 1.0 / mat.rows as f32;
        let mut mean = vec![0.0f32; mat.len];
        for row in 0..mat.rows {
            simd.add_scaled(&mut mean, share, mat.row(row));
        }
        let mut inverse = vec![0.0f32; mat.len];
        for row in 0..mat.rows {
            simd.add_squares(&mut inverse, share, mat.row(row), &mean);
        }
        simd.inverse_roots(&mut inverse, EPSILON);
        for row in 0..mat.rows {
            let affine = [self.gamma[row], self.beta[row]];
            finish(simd, mat.row_mut(row), &mean, &inverse, affine);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Conv, Mat, Rectify, Simd, Sink};

    /// Small numbers, the same every time.
    fn numbers(seed: u32) -> impl FnMut() -> f32 {
        let mut state = seed;
        move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        }
    }

    #[test]
    fn every_instruction_set_computes_the_convolution_of_the_definition() {
        let mut next = numbers(7);
        for (outputs, inputs, taps, dilation, len) in
            [(8, 3, 1, 1, 5), (13, 4, 3, 2, 48), (16, 5, 5, 1, 67), (1, 2, 7, 3, 130)]
        {
            let weight: Vec<f32> = (0..outputs * inputs * taps).map(|_| next()).collect();
            let bias: Vec<f32> = (0..outputs).map(|_| next()).collect();
            let conv = Conv::pack((outputs, inputs, taps), dilation, Some(&bias), |o, i, t| {
                weight[(o * inputs + i) * taps + t]
            });
            let mut x = Mat::new(inputs, len, conv.reach());
            (0..inputs).for_each(|row| x.row_mut(row).fill_with(&mut next));
            let mut add = Mat::new(outputs, len, 0);
            (0..outputs).for_each(|row| add.row_mut(row).fill_with(&mut next));
            for simd in Simd::available() {
                let mut raw = Mat::new(outputs, len, 3);
                let mut act = Mat::new(outputs, len, 1);
                let mut sink = Sink {
                    bias: None,
                    add: [Some(add.view(0, 0)), None],
                    accumulate: false,
                    raw: Some(raw.view_mut(0)),
                    act: Some((act.view_mut(0), Rectify { scale: 0.5, slope: 0.1 })),
                };
                conv.run(simd, x.view(0, conv.reach()), len, &mut sink);
                for o in 0..outputs {
                    for t in 0..len {
                        let mut sum = bias[o] + add.row(o)[t];
                        for i in 0..inputs {
                            for k in 0..taps {
                                let at = (t + k * dilation).wrapping_sub(conv.reach());
                                let value = x.row(i).get(at).copied().unwrap_or(0.0);
                                sum += weight[(o * inputs + i) * taps + k] * value;
                            }
                        }
                        assert!((raw.row(o)[t] - sum).abs() < 1e-5, "{simd:?} {o} {t}");
                        let half = 0.5 * sum;
                        let rectified = if half > 0.0 { half } else { 0.1 * half };
                        assert!((act.row(o)[t] - rectified).abs() < 1e-5, "{simd:?} {o} {t}");
                    }
                }
            }
        }
    }
}
