//! How much is against the turn being over, and how long to wait for that.
//!
//! In: the words at a pause, the end-of-turn vote, how clearly the words were heard, and the person's
//! own pauses. Out: one number, the doubt, counted in pauses of this person that are worth waiting for; and
//! so the wait. Pure.
//!
//! The weights come from 640 whole and cut sentences, spoken by people and by the voice. The vote
//! counts as it is at the first silence: the longer the silence, the more often the network votes yes
//! to whole and cut sentences alike.

use std::time::Duration;

use super::pauses::Pauses;
use super::words::{Ending, ending, is_statement};
use crate::language::Language;

/// The score (log odds of the vote) from which on there is no doubt: a vote of 0.85.
const SURE: f32 = 1.7;
/// Doubt for each unit of score below it.
const DOUBT_PER_SCORE: f32 = 0.25;
/// The vote and the clearness alone make no more doubt than this.
const MOST_OF_VOTE: f32 = 2.0;
/// Votes nearer to 0 or 1 than this say no more.
const VOTE_EDGE: f32 = 0.001;
/// How clearly whole sentences are heard: the recogniser's confidence less its probability that
/// there was no speech. What breaks off is heard less clearly.
const USUAL_CLEARNESS: f32 = 0.65;
/// Score for each unit of clearness.
const SCORE_PER_CLEARNESS: f32 = 6.0;
/// Clearness adds and takes away no more than this.
const CLEARNESS_BOUNDS: [f32; 2] = [-2.0, 1.0];

/// Whoever makes long pauses makes them between statements too, rarely after a question: doubt for
/// how much slower than usual they are, and the most of it.
const DOUBT_OF_STATEMENTS: f32 = 1.5;
const MOST_OF_STATEMENTS: f32 = 1.0;

/// A shorter wait changes nothing.
const LEAST_WAIT: Duration = Duration::from_millis(80);

/// What is known of a pause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clues<'a> {
    /// The words of the turn.
    pub words: &'a str,
    /// The end-of-turn vote at the first silence, 0-1; without one the words decide alone.
    pub vote: Option<f32>,
    /// The recogniser's confidence less its probability of no speech; `None` where unknown.
    pub clearness: Option<f32>,
}

/// The longest waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Longest {
    /// When the words look finished, and the vote says no.
    pub on_doubt: Duration,
    /// When they may stand alone, and mostly go on.
    pub on_open_words: Duration,
    /// When they plainly go on.
    pub on_unfinished: Duration,
}

/// How long to wait after the pause was confirmed.
pub(super) fn wait(
    clues: Clues<'_>,
    language: Language,
    longest: Longest,
    pauses: &Pauses,
) -> Duration {
    let ending = ending(clues.words, language);
    let most = match ending {
        Ending::Finished | Ending::Unmarked => longest.on_doubt,
        Ending::Doubtful => longest.on_open_words,
        Ending::Spelling | Ending::Open => longest.on_unfinished,
    };
    // Who is known for longer pauses gets longer waits, short of the longest of all.
    let slowness = pauses.slowness();
    let most = most.mul_f32(slowness).min(longest.on_unfinished).max(most);
    let mut doubt = of_ending(ending) + of_vote(clues);
    if ending == Ending::Finished && is_statement(clues.words, language) {
        doubt += ((slowness - 1.0) * DOUBT_OF_STATEMENTS).min(MOST_OF_STATEMENTS);
    }
    let wait = pauses.expected().mul_f32(doubt).min(most);
    if wait < LEAST_WAIT { Duration::ZERO } else { wait }
}

/// The doubt that the words' end leaves.
fn of_ending(ending: Ending) -> f32 {
    match ending {
        Ending::Finished => 0.0,
        Ending::Unmarked => 0.3,
        Ending::Doubtful => 1.7,
        Ending::Spelling => 2.2,
        Ending::Open => 2.6,
    }
}

/// The doubt that the vote and the clearness leave.
fn of_vote(clues: Clues<'_>) -> f32 {
    let vote = clues.vote.map_or(SURE, |vote| {
        let vote = vote.clamp(VOTE_EDGE, 1.0 - VOTE_EDGE);
        (vote / (1.0 - vote)).ln()
    });
    let clearness = clues.clearness.map_or(0.0, |clearness| {
        let [least, most] = CLEARNESS_BOUNDS;
        ((clearness - USUAL_CLEARNESS) * SCORE_PER_CLEARNESS).clamp(least, most)
    });
    ((SURE - vote - clearness) * DOUBT_PER_SCORE).clamp(0.0, MOST_OF_VOTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Longest = Longest {
        on_doubt: Duration::from_millis(600),
        on_open_words: Duration::from_millis(1000),
        on_unfinished: Duration::from_millis(2500),
    };

    fn after(words: &str, vote: f32, clearness: f32, pauses: &Pauses) -> u128 {
        let clues = Clues { words, vote: Some(vote), clearness: Some(clearness) };
        wait(clues, Language::En, LONGEST, pauses).as_millis()
    }

    #[test]
    fn words_vote_and_clearness_set_the_wait() {
        let usual = Pauses::default();
        for (words, vote, clearness, least, most) in [
            ("What time is it?", 0.97, 0.75, 0, 0),
            ("What time is it?", 0.86, 0.65, 0, 0),
            ("What time is it?", 0.5, 0.75, 100, 250),
            ("What time is it?", 0.02, 0.75, 550, 600),
            ("What time is it?", 0.97, 0.1, 0, 100),
            ("the blue one", 0.97, 0.65, 100, 200),
            ("Is it far from here to?", 0.97, 0.65, 1000, 1000),
            ("My number is", 0.99, 0.8, 1500, 1700),
            ("My number is", 0.01, 0.8, 2200, 2500),
            ("My phone number is 555.", 0.99, 0.8, 1200, 1400),
        ] {
            let wait = after(words, vote, clearness, &usual);
            assert!((least..=most).contains(&wait), "{words} {vote}: {wait} ms");
        }
    }

    #[test]
    fn who_pauses_long_is_given_more_time() {
        let mut slow = Pauses::default();
        (0..8).for_each(|_| slow.inner(Duration::from_millis(1000)));
        let usual = Pauses::default();
        for (words, vote) in [("I would like to", 0.9), ("What time is it?", 0.4)] {
            assert!(after(words, vote, 0.65, &slow) > after(words, vote, 0.65, &usual), "{words}");
        }
        assert_eq!(after("What time is it?", 0.97, 0.65, &slow), 0, "sure is sure");
    }
}
