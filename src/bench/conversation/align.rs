//! Where a transcript ends in a text whose beginning it is.
//!
//! In: the words of a text, and what a recogniser heard of its beginning. Out: how many of the words
//! were heard. Recognisers mishear, so several ends can fit alike: all of them are told.

use std::ops::RangeInclusive;

/// Words in lower case, without punctuation; a number is one word, in digits, however it is written.
pub(super) fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '\'');
    let mut found = Vec::new();
    let mut number = Number::default();
    for word in words.map(str::to_lowercase).filter(|word| !word.is_empty()) {
        if !number.takes(&word) {
            found.extend(std::mem::take(&mut number).digits());
            found.push(word);
        }
    }
    found.extend(number.digits());
    found
}

/// A number that is being read, word by word.
#[derive(Default)]
struct Number {
    value: u64,
    /// The last part of it, which "hundred" multiplies.
    part: u64,
    /// Digits said one by one before.
    spelled: String,
    begun: bool,
}

const UNITS: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: [&str; 10] =
    ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

impl Number {
    /// Whether the word is a part of a number; it is taken then.
    fn takes(&mut self, word: &str) -> bool {
        let place = |list: &[&str]| list.iter().position(|known| *known == word);
        let whole = self.part.is_multiple_of(100) && self.part + self.value > 0;
        if let Some(unit) = place(&UNITS) {
            let after_tens = unit < 10 && self.part % 100 >= 20 && self.part.is_multiple_of(10);
            self.begin(whole || after_tens);
            self.part += unit as u64;
        } else if let Some(tens) = place(&TENS) {
            self.begin(whole);
            self.part += 10 * tens as u64;
        } else if word == "hundred" && (1..100).contains(&self.part) {
            self.part *= 100;
        } else if word == "thousand" && self.part > 0 {
            self.value += 1_000 * std::mem::take(&mut self.part);
        } else {
            return false;
        }
        true
    }

    /// The next word belongs to the number so far, or begins one that stands behind it: "five five"
    /// is 55.
    fn begin(&mut self, belongs: bool) {
        if self.begun && !belongs {
            self.spelled += &(self.value + self.part).to_string();
            (self.value, self.part) = (0, 0);
        }
        self.begun = true;
    }

    fn digits(mut self) -> Option<String> {
        self.begun.then(|| {
            self.begin(false);
            self.spelled
        })
    }
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

    #[test]
    fn a_number_is_one_word_however_it_is_written() {
        for (text, number) in [
            ("forty-two", "42"),
            ("one-hundred-nineteen", "119"),
            ("One hundred twenty-nine", "129"),
            ("two-thousand-three-hundred-five", "2305"),
            ("nine-thousand-seven", "9007"),
            ("five five five", "555"),
            ("five zero five", "505"),
            ("42", "42"),
        ] {
            assert_eq!(words(text), [number], "{text}");
        }
        assert_eq!(words("number ninety-nine is the one."), ["number", "99", "is", "the", "1"]);
    }

    const TEXT: &str = "Answer number forty-two is ready for you now. It took me only a moment.";

    #[test]
    fn a_clean_transcript_has_one_end() {
        assert_eq!(heard(TEXT, "Answer number forty-two is ready"), 5..=5);
        assert_eq!(heard(TEXT, TEXT), 14..=14);
        assert_eq!(heard(TEXT, ""), 0..=0);
    }

    #[test]
    fn misheard_words_in_the_middle_do_not_move_the_end() {
        assert_eq!(heard(TEXT, "Answer number 42 is ready for you"), 7..=7);
        assert_eq!(heard(TEXT, "And so number forty two is already for you now"), 8..=8);
    }

    #[test]
    fn a_misheard_end_leaves_both_ends_open() {
        assert_eq!(heard(TEXT, "Answer number forty-two is cheese"), 4..=5);
        assert_eq!(heard(TEXT, "Answer number forty-two is read"), 5..=5, "nearly the word");
    }

    #[test]
    fn the_share_of_words_heard_is_in_order() {
        assert_eq!(share_heard("Stop, please.", "Please stop!"), 0.5);
        assert_eq!(share_heard("what time is it", "What time is it now?"), 1.0);
        assert_eq!(share_heard("what time", ""), 0.0);
    }
}
