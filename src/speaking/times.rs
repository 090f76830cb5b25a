//! When each word and each phoneme sounds, from the durations the voice gave its ids.
//!
//! In: a text's ids with their words ([`Spoken`]) and the frames of each id. Out: spans in samples
//! from the start of the text's sound. Nothing is estimated: the voice spoke with these durations.

use std::ops::Range;

use super::phonemes::Spoken;
use super::{PhonemeSpan, WordSpan};

/// Where every id sounds; `frames` has the frames of every id, utterance by utterance, of `hop`
/// samples each.
fn sounds<'a>(
    spoken: &'a Spoken,
    frames: &'a [&'a [usize]],
    hop: usize,
) -> impl Iterator<Item = (Option<usize>, char, Range<usize>)> + 'a {
    let utterances = spoken.utterances.iter().zip(frames);
    let ids = utterances.flat_map(|(utterance, frames)| {
        utterance.words.iter().zip(&utterance.symbols).zip(frames.iter())
    });
    ids.scan(0, move |at, ((word, symbol), frames)| {
        let start = *at;
        *at += frames * hop;
        Some((*word, *symbol, start..*at))
    })
}

/// When each word sounds: from its first phoneme to its last.
pub(super) fn words(spoken: &Spoken, frames: &[&[usize]], hop: usize) -> Vec<WordSpan> {
    let mut found: Vec<Option<Range<usize>>> = vec![None; spoken.words.len()];
    for (word, _, samples) in sounds(spoken, frames, hop) {
        if let Some(found) = word.and_then(|word| found.get_mut(word)) {
            found.get_or_insert(samples.clone()).end = samples.end;
        }
    }
    let mut spans: Vec<WordSpan> = Vec::with_capacity(found.len());
    for (text, samples) in spoken.words.iter().zip(found) {
        let Some(samples) = samples else { continue };
        // A long word was spoken in pieces; it is one word of the text.
        match spans.last_mut() {
            Some(last) if last.text == *text => last.samples.end = samples.end,
            _ => spans.push(WordSpan { text: text.clone(), samples }),
        }
    }
    spans
}

/// When each phoneme sounds, without gaps from the first sample to the last. A pad belongs to the
/// phoneme before it. Words are numbered as the [`WordSpan`]s of [`words`] are.
pub(super) fn phonemes(spoken: &Spoken, frames: &[&[usize]], hop: usize) -> Vec<PhonemeSpan> {
    let numbers = numbers(spoken);
    let mut spans: Vec<PhonemeSpan> = Vec::new();
    let mut last_id = None;
    for (word, phoneme, samples) in sounds(spoken, frames, hop) {
        let word = word.and_then(|word| numbers[word]);
        let pad = last_id == Some((word, phoneme));
        match spans.last_mut() {
            Some(last) if pad => {
                last.samples.end = samples.end;
                // The next one with the same letter is a phoneme of its own: "ll".
                last_id = None;
            }
            _ => {
                last_id = Some((word, phoneme));
                spans.push(PhonemeSpan { phoneme, word, samples });
            }
        }
    }
    spans
}

/// For each word of `spoken` the number of its span: words without a sound have none, pieces of
/// one word share one.
fn numbers(spoken: &Spoken) -> Vec<Option<usize>> {
    let mut sounds = vec![false; spoken.words.len()];
    for word in spoken.utterances.iter().flat_map(|utterance| utterance.words.iter().flatten()) {
        sounds[*word] = true;
    }
    let mut numbers: Vec<Option<usize>> = Vec::with_capacity(sounds.len());
    let (mut count, mut last) = (0, None);
    for (text, sounds) in spoken.words.iter().zip(sounds) {
        if sounds && last != Some(text) {
            count += 1;
            last = Some(text);
        }
        numbers.push(sounds.then(|| count - 1));
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::{phonemes, words};
    use crate::speaking::phonemes::{Spoken, Utterance};

    fn spoken() -> Spoken {
        // "^" and its pad, "h" and its pad, " ", "l", "l" with pads, "$".
        let symbols = "^^hh  llll$";
        let words =
            [None, None, Some(0), Some(0), None, None, Some(2), Some(2), Some(2), Some(2), None];
        let utterance = Utterance {
            ids: vec![1; words.len()],
            words: words.to_vec(),
            symbols: symbols.chars().collect(),
        };
        Spoken { utterances: vec![utterance], words: vec![0..2, 3..5, 6..9] }
    }

    #[test]
    fn words_sound_from_their_first_phoneme_to_their_last() {
        let frames: &[usize] = &[1, 2, 3, 4, 5, 0, 1, 1, 2, 2, 3];
        let spans = words(&spoken(), &[frames], 10);
        let found: Vec<_> = spans.into_iter().map(|span| (span.text, span.samples)).collect();
        assert_eq!(found, [(0..2, 30..100), (6..9, 150..210)]);
    }

    #[test]
    fn phonemes_follow_each_other_without_gaps_and_name_their_words() {
        let frames: &[usize] = &[1, 2, 3, 4, 5, 0, 1, 1, 2, 2, 3];
        let found: Vec<_> = phonemes(&spoken(), &[frames], 10)
            .into_iter()
            .map(|span| (span.phoneme, span.word, span.samples))
            .collect();
        assert_eq!(
            found,
            [
                ('^', None, 0..30),
                ('h', Some(0), 30..100),
                (' ', None, 100..150),
                ('l', Some(1), 150..170),
                ('l', Some(1), 170..210),
                ('$', None, 210..240),
            ]
        );
    }
}
