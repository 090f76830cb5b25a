//! Text as a language model writes it in; the words to pronounce out, each with its place.
//!
//! Drops what is not spoken (Markdown, emoji, markup, invisible characters), writes out what
//! stands for words (numbers, dates, times, money, units, abbreviations, acronyms, addresses: in
//! English and French; in other languages espeak-ng reads what it can), and notes the pause after
//! each word. Every word keeps the bytes of the text it stands for. Knows nothing of phonemes.
//!
//! The crates for this speak too few languages or too little of them: `num2words` 1.2 has cardinals
//! and money of English and French, but no text around the number, and counts in big floats.

mod address;
mod calendar;
mod capitals;
mod english;
mod french;
mod language;
mod markup;
mod numbers;
mod quantity;
mod reading;
mod tongue;

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

pub use language::Language;
use reading::Said;
use tongue::Tongue;

/// One word of the text, or several that stand for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What to pronounce: no outer punctuation; may be several words (`example dot com`).
    pub spoken: String,
    /// Its bytes in the text.
    pub source: Range<usize>,
    /// The pause after it: one of `, ; : . ! ?`.
    pub pause: Option<char>,
    /// Whether `spoken` is letters, parted by spaces, whose names are said (`f b i`).
    pub spelled: bool,
}

/// What stands between two spaces, without its outer punctuation.
#[derive(Clone, Debug)]
struct Token {
    core: String,
    source: Range<usize>,
    pause: Option<char>,
    /// Whether a bracket opens before it.
    opens: bool,
}

/// The longest word passed on, in characters; longer runs are cut into pieces.
const LONGEST_WORD: usize = 64;

/// Ends of words that are no ends of sentences, where a language has no abbreviations of its own.
const ABBREVIATIONS: [&str; 22] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "vs", "etc", "no", "inc", "ltd", "jr", "sr", "approx",
    "fig", "dept", "mt", "ave", "gen", "col", "capt", "sgt",
];

/// The words of a text. The last one always has a pause.
pub fn words(text: &str, language: &Language) -> Vec<Word> {
    let tokens = tokens(text);
    let tongue = language.tongue();
    let mut words: Vec<Word> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let before = at.checked_sub(1).map(|before| &tokens[before]);
        let said = tongue.and_then(|tongue| reading::read(&tokens[at..], before, tongue));
        match said {
            Some(said) => {
                push_said(&mut words, &tokens[at..], &said);
                at += said.used;
            }
            None => {
                push_plain(&mut words, &tokens[at], language, tongue);
                at += 1;
            }
        }
    }
    soften_inner_ellipses(&mut words);
    if let Some(last) = words.last_mut()
        && !matches!(last.pause, Some('.' | '!' | '?'))
    {
        last.pause = Some('.');
    }
    words
}

/// The tokens of a text; what has nothing to say leaves only its pause, on the token before it.
fn tokens(text: &str) -> Vec<Token> {
    let visible = markup::visible(text);
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    while at < visible.len() {
        let mut pause = None;
        while at < visible.len() && parts_words(&visible, at) {
            pause = pause.max(match visible[at].1 {
                markup::BREAK => Some('.'),
                markup::CELL => Some(','),
                c if is_dash(c) => Some(','),
                _ => None,
            });
            at += 1;
        }
        if let Some(pause) = pause {
            pause_after(tokens.last_mut().map(|token| &mut token.pause), pause);
        }
        let start = at;
        while at < visible.len() && !parts_words(&visible, at) {
            at += 1;
        }
        if let [(first, _), ..] = visible[start..at]
            && let (last, end) = visible[at - 1]
        {
            let token: String = visible[start..at].iter().map(|(_, c)| *c).collect();
            push_token(&mut tokens, &token, first..last + end.len_utf8());
        }
    }
    tokens
}

/// White space parts words, and so does a long dash even without spaces; not in `5–10`.
fn parts_words(visible: &[(usize, char)], at: usize) -> bool {
    let c = visible[at].1;
    let number = |c: Option<&(usize, char)>| {
        c.is_some_and(|(_, c)| c.is_ascii_digit() || matches!(c, '%' | '$' | '€' | '£' | '°'))
    };
    let between = || at > 0 && number(visible.get(at - 1)) && number(visible.get(at + 1));
    c.is_whitespace() || is_dash(c) && !between()
}

fn is_dash(c: char) -> bool {
    matches!(c, '\u{2012}'..='\u{2015}')
}

fn pause_after(last: Option<&mut Option<char>>, pause: char) {
    if let Some(last) = last {
        last.get_or_insert(pause);
    }
}

/// Marks an ellipsis until it is known whether something follows.
const ELLIPSIS: char = '…';

fn soften_inner_ellipses(words: &mut [Word]) {
    let count = words.len();
    for (index, word) in words.iter_mut().enumerate() {
        if word.pause == Some(ELLIPSIS) {
            word.pause = Some(if index + 1 == count { '.' } else { ',' });
        }
    }
}

/// Splits off the punctuation around a token.
fn push_token(tokens: &mut Vec<Token>, token: &str, source: Range<usize>) {
    let opens = token.starts_with(['(', '[', '{']);
    if opens {
        pause_after(tokens.last_mut().map(|token| &mut token.pause), ',');
    }
    let rest = without_opening(token);
    let (core, pause) = split_pause(if rest.is_empty() { token } else { rest });
    // Alone these compare; elsewhere they are brackets of some markup.
    let core = if matches!(core, "<" | ">") { core.into() } else { plain(core) };
    if core.chars().any(|c| c.is_alphanumeric() || is_read_symbol(c)) {
        tokens.push(Token { core, source, pause, opens });
    } else if let Some(pause) = pause.or((!core.is_empty()).then_some(',')) {
        pause_after(tokens.last_mut().map(|token| &mut token.pause), pause);
    }
}

/// Without opening punctuation; a number keeps its sign and its decimal mark.
fn without_opening(token: &str) -> &str {
    let mut rest = token;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let number = after.starts_with(|c: char| c.is_ascii_digit() || "$€£".contains(c));
        let signed = matches!(c, '-' | '.') && number;
        if signed || !(is_opening(c) || is_closing(c) || is_stop(c)) {
            break;
        }
        rest = after;
    }
    rest
}

/// Compatibility forms made plain, apostrophes straight, brackets and the like dropped.
fn plain(core: &str) -> String {
    let mut plain = String::with_capacity(core.len());
    for c in core.chars() {
        let after_digit = plain.ends_with(|c: char| c.is_ascii_digit());
        match c {
            // "2½" is two and a half, "10²" is no 102.
            '¼'..='¾' | '\u{2150}'..='\u{215e}' if after_digit => plain.push(' '),
            '²' | '³' if after_digit => plain.push('^'),
            _ => {}
        }
        match c {
            '\u{2018}' | '\u{2019}' | '\u{02bc}' => plain.push('\''),
            '[' | ']' | '(' | ')' | '{' | '}' | '<' | '>' | '\\' | '|' | '"' => {}
            _ => plain.extend(std::iter::once(c).nfkc().filter(|c| !c.is_control())),
        }
    }
    plain.nfc().collect()
}

/// What a reading made of the first of `tokens`.
fn push_said(words: &mut Vec<Word>, tokens: &[Token], said: &Said) {
    let end = &tokens[said.used - 1];
    let pause = end.pause.filter(|pause| *pause != '.' || !said.stop_is_part);
    let mut any = false;
    for part in said.parts.iter().filter(|part| !part.words.trim().is_empty()) {
        let source = tokens[part.tokens.0].source.start..tokens[part.tokens.1 - 1].source.end;
        push_pieces(words, &part.words, source, part.spelled);
        any = true;
    }
    if let (Some(last), Some(pause)) = (words.last_mut(), pause) {
        if any {
            last.pause = Some(pause);
        } else {
            last.pause.get_or_insert(pause);
        }
    }
}

/// A token that is read as it stands.
fn push_plain(words: &mut Vec<Word>, token: &Token, language: &Language, tongue: Option<&Tongue>) {
    if tongue.is_none()
        && let Some(address) = address::read(&token.core, &language.marks())
    {
        push_pieces(words, &address, token.source.clone(), false);
        if let Some(last) = words.last_mut() {
            last.pause = token.pause;
        }
        return;
    }
    let abbreviated = token.pause == Some('.') && is_abbreviation(&token.core, tongue.is_some());
    let mut spoken = token.core.clone();
    if abbreviated && tongue.is_none() {
        spoken.push('.');
    }
    push_pieces(words, &spoken, token.source.clone(), false);
    if let Some(last) = words.last_mut() {
        // Whether it ends the sentence is settled by `words`, which adds the last pause.
        last.pause = token.pause.filter(|_| !abbreviated);
    }
}

/// Pushes a word, in pieces if it is too long for one.
fn push_pieces(words: &mut Vec<Word>, spoken: &str, source: Range<usize>, spelled: bool) {
    let mut push = |spoken: String| {
        words.push(Word { spoken, source: source.clone(), pause: None, spelled });
    };
    if spoken.chars().count() <= LONGEST_WORD {
        return push(spoken.into());
    }
    // Words stay whole as far as they fit.
    let mut piece = String::new();
    let mut length = 0;
    for word in spoken.split_whitespace() {
        for c in word.chars() {
            if length >= LONGEST_WORD {
                push(std::mem::take(&mut piece).trim().into());
                length = 0;
            }
            piece.push(c);
            length += 1;
        }
        if length > LONGEST_WORD / 2 {
            push(std::mem::take(&mut piece).trim().into());
            length = 0;
        } else {
            piece.push(' ');
            length += 1;
        }
    }
    if !piece.trim().is_empty() {
        push(piece.trim().into());
    }
}

/// Cuts the closing punctuation off; the strongest pause in it counts.
fn split_pause(token: &str) -> (&str, Option<char>) {
    let core = token.trim_end_matches(|c: char| is_closing(c) || is_opening(c) || is_stop(c));
    let tail = &token[core.len()..];
    let mut pause = None;
    let mut dots = 0;
    for c in tail.chars() {
        dots += usize::from(c == '.');
        let found = match c {
            '!' | '！' | '¡' => '!',
            '?' | '？' | '¿' | '‽' => '?',
            '.' | '。' | '．' | '।' => '.',
            '…' => ELLIPSIS,
            ';' | '；' => ';',
            ':' | '：' => ':',
            ',' | '，' | '、' | '،' | ')' | ']' | '}' => ',',
            _ => continue,
        };
        if strength(found) > pause.map_or(0, strength) {
            pause = Some(found);
        }
    }
    if dots >= 2 && pause == Some('.') {
        pause = Some(ELLIPSIS);
    }
    (core, pause)
}

fn strength(pause: char) -> u8 {
    match pause {
        '!' | '?' => 5,
        '.' => 4,
        ELLIPSIS => 3,
        ';' | ':' => 2,
        _ => 1,
    }
}

fn is_stop(c: char) -> bool {
    matches!(
        c,
        '.' | ','
            | ';'
            | ':'
            | '!'
            | '?'
            | '…'
            | '。'
            | '．'
            | '，'
            | '、'
            | '；'
            | '：'
            | '！'
            | '？'
            | '¡'
            | '¿'
            | '،'
            | '।'
            | '‽'
            | '-'
    )
}

fn is_opening(c: char) -> bool {
    matches!(
        c,
        '(' | '['
            | '{'
            | '"'
            | '\''
            | '“'
            | '‘'
            | '«'
            | '‹'
            | '„'
            | '‚'
            | '「'
            | '『'
            | '*'
            | '_'
            | '~'
    )
}

fn is_closing(c: char) -> bool {
    matches!(
        c,
        ')' | ']' | '}' | '"' | '\'' | '”' | '’' | '»' | '›' | '」' | '』' | '*' | '_' | '~'
    )
}

/// Symbols that are read by name.
fn is_read_symbol(c: char) -> bool {
    matches!(c, '%' | '&' | '+' | '=' | '@' | '#' | '$' | '€' | '£' | '¥' | '°' | '/' | '§')
        || matches!(c, '≈' | '≠' | '≤' | '≥' | '×' | '÷' | '<' | '>')
}

fn is_abbreviation(core: &str, own: bool) -> bool {
    let lower = core.to_lowercase();
    !own && ABBREVIATIONS.contains(&lower.as_str())
        || lower.contains('.') && lower.split('.').all(|part| part.chars().count() <= 1)
        || core.chars().count() == 1 && core.chars().all(|c| c.is_alphabetic() && c != 'I')
}

#[cfg(test)]
mod tests;
