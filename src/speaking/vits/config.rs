//! A Piper voice's `.json`: rate, scales, and which ids stand for which phoneme.

use std::collections::HashMap;

use serde::Deserialize;

/// How a voice varies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scales {
    /// Variation of the sound, 0..1.
    pub noise: f32,
    /// Length of everything; above one is slower.
    pub length: f32,
    /// Variation of the durations, 0..1.
    pub duration_noise: f32,
}

/// What a voice's configuration says.
#[derive(Clone, Debug)]
pub struct Config {
    /// Hz.
    pub sample_rate: u32,
    /// The voice espeak-ng makes its phonemes with, `en-us`; empty where the phonemes are the
    /// text's own characters.
    pub espeak_voice: String,
    /// The voice's own scales.
    pub scales: Scales,
    /// The ids of each phoneme (one Unicode character each).
    pub phoneme_ids: HashMap<char, Vec<u32>>,
}

/// Why a configuration is not usable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is no JSON, or not of a Piper voice.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// It describes a kind of voice this program does not speak with.
    #[error("{0}")]
    Unknown(&'static str),
}

#[derive(Deserialize)]
struct File {
    audio: Audio,
    #[serde(default)]
    espeak: Option<Espeak>,
    #[serde(default)]
    inference: Inference,
    #[serde(default)]
    phoneme_type: Option<String>,
    phoneme_id_map: HashMap<String, Vec<u32>>,
    #[serde(default)]
    num_speakers: Option<u32>,
}

#[derive(Deserialize)]
struct Audio {
    sample_rate: u32,
}

#[derive(Deserialize)]
struct Espeak {
    voice: String,
}

#[derive(Deserialize)]
#[serde(default)]
struct Inference {
    noise_scale: f32,
    length_scale: f32,
    noise_w: f32,
}

impl Default for Inference {
    /// Piper's own defaults.
    fn default() -> Self {
        Self { noise_scale: 0.667, length_scale: 1.0, noise_w: 0.8 }
    }
}

impl Config {
    /// Reads the JSON.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let file: File = serde_json::from_slice(json)?;
        if !matches!(file.phoneme_type.as_deref(), None | Some("espeak")) {
            return Err(ConfigError::Unknown("its phonemes are not espeak-ng's"));
        }
        if file.num_speakers.unwrap_or(1) > 1 {
            return Err(ConfigError::Unknown("it has several speakers"));
        }
        let phoneme_ids = file
            .phoneme_id_map
            .into_iter()
            .filter_map(|(phoneme, ids)| {
                let mut chars = phoneme.chars();
                let first = chars.next()?;
                chars.next().is_none().then_some((first, ids))
            })
            .collect();
        Ok(Self {
            sample_rate: file.audio.sample_rate,
            espeak_voice: file.espeak.map(|espeak| espeak.voice).unwrap_or_default(),
            scales: Scales {
                noise: file.inference.noise_scale,
                length: file.inference.length_scale,
                duration_noise: file.inference.noise_w,
            },
            phoneme_ids,
        })
    }
}
