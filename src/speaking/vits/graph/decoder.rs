//! Frames in; sound out, chunk by chunk, for a batch of sentences.
//!
//! The HiFi-GAN generator (Kong et al. 2020) with both published kinds of residual block. A chunk
//! is computed from a window of its frames and the context on both sides that it depends on, so
//! that chunks equal the whole. Where a sentence begins or ends within its window, what lies
//! outside is kept at 0 behind every layer, as the padding of a whole sentence would be.

use candle_core::{DType, Device, Error, Result, Tensor};

use super::layers::{Conv, Mask, Store, leaky};
use super::shapes;

/// Slopes of the rectifiers; the last one has another.
const SLOPE: f64 = 0.1;
const LAST_SLOPE: f64 = 0.01;

/// The decoder's weights.
pub struct Decoder {
    pre: Conv,
    /// From the speaker's vector.
    speaker: Option<Conv>,
    levels: Vec<Level>,
    post: Conv,
    /// Samples per frame.
    hop: usize,
    /// Frames on each side of a frame that its sound depends on.
    reach: usize,
}

/// One upsampling step and the residual blocks behind it.
struct Level {
    up: Upsampling,
    blocks: Vec<Block>,
}

struct Upsampling {
    /// [inputs, outputs, taps].
    weight: Tensor,
    /// [1, outputs, 1].
    bias: Tensor,
    stride: usize,
    /// Samples it drops at the start.
    cut: usize,
}

/// Steps of a residual block, each of which adds its input: one convolution (kind 2) or two.
struct Block {
    steps: Vec<Vec<Conv>>,
}

/// A sentence as the decoder reads it. Sentences of one batch share their arrays.
pub struct Flowed {
    /// [1, channels, margin + frames + margin]: rectified, zero outside the sentence.
    frames: Option<Tensor>,
    /// [1, 1, margin + frames + margin]: 1 within the sentence.
    inside: Option<Tensor>,
    total: usize,
}

impl Flowed {
    /// A sentence of no frames.
    pub fn empty() -> Self {
        Self { frames: None, inside: None, total: 0 }
    }
}

/// Frames of a sentence that sound is wanted of.
pub struct Piece<'a> {
    /// Whose.
    pub flowed: &'a Flowed,
    /// The first.
    pub from: usize,
    /// The one behind the last; at most [`shapes::LARGEST_CHUNK`] from the first.
    pub to: usize,
}

impl Decoder {
    /// Takes the weights below `dec`. `hop` and `reach` are those of the same decoder.
    pub fn load(store: &Store, hop: usize, reach: usize) -> Result<Self> {
        let kind2 = store.has("dec.resblocks.0.convs.0.weight");
        let ups = store.count("dec.ups", "weight");
        let first = if kind2 { "convs.0.weight" } else { "convs1.0.weight" };
        let share = store.count("dec.resblocks", first) / ups.max(1);
        let levels = (0..ups).map(|n| {
            let blocks = (n * share..(n + 1) * share)
                .map(|block| Block::load(store, &format!("dec.resblocks.{block}"), kind2));
            Ok(Level {
                up: Upsampling::load(store, &format!("dec.ups.{n}"))?,
                blocks: blocks.collect::<Result<_>>()?,
            })
        });
        let speaker = store.has("dec.cond.weight").then(|| store.conv("dec.cond"));
        Ok(Self {
            pre: store.conv("dec.conv_pre")?,
            speaker: speaker.transpose()?,
            levels: levels.collect::<Result<_>>()?,
            post: store.conv("dec.conv_post")?,
            hop,
            reach,
        })
    }

    /// Samples per frame.
    pub fn hop(&self) -> usize {
        self.hop
    }

    /// What each sentence's sound is made of: `latent` is [slots, channels, frames], of which each
    /// sentence has `totals`; `speaker` is [slots, channels, 1].
    pub fn prepare(
        &self,
        latent: &Tensor,
        speaker: Option<&Tensor>,
        totals: &[usize],
        mask: &Mask,
    ) -> Result<Vec<Flowed>> {
        let mut x = self.pre.run(&mask.apply(latent.clone())?)?;
        if let (Some(layer), Some(speaker)) = (&self.speaker, speaker) {
            x = x.broadcast_add(&layer.run(speaker)?)?;
        }
        let x = mask.apply(leaky(&x, SLOPE)?)?;
        let (slots, _, frames) = x.dims3()?;
        let after = self.reach + shapes::LARGEST_CHUNK;
        let x = x.pad_with_zeros(2, self.reach, after)?;
        let inside = match mask.places() {
            Some(places) => places.clone(),
            None => Tensor::ones((slots, 1, frames), x.dtype(), x.device())?,
        };
        let inside = inside.pad_with_zeros(2, self.reach, after)?;
        let sentences = totals.iter().enumerate().map(|(slot, &total)| {
            Ok(Flowed {
                frames: Some(x.narrow(0, slot, 1)?),
                inside: Some(inside.narrow(0, slot, 1)?),
                total,
            })
        });
        sentences.collect()
    }

    /// The sound of each piece. Runs them as one batch, read back once.
    pub fn run(&self, pieces: &[Piece]) -> Result<Vec<Vec<f32>>> {
        let longest = pieces.iter().map(|piece| piece.to - piece.from).max().unwrap_or(0);
        if longest == 0 {
            return Ok(vec![Vec::new(); pieces.len()]);
        }
        let (chunk, slots) = (shapes::chunk(longest), shapes::slots(pieces.len()));
        let width = chunk + 2 * self.reach;
        // A frame's place in the padded array is `reach` behind its number.
        let window = |array: &Option<Tensor>, piece: &Piece| match array {
            Some(array) => array.narrow(2, piece.from, width),
            None => Err(Error::Msg("a sentence of no frames has no sound".into())),
        };
        let edges = pieces.iter().any(|piece| {
            piece.from < self.reach || piece.from + chunk + self.reach > piece.flowed.total
        });
        let windows = pieces.iter().map(|piece| window(&piece.flowed.frames, piece));
        let x = stack(windows.collect::<Result<_>>()?, slots)?;
        let inside = if edges {
            let windows = pieces.iter().map(|piece| window(&piece.flowed.inside, piece));
            Some(stack(windows.collect::<Result<_>>()?, slots)?)
        } else {
            None
        };
        let sound = self.generate(x, inside.as_ref(), chunk)?;
        let sound = sound.to_dtype(DType::F32)?.squeeze(1)?.to_vec2::<f32>()?;
        let cut = sound.into_iter().zip(pieces).map(|(mut sound, piece)| {
            sound.truncate((piece.to - piece.from) * self.hop);
            sound
        });
        Ok(cut.collect())
    }

    /// [slots, channels, window] → [slots, 1, chunk · hop].
    fn generate(&self, mut x: Tensor, inside: Option<&Tensor>, chunk: usize) -> Result<Tensor> {
        let mut rate = 1;
        for (n, level) in self.levels.iter().enumerate() {
            if n > 0 {
                x = leaky(&x, SLOPE)?;
            }
            rate *= level.up.stride;
            let mask = match inside {
                Some(inside) => Mask::of(stretch(inside, rate)?),
                None => Mask::none(),
            };
            x = level.run(&x, &mask)?;
        }
        let x = self.post.run(&leaky(&x, LAST_SLOPE)?)?;
        x.narrow(2, self.reach * self.hop, chunk * self.hop)?.contiguous()?.tanh()
    }

    /// A sentence's frames and places for `frames` frames, as [`Self::prepare`] leaves them, of
    /// zeros: for warming up.
    pub fn silence(&self, frames: usize, (device, dtype): (&Device, DType)) -> Result<Flowed> {
        let width = frames + 2 * self.reach + shapes::LARGEST_CHUNK;
        let channels = self.levels.first().map_or(1, |level| level.up.weight.dims()[0]);
        Ok(Flowed {
            frames: Some(Tensor::zeros((1, channels, width), dtype, device)?),
            inside: Some(Tensor::zeros((1, 1, width), dtype, device)?),
            total: frames,
        })
    }
}

/// Windows as the slots of a batch; slots beyond are empty.
fn stack(mut windows: Vec<Tensor>, slots: usize) -> Result<Tensor> {
    if let (Some(first), true) = (windows.first(), windows.len() < slots) {
        let (_, channels, width) = first.dims3()?;
        let empty = slots - windows.len();
        windows.push(Tensor::zeros((empty, channels, width), first.dtype(), first.device())?);
    }
    Tensor::cat(&windows, 0)?.contiguous()
}

/// [slots, 1, time] → [slots, 1, time · rate].
fn stretch(inside: &Tensor, rate: usize) -> Result<Tensor> {
    let (slots, _, time) = inside.dims3()?;
    let wide = inside.unsqueeze(3)?.broadcast_as((slots, 1, time, rate))?;
    wide.contiguous()?.reshape((slots, 1, time * rate))
}

impl Level {
    fn run(&self, x: &Tensor, mask: &Mask) -> Result<Tensor> {
        let x = mask.apply(self.up.run(x)?)?;
        let act = leaky(&x, SLOPE)?;
        let mut sum: Option<Tensor> = None;
        for block in &self.blocks {
            let out = block.run(&x, &act, mask)?;
            sum = Some(match sum {
                Some(sum) => (sum + out)?,
                None => out,
            });
        }
        match sum {
            Some(sum) => sum / self.blocks.len() as f64,
            None => Ok(x),
        }
    }
}

impl Upsampling {
    fn load(store: &Store, module: &str) -> Result<Self> {
        let weight = store.tensor(&format!("{module}.weight"))?;
        let (_, outputs, taps) = weight.dims3()?;
        let stride = store.stride(module).unwrap_or(taps / 2);
        let bias = store.array(&format!("{module}.bias"))?.values.clone();
        let bias = store.upload(bias, &[1, outputs, 1])?;
        Ok(Self { weight, bias, stride, cut: (taps - stride) / 2 })
    }

    /// [slots, inputs, time] → [slots, outputs, time · stride].
    fn run(&self, x: &Tensor) -> Result<Tensor> {
        let len = x.dim(2)? * self.stride;
        // candle 0.11.1's CPU device takes the slots of a batch for one long sentence unless each
        // instant's channels lie side by side. CUDA's does not, and is spared the copy.
        let beside = x.device().is_cpu() && x.dim(0)? > 1;
        let x = if beside { &x.transpose(1, 2)?.contiguous()?.transpose(1, 2)? } else { x };
        // Without padding, then cut: candle's fast way.
        let whole = x.conv_transpose1d(&self.weight, 0, 0, self.stride, 1, 1)?;
        whole.narrow(2, self.cut, len)?.broadcast_add(&self.bias)
    }
}

impl Block {
    fn load(store: &Store, module: &str, kind2: bool) -> Result<Self> {
        let (first, second) = if kind2 { ("convs", None) } else { ("convs1", Some("convs2")) };
        let steps = (0..store.count(&format!("{module}.{first}"), "weight")).map(|n| {
            let parts = [Some(first), second].into_iter().flatten();
            parts.map(|part| store.conv(&format!("{module}.{part}.{n}"))).collect()
        });
        Ok(Self { steps: steps.collect::<Result<_>>()? })
    }

    /// `act` is `x`, rectified.
    fn run(&self, x: &Tensor, act: &Tensor, mask: &Mask) -> Result<Tensor> {
        let mut x = x.clone();
        for (n, convs) in self.steps.iter().enumerate() {
            let mut y = if n == 0 { act.clone() } else { leaky(&x, SLOPE)? };
            for (n, conv) in convs.iter().enumerate() {
                if n > 0 {
                    y = leaky(&mask.apply(y)?, SLOPE)?;
                }
                y = conv.run(&y)?;
            }
            x = mask.apply((x + y)?)?;
        }
        Ok(x)
    }
}
