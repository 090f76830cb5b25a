//! Whether a recogniser understands the voice over the wire: sound in, word errors out.
//!
//! The sound goes through Opus as on a call, then through Whisper. Owns the recogniser while it is
//! measured. Blocks: not for async threads.

use std::path::PathBuf;

use anyhow::Context;

use crate::audio::opus::{Decoder, Encoder, EncoderConfig};
use crate::audio::resample::resample;
use crate::audio::{SLOT_SAMPLES, WIRE_RATE};
use crate::listening::whisper::{WhisperEngines, WhisperPaths};
use crate::listening::{Language, Pass, Transcriber};
use crate::models::{self, ModelId, Store};

/// Whisper at the far end of an Opus line.
pub struct Listener {
    whisper: WhisperEngines,
}

impl Listener {
    /// Loads a recogniser from a folder of models, the default one where `None`: the multilingual
    /// one where it is installed, because it errs less, else the English one.
    pub fn start(models: Option<PathBuf>) -> anyhow::Result<Self> {
        let store = Store::open(models)?;
        let paths = match store.require(&[ModelId::WHISPER_BASE]) {
            Ok(files) => {
                WhisperPaths { en: None, multilingual: Some(files.file(models::WHISPER_BASE)) }
            }
            Err(_) => WhisperPaths {
                en: Some(store.require(&[ModelId::WHISPER_TINY_EN])?.file(models::WHISPER_TINY_EN)),
                multilingual: None,
            },
        };
        Ok(Self { whisper: WhisperEngines::start(paths)? })
    }

    /// What is heard of `pcm` (mono, -1..1, at `rate` Hz) after Opus.
    pub fn write_down(&self, pcm: &[f32], rate: u32) -> anyhow::Result<String> {
        let heard = over_opus(pcm, rate)?;
        // The handle withdraws the pass when it is dropped: its result is waited for in place.
        let mut pass = self.whisper.transcribe(heard, Language::En, Pass::Final);
        let result = loop {
            match pass.result.try_recv() {
                Ok(result) => break result,
                Err(tokio::sync::oneshot::error::TryRecvError::Empty) => {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                Err(_) => anyhow::bail!("the recogniser broke"),
            }
        };
        Ok(result?.text.reveal().clone())
    }
}

/// The sound as the far end of a call decodes it, at 16 kHz.
fn over_opus(pcm: &[f32], rate: u32) -> anyhow::Result<Vec<f32>> {
    let mut wire = resample(pcm, rate, WIRE_RATE)?;
    wire.resize(wire.len().next_multiple_of(SLOT_SAMPLES), 0.0);
    let mut encoder = Encoder::new(EncoderConfig::default())?;
    let mut decoder = Decoder::for_listening()?;
    let mut heard = Vec::new();
    for slot in wire.chunks_exact(SLOT_SAMPLES) {
        let slot: &[f32; SLOT_SAMPLES] = slot.try_into().context("a whole slot")?;
        decoder.decode(&encoder.encode(slot)?, &mut heard)?;
    }
    Ok(heard)
}

/// Counts word errors.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    words: usize,
    errors: usize,
}

impl Heard {
    /// Compares a sentence with what was heard of it.
    pub fn add(&mut self, said: &str, heard: &str) {
        let (said, heard) = (plain(said), plain(heard));
        self.words += said.len();
        self.errors += distance(&said, &heard);
    }

    /// Wrong, missing and added words over the words said.
    pub fn error_rate(&self) -> f64 {
        let rate = self.errors as f64 / self.words.max(1) as f64;
        (rate * 10_000.0).round() / 10_000.0
    }
}

/// Words in lower case, without punctuation.
fn plain(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '\'');
    words.map(str::to_lowercase).filter(|word| !word.is_empty()).collect()
}

/// Levenshtein's distance between two rows of words.
fn distance(a: &[String], b: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, right) in b.iter().enumerate() {
            let changed = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::Heard;

    #[test]
    fn wrong_missing_and_added_words_count_once_each() {
        let mut heard = Heard::default();
        heard.add("The river, the yellow bridge!", "the river the yellow bridge");
        assert_eq!(heard.error_rate(), 0.0);
        heard.add("one two three four five", "one too three five six");
        assert_eq!(heard.error_rate(), 0.3);
    }
}
