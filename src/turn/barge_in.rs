//! What speech over EVA's voice means.
//!
//! In: that the person speaks while a reply sounds, its length and words. Out: interruption, nothing,
//! or not known yet. Owns only whether EVA's voice is lowered.

use super::{At, Settings, is_backchannel};

/// Speech over a sounding reply that has not been judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Overlap {
    /// Where the person's voice starts.
    pub onset: At,
}

impl Overlap {
    /// Whether words heard so far make it an interruption.
    pub(super) fn words_interrupt(words: &str, settings: &Settings) -> bool {
        !words.trim().is_empty() && !is_backchannel(words, settings.language)
    }

    /// When it is an interruption whatever its words, if the person still speaks then.
    pub(super) fn judged_at(&self, settings: &Settings) -> At {
        self.onset + settings.interruption_after
    }
}
