//! Dates and times in digits: in words.

use super::Token;
use super::numbers::is_digits;
use super::reading::{Part, Said, next};
use super::tongue::Tongue;

/// As [`next`], for what a digit's full stop may stand before (`3. Mai` does not occur here), but
/// a comma may: "May 3, 2026".
fn next_over_comma(tokens: &[Token], at: usize) -> Option<&str> {
    let joined = tokens.get(..at)?.iter().all(|token| matches!(token.pause, None | Some(',')));
    tokens.get(at).filter(|token| joined && !token.opens).map(|token| token.core.as_str())
}

/// Dates: `2026-11-21`, `21/11/2026`, `3 May 2026`, `May 3, 2026`.
pub(super) fn calendar(tokens: &[Token], tongue: &Tongue) -> Option<Said> {
    let core = tokens[0].core.as_str();
    if let Some((day, month, year)) = written_date(core, tongue) {
        return Some(Said::whole((tongue.date)(day, month, Some(year)), 1));
    }
    let year_at = |at: usize| {
        let year = next_over_comma(tokens, at).filter(|year| year.len() == 4 && is_digits(year))?;
        year.parse::<u64>().ok().filter(|year| (1000..2200).contains(year))
    };
    // "3 May", "1er mai", "May 3", "May 3rd".
    let day_of = |word: &str| {
        let digits = word.bytes().take_while(u8::is_ascii_digit).count();
        let rest = &word[digits..];
        let ordinal = ["", "st", "nd", "rd", "th", "er"].contains(&rest);
        word[..digits].parse::<u64>().ok().filter(|day| ordinal && (1..=31).contains(day))
    };
    if let Some(day) = day_of(core) {
        let month = next(tokens, 1).and_then(|word| month(word, tongue))?;
        let said = (tongue.date)(day, month, None);
        // The day and the month keep their own places; "the third of May".
        let name = tongue.months[month as usize - 1];
        let said = match said.strip_suffix(name) {
            Some(head) => Said::default().then(head.trim().into(), 1).then(name.into(), 1),
            None => {
                // Month first: the language's own order would put them the other way round.
                let day = format!("the {} of", (tongue.ordinal)(day));
                Said::default().then(day, 1).then(name.into(), 1)
            }
        };
        let abbreviated = tokens.get(1).is_some_and(|token| token.pause == Some('.'));
        return Some(match year_at(2).filter(|_| !abbreviated) {
            Some(year) => said.then((tongue.year)(year), 1),
            None => said,
        });
    }
    if tongue.decimal == '.'
        && core.starts_with(|c: char| c.is_uppercase())
        && let Some(month) = month(core, tongue)
        && let Some(day) = tokens.get(1).filter(|_| {
            tokens[0].pause.is_none() || tokens[0].pause == Some('.') && core.len() <= 4
        })
        && let Some(day) = day_of(&day.core)
    {
        let name = tongue.months[month as usize - 1];
        let said = Said::default().then(name.into(), 1).then((tongue.ordinal)(day), 1);
        let parted = tokens[1].pause.is_none_or(|pause| pause == ',') && !tokens[1].opens;
        return Some(match tokens.get(2).filter(|_| parted) {
            Some(year) if is_digits(&year.core) && year.core.len() == 4 => {
                said.then((tongue.year)(year.core.parse().ok()?), 1)
            }
            _ => said,
        });
    }
    None
}

fn month(word: &str, tongue: &Tongue) -> Option<u64> {
    let short = word.trim_end_matches('.');
    let whole = tongue.months.iter().position(|month| *month == word).map(|at| at as u64 + 1);
    whole.or_else(|| {
        let found = tongue.short_months.iter().find(|(name, _)| *name == short);
        found.map(|(_, month)| u64::from(*month))
    })
}

/// Day, month and year of a date in digits.
fn written_date(core: &str, tongue: &Tongue) -> Option<(u64, u64, u64)> {
    let split = ['-', '/', '.'].into_iter().find(|mark| core.matches(*mark).count() == 2)?;
    let parts: Vec<&str> = core.split(split).collect();
    if !parts.iter().all(|part| is_digits(part)) {
        return None;
    }
    let sizes = [parts[0].len(), parts[1].len(), parts[2].len()];
    let value = |at: usize| parts[at].parse::<u64>().unwrap_or(0);
    let (day, month, year) = match sizes {
        [4, 1..=2, 1..=2] if split != '.' => (value(2), value(1), value(0)),
        [1..=2, 1..=2, 4] if split == '/' || tongue.day_first => {
            let first = if tongue.day_first { (value(0), value(1)) } else { (value(1), value(0)) };
            let (day, month) = if first.1 > 12 { (first.1, first.0) } else { first };
            (day, month, value(2))
        }
        _ => return None,
    };
    let known = (1..=31).contains(&day) && (1..=12).contains(&month);
    (known && (1000..2200).contains(&year)).then_some((day, month, year))
}

/// Times: `10:05`, `10:05:30`, `5 pm`, `14h30`.
pub(super) fn clock(tokens: &[Token], tongue: &Tongue) -> Option<Said> {
    let core = tokens[0].core.as_str();
    let end = core.bytes().position(|b| b.is_ascii_alphabetic()).unwrap_or(core.len());
    let (time, half) = core.split_at(end);
    if let Some((hours, minutes)) = hours(time, half).filter(|_| tongue.decimal == ',') {
        return Some(Said::whole((tongue.time)(hours, minutes, None), 1));
    }
    let parts: Vec<&str> = time.split(':').collect();
    let halves = ["am", "pm", "AM", "PM", "a.m", "p.m", "A.M", "P.M"];
    let attached = halves.contains(&half);
    let mut used = 1;
    let mut stop_is_part = false;
    let half = if attached {
        stop_is_part = half.contains('.');
        Some(half)
    } else {
        let half = next(tokens, 1).filter(|word| halves.contains(word) && half.is_empty());
        used += usize::from(half.is_some());
        half.inspect(|half| stop_is_part = half.contains('.'))
    };
    let lengths = parts.iter().all(|part| is_digits(part) && part.len() <= 2);
    let minutes_stand = parts[1..].iter().all(|part| part.len() == 2);
    if !lengths || !minutes_stand || parts.len() > 3 || !attached && end != core.len() {
        return None;
    }
    if tongue.decimal == ',' && half.is_some() {
        return None;
    }
    let value = |at: usize| parts.get(at).and_then(|part| part.parse::<u64>().ok());
    let (hours, minutes) = (value(0)?, value(1));
    if hours > 24 || minutes.is_some_and(|m| m > 59) || value(2).is_some_and(|s| s > 59) {
        return None;
    }
    let minutes = minutes.or(half.map(|_| 0))?;
    if half.is_some() && hours > 12 {
        return None;
    }
    let said = match (half, minutes) {
        // "5 pm" has no "o'clock".
        (Some(_), 0) => (tongue.cardinal)(hours),
        _ => (tongue.time)(hours, minutes, value(2)),
    };
    let Some(half) = half else { return Some(Said::whole(said, 1)) };
    let letters = if half.starts_with(['a', 'A']) { "a m" } else { "p m" };
    let mut whole = if attached {
        let mut whole = Said::whole(said, 1);
        whole.parts.push(Part { words: letters.into(), tokens: (0, 1), spelled: true });
        whole
    } else {
        Said::whole(said, 1).then(letters.into(), used - 1)
    };
    if let Some(part) = whole.parts.last_mut() {
        part.spelled = true;
    }
    // A sentence may end with "p.m."; it does where a capital letter follows.
    let ends = tokens.get(used).is_some_and(|token| token.core.starts_with(char::is_uppercase));
    whole.stop_is_part = stop_is_part && !ends;
    Some(whole)
}

/// `14` and `h30`, `8` and `h`.
fn hours(hours: &str, minutes: &str) -> Option<(u64, u64)> {
    let hours = hours.parse::<u64>().ok().filter(|hours| *hours <= 24)?;
    match minutes.strip_prefix(['h', 'H'])? {
        "" => Some((hours, 0)),
        minutes if minutes.len() == 2 && is_digits(minutes) => {
            let minutes = minutes.parse().ok().filter(|minutes| *minutes < 60)?;
            Some((hours, minutes))
        }
        _ => None,
    }
}
