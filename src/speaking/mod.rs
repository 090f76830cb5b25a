//! Sentences in; sound with word times out, first chunk first.
//!
//! In: text to speak. Out: [`SpokenChunk`]s. Owns the voice engine (VITS), text-to-phoneme
//! conversion and the [`clips`] made with a voice. Knows nothing of turns, packets or pacing.

mod batch;
mod characters;
pub mod clips;
mod engine;
mod fingerprint;
mod phonemes;
mod playout_clock;
mod spec;
mod text;
mod times;
pub mod visemes;
pub mod vits;
mod voice;

pub use candle_core::Device;
pub use phonemes::PhonemeError;
pub use spec::{SPEEDS, SpecError, VoiceSpec};
pub use vits::device;
pub use voice::{StartError, UnknownSpeaker, VitsVoice};

use std::ops::Range;

use tokio::sync::mpsc;

use crate::ids::ReplyId;
use crate::inference::Urgency;
use crate::private::Private;

/// One sentence (or clause) to speak.
#[derive(Clone, Debug)]
pub struct Speech {
    /// The reply it belongs to.
    pub reply: ReplyId,
    /// The text as the model wrote it.
    pub text: Private<String>,
    /// [`Urgency::Now`] for the first sentence of a reply, [`Urgency::Later`] for what follows.
    pub urgency: Urgency,
}

/// Where one word of the text sounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordSpan {
    /// Byte range in [`Speech::text`].
    pub text: Range<usize>,
    /// Samples from the start of the sentence's sound, at the voice's rate.
    pub samples: Range<usize>,
}

/// Where one phoneme sounds (or a letter, in a voice that reads characters).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhonemeSpan {
    /// A character of espeak-ng's IPA, or the letter; marks of pauses (`,`, ` `, `^`, `$`) stand
    /// for the silence they make.
    pub phoneme: char,
    /// The word it belongs to, as a number in [`SpokenChunk::words`]; `None` for pauses.
    pub word: Option<usize>,
    /// Samples from the start of the sentence's sound, at the voice's rate.
    pub samples: Range<usize>,
}

/// A piece of the sentence's sound.
#[derive(Clone, Debug)]
pub struct SpokenChunk {
    /// Mono samples, -1..1, at [`Voice::sample_rate`].
    pub pcm: Vec<f32>,
    /// All words of the sentence, with the first chunk; empty in later ones.
    pub words: Vec<WordSpan>,
    /// All phonemes of the sentence, without gaps, with the first chunk; empty in later ones.
    pub phonemes: Vec<PhonemeSpan>,
    /// Nothing follows.
    pub last: bool,
}

/// Why a sentence cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum SpeakError {
    /// Too much waits to be spoken.
    #[error(transparent)]
    Overloaded(#[from] crate::inference::Overloaded),
    /// The voice failed.
    #[error("the voice failed: {0}")]
    Model(String),
}

/// How many chunks of one sentence may wait to be read before its synthesis pauses.
pub const CHUNK_QUEUE: usize = 32;

/// Text to sound: VITS, and a scripted double in tests.
pub trait Voice: Send + Sync {
    /// Starts a sentence; returns at once. Dropping the receiver withdraws it.
    fn speak(&self, speech: Speech) -> mpsc::Receiver<Result<SpokenChunk, SpeakError>>;

    /// The rate of its samples in Hz.
    fn sample_rate(&self) -> u32;

    /// The voice's name, for people.
    fn name(&self) -> String;
}
