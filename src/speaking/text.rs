//! Text as a language model writes it in; the words to pronounce out, each with its place.
//!
//! Drops what is not spoken (Markdown, emoji, markup, invisible characters), reads web and mail
//! addresses tolerably, and notes the pause after each word. Numbers, dates and units stay as they
//! are: espeak-ng reads them. Knows nothing of phonemes.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

/// One word of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What to pronounce: no outer punctuation; may be several words (`example dot com`).
    pub spoken: String,
    /// Its bytes in the text.
    pub source: Range<usize>,
    /// The pause after it: one of `, ; : . ! ?`.
    pub pause: Option<char>,
}

/// The longest word passed on, in characters; longer runs are cut into pieces.
const LONGEST_WORD: usize = 64;

/// Ends of words that are no ends of sentences.
const ABBREVIATIONS: [&str; 22] = [
    "mr", "mrs", "ms", "dr", "prof", "st", "vs", "etc", "no", "inc", "ltd", "jr", "sr", "approx",
    "fig", "dept", "mt", "ave", "gen", "col", "capt", "sgt",
];

/// The words of a text. The last one always has a pause.
pub fn words(text: &str) -> Vec<Word> {
    let visible = visible(text);
    let mut words: Vec<Word> = Vec::new();
    let mut at = 0;
    while at < visible.len() {
        let mut dash = false;
        while let Some((_, c)) = visible.get(at).filter(|(_, c)| parts_words(*c)) {
            dash |= is_dash(*c);
            at += 1;
        }
        let start = at;
        at += visible[start..].iter().take_while(|(_, c)| !parts_words(*c)).count();
        if let [(first, _), ..] = visible[start..at]
            && let (last, end) = visible[at - 1]
        {
            if dash {
                pause_after_last(&mut words, ',');
            }
            let token: String = visible[start..at].iter().map(|(_, c)| *c).collect();
            push_token(&mut words, &token, first..last + end.len_utf8());
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

fn parts_words(c: char) -> bool {
    c.is_whitespace() || is_dash(c)
}

/// A long dash parts words even without spaces; hyphens do not.
fn is_dash(c: char) -> bool {
    matches!(c, '\u{2012}'..='\u{2015}')
}

fn pause_after_last(words: &mut [Word], pause: char) {
    if let Some(last) = words.last_mut() {
        last.pause.get_or_insert(pause);
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

/// Splits a token into its word and the pauses around it.
fn push_token(words: &mut Vec<Word>, token: &str, source: Range<usize>) {
    if token.starts_with(['(', '[', '{']) {
        pause_after_last(words, ',');
    }
    let core = token.trim_start_matches(|c: char| is_opening(c) || is_closing(c) || is_stop(c));
    let (core, pause) = split_pause(core);
    if let Some(address) = read_address(core) {
        push_pieces(words, &address, source, pause);
        return;
    }
    let abbreviated = pause == Some('.') && is_abbreviation(core);
    let mut spoken: String = core
        .nfkc()
        .map(|c| if matches!(c, '\u{2018}' | '\u{2019}' | '\u{02bc}') { '\'' } else { c })
        .filter(|&c| !matches!(c, '[' | ']' | '(' | ')' | '{' | '}' | '<' | '>' | '\\' | '|' | '"'))
        .filter(|c| !c.is_control())
        .collect();
    if !spoken.chars().any(|c| c.is_alphanumeric() || is_read_symbol(c)) {
        if let Some(pause) = pause {
            pause_after_last(words, pause);
        } else if !core.is_empty() {
            pause_after_last(words, ',');
        }
        return;
    }
    if abbreviated {
        spoken.push('.');
    }
    // Whether it ends the sentence is settled by `words`, which adds the last pause.
    push_pieces(words, &spoken, source, if abbreviated { None } else { pause });
}

/// Pushes a word, in pieces if it is too long for one.
fn push_pieces(words: &mut Vec<Word>, spoken: &str, source: Range<usize>, pause: Option<char>) {
    let mut chars = spoken.chars().peekable();
    while chars.peek().is_some() {
        let mut piece = String::new();
        for c in chars.by_ref() {
            piece.push(c);
            if piece.chars().count() >= LONGEST_WORD {
                break;
            }
        }
        words.push(Word { spoken: piece, source: source.clone(), pause: None });
    }
    if let Some(last) = words.last_mut() {
        last.pause = pause;
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

/// Symbols that espeak-ng reads by name.
fn is_read_symbol(c: char) -> bool {
    matches!(c, '%' | '&' | '+' | '=' | '@' | '#' | '$' | '€' | '£' | '¥' | '°' | '/')
}

fn is_abbreviation(core: &str) -> bool {
    let lower = core.to_lowercase();
    ABBREVIATIONS.contains(&lower.as_str())
        || lower.contains('.') && lower.split('.').all(|part| part.chars().count() <= 1)
        || core.chars().count() == 1 && core.chars().all(|c| c.is_alphabetic() && c != 'I')
}

/// How a web or mail address is read; `None` if the token is none.
fn read_address(token: &str) -> Option<String> {
    let scheme = ["https://", "http://", "ftp://", "mailto:"]
        .into_iter()
        .find(|scheme| token.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme)));
    let rest = &token[scheme.map_or(0, str::len)..];
    let plain = rest.get(..4).filter(|www| www.eq_ignore_ascii_case("www."));
    let rest = &rest[plain.map_or(0, str::len)..];
    let mail = rest.split_once('@').is_some_and(|(user, host)| {
        !user.is_empty() && host.split('.').filter(|part| !part.is_empty()).count() >= 2
    });
    if scheme.is_none() && plain.is_none() && !mail {
        return None;
    }
    // Nobody wants to hear a query, or a path longer than a few words.
    let path = rest.split(['?', '#']).next().unwrap_or(rest).trim_end_matches('/');
    let host = path.split('/').next().unwrap_or(path);
    let address = if path.chars().count() <= 40 { path } else { host };
    let mut read = String::new();
    for c in address.chars() {
        match c {
            '.' => read.push_str(" dot "),
            '/' => read.push_str(" slash "),
            '@' => read.push_str(" at "),
            '-' => read.push_str(" dash "),
            '_' => read.push_str(" underscore "),
            ':' => read.push_str(" colon "),
            c if c.is_alphanumeric() => read.push(c),
            _ => read.push(' '),
        }
    }
    Some(read.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|read| !read.is_empty())
}

/// The characters that are read, with their places: no Markdown, tags, emoji or controls.
fn visible(text: &str) -> Vec<(usize, char)> {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let mut out = Vec::with_capacity(chars.len());
    let mut line_start = true;
    let mut at = 0;
    while let Some(&(place, c)) = chars.get(at) {
        let skip = hidden(&chars[at..], line_start);
        if skip > 0 {
            at += skip;
            continue;
        }
        if c == '\n' {
            line_start = true;
        } else if !c.is_whitespace() {
            line_start = false;
        }
        if is_picture(c) {
            // A picture parts words as a space does.
            out.push((place, ' '));
        } else if !is_invisible(c) {
            out.push((place, c));
        }
        at += 1;
    }
    out
}

/// How many characters from here on are markup.
fn hidden(chars: &[(usize, char)], line_start: bool) -> usize {
    let is = |index: usize, wanted: char| chars.get(index).is_some_and(|(_, c)| *c == wanted);
    let run = |wanted: char| chars.iter().take_while(|(_, c)| *c == wanted).count();
    let space_at = |index: usize| chars.get(index).is_none_or(|(_, c)| c.is_whitespace());
    match chars[0].1 {
        '`' => 1,
        '*' if run('*') >= 2 || !line_start || space_at(1) => run('*'),
        '~' if run('~') >= 2 => run('~'),
        '_' if run('_') >= 2 => run('_'),
        '#' if line_start && space_at(run('#')) => run('#'),
        '>' | '-' | '+' if line_start && space_at(1) => 1,
        // A link: only its text is read.
        '[' if closing(chars, 1, ']').is_some_and(|end| is(end + 1, '(')) => 1,
        // A link's target: `](…)`.
        ']' if is(1, '(') => closing(chars, 2, ')').map_or(0, |end| end + 1),
        '!' if is(1, '[') && closing(chars, 2, ']').is_some() => 1,
        '<' if chars.get(1).is_some_and(|(_, c)| c.is_ascii_alphabetic() || *c == '/') => {
            closing(chars, 1, '>').map_or(0, |end| end + 1)
        }
        _ => 0,
    }
}

/// Where `wanted` comes on the same line, not too far on.
fn closing(chars: &[(usize, char)], from: usize, wanted: char) -> Option<usize> {
    const FARTHEST: usize = 400;
    let rest = chars.get(from..)?.iter().take(FARTHEST);
    let found = rest.take_while(|(_, c)| *c != '\n').position(|(_, c)| *c == wanted)?;
    Some(from + found)
}

/// Emoji, dingbats, arrows, boxes: nothing to read.
fn is_picture(c: char) -> bool {
    matches!(u32::from(c),
        0x2190..=0x21ff | 0x2300..=0x27bf | 0x2900..=0x297f | 0x2b00..=0x2bff
        | 0x1f000..=0x1faff | 0xe000..=0xf8ff | 0xf0000..=0x10ffff)
}

/// Characters without a width of their own, and controls other than white space.
fn is_invisible(c: char) -> bool {
    c.is_control() && !c.is_whitespace()
        || matches!(u32::from(c),
            0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f
            | 0x20e3 | 0xfe00..=0xfe0f | 0xfeff | 0xfff0..=0xffff | 0xe0000..=0xe0fff)
}

#[cfg(test)]
mod tests {
    use super::words;

    fn spoken(text: &str) -> String {
        let words = words(text)
            .into_iter()
            .map(|word| word.spoken + &word.pause.map(String::from).unwrap_or_default());
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn markup_and_pictures_are_not_read() {
        for (text, expected) in [
            ("**Paris** is _big_.", "Paris is big."),
            ("# Title\n- one\n- two", "Title one two."),
            ("See [the docs](https://a.b/c?d) now", "See the docs now."),
            ("`code` and <b>bold</b>", "code and bold."),
            ("Great! 🎉👍🏽 Yes", "Great! Yes."),
            ("2 * 3", "2 3."),
            ("", ""),
            ("🎉", ""),
            ("...", ""),
        ] {
            assert_eq!(spoken(text), expected, "{text}");
        }
    }

    #[test]
    fn pauses_follow_the_punctuation() {
        for (text, expected) in [
            ("Hello, world", "Hello, world."),
            ("Really?!", "Really?"),
            ("Dr. Smith came at 10:30.", "Dr. Smith came at 10:30."),
            ("Well... yes", "Well, yes."),
            ("a dog — a big one — barked", "a dog, a big one, barked."),
            ("She said “no.” Then left", "She said no. Then left."),
            ("one (or two) days", "one, or two, days."),
            ("The U.S. is big", "The U.S. is big."),
            ("don’t", "don't."),
        ] {
            assert_eq!(spoken(text), expected, "{text}");
        }
    }

    #[test]
    fn addresses_are_read_aloud() {
        assert_eq!(
            spoken("Go to https://www.example.com/docs/?q=1."),
            "Go to example dot com slash docs."
        );
        assert_eq!(
            spoken("Mail joe_b@mail.example.org!"),
            "Mail joe underscore b at mail dot example dot org!"
        );
    }

    #[test]
    fn words_keep_their_place_in_the_text() {
        let text = "Hi, **naïve** 🎉 “café”.";
        let places: Vec<&str> = words(text).iter().map(|word| &text[word.source.clone()]).collect();
        assert_eq!(places, ["Hi,", "naïve", "“café”."]);
    }
}
