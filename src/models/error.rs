//! What can go wrong with models, each as a sentence that says what to do.

use std::path::{Path, PathBuf};

use super::disk::human;
use super::manifest::ModelId;

/// Why a model cannot be had. Display is one or more sentences for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file of the model is not in the folder.
    #[error(
        "the model file {} is missing; fetch it with `eva models pull {id}`",
        path.display()
    )]
    Missing {
        /// The model it belongs to.
        id: ModelId,
        /// Where it should lie.
        path: PathBuf,
    },
    /// A file of the model is there, but is not what it should be.
    #[error(
        "the model file {} is damaged ({how}); fetch it again with `eva models pull {id}`",
        path.display()
    )]
    Damaged {
        /// The model it belongs to.
        id: ModelId,
        /// Where it lies.
        path: PathBuf,
        /// What was found.
        how: String,
    },
    /// No entry of the manifest has this id.
    #[error("there is no model called {id}; `eva models` lists those there are: {known}")]
    Unknown {
        /// What was asked for.
        id: ModelId,
        /// Every id of the manifest.
        known: String,
    },
    /// No voice has this name.
    #[error(
        "there is no voice called {name}{meant}; installed are {installed}; `eva voices` lists \
         those that can be added"
    )]
    UnknownVoice {
        /// What was asked for.
        name: String,
        /// Names like it, as a part of the sentence.
        meant: String,
        /// The installed ones.
        installed: String,
    },
    /// The voice is known, but not here.
    #[error(
        "the voice {name} is not installed; `eva voices add {name}` fetches it; installed are \
         {installed}"
    )]
    VoiceAbsent {
        /// What was asked for.
        name: String,
        /// The installed ones.
        installed: String,
    },
    /// What somebody brought is no voice.
    #[error("{} cannot be added: {reason}", path.display())]
    NoVoice {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// Every source failed.
    #[error("the model {id} could not be fetched.{reasons}\n{advice}")]
    NoSource {
        /// The model.
        id: ModelId,
        /// One line for each source that was tried.
        reasons: String,
        /// What to do.
        advice: String,
    },
    /// The disk has no room.
    #[error(
        "there is no room for the models in {}: {} needed, {} free; free some space, or name a \
         folder on another disk with EVA_MODELS_DIR, then pull again",
        dir.display(), needed.map_or("more is".to_owned(), |n| format!("{} are", human(n))),
        human(*free)
    )]
    DiskFull {
        /// The folder of models.
        dir: PathBuf,
        /// Bytes asked for, if known.
        needed: Option<u64>,
        /// Bytes free.
        free: u64,
    },
    /// A file operation failed.
    #[error("{} cannot be used ({source}); check that the folder may be written", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A manifest does not parse or contradicts itself.
    #[error("the list of models {from} has a mistake: {message}")]
    Manifest {
        /// Which manifest.
        from: String,
        /// What is wrong.
        message: String,
    },
}

impl ModelError {
    /// Wraps an I/O error; a full disk becomes [`ModelError::DiskFull`].
    pub(super) fn io(path: &Path, source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::StorageFull {
            let dir = path.parent().unwrap_or(path);
            return Self::DiskFull {
                dir: dir.to_owned(),
                needed: None,
                free: super::disk::free(dir).unwrap_or(0),
            };
        }
        Self::Io { path: path.to_owned(), source }
    }
}

/// Why one source of a model failed.
#[derive(Debug)]
pub(super) enum SourceError {
    /// Nobody answers there.
    OutOfReach(String),
    /// It answers, but what it gives is not usable.
    Unusable(String),
    /// This machine is the trouble: no other source would help.
    Local(ModelError),
}

impl From<ModelError> for SourceError {
    fn from(error: ModelError) -> Self {
        Self::Local(error)
    }
}
