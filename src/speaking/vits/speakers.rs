//! A speaker's number in; what that speaker adds to the network's biases out.
//!
//! A voice of several speakers has a table of embeddings, one a speaker, and matrices that turn
//! an embedding into one value per channel of the durations, the flow and the decoder. Each
//! speaker's values are worked out once, at the first sentence.

use std::sync::{Arc, OnceLock};

use super::onnx::Array;
use super::weights::{Missing, Weights};

/// What one speaker changes; everything is empty in a voice of one speaker.
#[derive(Debug, Default)]
pub struct Speaker {
    /// Of the duration predictor: added to its input's channels (plain), or the bias of its first
    /// convolution (stochastic).
    pub durations: Option<Vec<f32>>,
    /// Of the flow: the bias of each gated layer of each coupling, in the order of [`super::flow`].
    pub flow: Vec<Vec<Vec<f32>>>,
    /// Of the decoder: the bias of its first convolution.
    pub decoder: Option<Vec<f32>>,
}

/// All speakers of a voice.
pub struct Speakers {
    /// [speakers, size]; `None` for a voice of one.
    table: Option<Array>,
    known: Vec<OnceLock<Arc<Speaker>>>,
}

impl Speakers {
    /// Takes `emb_g.weight`, where there is one.
    pub fn load(weights: &Weights) -> Result<Self, Missing> {
        let table = match weights.find("emb_g.weight") {
            Some(_) => Some(weights.get("emb_g.weight", &[0, 0])?.clone()),
            None => None,
        };
        let count = table.as_ref().map_or(1, |table| table.dims[0]);
        Ok(Self { table, known: (0..count).map(|_| OnceLock::new()).collect() })
    }

    /// How many, at least one.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// Values of an embedding; `None` for a voice of one speaker.
    pub fn size(&self) -> Option<usize> {
        self.table.as_ref().map(|table| table.dims[1])
    }

    /// Speaker `number` (the last one, if there are fewer); `make` works it out of the embedding.
    pub fn get(&self, number: u32, make: impl FnOnce(&[f32]) -> Speaker) -> Arc<Speaker> {
        let number = (number as usize).min(self.count() - 1);
        let speaker = self.known[number].get_or_init(|| match &self.table {
            Some(table) => {
                let size = table.dims[1];
                Arc::new(make(&table.values[number * size..][..size]))
            }
            None => Arc::default(),
        });
        Arc::clone(speaker)
    }
}

/// A matrix that turns an embedding into one value per channel.
pub struct Condition {
    /// [channels, size].
    weight: Vec<f32>,
    bias: Vec<f32>,
    size: usize,
}

impl Condition {
    /// Takes a module's weight [channels, size, 1] and bias; `None` in a voice of one speaker, or
    /// where this part of the network does not depend on the speaker.
    pub fn load(
        weights: &Weights,
        module: &str,
        channels: usize,
        speakers: &Speakers,
    ) -> Result<Option<Self>, Missing> {
        let name = format!("{module}.weight");
        let Some(size) = speakers.size() else { return Ok(None) };
        if weights.find(&name).is_none() {
            return Ok(None);
        }
        let weight = weights.get(&name, &[channels, size, 1])?.values.clone();
        let bias = weights.get(&format!("{module}.bias"), &[channels])?.values.clone();
        Ok(Some(Self { weight, bias, size }))
    }

    /// One value per channel.
    pub fn run(&self, embedding: &[f32]) -> Vec<f32> {
        let rows = self.weight.chunks_exact(self.size);
        let product = |row: &[f32]| row.iter().zip(embedding).map(|(a, b)| a * b).sum::<f32>();
        rows.zip(&self.bias).map(|(row, bias)| product(row) + bias).collect()
    }
}
