//! Frames in; speech marks, partial and final words, and the probability that a turn is over out.
//!
//! In: 16 kHz mono frames of one call. Out: [`Transcript`]s, VAD probabilities (Silero) and
//! end-of-turn probabilities (Smart Turn). Owns the recognising engines; decides nothing about the
//! conversation (that is `turn/`), knows nothing of packets (that is `audio/`).

pub mod mel;
pub mod partials;
pub mod silero;
pub mod smart_turn;
pub mod speech_marks;
mod start;
#[cfg(test)]
pub(crate) mod test_sound;
pub mod whisper;

pub use start::StartError;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

pub use crate::language::Language;
use crate::private::Private;

/// The sample rate of everything that listens, in Hz.
pub const LISTENING_RATE: u32 = 16_000;

/// Why a pass over the sound is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Words so far, while the person speaks; gives way to a final pass.
    Partial,
    /// The words of a turn at its pause.
    Final,
    /// The words of a stretch of a recording: nobody waits for them on a call. It has a thread of
    /// its own at the lowest priority, so that calls hardly notice it.
    Recording,
}

/// What a pass heard.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// The words, trimmed; empty if nothing was said.
    pub text: Private<String>,
    /// The language spoken, where the recogniser found out.
    pub language: Language,
    /// Engine time of the pass in milliseconds, without waiting in the queue.
    pub engine_ms: f32,
    /// Mean probability the recogniser gave its tokens, 0-1.
    pub confidence: f32,
    /// The recogniser's probability that there is no speech at all, 0-1.
    pub no_speech: f32,
}

/// Why there is no transcript.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The pass was withdrawn, by its receiver or by a more urgent one.
    #[error("the pass was withdrawn")]
    Withdrawn,
    /// Too many passes wait.
    #[error(transparent)]
    Overloaded(#[from] crate::inference::Overloaded),
    /// The model failed.
    #[error("the recogniser failed: {0}")]
    Model(String),
}

/// A pass under way. Dropping it withdraws the pass.
pub struct PassHandle {
    /// Resolves once; closed without a value if the engine broke.
    pub result: oneshot::Receiver<Result<Transcript, ListenError>>,
    /// Set on drop; the engine looks at it between steps and in Whisper's abort callback.
    withdrawn: Arc<AtomicBool>,
}

impl PassHandle {
    /// Joins a result to come with the flag its engine watches.
    pub fn new(
        result: oneshot::Receiver<Result<Transcript, ListenError>>,
        withdrawn: Arc<AtomicBool>,
    ) -> Self {
        Self { result, withdrawn }
    }
}

impl Drop for PassHandle {
    fn drop(&mut self) {
        self.withdrawn.store(true, Ordering::Release);
    }
}

/// Speech to words: Whisper, and a scripted double in tests.
pub trait Transcriber: Send + Sync {
    /// Starts a pass over `sound` (16 kHz mono, -1..1, at most 30 s: longer keeps the last 30 s).
    fn transcribe(&self, sound: Vec<f32>, language: Language, pass: Pass) -> PassHandle;
}
