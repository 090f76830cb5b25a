//! Text in; phoneme ids out, each with the word it belongs to.
//!
//! Words become phonemes through espeak-ng (feature `espeak`), clause by clause; punctuation and
//! word places come from [`super::text`]. Ids follow Piper: `^`, then every phoneme and a pad,
//! then `$`. What cannot be spoken is skipped. Not for async threads: a call takes about a
//! millisecond a clause.

mod espeak;

use std::collections::HashMap;
use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

use super::text::{self, Word};

pub use espeak::{Espeak, PhonemeError};

/// A stretch of speech that is synthesised in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Utterance {
    /// Ids for the voice.
    pub ids: Vec<u32>,
    /// The word each id belongs to (index into [`Spoken::words`]); `None` for pauses and marks.
    pub words: Vec<Option<usize>>,
}

/// A text as phonemes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    /// In order; empty if there is nothing to speak.
    pub utterances: Vec<Utterance>,
    /// The bytes of each word in the text.
    pub words: Vec<Range<usize>>,
}

/// After as many ids an utterance ends with its clause; attention costs the square.
const LONG_UTTERANCE: usize = 400;
/// After as many words a clause is cut.
const LONG_CLAUSE: usize = 40;

/// Turns text into a voice's phoneme ids.
pub struct Phonemizer {
    espeak: Espeak,
    ids: HashMap<char, Vec<u32>>,
}

impl Phonemizer {
    /// For a voice with these `ids`, whose phonemes espeak-ng's voice `name` makes (`en-us`).
    pub fn new(name: &str, ids: HashMap<char, Vec<u32>>) -> Result<Self, PhonemeError> {
        Ok(Self { espeak: Espeak::start(name)?, ids })
    }

    /// The phonemes of a text. Never fails: what cannot be spoken is left out.
    pub fn phonemes(&self, text: &str) -> Spoken {
        let words: Vec<Word> = text::words(text)
            .into_iter()
            .filter_map(|word| {
                self.espeak.readable(&word.spoken).map(|spoken| Word { spoken, ..word })
            })
            .collect();
        let clauses = clauses(&words);
        let ipa = self.ipa(&clauses);
        let mut building = Building { phonemizer: self, spoken: Spoken::default(), open: None };
        let mut first = 0;
        for (clause, ipa) in clauses.iter().zip(&ipa) {
            building.clause(clause, ipa, first, first + clause.len() == words.len());
            first += clause.len();
        }
        building.close();
        let mut spoken = building.spoken;
        spoken.words = words.into_iter().map(|word| word.source).collect();
        spoken
    }

    /// The phonemes of each clause: all in one go, which is much cheaper, unless espeak-ng sees
    /// other clauses in the text than we do.
    fn ipa(&self, clauses: &[&[Word]]) -> Vec<String> {
        let text = |clause: &&[Word]| {
            clause.iter().map(|word| word.spoken.as_str()).collect::<Vec<_>>().join(" ")
        };
        let whole: Vec<String> = clauses
            .iter()
            .map(|clause| {
                let pause = clause.last().and_then(|word| word.pause).unwrap_or(',');
                format!("{}{pause}", text(clause))
            })
            .collect();
        let ipa = self.espeak.ipa(&whole.join(" "));
        let lines: Vec<String> = ipa.lines().map(String::from).collect();
        if lines.len() == clauses.len() {
            return lines;
        }
        clauses.iter().map(|clause| self.espeak.ipa(&text(clause))).collect()
    }

    fn id(&self, phoneme: char) -> &[u32] {
        self.ids.get(&phoneme).map_or(&[], Vec::as_slice)
    }
}

struct Building<'a> {
    phonemizer: &'a Phonemizer,
    spoken: Spoken,
    open: Option<Utterance>,
}

impl Building<'_> {
    /// Appends one clause, whose first word is number `first`.
    fn clause(&mut self, words: &[Word], ipa: &str, first: usize, last: bool) {
        let groups: Vec<&str> = ipa.split_whitespace().collect();
        let shares = share(&groups, words, |word| self.phonemizer.espeak.ipa(word));
        if groups.is_empty() {
            return;
        }
        if self.open.is_none() {
            self.open = Some(Utterance::default());
            self.push('^', None);
        }
        let mut groups = groups.into_iter();
        let mut spaced = true;
        for (index, count) in shares.into_iter().enumerate() {
            for group in groups.by_ref().take(count) {
                if !spaced {
                    self.push(' ', None);
                }
                spaced = false;
                group.nfd().for_each(|phoneme| self.push(phoneme, Some(first + index)));
            }
        }
        let pause = words.last().and_then(|word| word.pause);
        if let Some(pause) = pause {
            self.push(pause, None);
        }
        let long = self.open.as_ref().is_some_and(|open| open.ids.len() > LONG_UTTERANCE);
        if matches!(pause, Some('.' | '!' | '?')) || long {
            self.close();
        } else if !last {
            self.push(' ', None);
        }
    }

    /// One phoneme and its pad; phonemes the voice lacks are left out.
    fn push(&mut self, phoneme: char, word: Option<usize>) {
        let Some(open) = &mut self.open else { return };
        for &id in self.phonemizer.id(phoneme) {
            open.ids.push(id);
            open.words.push(word);
            for &pad in self.phonemizer.id('_') {
                open.ids.push(pad);
                open.words.push(word);
            }
        }
    }

    fn close(&mut self) {
        if let Some(mut open) = self.open.take() {
            for &id in self.phonemizer.id('$') {
                open.ids.push(id);
                open.words.push(None);
            }
            self.spoken.utterances.push(open);
        }
    }
}

/// Words up to a pause each, or a bounded number of them.
fn clauses(words: &[Word]) -> Vec<&[Word]> {
    let mut clauses: Vec<&[Word]> = Vec::new();
    for clause in words.split_inclusive(|word| word.pause.is_some()) {
        clauses.extend(clause.chunks(LONG_CLAUSE));
    }
    clauses
}

/// How many of espeak's phoneme groups each word gets. Usually one each; a number gets several.
fn share(groups: &[&str], words: &[Word], alone: impl Fn(&str) -> String) -> Vec<usize> {
    if groups.len() == words.len() {
        return vec![1; words.len()];
    }
    // What each word would need: (its length in phonemes, whether that must be one group).
    let needs: Vec<(usize, bool)> = words
        .iter()
        .map(|word| {
            if word.spoken.chars().all(|c| c.is_alphabetic() || matches!(c, '\'' | '-')) {
                (word.spoken.chars().count(), true)
            } else {
                let ipa = alone(&word.spoken);
                (ipa.chars().filter(|c| !c.is_whitespace()).count(), false)
            }
        })
        .collect();
    let mut upto = vec![0];
    for group in groups {
        upto.push(upto[upto.len() - 1] + group.chars().count());
    }
    // best[w][g]: the least misfit of the first w words sharing the first g groups.
    const IMPOSSIBLE: usize = usize::MAX / 2;
    let mut best = vec![vec![IMPOSSIBLE; groups.len() + 1]; words.len() + 1];
    let mut taken = vec![vec![0; groups.len() + 1]; words.len() + 1];
    best[0][0] = 0;
    for (w, &(length, single)) in needs.iter().enumerate() {
        for g in 0..=groups.len() {
            for from in 0..=g {
                let unlikely = if single && g - from != 1 { 6 } else { 0 };
                let misfit = best[w][from] + length.abs_diff(upto[g] - upto[from]) + unlikely;
                if misfit < best[w + 1][g] {
                    best[w + 1][g] = misfit;
                    taken[w + 1][g] = g - from;
                }
            }
        }
    }
    let mut shares = vec![0; words.len()];
    let mut g = groups.len();
    for w in (0..words.len()).rev() {
        shares[w] = taken[w + 1][g];
        g -= shares[w];
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::{Phonemizer, share};
    use crate::speaking::text::words;

    /// English, with every character as its own id.
    #[cfg(feature = "espeak")]
    fn english() -> Phonemizer {
        let marks = ['^', '_', '$', ' ', '.', ',', '?', '!', ';', ':', 'ˈ', 'ˌ', 'ː'];
        let ids =
            ('a'..='z').chain(marks).chain('\u{e6}'..='\u{2c0}').chain('\u{1d00}'..='\u{1d7f}');
        Phonemizer::new("en-us", ids.map(|c| (c, vec![u32::from(c)])).collect()).unwrap()
    }

    #[cfg(feature = "espeak")]
    #[test]
    fn a_sentence_becomes_the_ids_piper_gives_it() {
        let spoken = english().phonemes("Hello, **world**!");
        let ids = &spoken.utterances[0].ids;
        let read: String = ids.iter().filter_map(|&id| char::from_u32(id)).collect();
        assert_eq!(read, "^_h_ə_l_ˈ_o_ʊ_,_ _w_ˈ_ɜ_ː_l_d_!_$");
        assert_eq!(spoken.words, [0..6, 9..17]);
        assert_eq!(spoken.utterances[0].words[2], Some(0));
        assert_eq!(spoken.utterances[0].words[18], Some(1));
    }

    #[cfg(feature = "espeak")]
    #[test]
    fn any_text_is_spoken_or_skipped() {
        let phonemizer = english();
        let mut state = 1u32;
        let mut next = move |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        let odd = [
            "\u{0}",
            "\u{1}50S",
            "[[",
            "]]",
            "<p>",
            "&amp;",
            "1e9999",
            "٣٤",
            "½",
            "²",
            "ﬃ",
            "İ",
            "ß",
            "'s",
            "--",
            "\u{202e}",
            "e\u{301}\u{301}",
            "👩‍👩‍👧",
            "999999999999999999999",
            "-0.",
            "1,2,3.",
            "$",
            "10:99",
            "IIII",
            "a.b.c",
            "#",
            "http://",
            "@.",
            "(",
            "…",
            "\n",
            "\t",
            " ",
        ];
        for round in 0..2000 {
            let mut text = String::new();
            for _ in 0..next(12) {
                match next(5) {
                    0 => text.push_str(odd[next(odd.len() as u32) as usize]),
                    1 => text.extend(char::from_u32(next(0x11_0000))),
                    2 => text.extend(char::from_u32(next(0x800))),
                    3 => text.push(' '),
                    _ => {
                        text.extend((0..=next(5)).filter_map(|_| char::from_u32(0x21 + next(0x5e))))
                    }
                }
            }
            let spoken = phonemizer.phonemes(&text);
            for range in &spoken.words {
                assert!(text.get(range.clone()).is_some(), "round {round}: {text:?}");
            }
            assert!(spoken.words.is_sorted_by_key(|range| range.start), "round {round}: {text:?}");
        }
    }

    #[test]
    fn a_number_gets_all_its_phoneme_groups() {
        let text = words("It costs $12.50 now");
        let groups = ["ɪt", "kˈɔsts", "twˈɛlv", "dˈɑːlɚz", "fˈɪfti", "sˈɛnts", "nˈaʊ"];
        let shares = share(&groups, &text, |_| "twˈɛlv dˈɑːlɚz fˈɪfti sˈɛnts".into());
        assert_eq!(shares, [1, 1, 4, 1]);
    }
}
