//! Words in capitals: acronyms are spelled, shouted words are read.

use super::Token;
use super::reading::{Part, Said};
use super::tongue::Tongue;

/// The longest acronym that is spelled although it has vowels.
const LONGEST_SPELLED: usize = 4;

/// Reads a token in capitals; `None` for any other, and for words that espeak-ng and the reader
/// take as they stand.
pub(super) fn read(tokens: &[Token], before: Option<&Token>, tongue: &Tongue) -> Option<Said> {
    let (elided, core) = elision(&tokens[0].core);
    let (stem, ending) = stem(core);
    if !is_capitals(stem) {
        return None;
    }
    let dotted = core.contains('.');
    let neighbour = |token: Option<&Token>| {
        token.is_some_and(|token| {
            let count = token.core.chars().filter(|c| c.is_alphabetic()).count();
            let capitals = !token.core.chars().any(char::is_lowercase);
            count > 1 && capitals && spelled(&token.core, tongue).is_none()
        })
    };
    let shouted = neighbour(before) || neighbour(tokens.get(1));
    let letters = spelled(stem, tongue).filter(|_| {
        // Among other words in capitals, only what cannot be a word is spelled.
        dotted || !shouted || !has_vowel(stem)
    });
    let Some(letters) = letters else {
        return Some(Said::whole(format!("{elided}{}", core.to_lowercase()), 1));
    };
    let mut said = Said {
        parts: vec![Part { words: format!("{elided}{letters}"), tokens: (0, 1), spelled: true }],
        used: 1,
        stop_is_part: dotted && tokens.len() > 1,
    };
    // "U.S." ends a sentence where a capital letter follows a full stop only by chance: it seldom
    // does.
    if !ending.is_empty() {
        said.parts[0].words.push_str(ending);
    }
    Some(said)
}

/// The letters to name, parted by spaces; `None` if the word is read as a word.
pub(super) fn spelled(word: &str, tongue: &Tongue) -> Option<String> {
    let dotted = word.contains('.');
    let letters: Vec<char> = word.chars().filter(|c| c.is_alphabetic()).collect();
    if letters.len() < 2 && !dotted || !letters.iter().all(|c| c.is_uppercase() || dotted) {
        // A single capital letter has its name anyway.
        return None;
    }
    let lower = word.to_lowercase();
    let known = !dotted && tongue.words.contains(&lower.as_str());
    let long = letters.len() > LONGEST_SPELLED && has_vowel(word);
    if known || long || letters.len() > 8 {
        return None;
    }
    let letters: Vec<String> =
        letters.iter().flat_map(|c| c.to_lowercase()).map(String::from).collect();
    Some(letters.join(" "))
}

/// `l'ONU`: what is elided before a vowel, and the rest.
fn elision(word: &str) -> (&str, &str) {
    let at = word.find('\'').filter(|at| *at <= 2).map_or(0, |at| at + 1);
    let (before, rest) = word.split_at(at);
    if is_capitals(rest) && before.chars().any(char::is_lowercase) {
        (before, rest)
    } else {
        ("", word)
    }
}

/// `CEOs`, `NASA's`: the capitals, and the ending.
fn stem(word: &str) -> (&str, &str) {
    for ending in ["'s", "s"] {
        if let Some(stem) = word.strip_suffix(ending).filter(|stem| is_capitals(stem)) {
            return (stem, "'s");
        }
    }
    (word, "")
}

/// Two capital letters or more, or letters with full stops between.
fn is_capitals(word: &str) -> bool {
    let mut letters = 0;
    let mut dots = 0;
    for c in word.chars() {
        match c {
            '.' => dots += 1,
            '-' => {}
            c if c.is_uppercase() => letters += 1,
            _ => return dotted_letters(word),
        }
    }
    letters >= 2 || letters == 1 && dots > 0
}

/// `e.g`, `p.m`: single letters with full stops between.
fn dotted_letters(word: &str) -> bool {
    word.contains('.')
        && word.split('.').all(|part| {
            let mut chars = part.chars();
            chars.next().is_none_or(char::is_alphabetic) && chars.next().is_none()
        })
}

fn has_vowel(word: &str) -> bool {
    word.chars().flat_map(char::to_lowercase).any(|c| "aeiouyàâäéèêëïîôöùûü".contains(c))
}
