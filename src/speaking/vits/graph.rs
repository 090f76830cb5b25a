//! The same network as candle operations, for any device candle has (CUDA with the feature
//! `cuda`). On the CPU [`super::kernels`] is several times faster and serves instead.
//!
//! Encoder, durations and flow run over the whole sentence, the decoder over pieces with enough
//! frames on both sides that pieces equal the whole. Arrays are [1, channels, time].

use std::collections::HashMap;

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::ops::{leaky_relu, sigmoid, softmax_last_dim};

use super::config::Scales;
use super::durations::{BINS, unspline};
use super::sentence::{Normal, frames_of};
use super::weights::{ConvShape, Weights};

/// The network's weights on a device.
pub struct Graph {
    tensors: HashMap<String, Tensor>,
    shapes: HashMap<String, ConvShape>,
    device: Device,
}

/// One sentence on its way to sound.
pub struct Flowed {
    /// What the decoder reads: [1, channels, frames].
    latent: Tensor,
}

impl Graph {
    /// Copies all weights to the device.
    pub fn load(weights: Weights, device: &Device) -> Result<Self> {
        let (arrays, shapes) = weights.into_parts();
        let tensors = arrays
            .into_iter()
            .filter(|(name, _)| {
                ["enc_p.", "dp.", "flow.", "dec."].iter().any(|part| name.starts_with(part))
            })
            .map(|(name, array)| Ok((name, Tensor::from_vec(array.values, array.dims, device)?)))
            .collect::<Result<_>>()?;
        Ok(Self { tensors, shapes, device: device.clone() })
    }

    /// Encodes a sentence, draws its durations and its latent; returns the frames of each id.
    pub fn begin(
        &self,
        ids: &[u32],
        scales: Scales,
        noise: &mut Normal,
    ) -> Result<(Vec<usize>, Flowed)> {
        let hidden = self.encode(ids)?;
        let prior = self.conv(&hidden, "enc_p.proj")?;
        let draws = [(); 2].map(|()| {
            (0..ids.len()).map(|_| noise.draw() * scales.duration_noise).collect::<Vec<f32>>()
        });
        let frames = frames_of(&self.durations(&hidden, draws)?, scales.length);
        let channels = prior.dim(1)? / 2;
        let owners: Vec<u32> =
            (0..).zip(&frames).flat_map(|(id, &count)| std::iter::repeat_n(id, count)).collect();
        let total = owners.len();
        if total == 0 {
            let latent = Tensor::zeros((1, channels, 0), DType::F32, &self.device)?;
            return Ok((frames, Flowed { latent }));
        }
        let owners = Tensor::from_vec(owners, total, &self.device)?;
        let prior = prior.contiguous()?.index_select(&owners, 2)?;
        let mut latent = prior.narrow(1, 0, channels)?;
        if scales.noise != 0.0 {
            let draws: Vec<f32> = (0..total * channels).map(|_| noise.draw()).collect();
            let draws = Tensor::from_vec(draws, (1, total, channels), &self.device)?;
            let deviations =
                (prior.narrow(1, channels, channels)?.exp()? * f64::from(scales.noise))?;
            latent = (latent + deviations.mul(&draws.transpose(1, 2)?)?)?;
        }
        Ok((frames, Flowed { latent: self.unflow(latent)? }))
    }

    /// The sound of frames `from..to`, `reach` frames being all that matters on each side.
    pub fn decode(
        &self,
        flowed: &Flowed,
        from: usize,
        to: usize,
        reach: usize,
    ) -> Result<Vec<f32>> {
        let total = flowed.latent.dim(2)?;
        let first = from.saturating_sub(reach);
        let last = (to + reach).min(total);
        let piece = flowed.latent.narrow(2, first, last - first)?.contiguous()?;
        let sound = self.generate(&piece)?;
        let hop = sound.dim(2)? / (last - first);
        sound.narrow(2, (from - first) * hop, (to - from) * hop)?.flatten_all()?.to_vec1()
    }

    fn get(&self, name: &str) -> Result<&Tensor> {
        self.tensors
            .get(name)
            .ok_or_else(|| candle_core::Error::CannotFindTensor { path: name.into() }.bt())
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Adds a value per channel.
    fn biased(&self, x: Tensor, module: &str) -> Result<Tensor> {
        match self.tensors.get(&format!("{module}.bias")) {
            Some(bias) => x.broadcast_add(&bias.reshape((1, (), 1))?),
            None => Ok(x),
        }
    }

    fn conv(&self, x: &Tensor, module: &str) -> Result<Tensor> {
        let weight = self.get(&format!("{module}.weight"))?;
        let dilation = self.shapes.get(module).map_or(1, |shape| shape.dilation);
        let padding = (weight.dim(2)? - 1) * dilation / 2;
        self.biased(x.contiguous()?.conv1d(weight, padding, 1, dilation, 1)?, module)
    }

    /// One filter per channel, as shifted products: candle would run the groups one by one.
    fn depthwise(&self, x: &Tensor, module: &str, dilation: usize) -> Result<Tensor> {
        let weight = self.get(&format!("{module}.weight"))?;
        let (channels, _, taps) = weight.dims3()?;
        let len = x.dim(2)?;
        let reach = (taps - 1) * dilation / 2;
        let padded = x.pad_with_zeros(2, reach, reach)?;
        let mut sum: Option<Tensor> = None;
        for tap in 0..taps {
            let weight = weight.narrow(2, tap, 1)?.reshape((1, channels, 1))?;
            let part = padded.narrow(2, tap * dilation, len)?.broadcast_mul(&weight)?;
            sum = Some(match sum {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        self.biased(sum.expect("a filter has taps"), module)
    }

    fn norm(&self, x: &Tensor, module: &str) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(1)?)?;
        let variance = centred.sqr()?.mean_keepdim(1)?;
        let gamma = self.get(&format!("{module}.gamma"))?.reshape((1, (), 1))?;
        let beta = self.get(&format!("{module}.beta"))?.reshape((1, (), 1))?;
        let normed = centred.broadcast_div(&(variance + 1e-5)?.sqrt()?)?;
        normed.broadcast_mul(&gamma)?.broadcast_add(&beta)
    }

    fn encode(&self, ids: &[u32]) -> Result<Tensor> {
        let table = self.get("enc_p.emb.weight")?;
        let (symbols, hidden) = table.dims2()?;
        let ids: Vec<u32> = ids.iter().map(|&id| id.min(symbols as u32 - 1)).collect();
        let ids = Tensor::new(ids, &self.device)?;
        let x = (table.index_select(&ids, 0)? * (hidden as f64).sqrt())?;
        let mut x = x.t()?.unsqueeze(0)?.contiguous()?;
        for n in 0.. {
            let part = |part: &str| format!("enc_p.encoder.{part}.{n}");
            if !self.has(&format!("{}.conv_q.weight", part("attn_layers"))) {
                break;
            }
            let attended = self.attend(&x, &part("attn_layers"))?;
            x = self.norm(&(x + attended)?, &part("norm_layers_1"))?;
            let wide = self.conv(&x, &format!("{}.conv_1", part("ffn_layers")))?.relu()?;
            let fed = self.conv(&wide, &format!("{}.conv_2", part("ffn_layers")))?;
            x = self.norm(&(x + fed)?, &part("norm_layers_2"))?;
        }
        Ok(x)
    }

    fn attend(&self, x: &Tensor, module: &str) -> Result<Tensor> {
        let keys = self.get(&format!("{module}.emb_rel_k"))?.squeeze(0)?;
        let values = self.get(&format!("{module}.emb_rel_v"))?.squeeze(0)?;
        let (distances, width) = keys.dims2()?;
        let (hidden, len) = (x.dim(1)?, x.dim(2)?);
        let heads = hidden / width;
        let split = |part: &str| -> Result<Tensor> {
            let x = self.conv(x, &format!("{module}.{part}"))?;
            x.reshape((heads, width, len))?.transpose(1, 2)?.contiguous()
        };
        let query = (split("conv_q")? / (width as f64).sqrt())?;
        let (key, value) = (split("conv_k")?, split("conv_v")?);
        let near = Near::new(len, distances / 2, &self.device)?;
        let relative = query.broadcast_matmul(&keys.t()?)?;
        let scores = query.matmul(&key.transpose(1, 2)?.contiguous()?)?;
        let scores = (scores + near.spread(&relative)?)?;
        let weights = softmax_last_dim(&scores)?;
        let out = weights.matmul(&value)?;
        let out = (out + near.collect(&weights)?.broadcast_matmul(&values)?)?;
        let out = out.transpose(1, 2)?.contiguous()?.reshape((1, hidden, len))?;
        self.conv(&out, &format!("{module}.conv_o"))
    }

    /// The logarithm of each id's length; the splines' few numbers are computed on the host.
    fn durations(&self, hidden: &Tensor, noise: [Vec<f32>; 2]) -> Result<Vec<f32>> {
        let x = self.conv(hidden, "dp.pre")?;
        let x = self.separable(x, "dp.convs")?;
        let text = self.conv(&x, "dp.proj")?;
        let [mut still, mut moved] = noise;
        for n in (2..32).rev() {
            let module = format!("dp.flows.{n}");
            if !self.has(&format!("{module}.proj.weight")) {
                continue;
            }
            std::mem::swap(&mut still, &mut moved);
            let row = Tensor::from_slice(&still, (1, 1, still.len()), &self.device)?;
            let x = (self.conv(&row, &format!("{module}.pre"))? + &text)?;
            let scale = 1.0 / (x.dim(1)? as f32).sqrt();
            let x = self.separable(x, &format!("{module}.convs"))?;
            let knots = self.conv(&x, &format!("{module}.proj"))?.squeeze(0)?.t()?;
            for (value, column) in moved.iter_mut().zip(knots.to_vec2::<f32>()?) {
                let widths = std::array::from_fn(|bin| column[bin] * scale);
                let heights = std::array::from_fn(|bin| column[BINS + bin] * scale);
                let slopes = std::array::from_fn(|knot| column[2 * BINS + knot]);
                *value = unspline(*value, widths, heights, slopes);
            }
        }
        std::mem::swap(&mut still, &mut moved);
        let first =
            |name: &str| -> Result<f32> { self.get(name)?.flatten_all()?.get(0)?.to_scalar() };
        let (mean, scale) = (first("dp.flows.0.m")?, (-first("dp.flows.0.logs")?).exp());
        Ok(still.iter().map(|value| (value - mean) * scale).collect())
    }

    fn separable(&self, mut x: Tensor, module: &str) -> Result<Tensor> {
        for n in 0..u32::MAX {
            let name = format!("{module}.convs_sep.{n}");
            let Some(weight) = self.tensors.get(&format!("{name}.weight")) else { break };
            let dilation = weight.dim(2)?.pow(n);
            let y = self.depthwise(&x, &name, dilation)?;
            let y = self.norm(&y, &format!("{module}.norms_1.{n}"))?.gelu_erf()?;
            let y = self.conv(&y, &format!("{module}.convs_1x1.{n}"))?;
            let y = self.norm(&y, &format!("{module}.norms_2.{n}"))?.gelu_erf()?;
            x = (x + y)?;
        }
        Ok(x)
    }

    fn unflow(&self, mut x: Tensor) -> Result<Tensor> {
        let channels = x.dim(1)?;
        let half = channels / 2;
        let backwards: Vec<u32> = (0..channels as u32).rev().collect();
        let backwards = Tensor::new(backwards, &self.device)?;
        let couplings = (0..).take_while(|n| self.has(&format!("flow.flows.{}.pre.weight", 2 * n)));
        for n in (0..couplings.count()).rev() {
            let module = format!("flow.flows.{}", 2 * n);
            x = x.contiguous()?.index_select(&backwards, 1)?;
            let (still, moved) = (x.narrow(1, 0, half)?, x.narrow(1, half, half)?);
            let means = self.conv(&self.gated(&still, &module)?, &format!("{module}.post"))?;
            x = Tensor::cat(&[still, (moved - means)?], 1)?;
        }
        Ok(x)
    }

    fn gated(&self, still: &Tensor, module: &str) -> Result<Tensor> {
        let mut x = self.conv(still, &format!("{module}.pre"))?;
        let hidden = x.dim(1)?;
        let mut sum: Option<Tensor> = None;
        for n in 0.. {
            let name = format!("{module}.enc.in_layers.{n}");
            if !self.has(&format!("{name}.weight")) {
                break;
            }
            let gates = self.conv(&x, &name)?;
            let gated = gates.narrow(1, 0, hidden)?.tanh()?;
            let gated = (gated * sigmoid(&gates.narrow(1, hidden, hidden)?)?)?;
            let out = self.conv(&gated, &format!("{module}.enc.res_skip_layers.{n}"))?;
            let skip = if out.dim(1)? == 2 * hidden {
                x = (x + out.narrow(1, 0, hidden)?)?;
                out.narrow(1, hidden, hidden)?
            } else {
                out
            };
            sum = Some(match sum {
                Some(sum) => (sum + skip)?,
                None => skip,
            });
        }
        sum.ok_or_else(|| candle_core::Error::CannotFindTensor { path: module.into() }.bt())
    }

    fn generate(&self, latent: &Tensor) -> Result<Tensor> {
        let count = |prefix: &str, part: &str| {
            (0..).take_while(|n| self.has(&format!("{prefix}.{n}.{part}"))).count()
        };
        let kind2 = self.has("dec.resblocks.0.convs.0.weight");
        let ups = count("dec.ups", "weight");
        let first = if kind2 { "convs.0.weight" } else { "convs1.0.weight" };
        let share = count("dec.resblocks", first) / ups.max(1);
        let mut x = self.conv(latent, "dec.conv_pre")?;
        for n in 0..ups {
            x = self.upsample(&leaky_relu(&x, 0.1)?, &format!("dec.ups.{n}"))?;
            let mut sum: Option<Tensor> = None;
            for block in n * share..(n + 1) * share {
                let out = self.residual(&x, &format!("dec.resblocks.{block}"), kind2)?;
                sum = Some(match sum {
                    Some(sum) => (sum + out)?,
                    None => out,
                });
            }
            if let Some(sum) = sum {
                x = (sum / share as f64)?;
            }
        }
        self.conv(&leaky_relu(&x, 0.01)?, "dec.conv_post")?.tanh()
    }

    fn upsample(&self, x: &Tensor, module: &str) -> Result<Tensor> {
        let weight = self.get(&format!("{module}.weight"))?;
        let kernel = weight.dim(2)?;
        let stride = self.shapes.get(module).map_or(kernel / 2, |shape| shape.stride);
        let len = x.dim(2)? * stride;
        // Without padding, then cut: candle's fast way.
        let whole = x.contiguous()?.conv_transpose1d(weight, 0, 0, stride, 1, 1)?;
        self.biased(whole.narrow(2, (kernel - stride) / 2, len)?, module)
    }

    fn residual(&self, x: &Tensor, module: &str, kind2: bool) -> Result<Tensor> {
        let mut x = x.clone();
        for n in 0.. {
            let first = format!("{module}.{}.{n}", if kind2 { "convs" } else { "convs1" });
            if !self.has(&format!("{first}.weight")) {
                break;
            }
            let mut y = self.conv(&leaky_relu(&x, 0.1)?, &first)?;
            if !kind2 {
                y = self.conv(&leaky_relu(&y, 0.1)?, &format!("{module}.convs2.{n}"))?;
            }
            x = (x + y)?;
        }
        Ok(x)
    }
}

/// Which positions lie within the window of which.
struct Near {
    /// [len, len]: distance of key from query, as an index; and 1 where it is in the window.
    distance: Tensor,
    inside: Tensor,
    /// [len, distances]: the key at each distance of a query; and 1 where there is one.
    key: Tensor,
    exists: Tensor,
}

impl Near {
    fn new(len: usize, window: usize, device: &Device) -> Result<Self> {
        let distances = 2 * window + 1;
        let (mut distance, mut inside) = (Vec::new(), Vec::new());
        let (mut key, mut exists) = (Vec::new(), Vec::new());
        for query in 0..len {
            for other in 0..len {
                let far = (other + window).checked_sub(query).filter(|&far| far < distances);
                distance.push(far.unwrap_or(0) as u32);
                inside.push(f32::from(far.is_some()));
            }
            for far in 0..distances {
                let other = (query + far).checked_sub(window).filter(|&other| other < len);
                key.push(other.unwrap_or(0) as u32);
                exists.push(f32::from(other.is_some()));
            }
        }
        Ok(Self {
            distance: Tensor::from_vec(distance, (len, len), device)?,
            inside: Tensor::from_vec(inside, (len, len), device)?,
            key: Tensor::from_vec(key, (len, distances), device)?,
            exists: Tensor::from_vec(exists, (len, distances), device)?,
        })
    }

    /// [heads, len, distances] → [heads, len, len].
    fn spread(&self, relative: &Tensor) -> Result<Tensor> {
        self.pick(relative, &self.distance)?.broadcast_mul(&self.inside)
    }

    /// [heads, len, len] → [heads, len, distances].
    fn collect(&self, weights: &Tensor) -> Result<Tensor> {
        self.pick(weights, &self.key)?.broadcast_mul(&self.exists)
    }

    fn pick(&self, from: &Tensor, index: &Tensor) -> Result<Tensor> {
        let heads = from.dim(0)?;
        let index = index.unsqueeze(0)?.repeat((heads, 1, 1))?;
        from.contiguous()?.gather(&index.contiguous()?, D::Minus1)
    }
}
