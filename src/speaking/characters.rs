//! Words to a voice's ids where the voice reads the text's own characters.
//!
//! The rules are those of Hugging Face's `VitsTokenizer` (transformers, `tokenization_vits.py`),
//! which MMS voices use: lower case unless the vocabulary has the capital, Romanian's comma below
//! for its cedilla, characters outside the vocabulary dropped, blanks between and around all ids.
//! Piper's voices of type "text" differ only in their ends. Beyond these rules, letters that are
//! spelled get their names, and a text becomes several utterances. Makes no phonemes.

use super::phonemes::{PhonemeError, Spoken, Utterance};
use super::text::{Language, Word};
use super::vits::Alphabet;

/// After as many characters an utterance ends at the next pause, whatever pause it is.
const LONG: usize = 160;
/// After as many characters an utterance ends at the next word; attention costs the square.
const TOO_LONG: usize = 240;

/// Reads words character by character.
pub(super) struct Characters {
    alphabet: Alphabet,
}

impl Characters {
    pub(super) fn new(alphabet: Alphabet) -> Result<Self, PhonemeError> {
        if alphabet.romanised {
            return Err(PhonemeError::Romanised { language: alphabet.language });
        }
        if alphabet.ids.is_empty() {
            return Err(PhonemeError::Empty);
        }
        Ok(Self { alphabet })
    }

    /// The ids of `words`; the words without any keep their place but have no ids.
    pub(super) fn spoken(&self, words: &[Word], language: &Language) -> Spoken {
        let mut spoken = Spoken::default();
        // Characters of the open utterance, and the word of each.
        let mut open: Vec<(char, Option<usize>)> = Vec::new();
        let mut skipped = false;
        for (index, word) in words.iter().enumerate() {
            let text = written(word, language);
            let before = open.len();
            if !open.is_empty() && self.has(' ') {
                open.push((' ', None));
            }
            let start = open.len();
            for c in self.prepared(&text) {
                let inner_space =
                    c == ' ' && (open.len() == start || open.last() == Some(&(' ', None)));
                if inner_space {
                    continue;
                }
                if self.has(c) {
                    open.push((c, Some(index).filter(|_| c != ' ')));
                } else {
                    skipped |= c != ' ';
                }
            }
            if open.len() == start {
                open.truncate(before);
            }
            let Some(pause) = word.pause.or((open.len() > TOO_LONG).then_some(' ')) else {
                continue;
            };
            let marked = self.has(pause) && pause != ' ';
            if marked && !open.is_empty() {
                open.push((pause, None));
            }
            let ends = match pause {
                '.' | '!' | '?' => true,
                // Where the voice has no sign for the pause, a new utterance makes one.
                ';' | ':' => !marked || open.len() > LONG,
                _ => open.len() > LONG,
            };
            if ends {
                self.close(&mut open, &mut spoken);
            }
        }
        self.close(&mut open, &mut spoken);
        if skipped {
            tracing::debug!("characters outside the voice's vocabulary are skipped");
        }
        spoken.words = words.iter().map(|word| word.source.clone()).collect();
        spoken
    }

    fn has(&self, c: char) -> bool {
        self.alphabet.ids.contains_key(&c)
    }

    /// The text in the vocabulary's case and letters.
    fn prepared(&self, text: &str) -> Vec<char> {
        let mut prepared = Vec::with_capacity(text.len());
        for c in text.chars() {
            if self.alphabet.lower_case && !self.has(c) {
                prepared.extend(c.to_lowercase());
            } else {
                prepared.push(c);
            }
        }
        if self.alphabet.language == "ron" {
            for c in prepared.iter_mut().filter(|c| **c == 'ț') {
                *c = 'ţ';
            }
        }
        prepared
    }

    /// Ends the open utterance: ids with blanks and ends. One without a word is dropped.
    fn close(&self, open: &mut Vec<(char, Option<usize>)>, spoken: &mut Spoken) {
        let characters = std::mem::take(open);
        if characters.iter().all(|(_, word)| word.is_none()) {
            return;
        }
        let Alphabet { ids, blank, ends, .. } = &self.alphabet;
        let mut utterance = Utterance::default();
        if let Some((begin, _)) = ends {
            utterance.push(*begin, None, '^');
        }
        if let Some(blank) = blank {
            utterance.push(*blank, None, ' ');
        }
        for (c, word) in characters {
            let Some(&id) = ids.get(&c) else { continue };
            utterance.push(id, word, c);
            if let Some(blank) = blank {
                utterance.push(*blank, word, c);
            }
        }
        if let Some((_, end)) = ends {
            utterance.push(*end, None, '$');
        }
        spoken.utterances.push(utterance);
    }
}

/// The word as it is read; letters by their names where the language has them.
fn written(word: &Word, language: &Language) -> String {
    if !word.spelled {
        return word.spoken.clone();
    }
    let names = word.spoken.split(' ').map(|letter| {
        // "l'a" of "l'API", "o's" of "CEOs".
        let (before, rest) = match letter.split_once('\'') {
            Some((before, rest)) if rest.len() == 1 && rest != "s" => (format!("{before}'"), rest),
            _ => (String::new(), letter),
        };
        let mut chars = rest.chars();
        let name = chars.next().and_then(|letter| language.letter(letter));
        name.map_or(letter.to_owned(), |name| format!("{before}{name}{}", chars.as_str()))
    });
    names.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::Characters;
    use crate::speaking::phonemes::{PhonemeError, Phonemizer, Spoken};
    use crate::speaking::vits::{Alphabet, Symbols};

    fn alphabet(language: &str) -> Alphabet {
        let letters = "_ abcdefghijlmnorstuvwzEéèß'-ţă";
        Alphabet {
            ids: letters.chars().zip(0..).collect(),
            blank: Some(0),
            ends: None,
            lower_case: true,
            romanised: false,
            language: language.into(),
        }
    }

    fn spoken(alphabet: Alphabet, text: &str) -> Spoken {
        Phonemizer::new(Symbols::Characters(alphabet)).unwrap().phonemes(text)
    }

    /// The ids of the first utterance without blanks.
    fn ids(alphabet: Alphabet, text: &str) -> Vec<u32> {
        let spoken = spoken(alphabet, text);
        let Some(utterance) = spoken.utterances.first() else { return Vec::new() };
        assert!(utterance.ids.iter().step_by(2).all(|id| *id == 0), "blanks around all");
        utterance.ids.iter().skip(1).step_by(2).copied().collect()
    }

    /// Expected: transformers' `VitsTokenizer` with this vocabulary, `phonemize=False`.
    #[test]
    fn characters_become_the_ids_transformers_gives_them() {
        for (language, text, expected) in [
            ("fra", "Hello world", &[9, 6, 12, 12, 15, 1, 21, 15, 16, 12, 5][..]),
            (
                "fra",
                "Élève d'été, ça va!",
                &[24, 12, 25, 20, 6, 1, 5, 27, 24, 18, 24, 1, 2, 1, 20, 2],
            ),
            ("fra", "Straße E!", &[17, 18, 16, 2, 26, 6, 1, 23]),
            ("fra", "kkk", &[]),
            ("fra", "don't-stop", &[5, 15, 14, 27, 18, 28, 17, 18, 15]),
            ("ron", "Ține țara", &[29, 10, 14, 6, 1, 29, 2, 16, 2]),
        ] {
            assert_eq!(ids(alphabet(language), text), expected, "{text}");
        }
        let without = Alphabet { blank: None, ..alphabet("eng") };
        assert_eq!(spoken(without, "A bad day").utterances[0].ids, [2, 1, 3, 2, 5, 1, 5, 2]);
    }

    #[test]
    fn every_id_knows_its_letter_and_word() {
        let spoken = spoken(alphabet("eng"), "So,  é!");
        assert_eq!(spoken.utterances[0].symbols, [' ', 's', 's', 'o', 'o', ' ', ' ', 'é', 'é']);
        let (so, e) = (Some(0), Some(1));
        assert_eq!(spoken.utterances[0].words, [None, so, so, so, so, None, None, e, e]);
        assert_eq!(spoken.words, [0..3, 5..8]);
    }

    #[test]
    fn numbers_and_letters_are_written_out() {
        let read = |language: &str, text: &str| {
            let alphabet = Alphabet {
                ids: ('a'..='z').chain(" é'-".chars()).zip(1..).collect(),
                ..alphabet(language)
            };
            let utterances = spoken(alphabet, text).utterances;
            let text = |symbols: &[char]| symbols[1..].iter().step_by(2).collect::<String>();
            utterances.iter().map(|one| text(&one.symbols)).collect::<Vec<_>>()
        };
        assert_eq!(read("eng", "I paid $12.50. OK?"), ["i paid twelve dollars fifty", "oh kay"]);
        assert_eq!(
            read("fra", "12,50 € à la SNCF"),
            ["douze euros cinquante  la esse enne cé effe".replace("  ", " ")]
        );
        assert_eq!(read("deu", "Um 12 Uhr"), ["um uhr"]);
        assert_eq!(read("eng", "世界 12"), ["twelve"]);
    }

    #[test]
    fn pauses_that_the_alphabet_lacks_part_utterances() {
        let parts = |text: &str| spoken(alphabet("eng"), text).utterances.len();
        assert_eq!(parts("an end. a start"), 2);
        assert_eq!(parts("a list: one, two, three"), 2);
        assert_eq!(parts(&"more words and ".repeat(200)), 13);
        assert_eq!(parts("!?!"), 0);
    }

    #[test]
    fn pipers_ends_stand_around_everything() {
        let piper = Alphabet { ends: Some((90, 91)), ..alphabet("uk_UA") };
        assert_eq!(spoken(piper, "ab").utterances[0].ids, [90, 0, 2, 0, 3, 0, 91]);
    }

    #[test]
    fn a_voice_that_wants_romanised_text_says_so() {
        let refused = Characters::new(Alphabet { romanised: true, ..alphabet("kor") });
        assert!(matches!(refused, Err(PhonemeError::Romanised { language }) if language == "kor"));
        let refused = Characters::new(Alphabet::default());
        assert!(matches!(refused, Err(PhonemeError::Empty)));
    }
}
