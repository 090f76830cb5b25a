//! What the words themselves tell: whether a sentence is open, whether it is only a backchannel.
//!
//! In: transcribed words. Out: judgements from closed lists per language. Pure.

use crate::language::Language;

/// Words after which an English speaker has not finished.
const OPEN_EN: &[&str] = &[
    "and", "or", "but", "so", "because", "if", "when", "while", "that", "which", "who", "the", "a",
    "an", "my", "your", "his", "her", "their", "our", "of", "to", "for", "with", "at", "in", "on",
    "from", "by", "about", "is", "are", "was", "were", "um", "uh", "er", "hmm", "like", "than",
    "as", "i", "we", "they", "i'm", "it's", "let's", "maybe",
];

/// Words after which a French speaker has not finished.
const OPEN_FR: &[&str] = &[
    "et", "ou", "mais", "donc", "car", "parce", "que", "qui", "si", "quand", "le", "la", "les",
    "un", "une", "des", "du", "de", "à", "au", "aux", "pour", "avec", "dans", "sur", "par", "mon",
    "ma", "mes", "ton", "ta", "tes", "son", "sa", "ses", "est", "sont", "euh", "heu", "ben",
    "alors", "je", "tu", "il", "elle", "nous", "vous", "c'est", "comme",
];

/// What English listeners say without taking the floor.
const BACKCHANNEL_EN: &[&str] = &[
    "mhm",
    "mm",
    "mmm",
    "hmm",
    "hm",
    "mm-hmm",
    "mm hmm",
    "uh-huh",
    "uh huh",
    "yeah",
    "yes",
    "yep",
    "yup",
    "ok",
    "okay",
    "right",
    "sure",
    "i see",
    "got it",
    "oh",
    "ah",
    "wow",
    "really",
    "cool",
    "nice",
    "great",
    "good",
    "oh okay",
    "oh ok",
    "oh yeah",
    "yeah yeah",
    "oh really",
    "all right",
    "alright",
];

/// What French listeners say without taking the floor.
const BACKCHANNEL_FR: &[&str] = &[
    "mhm",
    "hm",
    "hmm",
    "mmh",
    "mm",
    "oui",
    "ouais",
    "ok",
    "d'accord",
    "ah oui",
    "ah bon",
    "ah",
    "oh",
    "je vois",
    "bien sûr",
    "c'est vrai",
    "voilà",
    "exactement",
    "super",
    "très bien",
    "tout à fait",
    "oui oui",
    "ah d'accord",
];

fn lists(
    language: Language,
    en: &'static [&str],
    fr: &'static [&str],
) -> [&'static [&'static str]; 2] {
    match language {
        Language::En => [en, &[]],
        Language::Fr => [fr, &[]],
        Language::Auto => [en, fr],
    }
}

/// Lower case, without punctuation at the ends of words, single spaces.
pub(super) fn normalised(text: &str) -> String {
    let lower = text.to_lowercase().replace('’', "'");
    let words = lower
        .split_whitespace()
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// Whether the words plainly go on: an ending conjunction, article or filler, a trailing comma or
/// ellipsis, or a short run of digits (a number being spelled).
pub fn looks_unfinished(text: &str, language: Language) -> bool {
    let text = text.trim();
    if text.ends_with("...") || text.ends_with('…') || text.ends_with(',') || text.ends_with('-')
    {
        return true;
    }
    let words = normalised(text);
    let Some(last) = words.split(' ').next_back().filter(|word| !word.is_empty()) else {
        return false;
    };
    if text.ends_with('?') {
        return false;
    }
    let open = lists(language, OPEN_EN, OPEN_FR).iter().any(|list| list.contains(&last));
    open || ends_in_announced_number(&words)
}

/// "my number is 5 5 5": after the announcement of a number, a few digits are not all of it.
fn ends_in_announced_number(words: &str) -> bool {
    let announces = ["number", "code", "numéro", "phone", "téléphone"];
    let Some(place) = announces.iter().filter_map(|word| words.rfind(word)).max() else {
        return false;
    };
    let tail = &words[place..];
    let digits = tail.chars().filter(char::is_ascii_digit).count();
    let said = tail.split(' ').skip(1).filter(|word| !matches!(*word, "is" | "est")).count();
    (said == 0 && tail.ends_with("is")) || (1..4).contains(&digits)
}

/// Whether the words only say "I am listening".
pub fn is_backchannel(text: &str, language: Language) -> bool {
    let words = normalised(text);
    lists(language, BACKCHANNEL_EN, BACKCHANNEL_FR).iter().any(|list| list.contains(&&*words))
}

/// Whether two hypotheses say the same, whatever their case, punctuation and spaces.
pub(super) fn same_words(a: &str, b: &str) -> bool {
    normalised(a) == normalised(b)
}

/// Whether the words are (nearly) a run of what EVA has just said.
pub(super) fn is_echo_of(words: &str, said: &str) -> bool {
    let words = normalised(words);
    words.split(' ').count() >= 2 && normalised(said).contains(&words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_endings_are_seen_in_both_languages() {
        for text in ["I would like to", "and then,", "My number is", "I think that um", "Well..."] {
            assert!(looks_unfinished(text, Language::En), "{text}");
        }
        for text in ["Je voudrais une", "et puis parce que", "mon numéro est"] {
            assert!(looks_unfinished(text, Language::Fr), "{text}");
        }
        for text in ["What is the capital of France?", "Call me tomorrow.", "", "What is it for?"] {
            assert!(!looks_unfinished(text, Language::En), "{text}");
        }
    }

    #[test]
    fn a_number_being_spelled_is_unfinished() {
        assert!(looks_unfinished("My phone number is 5, 5.", Language::En));
        assert!(!looks_unfinished("My phone number is 555 0100.", Language::En));
    }

    #[test]
    fn backchannels_are_told_from_answers() {
        for text in ["Mm-hmm.", "Yeah.", "Okay!", "Oh, really?", "I see."] {
            assert!(is_backchannel(text, Language::En), "{text}");
        }
        assert!(is_backchannel("D’accord.", Language::Fr));
        for text in ["Stop.", "Yeah, but what about Rome?", "No."] {
            assert!(!is_backchannel(text, Language::En), "{text}");
        }
    }
}
