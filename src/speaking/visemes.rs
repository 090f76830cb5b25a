//! The shapes of a mouth that speaks: phonemes with their times in, visemes with theirs out.
//!
//! The set is that of the Oculus/Meta OVR lip sync (15 visemes: sil, PP, FF, TH, DD, kk, CH, SS,
//! nn, RR, aa, E, ih, oh, ou; `developer.oculus.com`, "Viseme Reference"), which avatars of most
//! engines have as blend shapes. Phonemes are espeak-ng's IPA; the letters of a voice that reads
//! characters are taken roughly for what they mostly sound like. Knows nothing of rendering.

use std::ops::Range;

use super::PhonemeSpan;

/// A shape of the mouth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Viseme {
    /// Silence.
    Sil,
    /// p, b, m.
    Pp,
    /// f, v.
    Ff,
    /// th.
    Th,
    /// t, d.
    Dd,
    /// k, g.
    Kk,
    /// ch, j, sh.
    Ch,
    /// s, z.
    Ss,
    /// n, l.
    Nn,
    /// r.
    Rr,
    /// a, as in "car".
    Aa,
    /// e, as in "bed".
    E,
    /// i, as in "tip".
    Ih,
    /// o, as in "toe".
    Oh,
    /// u, as in "book".
    Ou,
}

impl Viseme {
    /// All of them, in the published order: a viseme's place is its number.
    pub const ALL: [Self; 15] = [
        Self::Sil,
        Self::Pp,
        Self::Ff,
        Self::Th,
        Self::Dd,
        Self::Kk,
        Self::Ch,
        Self::Ss,
        Self::Nn,
        Self::Rr,
        Self::Aa,
        Self::E,
        Self::Ih,
        Self::Oh,
        Self::Ou,
    ];

    /// Its published name: `sil`, `PP`, `aa`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sil => "sil",
            Self::Pp => "PP",
            Self::Ff => "FF",
            Self::Th => "TH",
            Self::Dd => "DD",
            Self::Kk => "kk",
            Self::Ch => "CH",
            Self::Ss => "SS",
            Self::Nn => "nn",
            Self::Rr => "RR",
            Self::Aa => "aa",
            Self::E => "E",
            Self::Ih => "ih",
            Self::Oh => "oh",
            Self::Ou => "ou",
        }
    }

    /// The shape for a phoneme or letter; `None` for marks that have none of their own (stress,
    /// length, tone, a combining tilde): the shape before them goes on.
    fn of(phoneme: char) -> Option<Self> {
        Some(match phoneme {
            'p' | 'b' | 'm' | 'ɓ' | 'ʙ' | 'β' | 'ɸ' => Self::Pp,
            'f' | 'v' | 'ɱ' | 'ʋ' | 'ⱱ' => Self::Ff,
            'θ' | 'ð' => Self::Th,
            't' | 'd' | 'ʈ' | 'ɖ' | 'ɗ' | 'ɾ' | 'ɽ' => Self::Dd,
            'k' | 'g' | 'ɡ' | 'x' | 'ɣ' | 'q' | 'ɢ' | 'χ' | 'c' | 'ɟ' | 'ç' | 'ŋ' | 'h' | 'ħ'
            | 'ɦ' | 'ʔ' | 'ʕ' | 'ɠ' => Self::Kk,
            'ʃ' | 'ʒ' | 'ɕ' | 'ʑ' | 'ʂ' | 'ʐ' | 'ɧ' => Self::Ch,
            's' | 'z' | 'ß' => Self::Ss,
            'n' | 'l' | 'ɲ' | 'ɳ' | 'ɴ' | 'ñ' | 'ɫ' | 'ɭ' | 'ʎ' | 'ʟ' | 'ɬ' | 'ɮ' => {
                Self::Nn
            }
            'r' | 'ɹ' | 'ɻ' | 'ʀ' | 'ʁ' | 'ɚ' | 'ɝ' => Self::Rr,
            'a' | 'ɑ' | 'ɐ' | 'æ' | 'ʌ' | 'ɒ' | 'à' | 'á' | 'â' | 'ã' | 'ä' => Self::Aa,
            'e' | 'ɛ' | 'ə' | 'ɜ' | 'ɘ' | 'ɞ' | 'è' | 'é' | 'ê' | 'ë' => Self::E,
            'i' | 'ɪ' | 'ɨ' | 'j' | 'y' | 'ʏ' | 'ᵻ' | 'ì' | 'í' | 'î' | 'ï' => Self::Ih,
            'o' | 'ɔ' | 'ø' | 'œ' | 'ɵ' | 'ɤ' | 'ɶ' | 'ò' | 'ó' | 'ô' | 'õ' | 'ö' => {
                Self::Oh
            }
            'u' | 'ʊ' | 'ʉ' | 'w' | 'ɯ' | 'ɥ' | 'ʍ' | 'ù' | 'ú' | 'û' | 'ü' => Self::Ou,
            c if c.is_whitespace() || is_pause(c) => Self::Sil,
            _ => return None,
        })
    }
}

/// Marks that are pauses in a voice's alphabet.
fn is_pause(c: char) -> bool {
    matches!(c, '^' | '$' | '_' | '.' | ',' | ';' | ':' | '!' | '?' | '¡' | '¿' | '—' | '…' | '"')
        || matches!(c, '«' | '»' | '“' | '”' | '(' | ')')
}

/// A shape and when it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisemeSpan {
    /// The shape.
    pub viseme: Viseme,
    /// Samples from the start of the text's sound, at the voice's rate.
    pub samples: Range<usize>,
}

/// Gaps between words that are too short for a mouth to close, in parts of a second.
const SHORT_GAP: f32 = 0.05;

/// The track for a text whose phonemes are these, in order. Covers everything from the first
/// sample to the end of the last phoneme without gaps or overlaps, and no two neighbours are the
/// same; gaps are silence. Empty if nothing sounds. `sample_rate` in Hz.
pub fn track(phonemes: &[PhonemeSpan], sample_rate: u32) -> Vec<VisemeSpan> {
    let short = (SHORT_GAP * sample_rate as f32) as usize;
    let mut track: Vec<VisemeSpan> = Vec::with_capacity(phonemes.len());
    let mut at = 0;
    for span in phonemes {
        // Spans out of order have no time left.
        let (start, end) = (span.samples.start.max(at), span.samples.end.max(at));
        if start > at {
            push(&mut track, Viseme::Sil, at..start);
        }
        let length = end - start;
        let before = track.last().map(|last| last.viseme);
        let viseme = match Viseme::of(span.phoneme) {
            Some(Viseme::Sil) if span.phoneme == ' ' && length < short => before,
            Some(viseme) => Some(viseme),
            None => before,
        };
        push(&mut track, viseme.unwrap_or(Viseme::Sil), start..end);
        at = end;
    }
    track
}

fn push(track: &mut Vec<VisemeSpan>, viseme: Viseme, samples: Range<usize>) {
    match track.last_mut() {
        _ if samples.is_empty() => {}
        Some(last) if last.viseme == viseme => last.samples.end = samples.end,
        _ => track.push(VisemeSpan { viseme, samples }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Viseme, track};
    use crate::speaking::PhonemeSpan;

    fn spans(text: &str, length: usize) -> Vec<PhonemeSpan> {
        let span = |(at, phoneme)| {
            let samples = at * length..(at + 1) * length;
            PhonemeSpan { phoneme, word: None, samples }
        };
        text.chars().enumerate().map(span).collect()
    }

    fn names(text: &str) -> String {
        let track = track(&spans(text, 2000), 22_050);
        track.iter().map(|span| span.viseme.name()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn phonemes_become_the_published_shapes() {
        assert_eq!(names("^həlˈoʊ wˈɜːld.$"), "sil kk E nn oh ou sil ou E nn DD sil");
        assert_eq!(names("ðɪsɪz ɐ tʃˈɛk"), "TH ih SS ih SS sil aa sil DD CH E kk");
        assert_eq!(names("bɔ̃ʒˈuʁ"), "PP oh CH ou RR");
        assert_eq!(Viseme::ALL.map(Viseme::name).len(), 15);
    }

    #[test]
    fn a_mouth_does_not_close_for_a_short_gap_between_words() {
        let track = track(&spans("a a", 100), 22_050);
        assert_eq!(track.len(), 1);
        assert_eq!(track[0].samples, 0..300);
    }

    proptest! {
        #[test]
        fn a_track_covers_the_sound_in_order(
            phonemes in prop::collection::vec((any::<char>(), 0..40_000usize, 0..3_000usize), 0..60),
            listed in "[ pbtdkszfvθðʃnlrɹaeiouˈː.,^$_]{0,40}",
        ) {
            let mut random: Vec<PhonemeSpan> = phonemes
                .into_iter()
                .map(|(phoneme, start, length)| {
                    PhonemeSpan { phoneme, word: None, samples: start..start + length }
                })
                .collect();
            random.extend(spans(&listed, 900));
            let track = track(&random, 16_000);
            let end = random.iter().map(|span| span.samples.end).max().unwrap_or(0);
            prop_assert_eq!(track.last().map_or(0, |last| last.samples.end), end);
            prop_assert_eq!(track.first().map_or(0, |first| first.samples.start), 0);
            for pair in track.windows(2) {
                prop_assert_eq!(pair[0].samples.end, pair[1].samples.start);
                prop_assert!(pair[0].viseme != pair[1].viseme);
            }
            prop_assert!(track.iter().all(|span| !span.samples.is_empty()));
        }
    }
}
