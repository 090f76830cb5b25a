//! Partial hypotheses in; words that will not change any more, and the tail that may, out.
//!
//! LocalAgreement-2: what two hypotheses in a row agree on is stable and is never taken back.
//! Owned by the call, one for each turn; pure.
//!
//! Source: Macháček, Dabre, Bojar, "Turning Whisper into Real-Time Transcription System" (2023).

use crate::private::Private;

/// The words of a turn while the person speaks.
#[derive(Default)]
pub struct Partials {
    stable: Vec<String>,
    /// What the latest hypothesis holds beyond the stable words.
    tail: Vec<String>,
}

impl Partials {
    /// Takes the next hypothesis over the turn's whole sound so far. Returns whether more words
    /// became stable.
    pub fn hear(&mut self, hypothesis: &Private<String>) -> bool {
        let mut words: Vec<&str> = hypothesis.reveal().split_whitespace().collect();
        // How a sentence ends is not known before it goes on.
        if let Some(last) = words.last_mut() {
            *last = last.trim_end_matches(['.', ',', '!', '?', '…', '-', ':', ';']);
        }
        words.retain(|word| !plain(word).is_empty());
        let tail = &words[self.reached_by(&words)..];
        let agreed = self.tail.iter().zip(tail).take_while(|(a, b)| plain(a) == plain(b)).count();
        self.stable.extend(tail[..agreed].iter().map(|word| (*word).to_owned()));
        self.tail = tail[agreed..].iter().map(|word| (*word).to_owned()).collect();
        agreed > 0
    }

    /// The words that will not change.
    pub fn stable(&self) -> Private<String> {
        Private::new(self.stable.join(" "))
    }

    /// How many words will not change.
    pub fn stable_words(&self) -> usize {
        self.stable.len()
    }

    /// The words after the stable ones, which may still change.
    pub fn tail(&self) -> Private<String> {
        Private::new(self.tail.join(" "))
    }

    /// All words so far.
    pub fn text(&self) -> Private<String> {
        let words: Vec<_> = self.stable.iter().chain(&self.tail).map(String::as_str).collect();
        Private::new(words.join(" "))
    }

    /// How many of `words` say what is stable already: the beginning of `words` nearest to the
    /// stable words in edit distance, so that a hypothesis that changed its mind about them still
    /// shows where it goes on.
    fn reached_by(&self, words: &[&str]) -> usize {
        let mut row: Vec<usize> = (0..=words.len()).collect();
        for (i, stable) in self.stable.iter().enumerate() {
            let stable = plain(stable);
            let mut diagonal = std::mem::replace(&mut row[0], i + 1);
            for (j, word) in words.iter().enumerate() {
                let replaced = diagonal + usize::from(stable != plain(word));
                diagonal = row[j + 1];
                row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
            }
        }
        let distance_of_length = |&n: &usize| (row[n], n.abs_diff(self.stable.len()));
        (0..=words.len()).min_by_key(distance_of_length).unwrap_or(0)
    }
}

/// A word without case and punctuation.
fn plain(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::Partials;
    use crate::private::Private;

    fn after(hypotheses: &[&str]) -> (String, String) {
        let mut partials = Partials::default();
        for hypothesis in hypotheses {
            partials.hear(&Private::new((*hypothesis).to_owned()));
        }
        (partials.stable().into_revealed(), partials.tail().into_revealed())
    }

    fn pair(stable: &str, tail: &str) -> (String, String) {
        (stable.to_owned(), tail.to_owned())
    }

    #[test]
    fn one_hypothesis_is_not_enough() {
        assert_eq!(after(&["Please enter"]), pair("", "Please enter"));
    }

    #[test]
    fn what_two_agree_on_is_stable() {
        assert_eq!(
            after(&["Please enter your age.", "Please, enter your agent number"]),
            pair("Please, enter your", "agent number")
        );
    }

    #[test]
    fn a_full_stop_at_the_end_is_not_believed() {
        assert_eq!(
            after(&["Call me.", "Call me.", "Call me tomorrow."]),
            pair("Call me", "tomorrow")
        );
    }

    #[test]
    fn stable_words_outlive_a_change_of_mind() {
        assert_eq!(
            after(&["I want to go", "I want to go home", "I won't to go home now"]),
            pair("I want to go home", "now")
        );
        assert_eq!(
            after(&["I want to go", "I want to go", "So I want to go home"]),
            pair("I want to go", "home")
        );
        assert_eq!(after(&["one two", "one two", ""]), pair("one two", ""));
    }

    proptest::proptest! {
        #[test]
        fn stable_words_only_grow(hypotheses in proptest::collection::vec("([a-c] ){0,6}", 0..12)) {
            let mut partials = Partials::default();
            let mut before = String::new();
            for hypothesis in hypotheses {
                partials.hear(&Private::new(hypothesis));
                let stable = partials.stable().into_revealed();
                proptest::prop_assert!(stable.starts_with(&before));
                before = stable;
            }
        }
    }
}
