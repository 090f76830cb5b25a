//! The voices: what is in the folder, what could be, fetching and removing them.
//!
//! In: the manifest and the folder `voices/`. Out: [`VoiceListing`]s, and the path of a voice by its
//! name. A voice is on a list ([`piper`]), one of Meta's by language ([`mms`]), or somebody's own
//! ([`own`]: a Piper `.onnx` with its `.json`, or a Hugging Face folder, put into `voices/`). It
//! reads their configurations, never their weights.

mod mms;
mod own;
pub(super) mod piper;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use own::Brought;

use super::VOICES;
use super::error::ModelError;
use super::manifest::{Entry, VOICE_TOML};
use super::progress::Progress;
use super::stamp;
use super::store::{State, Store};

/// Two names are alike enough to suggest one for the other (Jaro-Winkler similarity).
const ALIKE: f64 = 0.8;
/// At most so many suggestions.
const SUGGESTIONS: usize = 3;

/// A voice, for people to choose by.
#[derive(Clone, Debug, Serialize)]
pub struct VoiceListing {
    /// What it is called.
    pub name: String,
    /// Whether it can be spoken with.
    pub state: VoiceState,
    /// `fr_FR`, or an ISO 639-3 code.
    pub language: String,
    /// `x_low` to `high`, `mms`; empty where its files do not say.
    pub quality: String,
    /// How many speakers it has.
    pub speakers: u32,
    /// Their names, where they have any and the voice is installed.
    pub speaker_names: Vec<String>,
    /// Hz, where the voice is installed.
    pub sample_rate: Option<u32>,
    /// Bytes.
    pub size: u64,
    /// SPDX, or "see model card"; "your own" for voices from elsewhere.
    pub licence: String,
    /// Why the licence must be accepted before it is fetched.
    pub accept: Option<String>,
    /// What else is to be known.
    pub note: Option<String>,
}

/// Whether a voice can be spoken with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VoiceState {
    /// It is here and whole.
    Installed,
    /// It can be fetched.
    Available,
    /// It is here, but not whole; why.
    Broken(String),
}

/// What a voice's own configuration says.
#[derive(Debug, Default)]
struct Facts {
    language: String,
    quality: String,
    speakers: u32,
    names: Vec<String>,
    sample_rate: Option<u32>,
}

impl Store {
    /// Every voice: those of the lists, then those people brought.
    pub fn voices(&self) -> Result<Vec<VoiceListing>, ModelError> {
        let mut voices = Vec::new();
        for entry in self.manifest.entries() {
            voices.extend(self.listed(entry)?);
        }
        for (name, path) in self.own_voices() {
            if self.manifest.voice(&name).is_none() {
                voices.push(brought(name, &path));
            }
        }
        Ok(voices)
    }

    /// The names of the voices that can be spoken with.
    pub fn installed_voices(&self) -> Vec<String> {
        let listed = self.manifest.entries().iter().filter_map(|entry| {
            let there = entry.files.iter().all(|file| self.dir.join(&file.path).is_file());
            entry.voice.as_ref().filter(|_| there).map(|voice| voice.name.clone())
        });
        let mut names: Vec<String> = listed.collect();
        for (name, _) in self.own_voices() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Where an installed voice lies, as [`crate::speaking::VitsVoice::start`] takes it: a Piper
    /// voice's `.onnx`, or a Hugging Face folder.
    ///
    /// # Errors
    /// The voice is unknown (with names like it), not installed, or damaged.
    pub fn voice_path(&self, name: &str) -> Result<PathBuf, ModelError> {
        if let Some(entry) = self.manifest.voice(name) {
            if matches!(self.state(&entry.id)?, State::Absent) {
                return Err(ModelError::VoiceAbsent {
                    name: name.to_owned(),
                    installed: list(&self.installed_voices()),
                });
            }
            self.check(entry)?;
            let main = self.dir.join(&entry.files[0].path);
            let folder = main.extension().is_some_and(|extension| extension == "safetensors");
            let parent = main.parent().unwrap_or(&self.dir).to_owned();
            return Ok(if folder { parent } else { main });
        }
        self.find_voice(name).ok_or_else(|| self.unknown_voice(name))
    }

    /// The entry of a voice that could be fetched.
    ///
    /// # Errors
    /// No list has it, and it is no MMS voice's name.
    pub fn voice_entry(&self, name: &str) -> Result<Entry, ModelError> {
        let listed = self.manifest.voice(name).cloned();
        listed.or_else(|| mms::entry(name)).ok_or_else(|| self.unknown_voice(name))
    }

    /// Fetches a voice ([`Store::voice_entry`]). Blocks until it is there.
    pub fn pull_voice(&self, name: &str, progress: Progress) -> Result<(), ModelError> {
        if let Some(entry) = self.manifest.voice(name) {
            return self.pull(std::slice::from_ref(&entry.id), progress);
        }
        let entry = self.voice_entry(name)?;
        self.pull_entries(&[&entry], progress)?;
        let stamp = stamp::read(&self.dir, &entry.id).unwrap_or_default();
        let to = self.dir.join(VOICES).join(name).join(VOICE_TOML);
        let part = to.with_extension("part");
        fs::write(&part, mms::record(&entry, &stamp))
            .and_then(|()| fs::rename(&part, &to))
            .map_err(|error| ModelError::io(&to, error))
    }

    /// Removes a voice's files.
    ///
    /// # Errors
    /// It is not installed, or the files cannot be removed.
    pub fn remove_voice(&self, name: &str) -> Result<(), ModelError> {
        let voices = self.dir.join(VOICES);
        let gone = |path: &Path, done: std::io::Result<()>| match done {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(ModelError::io(path, error))
            }
            _ => Ok(()),
        };
        if let Some(entry) = self.manifest.voice(name) {
            if matches!(self.state(&entry.id)?, State::Absent) {
                return Err(ModelError::VoiceAbsent {
                    name: name.to_owned(),
                    installed: list(&self.installed_voices()),
                });
            }
            stamp::remove(&self.dir, &entry.id);
            let folder = voices.join(name);
            gone(&folder, fs::remove_dir_all(&folder))?;
            for file in &entry.files {
                let path = self.dir.join(&file.path);
                gone(&path, fs::remove_file(&path))?;
            }
            return Ok(());
        }
        let path = self.find_voice(name).ok_or_else(|| self.unknown_voice(name))?;
        if path.is_dir() {
            return gone(&path, fs::remove_dir_all(&path));
        }
        let folder = path.parent().unwrap_or(&voices);
        if folder != voices && pairs(folder).len() == 1 {
            return gone(folder, fs::remove_dir_all(folder));
        }
        let config = config_of(&path);
        gone(&path, fs::remove_file(&path))?;
        gone(&config, fs::remove_file(&config))
    }

    fn listed(&self, entry: &Entry) -> Result<Option<VoiceListing>, ModelError> {
        let Some(voice) = &entry.voice else { return Ok(None) };
        let state = match self.state(&entry.id)? {
            State::Whole => VoiceState::Installed,
            State::Absent => VoiceState::Available,
            State::Broken(error) => VoiceState::Broken(error.to_string()),
        };
        let facts = match state {
            VoiceState::Installed => facts(&self.voice_path(&voice.name)?).unwrap_or_default(),
            _ => Facts::default(),
        };
        Ok(Some(VoiceListing {
            name: voice.name.clone(),
            state,
            language: voice.language.clone(),
            quality: voice.quality.clone(),
            speakers: voice.speakers,
            speaker_names: facts.names,
            sample_rate: facts.sample_rate,
            size: entry.size(),
            licence: entry.licence.clone(),
            accept: voice.accept.clone(),
            note: entry.note.clone(),
        }))
    }

    /// Where a voice that is on no list lies.
    fn find_voice(&self, name: &str) -> Option<PathBuf> {
        self.own_voices().into_iter().find(|(found, _)| found == name).map(|(_, path)| path)
    }

    /// Names and paths of all voices in the folder, in order.
    fn own_voices(&self) -> Vec<(String, PathBuf)> {
        let voices = self.dir.join(VOICES);
        let mut found = pairs(&voices);
        for item in fs::read_dir(&voices).into_iter().flatten().flatten() {
            let (name, path) = (item.file_name().to_string_lossy().into_owned(), item.path());
            if name.starts_with('.') || !path.is_dir() {
                continue;
            }
            if path.join("model.safetensors").is_file() && path.join("config.json").is_file() {
                found.push((name, path));
            } else {
                found.extend(pairs(&path));
            }
        }
        found.sort();
        found
    }

    fn unknown_voice(&self, name: &str) -> ModelError {
        let installed = self.installed_voices();
        let known = self.manifest.entries().iter().filter_map(|entry| entry.voice.as_ref());
        let known = known.map(|voice| voice.name.clone()).chain(installed.iter().cloned());
        let wanted = name.to_lowercase();
        let mut alike: Vec<(f64, String)> = known
            .map(|known| {
                let lower = known.to_lowercase();
                let part = lower.split('-').any(|part| part == wanted);
                let score = if part { 1.0 } else { strsim::jaro_winkler(&lower, &wanted) };
                (score, known)
            })
            .filter(|(score, _)| *score >= ALIKE)
            .collect();
        alike.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        alike.dedup_by(|a, b| a.1 == b.1);
        let names: Vec<String> =
            alike.into_iter().take(SUGGESTIONS).map(|(_, name)| name).collect();
        let meant = if names.is_empty() {
            String::new()
        } else {
            format!(" (did you mean {}?)", list(&names))
        };
        ModelError::UnknownVoice { name: name.to_owned(), meant, installed: list(&installed) }
    }
}

/// Piper voices that lie in a folder: name and `.onnx`.
fn pairs(folder: &Path) -> Vec<(String, PathBuf)> {
    let items = fs::read_dir(folder).into_iter().flatten().flatten().map(|item| item.path());
    items
        .filter(|path| path.extension().is_some_and(|kind| kind == "onnx"))
        .filter(|path| config_of(path).is_file())
        .filter_map(|path| Some((path.file_stem()?.to_string_lossy().into_owned(), path)))
        .collect()
}

/// The configuration that belongs to a Piper voice's `.onnx`.
fn config_of(model: &Path) -> PathBuf {
    let mut config = model.as_os_str().to_owned();
    config.push(".json");
    config.into()
}

fn brought(name: String, path: &Path) -> VoiceListing {
    let (state, facts) = match facts(path) {
        Ok(facts) => (VoiceState::Installed, facts),
        Err(reason) => (VoiceState::Broken(reason), Facts::default()),
    };
    let main = if path.is_dir() { path.join("model.safetensors") } else { path.to_owned() };
    VoiceListing {
        name,
        state,
        language: facts.language,
        quality: facts.quality,
        speakers: facts.speakers.max(1),
        speaker_names: facts.names,
        sample_rate: facts.sample_rate,
        size: fs::metadata(main).map_or(0, |meta| meta.len()),
        licence: "your own".to_owned(),
        accept: None,
        note: None,
    }
}

/// Reads a voice's configuration.
fn facts(path: &Path) -> Result<Facts, String> {
    let folder = path.is_dir();
    let config = if folder { path.join("config.json") } else { config_of(path) };
    let read = |path: &Path| -> Result<serde_json::Value, String> {
        let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))
    };
    let json = read(&config)?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let number = |value: &serde_json::Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
    if folder {
        let tokenizer = read(&path.join("tokenizer_config.json")).unwrap_or_default();
        return Ok(Facts {
            language: text(&tokenizer["language"]),
            quality: String::new(),
            speakers: number(&json["num_speakers"]).unwrap_or(1),
            names: Vec::new(),
            sample_rate: number(&json["sampling_rate"]),
        });
    }
    let map = json["speaker_id_map"].as_object();
    let mut names: Vec<(u64, String)> = map
        .into_iter()
        .flatten()
        .map(|(name, id)| (id.as_u64().unwrap_or(u64::MAX), name.clone()))
        .collect();
    names.sort();
    Ok(Facts {
        language: text(&json["language"]["code"]),
        quality: text(&json["audio"]["quality"]),
        speakers: number(&json["num_speakers"]).unwrap_or(1),
        names: names.into_iter().map(|(_, name)| name).collect(),
        sample_rate: number(&json["audio"]["sample_rate"]),
    })
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
