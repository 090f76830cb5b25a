//! Stamps: what a verified file looked like, so that a start compares sizes and times only.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::error::ModelError;
use super::manifest::ModelId;

/// The verified files of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub files: Vec<FileStamp>,
}

/// One verified file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileStamp {
    /// Relative to the folder of models.
    pub path: String,
    pub size: u64,
    /// Time of the last change, nanoseconds since 1970.
    pub changed_ns: u64,
    pub sha256: String,
}

impl FileStamp {
    /// Stamps a file of which the hash is known.
    pub(super) fn of(dir: &Path, path: &str, sha256: String) -> std::io::Result<Self> {
        let (size, changed_ns) = size_and_time(&dir.join(path))?;
        Ok(Self { path: path.to_owned(), size, changed_ns, sha256 })
    }

    /// Whether the file still has the size and the time it was stamped with.
    pub(super) fn holds(&self, dir: &Path) -> bool {
        size_and_time(&dir.join(&self.path))
            .is_ok_and(|found| found == (self.size, self.changed_ns))
    }
}

/// Size in bytes and time of the last change in nanoseconds since 1970.
fn size_and_time(path: &Path) -> std::io::Result<(u64, u64)> {
    let meta = std::fs::metadata(path)?;
    let changed = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok((meta.len(), u64::try_from(changed.as_nanos()).unwrap_or(u64::MAX)))
}

fn place(dir: &Path, id: &ModelId) -> PathBuf {
    dir.join(".stamps").join(format!("{id}.json"))
}

/// The stamp of a model; none if there is none or it cannot be read (the files are hashed then).
pub(super) fn read(dir: &Path, id: &ModelId) -> Option<Stamp> {
    serde_json::from_slice(&std::fs::read(place(dir, id)).ok()?).ok()
}

/// Writes a model's stamp, all or nothing.
pub(super) fn write(dir: &Path, id: &ModelId, stamp: &Stamp) -> Result<(), ModelError> {
    let to = place(dir, id);
    let part = to.with_extension(format!("json.{}", std::process::id()));
    let text = serde_json::to_vec_pretty(stamp).expect("a stamp is plain data");
    std::fs::create_dir_all(dir.join(".stamps"))
        .and_then(|()| std::fs::write(&part, text))
        .and_then(|()| std::fs::rename(&part, &to))
        .map_err(|error| ModelError::io(&to, error))
}

/// Forgets a model's stamp.
pub(super) fn remove(dir: &Path, id: &ModelId) {
    let _ = std::fs::remove_file(place(dir, id));
}
