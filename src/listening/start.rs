//! Why a listening engine could not start.

use std::path::{Path, PathBuf};

/// Why a listening engine could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The model's file is not there.
    #[error("the {model} model is missing ({path}); run `eva models pull`", path = .path.display())]
    Missing {
        /// What the file is for.
        model: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is there but is no such model.
    #[error(
        "the {model} model ({path}) cannot be used: {reason}; delete it and run `eva models pull`",
        path = .path.display()
    )]
    Broken {
        /// What the file is for.
        model: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No recogniser was asked for.
    #[error("no recogniser is configured; name at least one Whisper model")]
    NoModel,
}

impl StartError {
    /// An error about `path`: missing if it is not there, else broken for `reason`.
    pub(super) fn about(model: &'static str, path: &Path, reason: impl ToString) -> Self {
        let path = path.to_owned();
        if path.is_file() {
            Self::Broken { model, path, reason: reason.to_string() }
        } else {
            Self::Missing { model, path }
        }
    }
}
