//! Replies that are made before it is certain that they are wanted.
//!
//! In: how quick the recogniser is, and what a pause looks like. Out: whether to begin a reply ahead
//! of the pause, and how long one is kept when the person's voice comes back. Owns how long final
//! passes take here.

use std::time::Duration;

use super::endpointing::Pause;
use super::{At, Settings, looks_unfinished};

/// A recogniser that takes longer is busy: what may be made in vain would only be in others' way.
const QUICK: Duration = Duration::from_millis(350);
/// A voice that comes back for less than this may have been a breath or a click: the reply made for
/// the words before is kept until the words after are known.
pub(super) const DOUBT: Duration = Duration::from_millis(300);

/// How quick the final passes are.
#[derive(Debug, Default)]
pub(super) struct Speculation {
    pass_began: Option<At>,
    /// Whether the latest passes were slow, the newest first.
    slow: [bool; 2],
}

impl Speculation {
    /// A final pass begins.
    pub(super) fn pass_begins(&mut self, now: At) {
        self.pass_began = Some(now);
    }

    /// Its words are there.
    pub(super) fn words_came(&mut self, now: At) {
        if let Some(began) = self.pass_began.take() {
            self.slow = [now.saturating_sub(began) > QUICK, self.slow[0]];
        }
    }

    /// Whether to make replies before their turn is committed.
    pub(super) fn allowed(&self, settings: &Settings) -> bool {
        settings.endpointing.respond && settings.endpointing.speculate && self.slow == [false; 2]
    }

    /// Whether to begin a reply to these words although the pause is not sure yet.
    pub(super) fn begins_early(&self, pause: &Pause, settings: &Settings) -> bool {
        let words = pause.heard.as_ref().map_or("", |heard| heard.words.reveal());
        let over = pause.vote.is_none_or(|vote| vote >= settings.endpointing.vote_threshold);
        self.allowed(settings)
            && !words.is_empty()
            && over
            && !looks_unfinished(words, settings.language)
    }
}
