//! What the pure-Rust port (0.2) says otherwise than espeak-ng itself, put right.
//!
//! Found by comparing sentences and lists of words with espeak-ng 1.51 and 1.52: English function
//! words that run together ("of the" is one group, "has been" loses its stress), a few words it
//! breaks, German endings after a removed suffix, French words in -aît. Voices were trained on
//! what espeak-ng itself says. Only differences that are heard are here; the rest is small.

/// The language whose repairs apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repairs {
    American,
    British,
    French,
    German,
    None,
}

/// Two function words that run together; what replaces their phonemes, American and British;
/// empty keeps what stands.
type Pair = (&'static str, &'static str, [&'static str; 2], [&'static str; 2]);

const PAIRS: &[Pair] = &[
    ("of", "the", ["", ""], ["", ""]),
    ("in", "the", ["", ""], ["", ""]),
    ("on", "the", ["", ""], ["", ""]),
    ("with", "the", ["", ""], ["", ""]),
    ("from", "the", ["fɹʌm", ""], ["fɹʌm", ""]),
    ("for", "the", ["fɚ", ""], ["fə", ""]),
    ("was", "the", ["wʌz", ""], ["wʌz", ""]),
    ("that", "the", ["ðæt", ""], ["ðæt", ""]),
    ("of", "a", ["əv", "ə"], ["əv", "ɐ"]),
    ("at", "a", ["æɾ", "ə"], ["æt", "ɐ"]),
    ("for", "a", ["fɚɹ", "ə"], ["fəɹ", "ɐ"]),
    ("was", "a", ["wʌz", "ɐ"], ["wʌz", "ɐ"]),
    ("not", "a", ["nˌɑːɾ", "ə"], ["nˌɒt", "ɐ"]),
    ("that", "a", ["ðˌæɾ", "ə"], ["ðˌæt", "ɐ"]),
    ("than", "a", ["ðˌæn", "ə"], ["ðˌæn", "ɐ"]),
    ("of", "an", ["əv", "ən"], ["əv", "ən"]),
    ("for", "an", ["fɚɹ", "ən"], ["fəɹ", "ən"]),
    ("than", "an", ["ðˌæn", "ən"], ["ðˌæn", "ən"]),
    ("that", "it", ["ðˌɐɾ", "ɪt"], ["ðˌɐt", "ɪt"]),
    ("out", "of", ["ˌaʊɾ", "əv"], ["ˌaʊt", "əv"]),
    ("to", "be", ["tə", "bi"], ["tə", "bɪ"]),
    ("had", "to", ["hæd", "tə"], ["hæd", "tə"]),
    ("has", "been", ["hɐz", "bɪn"], ["hɐz", "bɪn"]),
    ("have", "been", ["hɐv", "bɪn"], ["hɐv", "bɪn"]),
    ("had", "been", ["hɐd", "bɪn"], ["hɐd", "bɪn"]),
    ("would", "have", ["wʊd", "hɐv"], ["wʊd", "hɐv"]),
    ("could", "have", ["kˌʊd", "ɐv"], ["kˌʊd", "ɐv"]),
    ("should", "have", ["ʃˌʊd", "əv"], ["ʃˌʊd", "əv"]),
    ("may", "have", ["mˌeɪ", "hɐv"], ["mˌeɪ", "hɐv"]),
    ("might", "have", ["mˌaɪt", "hɐv"], ["mˌaɪt", "hɐv"]),
    ("must", "have", ["mˈʌst", "ɐv"], ["mˈʌst", "ɐv"]),
    ("has", "not", ["həz", "nɑːt"], ["həz", "nɒt"]),
    ("have", "not", ["hɐv", "nˌɑːt"], ["hɐv", "nˌɒt"]),
    ("do", "not", ["duː", "nˌɑːt"], ["duː", "nˌɒt"]),
    ("does", "not", ["dʌz", "nˌɑːt"], ["dʌz", "nˌɒt"]),
    ("did", "not", ["dɪd", "nˌɑːt"], ["dɪd", "nˌɒt"]),
    ("there", "was", ["ðɛɹ", "wˌʌz"], ["ðeə", "wˌɒz"]),
    ("there", "are", ["ðɛɹ", "ˌɑːɹ"], ["ðeəɹ", "ˌɑː"]),
    ("there", "were", ["ðɛɹ", "wˌɜː"], ["ðeə", "wˌɜː"]),
    ("no", "one", ["nˈoʊ", "wˈʌn"], ["nˈəʊ", "wˈɒn"]),
    ("this", "one", ["ðˈɪs", "wˌʌn"], ["ðˈɪs", "wˌɒn"]),
    ("that", "one", ["ðˈæt", "wˌʌn"], ["ðˈæt", "wˌɒn"]),
];

impl Repairs {
    /// For an espeak voice's tag in lower case.
    pub(super) fn of(tag: &str) -> Self {
        match tag.split('-').next().unwrap_or_default() {
            "en" if tag == "en-us" => Self::American,
            "en" => Self::British,
            "fr" => Self::French,
            "de" => Self::German,
            _ => Self::None,
        }
    }

    pub(super) fn is_english(self) -> bool {
        matches!(self, Self::American | Self::British)
    }

    /// The word as it is written for the port to say it right.
    pub(super) fn respelled(self, word: &str) -> Option<String> {
        let written = match (self, word) {
            (Self::American | Self::British, word) => match word {
                "nineteen" => "19",
                "ninety" => "90",
                "nineteenth" => "19th",
                "ninetieth" => "90th",
                "nineties" => "nighnties",
                _ => return None,
            },
            (Self::German, "erste") => "eerste",
            (Self::German, "ersten") => "eersten",
            (Self::German, "Wege") => "Weege",
            (Self::German, "Wegen") => "Weegen",
            (Self::French, word) => {
                return word.strip_suffix("aît").map(|stem| format!("{stem}ait"));
            }
            _ => return None,
        };
        Some(written.into())
    }

    /// The phonemes of a single word, put right.
    pub(super) fn ending(self, word: &str, phonemes: &str) -> Option<String> {
        if self != Self::German {
            return None;
        }
        // "Hilfe" is no "Hilf-eh": the ending of a word that is stressed before is weak.
        for (written, said, weak) in [
            ("e", "ˈeː", "ə"),
            ("en", "ˈeːn", "ən"),
            ("em", "ˈeːm", "əm"),
            ("er", "ɛɾ", "ɜ"),
            ("es", "ɛs", "əs"),
        ] {
            let stem = phonemes.strip_suffix(said).filter(|stem| stem.contains('ˈ'));
            if let Some(stem) = stem
                && word.ends_with(written)
                && !word.ends_with("ee")
            {
                return Some(format!("{stem}{weak}"));
            }
        }
        None
    }

    /// What replaces the phonemes of two words that run together; an empty string keeps them.
    pub(super) fn pair(self, first: &str, second: &str) -> Option<[&'static str; 2]> {
        let british = match self {
            Self::American => false,
            Self::British => true,
            _ => return None,
        };
        let same = |word: &str, other: &str| word.eq_ignore_ascii_case(other);
        let found = PAIRS.iter().find(|pair| same(pair.0, first) && same(pair.1, second))?;
        Some(if british { found.3 } else { found.2 })
    }
}
