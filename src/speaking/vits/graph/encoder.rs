//! Phoneme ids in; what the prior and the durations read out, for a batch of sentences.
//!
//! VITS's text encoder (section 2.2.1): a transformer with relative positions (Shaw et al. 2018).
//! Computes in f32. Sentences shorter than their batch are masked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::layers::{Conv, Linear, Mask, Norm, Store};
use super::shapes;

/// Added to the score of a key that is not there: its weight is exactly 0.
const NOWHERE: f64 = -1e9;

/// The text encoder's weights.
pub struct Encoder {
    /// [symbols, channels], scaled.
    table: Tensor,
    layers: Vec<Layer>,
    /// To [2 · channels]: means, then logarithms of deviations.
    prior: Linear,
    /// Index arrays by number of ids; only the sizes of [`shapes::LENGTHS`] are kept.
    near: Mutex<HashMap<usize, Arc<Near>>>,
}

/// What the encoder makes of a batch.
pub struct Encoded {
    /// [slots, ids, channels].
    pub hidden: Tensor,
    /// [slots, ids, 2 · channels].
    pub prior: Tensor,
}

struct Layer {
    attention: Attention,
    norm1: Norm,
    wide: Conv,
    narrow: Conv,
    norm2: Norm,
}

struct Attention {
    /// Queries (scaled), keys and values.
    inputs: Linear,
    output: Linear,
    /// [width, distances + 1]: the last column is 0, for keys further away than the window.
    keys: Tensor,
    /// [distances, width].
    values: Tensor,
    width: usize,
    window: usize,
}

impl Encoder {
    /// Takes the weights below `enc_p`.
    pub fn load(store: &Store) -> Result<Self> {
        let table = store.tensor("enc_p.emb.weight")?;
        let scale = (table.dim(1)? as f64).sqrt();
        let count = store.count("enc_p.encoder.attn_layers", "conv_q.weight");
        Ok(Self {
            table: (table * scale)?,
            layers: (0..count).map(|n| Layer::load(store, n)).collect::<Result<_>>()?,
            prior: store.linear("enc_p.proj")?,
            near: Mutex::default(),
        })
    }

    /// Symbols it knows.
    pub fn symbols(&self) -> usize {
        self.table.dims()[0]
    }

    /// Encodes ids: [slots · places]; `mask` is [slots, places, 1].
    pub fn run(
        &self,
        ids: &Tensor,
        (slots, places): (usize, usize),
        mask: &Mask,
    ) -> Result<Encoded> {
        let x = self.table.index_select(ids, 0)?;
        let mut x = x.reshape((slots, places, ()))?;
        let window = self.layers.first().map_or(0, |layer| layer.attention.window);
        let near = self.near(places, window)?;
        let absent = absent((slots, places), mask)?;
        for layer in &self.layers {
            let attended = layer.attention.run(&x, &near, absent.as_ref())?;
            x = layer.norm1.run(&(x + attended)?)?;
            let wide = layer.wide.run(&mask.apply(x.clone())?.transpose(1, 2)?)?.relu()?;
            // Masked across the other axis: here the channels come first.
            let wide = match mask.places() {
                Some(mask) => wide.broadcast_mul(&mask.transpose(1, 2)?)?,
                None => wide,
            };
            let fed = layer.narrow.run(&wide)?.transpose(1, 2)?;
            x = layer.norm2.run(&(x + fed)?)?;
        }
        let prior = self.prior.run(&x)?;
        Ok(Encoded { hidden: x, prior })
    }

    fn near(&self, places: usize, window: usize) -> Result<Arc<Near>> {
        let mut kept = self.near.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(near) = kept.get(&places) {
            return Ok(near.clone());
        }
        let near = Arc::new(Near::new(places, window, self.table.device())?);
        if shapes::LENGTHS.contains(&places) {
            kept.insert(places, near.clone());
        }
        Ok(near)
    }
}

/// [slots, 1, 1, places]: what is added to the scores of keys that are not there.
fn absent((slots, places): (usize, usize), mask: &Mask) -> Result<Option<Tensor>> {
    let Some(present) = mask.places() else { return Ok(None) };
    // 1 becomes 0, and 0 becomes NOWHERE.
    let absent = present.affine(-NOWHERE, NOWHERE)?;
    Ok(Some(absent.reshape((slots, 1, 1, places))?))
}

impl Layer {
    fn load(store: &Store, n: usize) -> Result<Self> {
        let part = |part: &str| format!("enc_p.encoder.{part}.{n}");
        Ok(Self {
            attention: Attention::load(store, &part("attn_layers"))?,
            norm1: store.norm(&part("norm_layers_1"))?,
            wide: store.conv(&format!("{}.conv_1", part("ffn_layers")))?,
            narrow: store.conv(&format!("{}.conv_2", part("ffn_layers")))?,
            norm2: store.norm(&part("norm_layers_2"))?,
        })
    }
}

impl Attention {
    fn load(store: &Store, module: &str) -> Result<Self> {
        let keys = store.tensor(&format!("{module}.emb_rel_k"))?.squeeze(0)?;
        let values = store.tensor(&format!("{module}.emb_rel_v"))?.squeeze(0)?;
        let (distances, width) = keys.dims2()?;
        let part = |part: &str| format!("{module}.{part}");
        let scale = 1.0 / (width as f32).sqrt();
        Ok(Self {
            inputs: store.stacked(&[
                (&part("conv_q"), scale),
                (&part("conv_k"), 1.0),
                (&part("conv_v"), 1.0),
            ])?,
            output: store.linear(&part("conv_o"))?,
            keys: keys.pad_with_zeros(0, 0, 1)?.t()?.contiguous()?,
            values,
            width,
            window: distances / 2,
        })
    }

    fn run(&self, x: &Tensor, near: &Near, absent: Option<&Tensor>) -> Result<Tensor> {
        let (slots, places, channels) = x.dims3()?;
        let heads = channels / self.width;
        let rows = slots * heads;
        // [3, slots, heads, places, width].
        let parts = self.inputs.run(x)?.reshape((slots, places, 3, heads, self.width))?;
        let parts = parts.permute((2, 0, 3, 1, 4))?.contiguous()?;
        let part = |n: usize| parts.get(n)?.reshape((rows, places, self.width));
        let (query, key, value) = (part(0)?, part(1)?, part(2)?);
        let relative = query.reshape((rows * places, self.width))?.matmul(&self.keys)?;
        let scores = (query.matmul(&key.transpose(1, 2)?)? + near.spread(&relative, rows)?)?;
        let scores = match absent {
            Some(absent) => scores
                .reshape((slots, heads, places, places))?
                .broadcast_add(absent)?
                .reshape((rows, places, places))?,
            None => scores,
        };
        let weights = softmax_last_dim(&scores)?;
        let collected = near.collect(&weights)?.matmul(&self.values)?;
        let out = (weights.matmul(&value)? + collected.reshape((rows, places, self.width))?)?;
        let out = out.reshape((slots, heads, places, self.width))?.transpose(1, 2)?;
        self.output.run(&out.contiguous()?.reshape((slots, places, channels))?)
    }
}

/// Which places lie within the window of which.
struct Near {
    places: usize,
    distances: usize,
    /// [places · places]: for each query and key, where its distance stands in [places, distances
    /// + 1].
    distance: Tensor,
    /// [places · distances]: for each query and distance, where its key stands in [places,
    /// places]; and 1 where there is one.
    key: Tensor,
    exists: Tensor,
}

impl Near {
    fn new(places: usize, window: usize, device: &Device) -> Result<Self> {
        let distances = 2 * window + 1;
        let (mut distance, mut key, mut exists) = (Vec::new(), Vec::new(), Vec::new());
        for query in 0..places {
            for other in 0..places {
                let far = (other + window).checked_sub(query).filter(|&far| far < distances);
                distance.push((query * (distances + 1) + far.unwrap_or(distances)) as u32);
            }
            for far in 0..distances {
                let other = (query + far).checked_sub(window).filter(|&other| other < places);
                key.push((query * places + other.unwrap_or(0)) as u32);
                exists.push(f32::from(other.is_some()));
            }
        }
        Ok(Self {
            places,
            distances,
            distance: Tensor::from_vec(distance, places * places, device)?,
            key: Tensor::from_vec(key, places * distances, device)?,
            exists: Tensor::from_vec(exists, (1, places * distances), device)?,
        })
    }

    /// [rows · places, distances + 1] → [rows, places, places].
    fn spread(&self, relative: &Tensor, rows: usize) -> Result<Tensor> {
        let flat = relative.reshape((rows, self.places * (self.distances + 1)))?;
        flat.index_select(&self.distance, 1)?.reshape((rows, self.places, self.places))
    }

    /// [rows, places, places] → [rows · places, distances].
    fn collect(&self, weights: &Tensor) -> Result<Tensor> {
        let flat = weights.reshape(((), self.places * self.places))?;
        let near = flat.index_select(&self.key, 1)?.broadcast_mul(&self.exists)?;
        near.reshape(((), self.distances))
    }
}
