//! The folder of models as the rest of the program sees it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::convert;
use super::error::ModelError;
use super::hash;
use super::manifest::{Entry, EntryFile, Manifest, ModelId};
use super::stamp::{self, FileStamp, Stamp};

/// The folder of models and the list of what belongs there.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) dir: PathBuf,
    pub(super) manifest: Manifest,
    /// Where hub files come from; none switches the hub off.
    pub(super) hub: Option<String>,
    /// The Python that runs pip.
    pub(super) python: PathBuf,
}

/// Where the files of required models lie.
#[derive(Clone, Debug)]
pub struct Paths {
    dir: PathBuf,
    files: HashMap<ModelId, Vec<PathBuf>>,
}

impl Paths {
    /// The files of one model, the main one first; empty if it was not required.
    pub fn of(&self, id: &ModelId) -> &[PathBuf] {
        self.files.get(id).map_or(&[], Vec::as_slice)
    }

    /// A file of the folder, such as [`super::VOICE_JOE`].
    pub fn file(&self, relative: &str) -> PathBuf {
        self.dir.join(relative)
    }
}

/// What the folder holds of one model.
#[derive(Debug)]
pub enum State {
    /// Every file is there and unchanged since it was verified.
    Whole,
    /// Not a single file is there.
    Absent,
    /// A file is missing or is not what it should be; the error says which.
    Broken(ModelError),
}

impl Store {
    /// Opens the folder of models (`dir`, else [`super::default_dir`]), which need not exist yet.
    ///
    /// `HF_ENDPOINT` names another hub; `EVA_HUB=off` or `HF_HUB_OFFLINE=1` switches the hub off.
    pub fn open(dir: Option<PathBuf>) -> Result<Self, ModelError> {
        let dir = dir.unwrap_or_else(super::default_dir);
        let manifest = Manifest::load(&dir)?;
        Ok(Self { dir, manifest, hub: hub_from_env(), python: "python3".into() })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What may lie in it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The paths of models that must be there and whole.
    ///
    /// A file that still has the size and time of its stamp is taken as whole, at no cost; one
    /// without a stamp, or changed since, is hashed (about a second for 500 MB) and stamped.
    ///
    /// # Errors
    /// [`ModelError::Missing`] or [`ModelError::Damaged`] names the first file that is not right.
    pub fn require(&self, ids: &[ModelId]) -> Result<Paths, ModelError> {
        let mut files = HashMap::new();
        for id in ids {
            let entry = self.manifest.entry(id)?;
            self.check(entry)?;
            let paths = entry.files.iter().map(|file| self.dir.join(&file.path)).collect();
            files.insert(id.clone(), paths);
        }
        Ok(Paths { dir: self.dir.clone(), files })
    }

    /// What the folder holds of one model, as [`Store::require`] would find it.
    pub fn state(&self, id: &ModelId) -> Result<State, ModelError> {
        let entry = self.manifest.entry(id)?;
        if entry.files.iter().all(|file| !self.dir.join(&file.path).exists()) {
            return Ok(State::Absent);
        }
        Ok(match self.check(entry) {
            Ok(()) => State::Whole,
            Err(error) => State::Broken(error),
        })
    }

    /// Hashes every file of a model again, whatever its stamp says.
    pub fn verify(&self, id: &ModelId) -> Result<(), ModelError> {
        let entry = self.manifest.entry(id)?;
        let stamp = stamp::read(&self.dir, id).unwrap_or_default();
        self.examine(entry, &stamp, true)
    }

    /// As `verify`, but trusts stamps that still hold.
    pub(super) fn check(&self, entry: &Entry) -> Result<(), ModelError> {
        let stamp = stamp::read(&self.dir, &entry.id).unwrap_or_default();
        self.examine(entry, &stamp, false)
    }

    fn examine(&self, entry: &Entry, stamp: &Stamp, rehash: bool) -> Result<(), ModelError> {
        let mut fresh = Stamp::default();
        for file in &entry.files {
            let known = stamp.files.iter().find(|stamped| stamped.path == file.path);
            let whole = match known {
                Some(known) if !rehash && known.holds(&self.dir) => known.clone(),
                _ => self.examine_file(entry, file, known)?,
            };
            fresh.files.push(whole);
        }
        if fresh != *stamp
            && let Err(error) = stamp::write(&self.dir, &entry.id, &fresh)
        {
            // A folder that may only be read is fine: its files are hashed at every start.
            tracing::debug!(%error, model = %entry.id, "the stamp was not written");
        }
        Ok(())
    }

    fn examine_file(
        &self,
        entry: &Entry,
        file: &EntryFile,
        known: Option<&FileStamp>,
    ) -> Result<FileStamp, ModelError> {
        let path = self.dir.join(&file.path);
        let damaged =
            |how: String| ModelError::Damaged { id: entry.id.clone(), path: path.clone(), how };
        let size = match std::fs::metadata(&path) {
            Ok(meta) if meta.is_file() => meta.len(),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(ModelError::io(&path, error));
            }
            _ => return Err(ModelError::Missing { id: entry.id.clone(), path }),
        };
        if size != file.size {
            return Err(damaged(format!("{size} bytes long instead of {}", file.size)));
        }
        let found = hash::of_file(&path).map_err(|error| ModelError::io(&path, error))?;
        let (hashes, md5s) = (entry.known_hashes(&file.path), entry.known_md5s(&file.path));
        let mut expected = known.is_some_and(|known| known.sha256 == found)
            || hashes.contains(found.as_str())
            || (hashes.is_empty() && md5s.is_empty() && known.is_none());
        if !expected && !md5s.is_empty() {
            let md5 = hash::md5_of_file(&path).map_err(|error| ModelError::io(&path, error))?;
            expected = md5s.contains(md5.as_str());
        }
        if !expected {
            // A converted file without a stamp has no hash to compare with: its structure decides.
            if known.is_some() || !entry.is_converted(&file.path) {
                return Err(damaged(format!("its sha256 is {found}")));
            }
            convert::check_ggml(&path).map_err(damaged)?;
        }
        FileStamp::of(&self.dir, &file.path, found).map_err(|error| ModelError::io(&path, error))
    }
}

/// The hub's address from the environment; none if it is switched off.
fn hub_from_env() -> Option<String> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let off = set("EVA_HUB").is_some_and(|value| value.eq_ignore_ascii_case("off"))
        || set("HF_HUB_OFFLINE").is_some_and(|value| value == "1");
    (!off).then(|| set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned()))
}
