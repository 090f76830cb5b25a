//! Voices that people bring: files in, a voice in the folder out.
//!
//! A Piper voice is a `.onnx` with its configuration beside it (`.onnx.json`, or `.json`), a Hugging
//! Face voice a folder with `config.json`, `model.safetensors` and `vocab.json`. They are copied
//! into a folder of their own beside the others first, so that whoever asked can try them
//! ([`Brought::path`]) before [`Brought::keep`] gives them their place.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::VOICES;
use crate::models::error::ModelError;
use crate::models::manifest::is_word;
use crate::models::store::Store;

/// What a Hugging Face voice is made of.
const FOLDER: [&str; 3] = ["config.json", "model.safetensors", "vocab.json"];

/// A voice that was copied, but has no place yet. Dropping it removes the copy.
#[derive(Debug)]
pub struct Brought {
    name: String,
    /// The copy's folder, and the place it is meant for.
    at: PathBuf,
    place: PathBuf,
    path: PathBuf,
}

impl Brought {
    /// Its name: that of its file or folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The copy, as [`crate::speaking::VitsVoice::start`] takes it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its place in the folder of voices.
    pub fn keep(self) -> Result<(), ModelError> {
        fs::rename(&self.at, &self.place).map_err(|error| ModelError::io(&self.place, error))
    }
}

impl Drop for Brought {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.at);
    }
}

impl Store {
    /// Copies a voice from elsewhere.
    ///
    /// # Errors
    /// Something that is no voice, or has the name of one that is here, or cannot be copied.
    pub fn bring_voice(&self, from: &Path) -> Result<Brought, ModelError> {
        let wrong = |reason: String| ModelError::NoVoice { path: from.to_owned(), reason };
        let folder = from.is_dir();
        let stem = if folder { from.file_name() } else { from.file_stem() };
        let name = stem.unwrap_or_default().to_string_lossy().into_owned();
        if !is_word(&name) {
            return Err(wrong(format!(
                "a voice is called like its file, and {name} has other characters than letters, \
                 digits, '.', '_', '-' and '+': rename it"
            )));
        }
        if self.find_voice(&name).is_some() || self.manifest.voice(&name).is_some() {
            return Err(wrong(format!("there is a voice called {name}: rename the file")));
        }
        let files: Vec<(PathBuf, String)> = if folder {
            huggingface(from).map_err(wrong)?
        } else {
            piper(from, &name).map_err(wrong)?
        };
        let voices = self.dir.join(VOICES);
        let at = voices.join(format!(".adding-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&at);
        fs::create_dir_all(&at).map_err(|error| ModelError::io(&at, error))?;
        let path = if folder { at.clone() } else { at.join(format!("{name}.onnx")) };
        let brought = Brought { place: voices.join(&name), name, at, path };
        for (file, to) in files {
            let to = brought.at.join(to);
            fs::copy(&file, &to).map_err(|error| ModelError::io(&to, error))?;
        }
        Ok(brought)
    }
}

fn huggingface(from: &Path) -> Result<Vec<(PathBuf, String)>, String> {
    if let Some(missing) = FOLDER.iter().find(|file| !from.join(file).is_file()) {
        return Err(format!(
            "it has no {missing}; a Hugging Face voice has {}, a Piper voice is given by its .onnx",
            FOLDER.join(", ")
        ));
    }
    let more = ["tokenizer_config.json", "special_tokens_map.json", "README.md"];
    let files = FOLDER.into_iter().chain(more).map(|file| (from.join(file), file.to_owned()));
    Ok(files.filter(|(file, _)| file.is_file()).collect())
}

fn piper(from: &Path, name: &str) -> Result<Vec<(PathBuf, String)>, String> {
    if !from.is_file() {
        return Err("there is no such file".to_owned());
    }
    if from.extension().is_none_or(|extension| extension != "onnx") {
        return Err("a Piper voice's file ends in .onnx".to_owned());
    }
    let mut beside = from.as_os_str().to_owned();
    beside.push(".json");
    let configs = [PathBuf::from(beside), from.with_extension("json")];
    let Some(config) = configs.iter().find(|config| config.is_file()) else {
        return Err(format!("its configuration {} is missing beside it", configs[0].display()));
    };
    let mut files = vec![
        (from.to_owned(), format!("{name}.onnx")),
        (config.clone(), format!("{name}.onnx.json")),
    ];
    let card = from.with_file_name("MODEL_CARD");
    if card.is_file() {
        files.push((card, "MODEL_CARD".to_owned()));
    }
    Ok(files)
}
