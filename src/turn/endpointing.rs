//! When the person's turn is over.
//!
//! In: the pause, the words and the vote on it. Out: how long to go on waiting. Owns the state of the
//! person's side of the conversation; starts nothing itself (that is the machine's part).

use super::doubt::{Clues, Longest, wait};
use super::pauses::Pauses;
use super::{At, Hypothesis, PassId, Settings};

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
    /// The end-of-turn vote, as it was at the first silence: later ones say less.
    pub vote: Option<f32>,
    /// The person let go of a button: the turn is over.
    pub by_hand: bool,
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
        let (confirmed, last_voiced) = (None, None);
        Self { pass, confirmed, last_voiced, heard: None, vote: None, by_hand: false }
    }

    /// Weighs what is known and solves it for the time, so that it need be asked again only when more is
    /// known. A missing vote counts as consent once `now` is past its patience.
    pub(super) fn verdict(&self, now: At, settings: &Settings, pauses: &Pauses) -> Verdict {
        let (Some(confirmed), Some(heard)) = (self.confirmed, &self.heard) else {
            return Verdict::Incomplete;
        };
        let words = heard.words.reveal();
        if words.is_empty() {
            return Verdict::Nothing;
        }
        if self.by_hand {
            return Verdict::CommitAt(confirmed);
        }
        let (language, settings) = (settings.language, &settings.endpointing);
        let patience = confirmed + settings.vote_patience;
        if self.vote.is_none() && now < patience {
            return Verdict::AwaitVote(patience);
        }
        let clearness = Some(heard.confidence - heard.no_speech);
        let clues = Clues { words, vote: self.vote, clearness };
        let longest = Longest {
            on_doubt: settings.wait_on_doubt,
            on_open_words: settings.wait_on_open_words,
            on_unfinished: settings.wait_on_unfinished,
        };
        let wait = wait(clues, language, longest, pauses);
        Verdict::CommitAt(confirmed + wait.max(settings.least_wait))
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
                no_speech: 0.05,
                level_dbfs: -30.0,
                as_of: At::from_millis(800),
            }),
            vote,
            by_hand: false,
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
        assert_eq!(wait("What time is it?", 0.01), 600);
        assert!(wait("I would like to", 0.9) >= 1500);
        assert!(wait("I would like to", 0.01) >= 2200);
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
