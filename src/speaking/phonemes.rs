//! Text in; a voice's ids out, each with the word and the sound it stands for.
//!
//! [`super::text`] says which words there are, where they stand and where pauses are. Words become
//! ids in the way the voice was trained with: phonemes of espeak-ng (feature `espeak`), ids as
//! Piper makes them (`^`, then every phoneme and a pad, then `$`); or the text's own characters
//! ([`super::characters`]). What cannot be spoken is skipped with a debug line. Not for async
//! threads: a sentence of 20 words takes most of a millisecond.

mod espeak;

use std::collections::HashMap;
use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

use super::characters::Characters;
use super::text::{self, Language, Word};
use super::vits::Symbols;

pub use espeak::Espeak;

/// Why text cannot be turned into phonemes.
#[derive(Debug, thiserror::Error)]
pub enum PhonemeError {
    /// The voice reads romanised text, which this program cannot make.
    #[error(
        "this voice reads {language:?} only in Latin letters made by uroman, which this program \
         does not have; take a voice of that language whose vocabulary holds its own letters"
    )]
    Romanised {
        /// The voice's language, ISO 639-3.
        language: String,
    },
    /// The voice's alphabet has no characters.
    #[error("the voice's vocabulary holds no characters; fetch its files anew")]
    Empty,
    /// The program was built without espeak-ng.
    #[cfg(not(feature = "espeak"))]
    #[error(
        "this voice needs espeak-ng for its phonemes, and this program was built without it; \
         build it with the feature `espeak` (which makes the program GPL-3.0-or-later)"
    )]
    NotBuilt,
    /// Its data cannot be written.
    #[cfg(feature = "espeak")]
    #[error("cannot write espeak-ng's data to {path}: {source}; make room, or set XDG_CACHE_HOME")]
    Data {
        /// Where to.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It does not know the language.
    #[cfg(feature = "espeak")]
    #[error("espeak-ng cannot make phonemes for {name:?}: {reason}")]
    Language {
        /// The voice's name for it.
        name: String,
        /// What espeak-ng says.
        reason: String,
    },
}

/// A stretch of speech that is synthesised in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Utterance {
    /// Ids for the voice.
    pub ids: Vec<u32>,
    /// The word each id belongs to (index into [`Spoken::words`]); `None` for pauses and marks.
    pub words: Vec<Option<usize>>,
    /// The phoneme or letter each id stands for; a pad or blank has that of the id before it.
    pub symbols: Vec<char>,
}

impl Utterance {
    pub(super) fn push(&mut self, id: u32, word: Option<usize>, symbol: char) {
        self.ids.push(id);
        self.words.push(word);
        self.symbols.push(symbol);
    }
}

/// A text as ids.
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

/// Turns text into a voice's ids.
pub struct Phonemizer {
    language: Language,
    way: Way,
}

/// How words become ids.
enum Way {
    Phonemes(Phonemes),
    Characters(Characters),
}

/// espeak-ng's phonemes and their ids.
struct Phonemes {
    espeak: Espeak,
    ids: HashMap<char, Vec<u32>>,
}

impl Phonemizer {
    /// For a voice that reads these symbols. Blocks: the first use of a language writes
    /// espeak-ng's data to the cache folder.
    pub fn new(symbols: Symbols) -> Result<Self, PhonemeError> {
        Ok(match symbols {
            Symbols::Espeak { voice, ids } => Self {
                language: Language::named(&voice),
                way: Way::Phonemes(Phonemes { espeak: Espeak::start(&voice)?, ids }),
            },
            Symbols::Characters(alphabet) => Self {
                language: Language::named(&alphabet.language),
                way: Way::Characters(Characters::new(alphabet)?),
            },
        })
    }

    /// The ids of a text. Never fails: what cannot be spoken is left out.
    pub fn phonemes(&self, text: &str) -> Spoken {
        let words = text::words(text, &self.language);
        match &self.way {
            Way::Phonemes(phonemes) => phonemes.spoken(words),
            Way::Characters(characters) => characters.spoken(&words, &self.language),
        }
    }
}

impl Phonemes {
    fn spoken(&self, words: Vec<Word>) -> Spoken {
        let given: usize = words.iter().map(|word| word.spoken.len()).sum();
        let words: Vec<Word> = words
            .into_iter()
            .filter_map(|word| {
                let spoken = self.espeak.readable(&word.spoken)?;
                Some(Word { spoken, ..word })
            })
            .collect();
        if words.iter().map(|word| word.spoken.len()).sum::<usize>() < given {
            tracing::debug!("characters that the voice's language cannot read are skipped");
        }
        let clauses = clauses(&words);
        let ipa = self.ipa(&clauses);
        let mut building = Building { phonemes: self, spoken: Spoken::default(), open: None };
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
            clause.iter().map(|word| self.written(word)).collect::<Vec<_>>().join(" ")
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

    /// As espeak-ng is given it.
    fn written(&self, word: &Word) -> String {
        if !word.spelled {
            return word.spoken.clone();
        }
        let letters = word.spoken.split(' ').map(|letter| self.espeak.letter(letter));
        letters.collect::<Vec<_>>().join(" ")
    }

    fn id(&self, phoneme: char) -> &[u32] {
        self.ids.get(&phoneme).map_or(&[], Vec::as_slice)
    }
}

struct Building<'a> {
    phonemes: &'a Phonemes,
    spoken: Spoken,
    open: Option<Utterance>,
}

impl Building<'_> {
    /// Appends one clause, whose first word is number `first`.
    fn clause(&mut self, words: &[Word], ipa: &str, first: usize, last: bool) {
        let groups: Vec<&str> = ipa.split_whitespace().collect();
        if groups.is_empty() {
            return;
        }
        let shares = share(&groups, words, |word| self.phonemes.espeak.ipa(word));
        if self.open.is_none() {
            self.open = Some(Utterance::default());
            self.push('^', None);
        }
        let mut groups = groups.into_iter();
        let mut spaced = true;
        // What the second word of a pair that runs together sounds like.
        let mut second: Option<&str> = None;
        for (index, &count) in shares.iter().enumerate() {
            let word = &words[index];
            let own: Vec<&str> = groups.by_ref().take(count).collect();
            let mut own = match own.as_slice() {
                [one] => vec![self.phonemes.espeak.repaired(&word.spoken, one)],
                many if word.spelled => vec![run_together(many)],
                many => many.iter().map(|group| group.to_string()).collect(),
            };
            let joined = second.take();
            let pair = words.get(index + 1).filter(|_| count == 1 && shares[index + 1] == 1);
            let pair = pair.filter(|_| joined.is_none());
            let pair = pair.and_then(|next| self.phonemes.espeak.pair(&word.spoken, &next.spoken));
            let instead = joined.or(pair.map(|[first, _]| first)).unwrap_or_default();
            if !instead.is_empty() {
                own = vec![instead.into()];
            }
            for group in own.iter().filter(|group| !group.is_empty()) {
                if !spaced && joined.is_none() {
                    self.push(' ', None);
                }
                spaced = false;
                group.nfd().for_each(|phoneme| self.push(phoneme, Some(first + index)));
            }
            second = pair.map(|[_, second]| second);
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
        for &id in self.phonemes.id(phoneme) {
            open.push(id, word, phoneme);
            for &pad in self.phonemes.id('_') {
                open.push(pad, word, phoneme);
            }
        }
    }

    fn close(&mut self) {
        if let Some(mut open) = self.open.take() {
            for &id in self.phonemes.id('$') {
                open.push(id, None, '$');
            }
            self.spoken.utterances.push(open);
        }
    }
}

/// Letters' names as one word: only the last keeps its main stress.
fn run_together(names: &[&str]) -> String {
    let mut word = String::new();
    for (index, name) in names.iter().enumerate() {
        if index + 1 < names.len() {
            word.push_str(&name.replace('ˈ', "ˌ"));
        } else {
            word.push_str(name);
        }
    }
    word
}

/// Words up to a pause each, or a bounded number of them.
fn clauses(words: &[Word]) -> Vec<&[Word]> {
    let mut clauses: Vec<&[Word]> = Vec::new();
    for clause in words.split_inclusive(|word| word.pause.is_some()) {
        clauses.extend(clause.chunks(LONG_CLAUSE));
    }
    clauses
}

/// How many of espeak's phoneme groups each word gets: usually as many as it has words in it; a
/// number in digits gets several.
fn share(groups: &[&str], words: &[Word], alone: impl Fn(&str) -> String) -> Vec<usize> {
    let expected: Vec<usize> =
        words.iter().map(|word| word.spoken.split_whitespace().count()).collect();
    if groups.len() == expected.iter().sum::<usize>() {
        return expected;
    }
    // What each word would need: its length in phonemes, and how many groups if that is known.
    let needs: Vec<(usize, Option<usize>)> = words
        .iter()
        .zip(&expected)
        .map(|(word, &expected)| {
            let letters = |c: char| c.is_alphabetic() || matches!(c, '\'' | '-' | ' ');
            if word.spoken.chars().all(letters) {
                (word.spoken.chars().filter(|c| *c != ' ').count(), Some(expected))
            } else {
                let ipa = alone(&word.spoken);
                (ipa.chars().filter(|c| !c.is_whitespace()).count(), None)
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
    for (w, &(length, known)) in needs.iter().enumerate() {
        for g in 0..=groups.len() {
            for from in 0..=g {
                let unlikely = known.map_or(0, |known| 6 * known.abs_diff(g - from));
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
mod tests;
