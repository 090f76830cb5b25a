//! What a voice's configuration says: rate, scales, speakers, and which ids stand for what.
//!
//! A Piper voice's `.json` is read here; a Hugging Face folder's files in [`super::folder`].

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
    /// The voice's own scales.
    pub scales: Scales,
    /// What the ids stand for.
    pub symbols: Symbols,
    /// The speakers' names by number; empty for one speaker, or for speakers without names.
    pub speakers: Vec<String>,
}

/// What a voice's ids stand for.
#[derive(Clone, Debug)]
pub enum Symbols {
    /// espeak-ng's phonemes.
    Espeak {
        /// The voice espeak-ng makes them with, `en-us`.
        voice: String,
        /// The ids of each phoneme (one Unicode character each), Piper's way: `^` begins, `$`
        /// ends, `_` follows every other.
        ids: HashMap<char, Vec<u32>>,
    },
    /// The text's own characters.
    Characters(Alphabet),
}

/// The characters a voice reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alphabet {
    /// The id of each.
    pub ids: HashMap<char, u32>,
    /// Put between and around all ids.
    pub blank: Option<u32>,
    /// Put before and after all of that (Piper's `^` and `$`).
    pub ends: Option<(u32, u32)>,
    /// Whether the text becomes lower case first.
    pub lower_case: bool,
    /// Whether it wants text romanised by uroman.
    pub romanised: bool,
    /// ISO 639-3 (`fra`) in a Hugging Face voice; in a Piper voice what its file says (`uk_UA`).
    pub language: String,
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
    speaker_id_map: HashMap<String, usize>,
    #[serde(default)]
    language: Option<Language>,
}

#[derive(Deserialize)]
struct Language {
    #[serde(default)]
    code: String,
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

/// The most speakers a voice may name.
const MOST_SPEAKERS: usize = 1 << 16;

impl Config {
    /// Reads a Piper voice's JSON.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let file: File = serde_json::from_slice(json)?;
        let ids: HashMap<char, Vec<u32>> = file
            .phoneme_id_map
            .into_iter()
            .filter_map(|(phoneme, ids)| single(&phoneme).map(|phoneme| (phoneme, ids)))
            .collect();
        let symbols = match file.phoneme_type.as_deref() {
            None | Some("espeak") => {
                let voice = file.espeak.map(|espeak| espeak.voice).unwrap_or_default();
                Symbols::Espeak { voice, ids }
            }
            Some("text") => {
                let language = file.language.map(|language| language.code).unwrap_or_default();
                Symbols::Characters(alphabet(ids, language))
            }
            Some(_) => {
                return Err(ConfigError::Unknown(
                    "its phonemes are neither espeak-ng's nor the text's characters",
                ));
            }
        };
        Ok(Self {
            sample_rate: rate(file.audio.sample_rate)?,
            scales: Scales {
                noise: file.inference.noise_scale,
                length: file.inference.length_scale,
                duration_noise: file.inference.noise_w,
            },
            symbols,
            speakers: speakers(file.speaker_id_map)?,
        })
    }
}

/// A sample rate that speech can have, in Hz.
pub(super) fn rate(rate: u32) -> Result<u32, ConfigError> {
    if (4_000..=192_000).contains(&rate) {
        Ok(rate)
    } else {
        Err(ConfigError::Unknown("its sample rate is below 4 or above 192 kHz"))
    }
}

/// The one character of a text.
pub(super) fn single(text: &str) -> Option<char> {
    let mut chars = text.chars();
    let first = chars.next()?;
    chars.next().is_none().then_some(first)
}

/// Piper's map of characters; as for phonemes, `^`, `_` and `$` are marks.
fn alphabet(ids: HashMap<char, Vec<u32>>, language: String) -> Alphabet {
    let mut ids: HashMap<char, u32> =
        ids.into_iter().filter_map(|(char, ids)| ids.first().map(|&id| (char, id))).collect();
    let mut mark = |char| ids.remove(&char);
    let (begin, blank, end) = (mark('^'), mark('_'), mark('$'));
    Alphabet { ids, blank, ends: begin.zip(end), lower_case: true, romanised: false, language }
}

/// Names by number; numbers without a name get an empty one.
fn speakers(numbers: HashMap<String, usize>) -> Result<Vec<String>, ConfigError> {
    let count = numbers.values().max().map_or(0, |&last| last.saturating_add(1));
    if count > MOST_SPEAKERS {
        return Err(ConfigError::Unknown("its speakers' numbers are too high"));
    }
    let mut names = vec![String::new(); count];
    for (name, number) in numbers {
        names[number] = name;
    }
    Ok(names)
}
