//! What stands for words, read as words: numbers and what surrounds them, dates, times, money,
//! abbreviations, acronyms, signs.
//!
//! In: tokens and a language's [`Tongue`]. Out: [`Said`], for one or more tokens at once. Decides
//! nothing about pauses except where an abbreviation's full stop is none.

use super::Token;
use super::calendar::{calendar, clock};
use super::capitals;
use super::numbers::{Number, digits, is_digits, phone_group, roman};
use super::quantity::{decade, quantity};
use super::tongue::{Tongue, When};

/// What a reading made of some tokens.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Words, and the tokens (counted from the first one read) each stands for.
    pub parts: Vec<Part>,
    /// Tokens read.
    pub used: usize,
    /// Whether the last token's full stop belongs to an abbreviation.
    pub stop_is_part: bool,
}

/// Words for some tokens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub words: String,
    /// First and one past the last token.
    pub tokens: (usize, usize),
    /// Letters, to be named one by one.
    pub spelled: bool,
}

impl Said {
    /// `words` for the first `used` tokens together.
    pub fn whole(words: String, used: usize) -> Self {
        let parts = vec![Part { words, tokens: (0, used), spelled: false }];
        Self { parts, used, stop_is_part: false }
    }

    pub fn then(mut self, words: String, tokens: usize) -> Self {
        let part = Part { words, tokens: (self.used, self.used + tokens), spelled: false };
        self.parts.push(part);
        self.used += tokens;
        self
    }
}

/// Reads the first of `tokens`, perhaps with some that follow; `before` is the token before it.
/// `None`: it is read as it stands.
pub(super) fn read(tokens: &[Token], before: Option<&Token>, tongue: &Tongue) -> Option<Said> {
    let core = tokens[0].core.as_str();
    if let Some(address) = super::address::read(core, &tongue.marks) {
        return Some(Said::whole(address, 1));
    }
    phone(tokens, tongue)
        .or_else(|| calendar(tokens, tongue))
        .or_else(|| clock(tokens, tongue))
        .or_else(|| decade(core, before, tongue))
        .or_else(|| numbered(tokens, tongue))
        .or_else(|| quantity(tokens, tongue))
        .or_else(|| joined(tokens, tongue))
        .or_else(|| numeral(tokens, before, tongue))
        .or_else(|| abbreviation(tokens, tongue))
        .or_else(|| capitals::read(tokens, before, tongue))
        .or_else(|| mixed(core, tongue))
}

/// The token after the first `at`, if nothing parts it from the one before.
pub(super) fn next(tokens: &[Token], at: usize) -> Option<&str> {
    let joined = tokens.get(..at)?.iter().all(|token| token.pause.is_none());
    let token = tokens.get(at).filter(|token| joined && !token.opens)?;
    Some(&token.core)
}

/// Phone numbers: in one token or several.
fn phone(tokens: &[Token], tongue: &Tongue) -> Option<Said> {
    let core = &tokens[0].core;
    // In several tokens: +33 6 12 34 56 78; 06 12 34 56 78.
    let plus = core.starts_with('+');
    if (plus || core.starts_with('0')) && core.len() <= 4 && is_digits(core.trim_start_matches('+'))
    {
        let mut used = 1;
        while let Some(group) = next(tokens, used).filter(|g| g.len() <= 4 && is_digits(g)) {
            if used >= 8 || group.is_empty() {
                break;
            }
            used += 1;
        }
        if used >= 4 {
            let mut said = Said::default();
            for token in &tokens[..used] {
                let sign = if token.core.starts_with('+') { tongue.plus } else { "" };
                let group = phone_group(token.core.trim_start_matches('+'), tongue);
                said = said.then(format!("{sign} {group}").trim().into(), 1);
            }
            return Some(said);
        }
    }
    // In one: 555-123-4567, 06.12.34.56.78, +15551234567.
    let bare = core.trim_start_matches(['+', '(']);
    let groups: Vec<&str> = bare.split(['-', '.', ')']).filter(|group| !group.is_empty()).collect();
    if !groups.iter().all(|group| is_digits(group)) {
        return None;
    }
    let sizes: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let is_phone = match sizes.as_slice() {
        [3, 3, 4] | [1, 3, 3, 4] | [2, 2, 2, 2, 2] => true,
        [3, 4] => bare.contains('-'),
        [one] => plus && *one >= 7 || bare.starts_with('0') && *one >= 9,
        _ => false,
    };
    if !is_phone {
        return None;
    }
    let said: Vec<String> = groups.iter().map(|group| phone_group(group, tongue)).collect();
    let sign = if plus { format!("{} ", tongue.plus) } else { String::new() };
    Some(Said::whole(sign + &said.join(" "), 1))
}

/// `#1`, and a number with a fraction after it: `3 1/4`.
fn numbered(tokens: &[Token], tongue: &Tongue) -> Option<Said> {
    let core = tokens[0].core.as_str();
    let cardinal = |digits: &str| Some((tongue.cardinal)(digits.parse().ok()?));
    if let Some(number) = core.strip_prefix('#').filter(|rest| is_digits(rest)) {
        let sign = if tongue.decimal == ',' { "numéro" } else { "number" };
        return Some(Said::whole(format!("{sign} {}", cardinal(number)?), 1));
    }
    let (above, below) = next(tokens, 1)?.split_once('/')?;
    let small = |digits: &str, most| digits.len() <= most && is_digits(digits);
    let proper = small(core, 4) && small(above, 2) && small(below, 2);
    let less = || above.parse::<u8>().ok() < below.parse::<u8>().ok();
    (proper && less())
        .then(|| fraction(&format!("{core} {above}/{below}"), tongue))?
        .map(|said| Said::whole(said, 2))
}

/// Digits joined by other marks: fractions, versions, IP addresses, scores, sizes, sums.
fn joined(tokens: &[Token], tongue: &Tongue) -> Option<Said> {
    let core = tokens[0].core.as_str();
    let whole = |said: String| Some(Said::whole(said, 1));
    if let Some(said) = fraction(core, tongue) {
        return whole(said);
    }
    if tongue.decimal == '.'
        && let Some((feet, inches)) = core.split_once('\'')
        && is_digits(feet)
        && is_digits(inches)
        && inches.len() <= 2
    {
        let said = |digits: &str| digits.parse().ok().map(tongue.cardinal);
        return whole(format!("{} foot {}", said(feet)?, said(inches)?));
    }
    let (version, rest) = match core.strip_prefix(['v', 'V']) {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => (true, rest),
        _ => (false, core),
    };
    let groups: Vec<&str> = rest.split('.').collect();
    if groups.iter().all(|group| is_digits(group)) && (version || groups.len() >= 3) {
        let said: Vec<String> = groups
            .iter()
            .map(|group| Number::parse(group, tongue).map(|number| number.say(tongue, false)))
            .collect::<Option<_>>()?;
        let said = said.join(" point ");
        return whole(if version { format!("{} {said}", tongue.version) } else { said });
    }
    for mark in ['x', '×', '*', ':'] {
        let groups: Vec<&str> = core.split(mark).collect();
        if groups.len() >= 2 && groups.iter().all(|group| is_digits(group)) {
            let said: Vec<String> = groups
                .iter()
                .map(|group| Number::parse(group, tongue).map(|number| number.say(tongue, false)))
                .collect::<Option<_>>()?;
            let by = match (mark, tongue.decimal) {
                (':', _) => " ",
                (_, ',') => " sur ",
                _ => " by ",
            };
            return whole(said.join(by));
        }
    }
    None
}

/// `3/4`, `2 1/2` (from 2½), `24/7`.
fn fraction(core: &str, tongue: &Tongue) -> Option<String> {
    let (first, rest) = core.split_once(' ').map_or((None, core), |(f, r)| (Some(f), r));
    if let Some((above, below)) = rest.split_once(['/', '\u{2044}'])
        && is_digits(above)
        && is_digits(below)
    {
        let (a, b) = (above.parse().ok()?, below.parse().ok()?);
        let joint = if tongue.decimal == ',' { "et" } else { "and" };
        match ((tongue.part)(a, b), first) {
            (Some(part), None) => Some(part),
            (Some(part), Some(first)) => {
                let part = if part == "one half" { "a half".into() } else { part };
                let first = (tongue.cardinal)(first.parse().ok()?);
                Some(format!("{first} {joint} {part}"))
            }
            (None, _) => {
                let said = |text: &str| Number::parse(text, tongue).map(|n| n.say(tongue, false));
                Some(format!("{} {}", said(above)?, said(below)?))
            }
        }
    } else {
        None
    }
}

/// Roman numerals, where they can be nothing else: `Louis XIV`, `Chapter IV`, `XXe siècle`.
fn numeral(tokens: &[Token], before: Option<&Token>, tongue: &Tongue) -> Option<Said> {
    let core = tokens[0].core.as_str();
    if tongue.decimal == ',' {
        let end =
            ["ème", "e", "er", "ère", "re"].into_iter().find_map(|end| core.strip_suffix(end));
        // Only centuries and the like: "Le" is no fiftieth.
        let small = |stem: &&str| stem.chars().all(|c| "IVX".contains(c));
        if let Some(value) = end.filter(small).and_then(roman) {
            let said = match (value, core.ends_with("re")) {
                (1, true) => "première".into(),
                _ => (tongue.ordinal)(value),
            };
            return Some(Said::whole(said, 1));
        }
    }
    let (core, ending) = match core.strip_suffix("'s") {
        Some(stem) if tongue.decimal == '.' => (stem, "'s"),
        _ => (core, ""),
    };
    let value = roman(core)?;
    let word = before.filter(|token| token.pause.is_none())?.core.to_lowercase();
    let capital = before.is_some_and(|token| token.core.starts_with(char::is_uppercase));
    if tongue.counted.contains(&word.as_str()) {
        return Some(Said::whole((tongue.cardinal)(value), 1));
    }
    // "Charles I think": a lone I after a name is one only at the end or before a pause.
    let ends = tokens[0].pause.is_some() || tokens.len() == 1;
    let sure = core != "I" || ends;
    (capital && sure && tongue.regal.contains(&word.as_str()))
        .then(|| Said::whole((tongue.reign)(value) + ending, 1))
}

fn abbreviation(tokens: &[Token], tongue: &Tongue) -> Option<Said> {
    let token = &tokens[0];
    let stop = token.pause == Some('.');
    let following = tokens.get(1).filter(|_| stop || token.pause.is_none());
    let starts =
        |test: fn(char) -> bool| following.is_some_and(|token| token.core.starts_with(test));
    let found = tongue.abbreviations.iter().find(|(name, _, when)| {
        *name == token.core
            && match when {
                When::Stop => stop,
                When::Any => stop || token.pause.is_none() || tokens.len() == 1 || name.len() > 1,
                When::Name => starts(char::is_uppercase),
                When::Number => starts(|c| c.is_ascii_digit()),
            }
    })?;
    // A sentence may end with "etc." or "p.m."; it does where a capital letter follows.
    let titles =
        matches!(found.2, When::Name | When::Number) || token.core.starts_with(char::is_uppercase);
    let mut said = Said::whole(found.1.into(), 1);
    said.parts[0].spelled = found.1.len() == 3 && found.1.as_bytes()[1] == b' ';
    said.stop_is_part = stop && (titles || !starts(char::is_uppercase));
    Some(said)
}

/// Letters, digits and signs in one token: `MP3`, `H2O`, `A4`, `R&D`, `and/or`.
fn mixed(core: &str, tongue: &Tongue) -> Option<Said> {
    let kind = |c: char| match c {
        c if c.is_ascii_digit() => 1,
        c if c.is_alphabetic() || matches!(c, '\'' | '-' | '.' | '\u{300}'..='\u{36f}') => 0,
        _ => 2,
    };
    if core.chars().all(|c| kind(c) == 0) {
        return None;
    }
    let mut said: Vec<Part> = Vec::new();
    let mut rest = core;
    while let Some(first) = rest.chars().next() {
        let end = rest.char_indices().find(|(_, c)| kind(*c) != kind(first));
        let (run, after) = rest.split_at(end.map_or(rest.len(), |(at, _)| at));
        rest = after;
        let (words, spelled) = match kind(first) {
            1 => (say_digits(run, tongue), false),
            0 => {
                let run = run.trim_matches(['.', '-', '\'']);
                match capitals::spelled(run, tongue) {
                    Some(letters) => (letters, true),
                    None => (run.to_owned(), false),
                }
            }
            _ => {
                let names = run.chars().filter_map(|c| {
                    tongue.signs.iter().find(|(sign, _)| *sign == c).map(|(_, name)| *name)
                });
                (names.filter(|name| !name.is_empty()).collect::<Vec<_>>().join(" "), false)
            }
        };
        if !words.is_empty() {
            said.push(Part { words, tokens: (0, 1), spelled });
        }
    }
    Some(Said { parts: said, used: 1, stop_is_part: false })
}

fn say_digits(run: &str, tongue: &Tongue) -> String {
    match run.parse::<u64>() {
        Ok(value) if run.len() <= 4 && (run.len() == 1 || !run.starts_with('0')) => {
            (tongue.cardinal)(value)
        }
        _ => digits(run, tongue),
    }
}
