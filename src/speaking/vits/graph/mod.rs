//! The same network as candle operations, for any device candle has (CUDA with the feature
//! `cuda`). On the CPU [`super::kernels`] is several times faster and serves instead.
//!
//! In: several sentences' ids; then the pieces of them that sound is wanted of. Out: lengths; then
//! sound. Sentences run as one batch of fixed shapes ([`shapes`]); what a shape has too much is
//! masked, so that a sentence sounds the same in any company. Encoder, durations and flow run over
//! whole sentences, the decoder over chunks. Lengths are read back once a batch, sound once a
//! chunk; nothing else waits for the device.

mod decoder;
mod durations;
mod encoder;
mod flow;
mod layers;
pub mod shapes;
mod spline;

use candle_core::{DType, Device, Result, Tensor};

use super::Style;
use super::sentence::{Normal, frames_of};
use super::weights::Weights;
use decoder::Decoder;
pub use decoder::{Flowed, Piece};
use durations::Durations;
use encoder::Encoder;
use flow::{Flow, Prior};
use layers::{Mask, Store};

/// What flow and decoder compute in. Encoder, attention and durations always use f32: they are
/// little work, and a length off by one frame moves all that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floats.
    F32,
    /// 16-bit floats of 11 significant bits.
    F16,
    /// 16-bit floats of 8 significant bits.
    Bf16,
}

impl Precision {
    /// The one that suits a device: half precision on GPUs, whose matrix units want it.
    pub fn of(device: &Device) -> Self {
        if device.is_cpu() { Self::F32 } else { Self::F16 }
    }

    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// A sentence to begin.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Its ids, as the voice's configuration gives them.
    pub ids: &'a [u32],
    /// How it is spoken.
    pub style: Style,
    /// The same seed gives the same sound.
    pub seed: u64,
}

/// The network on a device.
pub struct Graph {
    encoder: Encoder,
    durations: Durations,
    flow: Flow,
    decoder: Decoder,
    /// [speakers, channels], of voices of several speakers.
    speakers: Option<Tensor>,
    device: Device,
    dtype: DType,
}

/// While the returned guard lives, what candle's CUDA kernels are told of their arguments' shapes
/// stays on the device, where each operation would send it anew. Shapes are few; so are the index
/// arrays that the encoder sends. Sentences' contents must not be sent meanwhile: they would stay.
#[cfg(feature = "cuda")]
fn keep_shapes(device: &Device) -> Option<impl Sized> {
    match device {
        Device::Cuda(cuda) => Some(cuda.enable_cuda_graph_htod_cache()),
        _ => None,
    }
}

/// Only CUDA's kernels are told of shapes by way of the device.
#[cfg(not(feature = "cuda"))]
fn keep_shapes(_: &Device) -> Option<impl Sized> {
    None::<()>
}

fn normals(count: usize) -> Vec<Normal> {
    (0..).map(Normal::new).take(count).collect()
}

/// A sentence with its lengths and its noise, before the flow.
struct Timed {
    frames: Vec<usize>,
    total: usize,
    noise: Normal,
}

impl Graph {
    /// Copies all weights to the device. `hop` (samples per frame) and `reach` (frames on each side
    /// that a frame's sound depends on) are the decoder's.
    pub fn load(
        weights: &Weights,
        device: &Device,
        precision: Precision,
        (hop, reach): (usize, usize),
    ) -> Result<Self> {
        let text = Store::new(weights, device, DType::F32);
        let sound = Store::new(weights, device, precision.dtype());
        let speakers = text.has("emb_g.weight").then(|| text.tensor("emb_g.weight"));
        Ok(Self {
            encoder: Encoder::load(&text)?,
            durations: Durations::load(&text)?,
            flow: Flow::load(&sound)?,
            decoder: Decoder::load(&sound, hop, reach)?,
            speakers: speakers.transpose()?,
            device: device.clone(),
            dtype: precision.dtype(),
        })
    }

    /// Samples per frame.
    pub fn hop(&self) -> usize {
        self.decoder.hop()
    }

    /// How many speakers it has, at least one.
    pub fn speakers(&self) -> usize {
        self.speakers.as_ref().map_or(1, |table| table.dims()[0])
    }

    /// Encodes sentences, draws their lengths and their latents from a source of noise each; gives
    /// the frames of each id. The requests' seeds are not looked at.
    pub fn begin(
        &self,
        requests: &[Request],
        noise: Vec<Normal>,
    ) -> Result<Vec<(Vec<usize>, Flowed)>> {
        let mut begun: Vec<(Vec<usize>, Flowed)> =
            requests.iter().map(|_| (Vec::new(), Flowed::empty())).collect();
        let spoken = (0..).zip(noise).filter(|(n, _)| !requests[*n].ids.is_empty());
        let mut spoken = spoken.peekable();
        while spoken.peek().is_some() {
            let (places, noise): (Vec<usize>, Vec<Normal>) =
                spoken.by_ref().take(shapes::MOST_SLOTS).unzip();
            let wanted: Vec<Request> = places.iter().map(|&n| requests[n]).collect();
            let (prior, timed) = self.lengths(&wanted, noise)?;
            for (n, made) in places.into_iter().zip(self.latents(&wanted, &prior, timed)?) {
                begun[n] = made;
            }
        }
        Ok(begun)
    }

    /// The sound of each piece.
    pub fn decode(&self, pieces: &[Piece]) -> Result<Vec<Vec<f32>>> {
        let _kept = keep_shapes(&self.device);
        let mut sound = Vec::with_capacity(pieces.len());
        for batch in pieces.chunks(shapes::MOST_SLOTS) {
            sound.extend(self.decoder.run(batch)?);
        }
        Ok(sound)
    }

    /// Runs every shape once, so that no sentence waits for the device to load what it needs. A CPU
    /// loads nothing, and would take minutes.
    pub fn warm_up(&self) -> Result<()> {
        if self.device.is_cpu() {
            return Ok(());
        }
        self.warm_up_shapes(&shapes::SLOTS, &shapes::LENGTHS, &shapes::FRAMES)
    }

    fn warm_up_shapes(&self, slots: &[usize], lengths: &[usize], frames: &[usize]) -> Result<()> {
        let scales = super::Scales { noise: 0.5, length: 1.0, duration_noise: 0.5 };
        let style = Style { scales, speaker: 0 };
        let silence = self.decoder.silence(1, (&self.device, self.dtype))?;
        for &slots in slots {
            for &length in lengths {
                // One short of the shape, so that the masks run too.
                let ids = vec![0; length - 1];
                let request = Request { ids: &ids, style, seed: 0 };
                let requests = vec![request; slots];
                self.lengths(&requests, normals(slots))?;
            }
            let ids = [0; 8];
            let requests = vec![Request { ids: &ids, style, seed: 0 }; slots];
            for &frames in frames {
                let (prior, mut timed) = self.lengths(&requests, normals(slots))?;
                for sentence in &mut timed {
                    sentence.total = frames - 1;
                    sentence.frames.fill(0);
                    sentence.frames[0] = sentence.total;
                }
                self.latents(&requests, &prior, timed)?;
            }
            for chunk in shapes::CHUNKS {
                let pieces = (0..slots).map(|_| Piece { flowed: &silence, from: 0, to: chunk });
                self.decode(&pieces.collect::<Vec<_>>())?;
            }
        }
        self.device.synchronize()
    }

    /// Encoder and durations: the prior, [slots, ids, 2 · channels], and each sentence's lengths.
    fn lengths(
        &self,
        requests: &[Request],
        mut draws: Vec<Normal>,
    ) -> Result<(Tensor, Vec<Timed>)> {
        let lengths: Vec<usize> = requests.iter().map(|request| request.ids.len()).collect();
        let slots = shapes::slots(requests.len());
        let length = shapes::length(lengths.iter().copied().max().unwrap_or(1));
        let mask = Mask::new(&lengths, (slots, length), false, (&self.device, DType::F32))?;
        let mut ids = vec![0; slots * length];
        let mut noise = vec![0.0; 2 * slots * length];
        let last = self.encoder.symbols() as u32 - 1;
        for (slot, (request, normal)) in requests.iter().zip(&mut draws).enumerate() {
            for (id, &wanted) in ids[slot * length..].iter_mut().zip(request.ids) {
                *id = wanted.min(last);
            }
            // Drawn even where the durations are plain, as the CPU's own kernels do.
            for row in [0, slots] {
                let places = &mut noise[(row + slot) * length..][..request.ids.len()];
                places.fill_with(|| normal.draw() * request.style.scales.duration_noise);
            }
        }
        let ids = Tensor::from_vec(ids, slots * length, &self.device)?;
        let noise = Tensor::from_vec(noise, (2, slots, length), &self.device)?;
        let speaker = self.speaker_rows(requests, slots)?;
        let kept = keep_shapes(&self.device);
        let encoded = self.encoder.run(&ids, (slots, length), &mask)?;
        let logs = self.durations.run(&encoded.hidden, speaker.as_ref(), &noise, &mask)?;
        drop(kept);
        let logs = logs.to_vec2::<f32>()?;
        let timed = requests.iter().zip(logs).zip(draws).map(|((request, logs), noise)| {
            let frames = frames_of(&logs[..request.ids.len()], request.style.scales.length);
            Timed { total: frames.iter().sum(), frames, noise }
        });
        Ok((encoded.prior, timed.collect()))
    }

    /// Prior, flow and the decoder's first layer.
    fn latents(
        &self,
        requests: &[Request],
        prior: &Tensor,
        mut timed: Vec<Timed>,
    ) -> Result<Vec<(Vec<usize>, Flowed)>> {
        let totals: Vec<usize> = timed.iter().map(|sentence| sentence.total).collect();
        let longest = totals.iter().copied().max().unwrap_or(0);
        if longest == 0 {
            return Ok(timed.into_iter().map(|one| (one.frames, Flowed::empty())).collect());
        }
        let (slots, length, width) = prior.dims3()?;
        let (frames, channels) = (shapes::frames(longest), width / 2);
        let mut owners = vec![0; slots * frames];
        let noisy = requests.iter().any(|request| request.style.scales.noise != 0.0);
        let mut noise = if noisy { vec![0.0; slots * frames * channels] } else { Vec::new() };
        for (slot, (sentence, request)) in timed.iter_mut().zip(requests).enumerate() {
            let ids = (slot * length..).zip(&sentence.frames);
            let each = ids.flat_map(|(id, &count)| std::iter::repeat_n(id as u32, count));
            owners[slot * frames..].iter_mut().zip(each).for_each(|(owner, id)| *owner = id);
            let scale = request.style.scales.noise;
            if scale != 0.0 {
                // Frame by frame, as the CPU's own kernels draw.
                let places = &mut noise[slot * frames * channels..][..sentence.total * channels];
                places.fill_with(|| sentence.noise.draw() * scale);
            }
        }
        let noise = if noisy {
            Some(Tensor::from_vec(noise, (slots * frames, channels), &self.device)?)
        } else {
            None
        };
        let owners = Tensor::from_vec(owners, slots * frames, &self.device)?;
        let mask = Mask::new(&totals, (slots, frames), true, (&self.device, self.dtype))?;
        let speaker = match self.speaker_rows(requests, slots)? {
            Some(rows) => Some(rows.transpose(1, 2)?.contiguous()?.to_dtype(self.dtype)?),
            None => None,
        };
        let _kept = keep_shapes(&self.device);
        let latent = Prior { values: prior, owners, noise }.draw((slots, frames), self.dtype)?;
        let latent = self.flow.run(&latent, speaker.as_ref(), &mask)?;
        let flowed = self.decoder.prepare(&latent, speaker.as_ref(), &totals, &mask)?;
        Ok(timed.into_iter().map(|one| one.frames).zip(flowed).collect())
    }

    /// [slots, 1, channels]: the vectors of the sentences' speakers.
    fn speaker_rows(&self, requests: &[Request], slots: usize) -> Result<Option<Tensor>> {
        let Some(table) = &self.speakers else { return Ok(None) };
        let last = table.dim(0)?.max(1) as u32 - 1;
        let mut speakers = vec![0; slots];
        for (speaker, request) in speakers.iter_mut().zip(requests) {
            *speaker = request.style.speaker.min(last);
        }
        let speakers = Tensor::from_vec(speakers, slots, &self.device)?;
        Ok(Some(table.index_select(&speakers, 0)?.unsqueeze(1)?))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::Device;

    use crate::speaking::vits::{Network, Vits};

    #[test]
    fn warming_up_runs_every_shape() {
        let voice = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vits/multi-plain");
        let (vits, _) = Vits::load_graph(&voice, &Device::Cpu).expect("the fixture");
        let Network::Graph(graph) = &vits.network else { panic!("it was loaded as candle's") };
        graph.warm_up_shapes(&[1, 2], &[32, 64], &[64]).expect("the CPU does not fail");
    }
}
