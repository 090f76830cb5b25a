//! VITS: ids of phonemes or characters in, sound and each phoneme's length out.
//!
//! Owns the network (Kim et al. 2021, "Conditional Variational Autoencoder with Adversarial
//! Learning for End-to-End Text-to-Speech"), read straight from a Piper voice's `.onnx` and its
//! `.json`, or from the folder of a Hugging Face `VitsModel` (MMS-TTS). [`Vits::begin`] encodes a sentence and fixes its length; [`Sentence::next`] makes the
//! sound piece by piece. Runs on the calling thread; knows nothing of text, threads or time.

mod batch;
mod config;
mod conv;
mod decoder;
pub mod device;
mod durations;
mod encoder;
mod flow;
mod folder;
mod graph;
mod kernels;
pub mod limit;
mod loops;
mod math;
mod onnx;
mod sentence;
mod speakers;
#[cfg(test)]
mod tests;
mod track;
mod weights;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
pub use config::{Alphabet, Config, Scales, Symbols};
pub use sentence::Sentence;

use decoder::Decoder;
use durations::Durations;
use encoder::Encoder;
use flow::Flow;
use graph::Graph;
pub use graph::{Precision, Request};
use kernels::Simd;
use sentence::{Normal, Spares};
use speakers::{Speaker, Speakers};
use weights::{Missing, Weights};

/// Why a voice cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is missing or cannot be read.
    #[error("cannot read the voice's file {path}: {why}; `eva models pull` fetches it")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// A file holds something else than a voice.
    #[error("the voice's file {path} is not usable: {reason}; `eva models pull` fetches it anew")]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The device does not take the voice.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// The device a voice runs on failed.
#[derive(Debug, thiserror::Error)]
#[error("the voice's device failed: {0}")]
pub struct DeviceError(#[from] candle_core::Error);

/// How a sentence is spoken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Style {
    /// How it varies, and how slow it is.
    pub scales: Scales,
    /// Who speaks, below [`Vits::speakers`]; numbers beyond are the last speaker.
    pub speaker: u32,
}

/// The network of one voice.
pub struct Vits {
    network: Network,
    work: Work,
}

/// Floating-point operations a voice needs: products and sums of its convolutions and its
/// attention, two for each weight used. What a device reaches of them in a second, beside what it
/// reaches in a plain product of matrices, says how much faster it could be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// For each id of a sentence: encoder and durations.
    pub per_id: f64,
    /// For each pair of ids of a sentence: attention.
    pub per_pair: f64,
    /// For each frame of sound: flow and decoder.
    pub per_frame: f64,
}

impl Work {
    /// Of a sentence of so many ids and frames.
    pub fn of(&self, ids: usize, frames: usize) -> f64 {
        let (ids, frames) = (ids as f64, frames as f64);
        self.per_id * ids + self.per_pair * ids * ids + self.per_frame * frames
    }
}

enum Network {
    /// Our own kernels on the CPU.
    Kernels(Box<Kernels>),
    /// candle's operations on another device.
    Graph(Box<Graph>),
}

struct Kernels {
    encoder: Encoder,
    durations: Durations,
    flow: Flow,
    decoder: Decoder,
    speakers: Speakers,
    /// Of finished sentences.
    spares: Spares,
    simd: Simd,
}

impl Vits {
    /// Reads a voice onto a device. `path` is a Piper voice's `.onnx`, whose configuration lies
    /// beside it, `.json` appended; or a folder with `config.json`, `model.safetensors`,
    /// `vocab.json` and `tokenizer_config.json`, as Hugging Face's `VitsModel` saves one. The CPU
    /// has kernels of its own, other devices run candle's.
    pub fn load(path: &Path, device: &Device) -> Result<(Self, Config), LoadError> {
        let graph = (!device.is_cpu()).then(|| Precision::of(device));
        Self::load_with(path, device, graph)
    }

    /// As [`Self::load`], with candle's operations on every device, the sound in the precision
    /// that suits it.
    pub fn load_graph(path: &Path, device: &Device) -> Result<(Self, Config), LoadError> {
        Self::load_graph_at(path, device, Precision::of(device))
    }

    /// As [`Self::load_graph`], in a precision of choice.
    pub fn load_graph_at(
        path: &Path,
        device: &Device,
        precision: Precision,
    ) -> Result<(Self, Config), LoadError> {
        Self::load_with(path, device, Some(precision))
    }

    fn load_with(
        path: &Path,
        device: &Device,
        graph: Option<Precision>,
    ) -> Result<(Self, Config), LoadError> {
        let (weights, config, file) =
            if path.is_dir() { folder::read(path)? } else { read_piper(path)? };
        // Checks every weight's presence and shape for either way.
        let checked = Kernels::load(&weights)
            .map_err(|error| LoadError::Content { path: file, reason: error.to_string() })?;
        let work = checked.work();
        let network = match graph {
            None => Network::Kernels(Box::new(checked)),
            Some(precision) => {
                let shape = (checked.decoder.hop(), checked.decoder.reach());
                let graph = Graph::load(&weights, device, precision, shape).map_err(DeviceError)?;
                Network::Graph(Box::new(graph))
            }
        };
        Ok((Self { network, work }, config))
    }

    /// Samples per frame.
    pub fn hop(&self) -> usize {
        match &self.network {
            Network::Kernels(network) => network.decoder.hop(),
            Network::Graph(graph) => graph.hop(),
        }
    }

    /// What speaking costs.
    pub fn work(&self) -> Work {
        self.work
    }

    /// Floating-point operations of a second of sound at `sample_rate` Hz, without the encoder and
    /// the durations, which depend on the text.
    pub fn flops_per_second_of_sound(&self, sample_rate: u32) -> f64 {
        self.work.per_frame * f64::from(sample_rate) / self.hop() as f64
    }

    /// How many frames to ask [`Sentence::next`] for once sound is under way, so that a step takes
    /// well below 50 ms: 48 of a voice of Piper's medium quality, 4 of its high one on the CPU.
    pub fn frames_of_a_step(&self) -> usize {
        const MOST: usize = 48;
        const FEWEST: usize = 4;
        // About 25 ms of one processor core with AVX-512, 45 with AVX2.
        const FLOPS: f64 = 3e9;
        match &self.network {
            Network::Kernels(_) => ((FLOPS / self.work.per_frame) as usize).clamp(FEWEST, MOST),
            Network::Graph(_) => MOST,
        }
    }

    /// How many speakers it has, at least one.
    pub fn speakers(&self) -> usize {
        match &self.network {
            Network::Kernels(network) => network.speakers.count(),
            Network::Graph(graph) => graph.speakers(),
        }
    }

    /// Encodes a sentence of ids and draws its durations; the same `seed` gives the same sound. An
    /// empty sentence has no sound; ids the voice lacks count as the last it has.
    pub fn begin(&self, ids: &[u32], style: Style, seed: u64) -> Result<Sentence, DeviceError> {
        Sentence::begin(self, ids, style, Normal::new(seed))
    }
}

/// A Piper voice's weights and configuration, and the file that holds the weights.
fn read_piper(model: &Path) -> Result<(Weights, Config, PathBuf), LoadError> {
    let mut beside = model.as_os_str().to_owned();
    beside.push(".json");
    let beside = PathBuf::from(beside);
    let config = Config::parse(&read(&beside)?).map_err(|error| content(&beside, error))?;
    let graph = onnx::read(&read(model)?).map_err(|error| content(model, error))?;
    Ok((Weights::from_graph(graph), config, model.into()))
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|why| LoadError::File { path: path.into(), why })
}

fn content(path: &Path, reason: impl ToString) -> LoadError {
    LoadError::Content { path: path.into(), reason: reason.to_string() }
}

impl Kernels {
    fn load(weights: &Weights) -> Result<Self, Missing> {
        let speakers = Speakers::load(weights)?;
        let encoder = Encoder::load(weights)?;
        let channels = encoder.channels();
        Ok(Self {
            durations: Durations::load(weights, encoder.hidden(), &speakers)?,
            flow: Flow::load(weights, channels, &speakers)?,
            decoder: Decoder::load(weights, channels, &speakers)?,
            encoder,
            speakers,
            spares: Spares::default(),
            simd: Simd::detect(),
        })
    }

    fn work(&self) -> Work {
        let [per_id, per_pair] = self.encoder.flops();
        Work {
            per_id: per_id + self.durations.flops(),
            per_pair,
            per_frame: self.flow.flops() + self.decoder.flops(),
        }
    }

    /// What speaker `number` changes.
    fn speaker(&self, number: u32) -> Arc<Speaker> {
        self.speakers.get(number, |embedding| Speaker {
            durations: self.durations.speaker(embedding),
            flow: self.flow.speaker(embedding),
            decoder: self.decoder.speaker(embedding),
        })
    }
}
