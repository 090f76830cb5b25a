//! When the person's turn is over.
//!
//! In: the pause, the words and the vote on it. Out: how long to go on waiting. Owns the state of the
//! person's side of the conversation; starts nothing itself (that is the machine's part).

use std::time::Duration;

use super::pauses::Pauses;
use super::{At, Hypothesis, PassId, Settings, looks_unfinished};

/// The person's side.
#[derive(Clone, Debug, Default)]
pub(super) enum Floor {
    /// Nothing of an open turn was heard.
    #[default]
    Quiet,
    /// The person speaks.
    Speaking,
    /// The person may have finished.
    Pausing(Pause),
}

/// What is known of a pause.
#[derive(Clone, Debug)]
pub(super) struct Pause {
    /// The pass over the turn's sound up to here.
    pub pass: PassId,
    /// When the pause was confirmed.
    pub confirmed: Option<At>,
    /// When the last voiced sample arrived.
    pub last_voiced: Option<At>,
    /// The words, once the pass is through.
    pub heard: Option<Hypothesis>,
    /// The end-of-turn vote.
    pub vote: Option<f32>,
}

/// What to do with a pause now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Something is still missing.
    Incomplete,
    /// The words are there, the vote is not; wait for it until then.
    AwaitVote(At),
    /// Nothing was said.
    Nothing,
    /// Commit the turn at this time (which may be past).
    CommitAt(At),
}

impl Pause {
    pub(super) fn new(pass: PassId) -> Self {
        Self { pass, confirmed: None, last_voiced: None, heard: None, vote: None }
    }

    /// Weighs what is known. A missing vote counts as consent once `now` is past its patience.
    pub(super) fn verdict(&self, now: At, settings: &Settings, pauses: &Pauses) -> Verdict {
        let _ = pauses;
        let language = settings.language;
        let settings = &settings.endpointing;
        let (Some(confirmed), Some(heard)) = (self.confirmed, &self.heard) else {
            return Verdict::Incomplete;
        };
        if heard.words.reveal().is_empty() {
            return Verdict::Nothing;
        }
        let patience = confirmed + settings.vote_patience;
        if self.vote.is_none() && now < patience {
            return Verdict::AwaitVote(patience);
        }
        let over = self.vote.is_none_or(|vote| vote >= settings.vote_threshold);
        let open = looks_unfinished(heard.words.reveal(), language);
        let wait = match (over, open) {
            (true, false) => Duration::ZERO,
            (false, false) => settings.wait_on_doubt,
            (true, true) => settings.wait_on_open_words,
            (false, true) => settings.wait_on_unfinished,
        };
        Verdict::CommitAt(confirmed + wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::Private;

    fn pause(words: &str, vote: Option<f32>) -> Pause {
        Pause {
            pass: PassId(1),
            confirmed: Some(At::from_millis(1000)),
            last_voiced: Some(At::from_millis(800)),
            heard: Some(Hypothesis {
                words: Private::new(words.to_owned()),
                confidence: 0.9,
                no_speech: 0.0,
            }),
            vote,
        }
    }

    #[test]
    fn the_wait_follows_vote_and_words() {
        let settings = Settings::default();
        let now = At::from_millis(1010);
        let wait = |words: &str, vote| match pause(words, Some(vote)).verdict(
            now,
            &settings,
            &Pauses::default(),
        ) {
            Verdict::CommitAt(at) => at.as_millis() - 1000,
            other => panic!("no wait but {other:?}"),
        };
        assert_eq!(wait("What time is it?", 0.9), 0);
        assert_eq!(wait("What time is it?", 0.1), 600);
        assert_eq!(wait("I would like to", 0.9), 1000);
        assert_eq!(wait("I would like to", 0.1), 2500);
    }

    #[test]
    fn a_missing_vote_is_waited_for_briefly() {
        let settings = Settings::default();
        let open = pause("Hello there.", None);
        assert_eq!(
            open.verdict(At::from_millis(1000), &settings, &Pauses::default()),
            Verdict::AwaitVote(At::from_millis(1150))
        );
        assert_eq!(
            open.verdict(At::from_millis(1150), &settings, &Pauses::default()),
            Verdict::CommitAt(At::from_millis(1000))
        );
    }

    #[test]
    fn no_words_no_turn() {
        assert_eq!(
            pause("", Some(0.9)).verdict(
                At::from_millis(1000),
                &Settings::default(),
                &Pauses::default()
            ),
            Verdict::Nothing
        );
    }
}
