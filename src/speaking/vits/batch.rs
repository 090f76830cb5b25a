//! Several sentences at once, for devices that run them as one batch.
//!
//! In: sentences to begin, and sentences to go on with. Out: the same as one by one (which is how
//! the CPU's own kernels run them). Who runs beside whom is the caller's choice.

use super::graph::{Piece, shapes};
use super::sentence::{Normal, Way};
use super::{DeviceError, Network, Request, Sentence, Vits};

impl Vits {
    /// How many sentences it runs as one batch: 1 where they run one by one.
    pub fn slots(&self) -> usize {
        match &self.network {
            Network::Kernels(_) => 1,
            Network::Graph(_) => shapes::MOST_SLOTS,
        }
    }

    /// A measure of the work to begin a sentence of `ids` ids: those of equal measure fill a batch
    /// without waste.
    pub fn places(&self, ids: usize) -> usize {
        shapes::length(ids)
    }

    /// As [`Self::begin`], for several sentences.
    pub fn begin_all(&self, requests: &[Request]) -> Result<Vec<Sentence>, DeviceError> {
        match &self.network {
            Network::Kernels(_) => requests
                .iter()
                .map(|request| self.begin(request.ids, request.style, request.seed))
                .collect(),
            Network::Graph(graph) => {
                let noise = requests.iter().map(|request| Normal::new(request.seed)).collect();
                let begun = graph.begin(requests, noise)?.into_iter();
                Ok(begun.map(|(frames, flowed)| Sentence::of(frames, flowed, self.hop())).collect())
            }
        }
    }

    /// As [`Sentence::next`], for several sentences of this voice: the next `frames` frames of
    /// sound of each, or what is left of it.
    pub fn next_all(
        &self,
        sentences: &mut [&mut Sentence],
        frames: usize,
    ) -> Result<Vec<Vec<f32>>, DeviceError> {
        let mut sound = vec![Vec::new(); sentences.len()];
        let Network::Graph(graph) = &self.network else {
            for (sentence, pcm) in sentences.iter_mut().zip(&mut sound) {
                sentence.next(self, frames, pcm)?;
            }
            return Ok(sound);
        };
        let mut wanted = frames.max(1);
        while wanted > 0 {
            let count = wanted.min(shapes::LARGEST_CHUNK);
            let mut pieces = Vec::new();
            for (n, sentence) in sentences.iter().enumerate().filter(|(_, one)| !one.finished()) {
                let Way::Graph(flowed) = &sentence.way else {
                    panic!("a sentence is continued by another voice than began it");
                };
                let from = sentence.spoken / sentence.hop;
                let to = (from + count).min(sentence.total);
                pieces.push((n, Piece { flowed, from, to }));
            }
            if pieces.is_empty() {
                break;
            }
            let (owners, pieces): (Vec<usize>, Vec<Piece>) = pieces.into_iter().unzip();
            for (n, made) in owners.into_iter().zip(graph.decode(&pieces)?) {
                sentences[n].spoken += made.len();
                sound[n].extend(made);
            }
            wanted -= count;
        }
        Ok(sound)
    }

    /// Runs every shape a device will meet once; nothing on the CPU.
    pub fn warm_up(&self) -> Result<(), DeviceError> {
        match &self.network {
            Network::Kernels(_) => Ok(()),
            Network::Graph(graph) => Ok(graph.warm_up()?),
        }
    }
}
