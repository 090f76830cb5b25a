//! What speech over EVA's voice is.
//!
//! In: the words so far and how sure the recogniser is of them. Out: [`Evidence`]. Pure.

use std::time::Duration;

use super::words::is_backchannel;
use crate::language::Language;

/// What is known of speech over EVA's voice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    /// The person takes the floor.
    Interruption,
    /// The person confirms that they listen.
    Backchannel,
    /// A cough, a noise, a voice far away.
    Nothing,
    /// It cannot be told yet.
    NotYet,
}

/// Judges words.
pub(super) fn judge(
    words: &str,
    confidence: f32,
    no_speech: f32,
    lasted: Duration,
    final_pass: bool,
    language: Language,
) -> Evidence {
    let _ = (confidence, no_speech, lasted, final_pass);
    if words.trim().is_empty() {
        Evidence::Nothing
    } else if is_backchannel(words, language) {
        Evidence::Backchannel
    } else {
        Evidence::Interruption
    }
}
