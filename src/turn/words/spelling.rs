//! Numbers, names and e-mail addresses that are being spelled.

use super::{Ending, Spelling};

/// Words that may stand between an announcement and what it announces.
const BETWEEN: usize = 2;
/// A code has this many signs or more.
const SHORTEST_CODE: usize = 4;
/// More digits than any phone number.
const LONGEST_NUMBER: usize = 12;

/// Endings that only addresses have.
const DOMAINS: &[&str] =
    &["com", "org", "net", "edu", "fr", "ca", "be", "ch", "uk", "de", "eu", "io"];

/// How words end that spell something; `None` if they do not.
pub(super) fn ending(text: &str, words: &[&str], lists: &Spelling) -> Option<Ending> {
    if text.ends_with('?') {
        return None;
    }
    if let Some(ending) = mail(text, words, lists) {
        return Some(ending);
    }
    let tail = words.iter().rev().map_while(|word| signs(word, lists)).collect::<Vec<_>>();
    let (digits, letters) =
        tail.iter().fold((0, 0), |(digits, letters), sign| (digits + sign.0, letters + sign.1));
    let before = &words[..words.len() - tail.len()];
    if tail.is_empty() {
        let announced = announced(before, lists.announcements) || announced(before, lists.spelled);
        let ends_in_is = matches!(words.last(), Some(&("is" | "est" | "are")));
        let spelled = lists.spelled.iter().any(|word| words.ends_with(&[word]));
        return (announced && ends_in_is || spelled).then_some(Ending::Open);
    }
    if announced(before, lists.spelled) {
        return Some(Ending::Spelling);
    }
    if announced(before, lists.short_codes) {
        let whole = digits + letters >= SHORTEST_CODE;
        return Some(if whole { Ending::Finished } else { Ending::Spelling });
    }
    let whole = lists.phone_lengths.contains(&digits) || digits >= LONGEST_NUMBER;
    let groups: usize = tail.iter().map(|sign| sign.2).sum();
    if announced(before, lists.announcements) {
        return Some(if whole { Ending::Finished } else { Ending::Spelling });
    }
    let only_spelled = before.is_empty() && groups >= 2;
    if letters >= 2 && groups >= 2 || only_spelled && !whole {
        return Some(Ending::Spelling);
    }
    (only_spelled && whole).then_some(Ending::Finished)
}

/// Digits, letters and groups of them in one word; `None` if it is an ordinary word.
fn signs(word: &str, lists: &Spelling) -> Option<(usize, usize, usize)> {
    if lists.digits.contains(&word) {
        return Some((1, 0, 1));
    }
    let groups: Vec<&str> = word.split('-').filter(|group| !group.is_empty()).collect();
    let digits = word.chars().filter(char::is_ascii_digit).count();
    let spelled = |group: &&str| {
        group.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ',')
            || group.chars().count() == 1
    };
    let letters = groups.iter().filter(|group| group.chars().all(char::is_alphabetic)).count();
    (!groups.is_empty() && groups.iter().all(spelled)).then_some((digits, letters, groups.len()))
}

/// Whether one of `announcements` stands at the end, but for a word or two ("is", "it's").
fn announced(words: &[&str], announcements: &[&str]) -> bool {
    announcements.iter().any(|announcement| {
        let announcement: Vec<&str> = announcement.split(' ').collect();
        (0..=BETWEEN.min(words.len()))
            .any(|skipped| words[..words.len() - skipped].ends_with(&announcement))
    })
}

/// How an e-mail address ends; `None` if there is none.
fn mail(text: &str, words: &[&str], lists: &Spelling) -> Option<Ending> {
    let at = words.iter().position(|word| lists.mail.contains(word));
    let is = at.and_then(|at| {
        let is =
            words[at..].iter().position(|word| matches!(*word, "is" | "est" | "it's" | "c'est"));
        is.filter(|&is| is <= BETWEEN).map(|is| at + is)
    });
    if is.is_none() && !text.contains('@') {
        return None;
    }
    let address = &words[is.map_or(0, |is| is + 1)..];
    let Some(last) = address.last() else { return Some(Ending::Open) };
    if lists.mail_signs.contains(last) {
        return Some(Ending::Open);
    }
    let spoken = address.iter().position(|word| matches!(*word, "at" | "arobase"));
    let domain = spoken
        .map(|at| address[at + 1..].join(" "))
        .or_else(|| text.rsplit_once('@').map(|(_, domain)| domain.to_owned()));
    let ending = last.rsplit_once('.').is_some_and(|(_, end)| DOMAINS.contains(&end));
    let whole = ending
        || domain.is_some_and(|domain| {
            let domain = domain.trim_end_matches(['.', ' ']);
            [".", " dot ", " point "].iter().any(|dot| {
                domain
                    .rsplit_once(dot)
                    .is_some_and(|(name, end)| !name.is_empty() && end.len() >= 2)
            })
        });
    Some(if whole { Ending::Finished } else { Ending::Spelling })
}
