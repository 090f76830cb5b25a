//! Where a transcript ends in a text whose beginning it is.
//!
//! In: the words of a text, and what a recogniser heard of its beginning. Out: how many of the words
//! were heard. Recognisers mishear, so several ends can fit alike: all of them are told.

use std::ops::RangeInclusive;

/// Words in lower case, without punctuation.
pub(super) fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '\'');
    words.map(str::to_lowercase).filter(|word| !word.is_empty()).collect()
}

/// What it costs to take one word for the other.
fn cost(said: &str, heard: &str) -> f64 {
    if said == heard {
        return 0.0;
    }
    if strsim::normalized_levenshtein(said, heard) >= 0.6 { 0.5 } else { 1.0 }
}

/// How many words of `said` were heard: the numbers that fit the transcript best.
pub(super) fn ends(said: &[String], heard: &[String]) -> RangeInclusive<usize> {
    let mut row: Vec<f64> = (0..=said.len()).map(|n| n as f64).collect();
    for (i, word) in heard.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], (i + 1) as f64);
        for (j, wanted) in said.iter().enumerate() {
            let changed = diagonal + cost(wanted, word);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1.0).min(row[j] + 1.0);
        }
    }
    let best = row.iter().copied().fold(f64::INFINITY, f64::min);
    let fits = |cost: &f64| *cost <= best + 0.25;
    let first = row.iter().position(fits).unwrap_or_default();
    let last = row.iter().rposition(fits).unwrap_or_default();
    first..=last
}

/// The share of the words wanted that were heard, in their order (longest common subsequence).
pub(super) fn share_heard(wanted: &str, heard: &str) -> f64 {
    let (wanted, heard) = (words(wanted), words(heard));
    let mut row = vec![0usize; heard.len() + 1];
    for word in &wanted {
        let mut diagonal = 0;
        for (j, other) in heard.iter().enumerate() {
            let both = if cost(word, other) < 1.0 { diagonal + 1 } else { 0 };
            diagonal = row[j + 1];
            row[j + 1] = both.max(row[j]).max(diagonal);
        }
    }
    row[heard.len()] as f64 / wanted.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str, transcript: &str) -> RangeInclusive<usize> {
        ends(&words(text), &words(transcript))
    }

    const TEXT: &str = "Answer number forty-two is ready for you now. It took me only a moment.";

    #[test]
    fn a_clean_transcript_has_one_end() {
        assert_eq!(heard(TEXT, "Answer number forty-two is ready"), 6..=6);
        assert_eq!(heard(TEXT, TEXT), 15..=15);
        assert_eq!(heard(TEXT, ""), 0..=0);
    }

    #[test]
    fn misheard_words_in_the_middle_do_not_move_the_end() {
        assert_eq!(heard(TEXT, "Answer number 42 is ready for you"), 8..=8);
        assert_eq!(heard(TEXT, "And so number forty two is already for you now"), 9..=9);
    }

    #[test]
    fn a_misheard_end_leaves_both_ends_open() {
        assert_eq!(heard(TEXT, "Answer number forty-two is cheese"), 5..=6);
        assert_eq!(heard(TEXT, "Answer number forty-two is read"), 6..=6, "nearly the word");
    }

    #[test]
    fn the_share_of_words_heard_is_in_order() {
        assert_eq!(share_heard("Stop, please.", "Please stop!"), 0.5);
        assert_eq!(share_heard("what time is it", "What time is it now?"), 1.0);
        assert_eq!(share_heard("what time", ""), 0.0);
    }
}
