//! The layers the network is built of, as candle operations on a device.
//!
//! In: a voice's weights by name. Out: layers that run. Text's side of the network (encoder,
//! durations) keeps its arrays as [slots, time, channels], sound's side (flow, decoder) as
//! [slots, channels, time]. On a GPU the time goes into starting operations rather than into
//! computing, so every layer is written for few of them.

use candle_core::{DType, Device, Error, Result, Tensor};
use candle_nn::ops::layer_norm;

use crate::speaking::vits::onnx::Array;
use crate::speaking::vits::weights::Weights;

/// Added to a variance before its root is taken.
const EPSILON: f32 = 1e-5;

/// A voice's weights on their way to a device.
#[derive(Clone, Copy)]
pub struct Store<'a> {
    weights: &'a Weights,
    device: &'a Device,
    dtype: DType,
}

impl<'a> Store<'a> {
    /// Layers made from it compute in `dtype`.
    pub fn new(weights: &'a Weights, device: &'a Device, dtype: DType) -> Self {
        Self { weights, device, dtype }
    }

    /// Whether there is such a weight.
    pub fn has(&self, name: &str) -> bool {
        self.weights.find(name).is_some()
    }

    /// How many modules `prefix.0`, `prefix.1`, … have the array `suffix`.
    pub fn count(&self, prefix: &str, suffix: &str) -> usize {
        self.weights.count(prefix, suffix)
    }

    /// A weight on the host.
    pub fn array(&self, name: &str) -> Result<&'a Array> {
        let missing = || Error::CannotFindTensor { path: name.into() }.bt();
        self.weights.find(name).ok_or_else(missing)
    }

    /// A weight on the device.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let array = self.array(name)?;
        self.upload(array.values.clone(), &array.dims)
    }

    /// Values on the device.
    pub fn upload(&self, values: Vec<f32>, dims: &[usize]) -> Result<Tensor> {
        Tensor::from_vec(values, dims, self.device)?.to_dtype(self.dtype)
    }

    /// Samples from one tap of a convolution to the next.
    pub fn dilation(&self, module: &str) -> usize {
        self.weights.shape(module).map_or(1, |shape| shape.dilation)
    }

    /// Output samples per input sample of a transposed convolution.
    pub fn stride(&self, module: &str) -> Option<usize> {
        self.weights.shape(module).map(|shape| shape.stride)
    }

    fn bias(&self, module: &str) -> Result<Option<Vec<f32>>> {
        let name = format!("{module}.bias");
        if !self.has(&name) {
            return Ok(None);
        }
        Ok(Some(self.array(&name)?.values.clone()))
    }

    /// The convolution of a module, its output as long as its input.
    pub fn conv(&self, module: &str) -> Result<Conv> {
        let weight = self.tensor(&format!("{module}.weight"))?;
        self.conv_of(module, weight, self.dilation(module))
    }

    /// One filter per channel. It runs as a dense convolution with zeros between the channels: the
    /// work is nothing to a GPU, and one filter after the other would be many operations.
    pub fn depthwise(&self, module: &str, dilation: usize) -> Result<Conv> {
        let array = self.array(&format!("{module}.weight"))?;
        let (channels, taps) = (array.dims[0], array.dims[2]);
        let mut dense = vec![0.0; channels * channels * taps];
        for (channel, filter) in array.values.chunks(taps).enumerate() {
            let at = (channel * channels + channel) * taps;
            dense[at..at + taps].copy_from_slice(filter);
        }
        self.conv_of(module, self.upload(dense, &[channels, channels, taps])?, dilation)
    }

    fn conv_of(&self, module: &str, weight: Tensor, dilation: usize) -> Result<Conv> {
        let bias = match self.bias(module)? {
            Some(bias) => Some(self.upload(bias, &[1, weight.dim(0)?, 1])?),
            None => None,
        };
        let padding = (weight.dim(2)? - 1) * dilation / 2;
        Ok(Conv { weight, bias, dilation, padding })
    }

    /// A convolution of one tap, as a matrix.
    pub fn linear(&self, module: &str) -> Result<Linear> {
        self.stacked(&[(module, 1.0)])
    }

    /// Several matrices of the same input as one, each with its bias scaled by a factor.
    pub fn stacked(&self, modules: &[(&str, f32)]) -> Result<Linear> {
        let (mut weight, mut bias, mut inputs) = (Vec::new(), Vec::new(), 0);
        for &(module, factor) in modules {
            let array = self.array(&format!("{module}.weight"))?;
            inputs = array.dims[1];
            weight.extend(array.values.iter().map(|value| value * factor));
            let values = self.bias(module)?.unwrap_or_else(|| vec![0.0; array.dims[0]]);
            bias.extend(values.iter().map(|value| value * factor));
        }
        let outputs = bias.len();
        Ok(Linear {
            weight: self.upload(weight, &[outputs, inputs])?.t()?,
            bias: self.upload(bias, &[outputs])?,
        })
    }

    /// A normalisation over the channels.
    pub fn norm(&self, module: &str) -> Result<Norm> {
        Ok(Norm {
            gamma: self.tensor(&format!("{module}.gamma"))?,
            beta: self.tensor(&format!("{module}.beta"))?,
        })
    }
}

/// [slots, inputs, time] → [slots, outputs, time].
pub struct Conv {
    /// [outputs, inputs, taps].
    weight: Tensor,
    /// [1, outputs, 1].
    bias: Option<Tensor>,
    dilation: usize,
    padding: usize,
}

impl Conv {
    /// Runs it.
    pub fn run(&self, x: &Tensor) -> Result<Tensor> {
        let sum = self.run_bare(x)?;
        match &self.bias {
            Some(bias) => sum.broadcast_add(bias),
            None => Ok(sum),
        }
    }

    /// As [`Self::run`], the bias left to the caller.
    pub fn run_bare(&self, x: &Tensor) -> Result<Tensor> {
        let (outputs, inputs, taps) = self.weight.dims3()?;
        if taps > 1 {
            return x.conv1d(&self.weight, self.padding, 1, self.dilation, 1);
        }
        let weight = self.weight.reshape((1, outputs, inputs))?;
        weight.broadcast_as((x.dim(0)?, outputs, inputs))?.matmul(x)
    }

    /// As [`Self::run`] on [slots, time, channels].
    pub fn run_rows(&self, x: &Tensor) -> Result<Tensor> {
        self.run(&x.transpose(1, 2)?)?.transpose(1, 2)?.contiguous()
    }

    /// The same with its outputs (axis 0) or inputs (axis 1) in the opposite order.
    pub fn backwards(self, axis: usize) -> Result<Self> {
        let count = self.weight.dim(axis)? as u32;
        let order = Tensor::from_iter((0..count).rev(), self.weight.device())?;
        let weight = self.weight.index_select(&order, axis)?.contiguous()?;
        let bias = match self.bias {
            Some(bias) if axis == 0 => Some(bias.index_select(&order, 1)?.contiguous()?),
            bias => bias,
        };
        Ok(Self { weight, bias, ..self })
    }
}

/// [slots, time, inputs] → [slots, time, outputs].
pub struct Linear {
    /// [inputs, outputs].
    weight: Tensor,
    /// [outputs].
    bias: Tensor,
}

impl Linear {
    /// Runs it.
    pub fn run(&self, x: &Tensor) -> Result<Tensor> {
        let (slots, time, inputs) = x.dims3()?;
        let rows = x.reshape((slots * time, inputs))?.matmul(&self.weight)?;
        rows.broadcast_add(&self.bias)?.reshape((slots, time, ()))
    }
}

/// Mean 0 and variance 1 over the channels, then scaled: [slots, time, channels].
pub struct Norm {
    gamma: Tensor,
    beta: Tensor,
}

impl Norm {
    /// Runs it.
    pub fn run(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.gamma, &self.beta, EPSILON)
    }
}

/// Which places of a batch hold something, as a factor of 1 or 0; none where all do.
#[derive(Clone)]
pub struct Mask(Option<Tensor>);

impl Mask {
    /// [slots, time, 1], or [slots, 1, time] with `channels_first`: the first `lengths` places of
    /// each slot.
    pub fn new(
        lengths: &[usize],
        (slots, time): (usize, usize),
        channels_first: bool,
        (device, dtype): (&Device, DType),
    ) -> Result<Self> {
        if lengths.len() == slots && lengths.iter().all(|&length| length == time) {
            return Ok(Self(None));
        }
        let mut places = vec![0.0f32; slots * time];
        for (slot, &length) in places.chunks_mut(time).zip(lengths) {
            slot[..length].fill(1.0);
        }
        let places = Tensor::from_vec(places, (slots, time), device)?;
        let axis = if channels_first { 1 } else { 2 };
        Ok(Self(Some(places.to_dtype(dtype)?.unsqueeze(axis)?)))
    }

    /// No place is masked.
    pub fn none() -> Self {
        Self(None)
    }

    /// Of an array of ones and zeros, one axis of it being 1.
    pub fn of(places: Tensor) -> Self {
        Self(Some(places))
    }

    /// Puts zeros in the places that hold nothing.
    pub fn apply(&self, x: Tensor) -> Result<Tensor> {
        match &self.0 {
            Some(mask) => x.broadcast_mul(mask),
            None => Ok(x),
        }
    }

    /// The array itself, if any place is masked.
    pub fn places(&self) -> Option<&Tensor> {
        self.0.as_ref()
    }
}

/// `x` above 0, `slope · x` below; `slope` is below 1.
pub fn leaky(x: &Tensor, slope: f64) -> Result<Tensor> {
    x.maximum(&(x * slope)?)
}
