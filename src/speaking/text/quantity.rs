//! Numbers with what stands before and after them: money, units, scales, ordinals, ranges.

use super::Token;
use super::calendar::clock;
use super::numbers::{Number, is_digits};
use super::reading::{Part, Said, next};
use super::tongue::{Currency, Tongue};

/// A number with what stands before and after it: money, units, scales; ranges of such.
pub(super) fn quantity(tokens: &[Token], tongue: &Tongue) -> Option<Said> {
    let core = tokens[0].core.as_str();
    let range = core.char_indices().skip(1).find_map(|(at, c)| {
        let rest = &core[at + c.len_utf8()..];
        let dash = matches!(c, '-' | '\u{2010}'..='\u{2015}');
        let low = &core[..at];
        let digit_before = low.ends_with(|c: char| c.is_ascii_digit() || c == '%' || c == 'h')
            || low.ends_with("am")
            || low.ends_with("pm");
        (dash && digit_before && starts_number(rest)).then_some((&core[..at], rest))
    });
    if let Some((low, high)) = range {
        let said = |text: &str| amount(text, &[], tongue).map(|(said, _)| vec![part(said)]);
        let (from, until) = (clock_parts(low, tongue), clock_parts(high, tongue));
        if from.is_some() || until.is_some() {
            let mut parts = from.or_else(|| said(low))?;
            parts.push(part(tongue.to.into()));
            parts.extend(until.or_else(|| said(high))?);
            return Some(Said { parts, used: 1, stop_is_part: false });
        }
        let low_said = amount(low, &[], tongue)?.0;
        let (high_said, more) = amount(high, tokens, tongue)?;
        // "$5–10": the money is said once, after the second.
        let sign = currency_before(low, tongue).filter(|_| is_digits(high));
        let low_said = match sign {
            Some((_, number)) => Number::parse(number, tongue)?.say(tongue, false),
            None => low_said,
        };
        let high_said = match sign {
            Some((currency, _)) => format!("{high_said} {}", currency.many),
            None => high_said,
        };
        return Some(Said::whole(format!("{low_said} {} {high_said}", tongue.to), 1 + more));
    }
    if !starts_number(core) {
        return None;
    }
    let (said, more) = amount(core, tokens, tongue)?;
    Some(Said::whole(said, 1 + more))
}

fn part(words: String) -> Part {
    Part { words, tokens: (0, 1), spelled: false }
}

/// A time alone: `9am`, `10:00`, `14h`.
fn clock_parts(text: &str, tongue: &Tongue) -> Option<Vec<Part>> {
    let token = Token { core: text.into(), source: 0..0, pause: None, opens: false };
    clock(&[token], tongue).map(|said| said.parts)
}

fn starts_number(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| {
        matches!(c, '$' | '€' | '£' | '¥' | '₹' | '+' | '-' | '\u{2212}' | '#' | '~' | '.' | ',')
            || matches!(c, 'U' | 'S' | 'C' | 'A') && text.contains('$')
    });
    rest.starts_with(|c: char| c.is_ascii_digit()) && text.len() - rest.len() <= 5
}

fn currency_before<'t>(text: &'t str, tongue: &'t Tongue) -> Option<(&'t Currency, &'t str)> {
    let fits = tongue.currencies.iter().filter_map(|currency| {
        let rest = text.strip_prefix(currency.sign)?;
        rest.starts_with(|c: char| c.is_ascii_digit() || c == '.').then_some((currency, rest))
    });
    fits.max_by_key(|(currency, _)| currency.sign.len())
}

/// The words for a number in `core` and its unit there or in the tokens after the first; how many
/// of those it takes.
fn amount(core: &str, tokens: &[Token], tongue: &Tongue) -> Option<(String, usize)> {
    let (negative, core) = match core.strip_prefix(['-', '\u{2212}']) {
        Some(rest) if !rest.starts_with(|c: char| c.is_ascii_digit()) => (true, rest),
        _ => (false, core),
    };
    let before = currency_before(core, tongue);
    let core = before.map_or(core, |(_, rest)| rest).trim_start_matches(['#', '~']);
    let signs = core.len() - core.trim_start_matches(['+', '-', '\u{2212}', '.', ',']).len();
    let digits_end = core[signs..]
        .char_indices()
        .find(|(_, c)| !c.is_ascii_digit() && !matches!(c, '.' | ',' | '\''))
        .map_or(core.len(), |(at, _)| signs + at);
    let digits_end = core[..digits_end].trim_end_matches(['.', ',', '\'']).len();
    let (number, suffix) = core.split_at(digits_end);
    // Groups parted by spaces: "1 234,5".
    let (mut number, mut suffix, mut used) = (number.to_owned(), suffix.to_owned(), 0);
    if tongue.decimal == ',' && suffix.is_empty() && is_digits(&number) && number.len() <= 3 {
        while let Some(group) = next(tokens, used + 1) {
            let size = group.bytes().take_while(u8::is_ascii_digit).count();
            let tail = &group[size..];
            let last = !tail.is_empty();
            if size != 3 || last && !tail.starts_with([',', '€', '$', '%', '°', 'k', 'm']) {
                break;
            }
            let part = tail.bytes().take_while(|b| b.is_ascii_digit() || *b == b',').count();
            number = format!("{number} {}{}", &group[..size], &tail[..part]);
            suffix = tail[part..].to_owned();
            used += 1;
            if last {
                break;
            }
        }
    }
    let mut number = Number::parse(&number, tongue)?;
    number.negative |= negative;
    let plus = if core.starts_with('+') { format!("{} ", tongue.plus) } else { String::new() };
    let currency = before.map(|(currency, _)| currency);
    let (said, more) = with_unit(&number, &suffix, currency, tokens, used, tongue)?;
    Some((plus + &said, used + more))
}

/// The number with its currency, scale, unit or ordinal ending.
fn with_unit<'t>(
    number: &Number,
    suffix: &str,
    currency: Option<&'t Currency>,
    tokens: &'t [Token],
    used: usize,
    tongue: &'t Tongue,
) -> Option<(String, usize)> {
    let follows = |more: usize| {
        let free = suffix.is_empty() && used + more < tokens.len();
        if free { next(tokens, used + more) } else { None }
    };
    let money = |sign: &str| money(sign, tongue);
    if let Some((scale, currency, more)) = scaled_money(suffix, currency, follows, tongue) {
        let many = if number.is_one(tongue) { scale.1 } else { scale.2 };
        let noun = currency.many;
        let said = format!("{} {many} {}{noun}", number.say(tongue, false), (tongue.of)(noun));
        return Some((said, more));
    }
    if let Some(currency) = currency.filter(|_| suffix.is_empty()).or_else(|| money(suffix)) {
        return Some((say_money(number, currency, tongue), 0));
    }
    if let Some(currency) = follows(1).and_then(money) {
        return Some((say_money(number, currency, tongue), 1));
    }
    if suffix.is_empty() {
        if let Some(unit) = follows(1).and_then(|word| unit(word, false, tongue)) {
            return Some((say_unit(number, unit, tongue), 1));
        }
        return Some((number.say_alone(tongue), 0));
    }
    if let Some(unit) = unit(suffix, true, tongue) {
        return Some((say_unit(number, unit, tongue), 0));
    }
    let value = number.value().filter(|_| number.fraction.is_none() && !number.negative)?;
    if let Some(said) = ordinal(value, suffix, tongue) {
        return Some((said, 0));
    }
    // "4K" is no four thousand.
    let sizes = if suffix == "K" { 2..4 } else { 1..4 };
    let fits = |scale: &&Scale| scale.0 == suffix && sizes.contains(&number.whole.len());
    let scale = tongue.suffixes.iter().find(fits)?;
    Some((format!("{} {}", number.say(tongue, false), scale.1), 0))
}

fn money<'t>(sign: &str, tongue: &'t Tongue) -> Option<&'t Currency> {
    tongue.currencies.iter().find(|currency| currency.sign == sign)
}

/// The scale and the currency of "$5 million", "$5M", "5 M€", "5 millions €", and how many tokens
/// that takes beyond the number's.
fn scaled_money<'t>(
    suffix: &str,
    currency: Option<&'t Currency>,
    follows: impl Fn(usize) -> Option<&'t str>,
    tongue: &'t Tongue,
) -> Option<(&'t Scale, &'t Currency, usize)> {
    let money = |sign: &str| money(sign, tongue);
    let attached = tongue.suffixes.iter().chain(tongue.scales).find_map(|scale| {
        let rest = suffix.strip_prefix(scale.0)?;
        let currency =
            currency.or_else(|| money(rest)).filter(|c| rest.is_empty() || c.sign == rest);
        currency.map(|currency| (scale, currency, 0))
    });
    let apart = follows(1).and_then(|word| {
        let joined = tongue.scales.iter().find_map(|scale| {
            let currency = money(word.strip_prefix(scale.0)?)?;
            Some((scale, currency, 1))
        });
        if joined.is_some() {
            return joined;
        }
        let scale = tongue.scales.iter().find(|scale| scale.0 == word)?;
        match (currency, follows(2).and_then(money)) {
            (Some(currency), _) => Some((scale, currency, 1)),
            (None, Some(currency)) => Some((scale, currency, 2)),
            (None, None) => None,
        }
    });
    attached.or(apart)
}

type Scale = (&'static str, &'static str, &'static str);
type Unit = (&'static str, &'static str, &'static str, bool);

/// Single letters count as units only where that is safe.
fn unit(text: &str, attached: bool, tongue: &Tongue) -> Option<&'static Unit> {
    let unsafe_apart = ["x", "o", "t", "j", "B"];
    let safe = attached || !unsafe_apart.contains(&text);
    tongue.units.iter().find(|unit| safe && unit.0 == text)
}

fn say_unit(number: &Number, unit: &Unit, tongue: &Tongue) -> String {
    let noun = if number.is_one(tongue) { unit.1 } else { unit.2 };
    format!("{} {noun}", number.say(tongue, unit.3))
}

fn say_money(number: &Number, currency: &Currency, tongue: &Tongue) -> String {
    let whole = Number { fraction: None, ..number.clone() };
    let cents = number.fraction.as_deref().filter(|cents| cents.len() == 2);
    let noun = if whole.is_one(tongue) { currency.one } else { currency.many };
    match (cents, whole.value()) {
        (Some("00"), _) | (None, _) if number.fraction.is_none() || cents.is_some() => {
            format!("{} {noun}", whole.say(tongue, currency.feminine))
        }
        (Some(cents), Some(0)) => {
            let cents: u64 = cents.parse().unwrap_or(0);
            let noun = if cents == 1 { currency.cent } else { currency.cents };
            let minus = if number.negative { format!("{} ", tongue.minus) } else { String::new() };
            format!("{minus}{} {noun}", (tongue.cardinal)(cents))
        }
        (Some(cents), _) => {
            let oh = if cents.starts_with('0') && tongue.decimal == '.' { "oh " } else { "" };
            let cents = (tongue.cardinal)(cents.parse().unwrap_or(0));
            format!("{} {noun} {oh}{cents}", whole.say(tongue, currency.feminine))
        }
        (None, _) => format!("{} {}", number.say(tongue, false), currency.many),
    }
}

/// `1st`, `2e`.
fn ordinal(value: u64, suffix: &str, tongue: &Tongue) -> Option<String> {
    if tongue.decimal == '.' {
        return match suffix.to_ascii_lowercase().as_str() {
            "st" | "nd" | "rd" | "th" => Some((tongue.ordinal)(value)),
            _ => None,
        };
    }
    match suffix {
        "er" | "ers" if value == 1 => Some("premier".into()),
        "re" | "ère" | "ere" | "res" if value == 1 => Some("première".into()),
        "nd" if value == 2 => Some("second".into()),
        "nde" if value == 2 => Some("seconde".into()),
        "e" | "è" | "ème" | "eme" | "ième" | "es" | "èmes" => Some((tongue.ordinal)(value)),
        _ => None,
    }
}

/// `the 1990s`, `the 80s`; without the article `80s` may be seconds.
pub(super) fn decade(core: &str, before: Option<&Token>, tongue: &Tongue) -> Option<Said> {
    let digits = core.strip_suffix("'s").or_else(|| core.strip_suffix('s'))?;
    let whole = digits.len() == 4 && digits.starts_with(['1', '2']);
    let named = before.is_some_and(|token| {
        ["the", "early", "mid", "late"].contains(&token.core.to_lowercase().as_str())
    });
    let short = digits.len() == 2 && named;
    if tongue.decimal != '.' || !is_digits(digits) || !digits.ends_with('0') || !whole && !short {
        return None;
    }
    let said = (tongue.year)(digits.parse().ok()?);
    let said = match said.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{said}s"),
    };
    Some(Said::whole(said, 1))
}
