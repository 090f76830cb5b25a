//! Greetings, which everybody begins with and which may be answered alike.
//!
//! In: the first message of a session. Out: an earlier answer to the same greeting, if it is one and
//! there is one. Only exact greetings count; whoever gets such an answer is told. Owns the answers,
//! at most one for each greeting in the lists.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::language::Language;

const ENGLISH: &[&str] = &[
    "hi",
    "hello",
    "hey",
    "hi there",
    "hello there",
    "hey there",
    "hi eva",
    "hello eva",
    "hey eva",
    "good morning",
    "good afternoon",
    "good evening",
];
const FRENCH: &[&str] =
    &["bonjour", "salut", "coucou", "bonsoir", "bonjour eva", "salut eva", "bonsoir eva", "allô"];

/// The answers so far.
pub(super) struct Greetings {
    on: bool,
    language: Language,
    answers: Mutex<HashMap<&'static str, String>>,
}

impl Greetings {
    pub(super) fn new(on: bool, language: Language) -> Self {
        Self { on, language, answers: Mutex::default() }
    }

    /// The greeting that a message is, if it is nothing else.
    pub(super) fn find(&self, message: &str) -> Option<&'static str> {
        let lists: &[&[&'static str]] = match self.language {
            Language::En => &[ENGLISH],
            Language::Fr => &[FRENCH],
            Language::Auto => &[ENGLISH, FRENCH],
        };
        let mark = |c: char| c.is_ascii_punctuation() || c.is_whitespace() || c == '…';
        let plain = message.trim_matches(mark).to_lowercase().replace(',', "");
        let mut all = lists.iter().copied().flatten().copied();
        all.find(|greeting| self.on && *greeting == plain)
    }

    /// An earlier answer.
    pub(super) fn answer(&self, greeting: &'static str) -> Option<String> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(greeting).cloned()
    }

    /// A greeting was answered.
    pub(super) fn learn(&self, greeting: &'static str, answer: &str) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(greeting, answer.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_greetings_of_the_language_count() {
        let english = Greetings::new(true, Language::En);
        assert_eq!(english.find(" Hello!"), Some("hello"));
        assert_eq!(english.find("Hi, EVA."), Some("hi eva"));
        for other in ["hello, how are you?", "bonjour", "hi 3", "", "!"] {
            assert_eq!(english.find(other), None, "{other}");
        }
        assert_eq!(Greetings::new(true, Language::Auto).find("Bonjour !"), Some("bonjour"));
        assert_eq!(Greetings::new(false, Language::En).find("hello"), None);
    }
}
