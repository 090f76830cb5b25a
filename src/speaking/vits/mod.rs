//! VITS: phoneme ids in, sound and each phoneme's length out.
//!
//! Owns the network (Kim et al. 2021, "Conditional Variational Autoencoder with Adversarial
//! Learning for End-to-End Text-to-Speech"), read straight from a Piper voice's `.onnx` and its
//! `.json`. [`Vits::begin`] encodes a sentence and fixes its length; [`Sentence::next`] makes the
//! sound piece by piece. Runs on the calling thread; knows nothing of text, threads or time.

mod config;
mod conv;
mod decoder;
mod durations;
mod encoder;
mod flow;
mod graph;
mod kernels;
mod math;
mod onnx;
mod sentence;
mod track;
mod weights;

use std::path::{Path, PathBuf};

use candle_core::Device;
pub use config::{Config, Scales};
pub use sentence::Sentence;

use decoder::Decoder;
use durations::Durations;
use encoder::Encoder;
use flow::Flow;
use graph::Graph;
use kernels::Simd;
use weights::{Missing, Weights};

/// Why a voice cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file is missing or cannot be read.
    #[error("cannot read the voice's file {path}: {source}; `eva models pull` fetches it")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
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

/// The network of one voice.
pub struct Vits {
    network: Network,
}

enum Network {
    /// Our own kernels on the CPU.
    Kernels(Box<Kernels>),
    /// candle's operations on another device.
    Graph(Box<Graph>, Shape),
}

/// What the sentence needs to know of a decoder it does not run itself.
struct Shape {
    hop: usize,
    reach: usize,
}

struct Kernels {
    encoder: Encoder,
    durations: Durations,
    flow: Flow,
    decoder: Decoder,
    simd: Simd,
}

impl Vits {
    /// Reads a voice onto a device: `model` is the `.onnx`; its configuration lies beside it,
    /// `.json` appended. The CPU has kernels of its own, other devices run candle's.
    pub fn load(model: &Path, device: &Device) -> Result<(Self, Config), LoadError> {
        Self::load_with(model, device, device.is_cpu())
    }

    /// As [`Self::load`], with candle's operations on every device: the reference for tests.
    pub fn load_graph(model: &Path, device: &Device) -> Result<(Self, Config), LoadError> {
        Self::load_with(model, device, false)
    }

    fn load_with(
        model: &Path,
        device: &Device,
        kernels: bool,
    ) -> Result<(Self, Config), LoadError> {
        let content =
            |path: &Path, reason: String| LoadError::Content { path: path.into(), reason };
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| LoadError::File { path: path.into(), source })
        };
        let mut beside = model.as_os_str().to_owned();
        beside.push(".json");
        let beside = PathBuf::from(beside);
        let config =
            Config::parse(&read(&beside)?).map_err(|error| content(&beside, error.to_string()))?;
        let graph = onnx::read(&read(model)?).map_err(|error| content(model, error.to_string()))?;
        let weights = Weights::from_graph(graph);
        // Checks every weight's presence and shape for either way.
        let checked = Kernels::load(&weights).map_err(|error| content(model, error.to_string()))?;
        let network = if kernels {
            Network::Kernels(Box::new(checked))
        } else {
            let shape = Shape { hop: checked.decoder.hop(), reach: checked.decoder.reach() };
            let graph = Graph::load(weights, device).map_err(DeviceError)?;
            Network::Graph(Box::new(graph), shape)
        };
        Ok((Self { network }, config))
    }

    /// Samples per frame.
    pub fn hop(&self) -> usize {
        match &self.network {
            Network::Kernels(network) => network.decoder.hop(),
            Network::Graph(_, shape) => shape.hop,
        }
    }

    /// Encodes a sentence of phoneme ids and draws its durations; the same `seed` gives the same
    /// sound. An empty sentence has no sound.
    pub fn begin(&self, ids: &[u32], scales: Scales, seed: u64) -> Result<Sentence, DeviceError> {
        Sentence::begin(self, ids, scales, seed)
    }
}

impl Kernels {
    fn load(weights: &Weights) -> Result<Self, Missing> {
        Ok(Self {
            encoder: Encoder::load(weights)?,
            durations: Durations::load(weights)?,
            flow: Flow::load(weights)?,
            decoder: Decoder::load(weights)?,
            simd: Simd::detect(),
        })
    }
}
