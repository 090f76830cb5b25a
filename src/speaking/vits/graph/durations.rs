//! The encoder's values in; the logarithm of each id's length out, for a batch of sentences.
//!
//! Both of VITS's duration predictors: the stochastic one (section 2.2.2), run backwards from
//! noise, and the plain one. Computes in f32, all on the device: the lengths are read back once.

use candle_core::{Result, Tensor};

use super::layers::{Conv, Linear, Mask, Norm, Store};
use super::spline::Spline;

/// A voice's duration predictor.
pub struct Durations {
    /// From the speaker's vector, for voices of several speakers.
    speaker: Option<Linear>,
    kind: Kind,
}

enum Kind {
    Stochastic(Stochastic),
    Plain(Plain),
}

struct Stochastic {
    pre: Linear,
    convs: Separable,
    proj: Linear,
    /// In the order they are undone.
    flows: Vec<SplineFlow>,
    /// Of the last, elementwise step.
    mean: f64,
    scale: f64,
}

struct Plain {
    steps: [(Conv, Norm); 2],
    proj: Linear,
}

impl Durations {
    /// Takes the weights below `dp`.
    pub fn load(store: &Store) -> Result<Self> {
        let speaker =
            if store.has("dp.cond.weight") { Some(store.linear("dp.cond")?) } else { None };
        let kind = if store.has("dp.conv_1.weight") {
            let step = |n: usize| -> Result<_> {
                Ok((store.conv(&format!("dp.conv_{n}"))?, store.norm(&format!("dp.norm_{n}"))?))
            };
            let proj = store.linear("dp.proj")?;
            Kind::Plain(Plain { steps: [step(1)?, step(2)?], proj })
        } else {
            Kind::Stochastic(Stochastic::load(store)?)
        };
        Ok(Self { speaker, kind })
    }

    /// [slots, ids]: the logarithms of the lengths. `hidden` is [slots, ids, channels], `speaker`
    /// [slots, 1, channels]; `noise` [2, slots, ids] is standard normal, already scaled (the plain
    /// predictor has no use for it).
    pub fn run(
        &self,
        hidden: &Tensor,
        speaker: Option<&Tensor>,
        noise: &Tensor,
        mask: &Mask,
    ) -> Result<Tensor> {
        let condition = match (&self.speaker, speaker) {
            (Some(layer), Some(speaker)) => Some(layer.run(speaker)?),
            _ => None,
        };
        let conditioned = |x: Tensor| match &condition {
            Some(condition) => x.broadcast_add(condition),
            None => Ok(x),
        };
        match &self.kind {
            Kind::Stochastic(network) => {
                network.run(conditioned(network.pre.run(hidden)?)?, noise, mask)
            }
            Kind::Plain(network) => network.run(conditioned(hidden.clone())?, mask),
        }
    }
}

impl Plain {
    fn run(&self, mut x: Tensor, mask: &Mask) -> Result<Tensor> {
        for (conv, norm) in &self.steps {
            x = norm.run(&conv.run_rows(&mask.apply(x)?)?.relu()?)?;
        }
        self.proj.run(&x)?.squeeze(2)
    }
}

impl Stochastic {
    fn load(store: &Store) -> Result<Self> {
        let first = |name: &str| -> Result<f32> {
            let array = store.array(name)?;
            let missing = || candle_core::Error::CannotFindTensor { path: name.into() }.bt();
            array.values.first().copied().ok_or_else(missing)
        };
        // Flow 1 is dropped at inference (as the published code does).
        let flows = (2..32).rev().map(|n| format!("dp.flows.{n}"));
        let flows = flows.filter(|module| store.has(&format!("{module}.proj.weight")));
        Ok(Self {
            pre: store.linear("dp.pre")?,
            convs: Separable::load(store, "dp.convs")?,
            proj: store.linear("dp.proj")?,
            flows: flows.map(|module| SplineFlow::load(store, &module)).collect::<Result<_>>()?,
            mean: f64::from(first("dp.flows.0.m")?),
            scale: f64::from((-first("dp.flows.0.logs")?).exp()),
        })
    }

    fn run(&self, x: Tensor, noise: &Tensor, mask: &Mask) -> Result<Tensor> {
        let text = self.proj.run(&self.convs.run(x, mask)?)?;
        let (mut still, mut moved) = (noise.get(0)?, noise.get(1)?);
        // Every step before the last swaps the two rows.
        for flow in &self.flows {
            std::mem::swap(&mut still, &mut moved);
            moved = flow.undo(&text, &still, &moved, mask)?;
        }
        // … and so does the last; only its first row counts.
        moved.affine(self.scale, -self.mean * self.scale)
    }
}

/// "DDSConv": depthwise dilated convolutions, each with a pointwise one, and residuals.
struct Separable {
    layers: Vec<SeparableLayer>,
}

struct SeparableLayer {
    depthwise: Conv,
    norm1: Norm,
    pointwise: Linear,
    norm2: Norm,
}

impl Separable {
    fn load(store: &Store, module: &str) -> Result<Self> {
        let count = store.count(&format!("{module}.convs_sep"), "weight");
        let layers = (0..count).map(|n| {
            let name = format!("{module}.convs_sep.{n}");
            let taps = store.array(&format!("{name}.weight"))?.dims[2];
            Ok(SeparableLayer {
                depthwise: store.depthwise(&name, taps.pow(n as u32))?,
                norm1: store.norm(&format!("{module}.norms_1.{n}"))?,
                pointwise: store.linear(&format!("{module}.convs_1x1.{n}"))?,
                norm2: store.norm(&format!("{module}.norms_2.{n}"))?,
            })
        });
        Ok(Self { layers: layers.collect::<Result<_>>()? })
    }

    fn run(&self, mut x: Tensor, mask: &Mask) -> Result<Tensor> {
        for layer in &self.layers {
            let y = layer.depthwise.run_rows(&mask.apply(x.clone())?)?;
            let y = layer.pointwise.run(&layer.norm1.run(&y)?.gelu_erf()?)?;
            x = (x + layer.norm2.run(&y)?.gelu_erf()?)?;
        }
        Ok(x)
    }
}

/// "ConvFlow": moves one row by a spline whose knots the other row and the text decide.
struct SplineFlow {
    pre: Linear,
    convs: Separable,
    proj: Linear,
    spline: Spline,
}

impl SplineFlow {
    fn load(store: &Store, module: &str) -> Result<Self> {
        let channels = store.array(&format!("{module}.pre.weight"))?.dims[0];
        Ok(Self {
            pre: store.linear(&format!("{module}.pre"))?,
            convs: Separable::load(store, &format!("{module}.convs"))?,
            proj: store.linear(&format!("{module}.proj"))?,
            spline: Spline::new(store, 1.0 / (channels as f64).sqrt())?,
        })
    }

    fn undo(&self, text: &Tensor, still: &Tensor, moved: &Tensor, mask: &Mask) -> Result<Tensor> {
        let x = (self.pre.run(&still.unsqueeze(2)?)? + text)?;
        let knots = self.proj.run(&self.convs.run(x, mask)?)?;
        let (slots, ids, width) = knots.dims3()?;
        let moved =
            self.spline.undo(&moved.flatten_all()?, &knots.reshape((slots * ids, width))?)?;
        moved.reshape((slots, ids))
    }
}
