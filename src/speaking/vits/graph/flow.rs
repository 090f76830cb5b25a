//! Samples of the prior in; the decoder's input out, for a batch of sentences.
//!
//! VITS's normalising flow (section 2.2.3), run backwards over whole sentences: mean-only coupling
//! layers around gated dilated convolutions (WaveNet). The flips between them are folded into the
//! weights. Sentences shorter than their batch are masked.

use candle_core::{DType, Error, Result, Tensor};
use candle_nn::ops::sigmoid;

use super::layers::{Conv, Mask, Store};

/// The flow's weights.
pub struct Flow {
    /// In the order they are undone.
    couplings: Vec<Coupling>,
}

/// Coupling layer: one half stays, and decides what is subtracted from the other.
struct Coupling {
    pre: Conv,
    layers: Vec<Gated>,
    post: Conv,
    /// From the speaker's vector to all layers' gates.
    speaker: Option<Conv>,
}

struct Gated {
    /// [2 · hidden]: the tanh half, then the sigmoid half.
    gates: Conv,
    /// To the next layer, then to the sum of all layers; the last has only the second.
    out: Conv,
}

impl Flow {
    /// Takes the weights below `flow`.
    pub fn load(store: &Store) -> Result<Self> {
        let modules = (0..).map(|n| format!("flow.flows.{}", 2 * n));
        let modules: Vec<String> =
            modules.take_while(|module| store.has(&format!("{module}.pre.weight"))).collect();
        if !modules.len().is_multiple_of(2) {
            return Err(Error::Msg("its flow has an odd number of layers".into()));
        }
        // A flip follows each layer; undone, an odd number of them precedes every other.
        let couplings = modules.iter().rev().enumerate();
        let couplings = couplings.map(|(n, module)| Coupling::load(store, module, n % 2 == 0));
        Ok(Self { couplings: couplings.collect::<Result<_>>()? })
    }

    /// Undoes it: `latent` is [slots, channels, frames], `speaker` [slots, channels, 1].
    pub fn run(&self, latent: &Tensor, speaker: Option<&Tensor>, mask: &Mask) -> Result<Tensor> {
        let half = latent.dim(1)? / 2;
        let mut moved = latent.narrow(1, 0, half)?.contiguous()?;
        let mut still = latent.narrow(1, half, half)?.contiguous()?;
        for coupling in &self.couplings {
            moved = (moved - coupling.means(&still, speaker, mask)?)?;
            std::mem::swap(&mut still, &mut moved);
        }
        // After an even number of swaps each half is where it was.
        Tensor::cat(&[moved, still], 1)
    }
}

impl Coupling {
    fn load(store: &Store, module: &str, flipped: bool) -> Result<Self> {
        let count = store.count(&format!("{module}.enc.in_layers"), "weight");
        let layers = (0..count).map(|n| {
            Ok(Gated {
                gates: store.conv(&format!("{module}.enc.in_layers.{n}"))?,
                out: store.conv(&format!("{module}.enc.res_skip_layers.{n}"))?,
            })
        });
        let speaker = format!("{module}.enc.cond_layer");
        let (mut pre, mut post) =
            (store.conv(&format!("{module}.pre"))?, store.conv(&format!("{module}.post"))?);
        if flipped {
            pre = pre.backwards(1)?;
            post = post.backwards(0)?;
        }
        Ok(Self {
            pre,
            layers: layers.collect::<Result<_>>()?,
            post,
            speaker: if store.has(&format!("{speaker}.weight")) {
                Some(store.conv(&speaker)?)
            } else {
                None
            },
        })
    }

    fn means(&self, still: &Tensor, speaker: Option<&Tensor>, mask: &Mask) -> Result<Tensor> {
        let condition = match (&self.speaker, speaker) {
            (Some(layer), Some(speaker)) => Some(layer.run(speaker)?),
            _ => None,
        };
        let mut x = mask.apply(self.pre.run(still)?)?;
        let hidden = x.dim(1)?;
        let mut sum: Option<Tensor> = None;
        for (n, layer) in self.layers.iter().enumerate() {
            let mut gates = layer.gates.run(&x)?;
            if let Some(condition) = &condition {
                gates = gates.broadcast_add(&condition.narrow(1, 2 * hidden * n, 2 * hidden)?)?;
            }
            let open = sigmoid(&gates.narrow(1, hidden, hidden)?.contiguous()?)?;
            let gated = (gates.narrow(1, 0, hidden)?.tanh()? * open)?;
            let out = layer.out.run(&gated)?;
            let skip = if n + 1 < self.layers.len() {
                x = mask.apply((x + out.narrow(1, 0, hidden)?)?)?;
                out.narrow(1, hidden, hidden)?
            } else {
                out
            };
            sum = Some(match sum {
                Some(sum) => (sum + skip)?,
                None => skip.contiguous()?,
            });
        }
        match sum {
            Some(sum) => self.post.run(&sum),
            None => Err(Error::Msg("a coupling layer without layers".into())),
        }
    }
}

/// The prior's samples of a batch: [slots, channels, frames].
pub struct Prior<'a> {
    /// [slots, ids, 2 · channels]: means, then logarithms of deviations.
    pub values: &'a Tensor,
    /// [slots · frames]: for each slot and frame the row of `values` it belongs to, all slots in
    /// one.
    pub owners: Tensor,
    /// [slots · frames, channels]: standard normal, already scaled.
    pub noise: Option<Tensor>,
}

impl Prior<'_> {
    /// Draws `slots` of `frames` frames each.
    pub fn draw(&self, (slots, frames): (usize, usize), dtype: DType) -> Result<Tensor> {
        let (_, _, width) = self.values.dims3()?;
        let channels = width / 2;
        let rows = self.values.reshape(((), width))?.index_select(&self.owners, 0)?;
        let mut latent = rows.narrow(1, 0, channels)?;
        if let Some(noise) = &self.noise {
            latent = (latent + (rows.narrow(1, channels, channels)?.exp()? * noise)?)?;
        }
        let latent = latent.reshape((slots, frames, channels))?.to_dtype(dtype)?;
        latent.transpose(1, 2)?.contiguous()
    }
}
