//! What the splitter knows about marks and words. Pure functions over the text so far; where they
//! may need more text they return `None`.

/// What stands before a full stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abbreviation {
    /// A plain word.
    None,
    /// An abbreviation after which the sentence always goes on, or a list's number.
    GoesOn,
    /// An abbreviation only in front of a number ("No. 5").
    BeforeNumber,
    /// May end the sentence or not; the next word tells ("in the U.S. It …", "the U.S. Senate").
    ByNextWord,
}

/// Titles and the like: a name, or the rest of the sentence, always follows.
const GOES_ON: &[&str] = &[
    "Mr", "Mrs", "Ms", "Mx", "Dr", "Drs", "Prof", "Pr", "Rev", "Gen", "Col", "Capt", "Lt", "Sgt",
    "Maj", "Cmdr", "Hon", "Pres", "Gov", "Sen", "Rep", "Mt", "Ft", "M", "MM", "Mme", "Mmes",
    "Mlle", "Mlles", "Mgr", "Vve", "e.g", "i.e", "cf", "vs", "viz", "approx", "ca", "c.-à-d",
    "p.ex", "env", "resp", "z.B", "d.h",
];

/// Abbreviations that may also end a sentence.
const BY_NEXT_WORD: &[&str] = &[
    "Inc", "Ltd", "Co", "Corp", "Bros", "Cie", "Jr", "Sr", "St", "Ste", "Ave", "Blvd", "Bd", "Rd",
    "Me", "ex", "dept", "Dept", "est", "Jan", "Feb", "Mar", "Apr", "Aug", "Sept", "Sep", "Oct",
    "Nov", "Dec", "janv", "févr", "juil", "déc",
];

/// Abbreviations in front of a number.
const BEFORE_NUMBER: &[&str] = &[
    "No", "no", "Nos", "nos", "Nr", "p", "pp", "vol", "Vol", "ch", "Ch", "chap", "fig", "Fig",
    "art", "Art", "sec", "Sec", "tel", "Tel", "tél", "Tél", "ext", "min", "max", "av", "Op", "op",
];

/// Words that begin a sentence rather than a name.
const STARTERS: &[&str] = &[
    "A",
    "After",
    "All",
    "Also",
    "An",
    "And",
    "Another",
    "Any",
    "Are",
    "As",
    "At",
    "Be",
    "Because",
    "Before",
    "Both",
    "But",
    "By",
    "Can",
    "Could",
    "Did",
    "Do",
    "Does",
    "Don't",
    "Each",
    "Even",
    "Every",
    "For",
    "From",
    "Have",
    "He",
    "Her",
    "Here",
    "His",
    "How",
    "However",
    "I",
    "If",
    "In",
    "Is",
    "It",
    "Its",
    "Just",
    "Let",
    "Like",
    "Many",
    "Maybe",
    "Me",
    "More",
    "Most",
    "My",
    "Next",
    "No",
    "Not",
    "Now",
    "Of",
    "Oh",
    "On",
    "Once",
    "One",
    "Or",
    "Our",
    "People",
    "Perhaps",
    "Please",
    "She",
    "Should",
    "Since",
    "So",
    "Some",
    "Sometimes",
    "Sorry",
    "Sure",
    "That",
    "The",
    "Their",
    "Then",
    "There",
    "Therefore",
    "These",
    "They",
    "This",
    "Those",
    "Though",
    "To",
    "Today",
    "Two",
    "Unfortunately",
    "Until",
    "Was",
    "We",
    "Well",
    "Were",
    "What",
    "When",
    "Where",
    "Which",
    "While",
    "Who",
    "Why",
    "Will",
    "With",
    "Would",
    "Yes",
    "Yet",
    "You",
    "Your",
    "Alors",
    "Après",
    "Au",
    "Aussi",
    "Aux",
    "Avec",
    "Avez",
    "Bien",
    "Car",
    "Ce",
    "Ces",
    "Cela",
    "Cette",
    "Ça",
    "Chaque",
    "Comme",
    "Comment",
    "Dans",
    "Des",
    "Donc",
    "Elle",
    "Elles",
    "En",
    "Ensuite",
    "Est",
    "Et",
    "Ici",
    "Il",
    "Ils",
    "Je",
    "La",
    "Le",
    "Les",
    "Leur",
    "Mais",
    "Merci",
    "Mon",
    "Non",
    "Nous",
    "On",
    "Où",
    "Oui",
    "Par",
    "Parce",
    "Pour",
    "Pourquoi",
    "Puis",
    "Quand",
    "Que",
    "Quel",
    "Quelle",
    "Qui",
    "Sa",
    "Si",
    "Son",
    "Sur",
    "Tous",
    "Tout",
    "Toutefois",
    "Un",
    "Une",
    "Vos",
    "Votre",
    "Vous",
    "Voici",
    "Voilà",
];

/// Letters that French joins to the next word; they begin a sentence if an apostrophe follows.
const ELISIONS: &[&str] = &["C", "J", "Qu", "N", "S", "Jusqu", "Lorsqu", "Puisqu"];

const CONJUNCTIONS: &[&str] = &[
    "and", "or", "but", "because", "so", "although", "though", "while", "whereas", "since",
    "unless", "until", "when", "if", "et", "ou", "mais", "car", "donc", "puis", "alors", "parce",
    "puisque", "lorsque", "quand", "tandis",
];

/// Words that begin a clause after a conjunction.
const CLAUSE_OPENERS: &[&str] = &[
    "I", "you", "he", "she", "it", "we", "they", "there", "here", "this", "that", "these", "those",
    "then", "the", "my", "your", "his", "her", "its", "our", "their", "what", "how", "if", "when",
    "je", "tu", "il", "elle", "on", "nous", "vous", "ils", "elles", "ce", "cela", "ça", "le", "la",
    "les", "mon", "votre", "notre", "son", "que", "si",
];

/// Words after which nothing is cut, because they need what follows.
const LEANING: &[&str] = &[
    "a", "an", "the", "of", "to", "for", "in", "on", "at", "by", "with", "from", "as", "than",
    "not", "just", "even", "only", "both", "either", "neither", "and", "or", "but", "is", "are",
    "le", "la", "les", "un", "une", "des", "de", "du", "à", "au", "aux", "en", "dans", "pour",
    "sur", "par", "avec", "et", "ou", "mais", "ni", "pas",
];

pub(super) fn is_newline(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// A space that ties what stands around it together, as before "?" and inside « » in French.
pub(super) fn is_fixed_space(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{202f}' | '\u{2007}')
}

pub(super) fn is_stop(c: char) -> bool {
    matches!(c, '.' | '!' | '?' | '…' | '‽' | '؟' | '۔' | '।' | '॥') || is_cjk_stop(c)
}

pub(super) fn is_cjk_stop(c: char) -> bool {
    matches!(c, '。' | '！' | '？' | '｡')
}

pub(super) fn is_closer(c: char) -> bool {
    matches!(
        c,
        ')' | ']'
            | '}'
            | '"'
            | '\''
            | '”'
            | '’'
            | '»'
            | '›'
            | '」'
            | '』'
            | '）'
            | '】'
            | '〉'
            | '》'
            | '*'
            | '_'
            | '`'
            | '~'
    )
}

pub(super) fn is_opener(c: char) -> bool {
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
            | '-'
            | '–'
            | '—'
            | '*'
            | '_'
            | '`'
            | '~'
            | '#'
            | '>'
            | '¿'
            | '¡'
    )
}

pub(super) fn is_clause_mark(c: char) -> bool {
    matches!(c, ',' | ';' | ':' | '—' | '–' | '-' | '，' | '；' | '：')
}

/// Chinese and Japanese writing and its marks: no spaces between words.
pub(super) fn is_cjk(c: char) -> bool {
    matches!(c,
        '\u{3000}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}' | '\u{ff01}'..='\u{ff9f}' | '\u{20000}'..='\u{2fa1f}')
}

pub(super) fn is_emoji(c: char) -> bool {
    matches!(c, '\u{1f000}'..='\u{1faff}' | '\u{2600}'..='\u{27bf}') || is_joined(c)
}

/// A character that belongs to the one before or after it.
pub(super) fn is_joined(c: char) -> bool {
    matches!(c,
        '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{300}'..='\u{36f}'
        | '\u{20d0}'..='\u{20ff}' | '\u{e0020}'..='\u{e007f}' | '\u{1f1e6}'..='\u{1f1ff}')
}

/// Does the text end with a stop, closing quotes and brackets aside?
pub(super) fn ends_with_stop(text: &str) -> bool {
    let bare = text.trim_end_matches(|c: char| is_closer(c) || is_emoji(c) || c.is_whitespace());
    bare.ends_with(is_stop)
}

/// How many « are open after the text, if `open` were before it.
pub(super) fn guillemets(text: &str, open: usize) -> usize {
    (open + text.matches('«').count()).saturating_sub(text.matches('»').count())
}

/// How many Chinese or Japanese quotations are open after the text, if `open` were before it.
pub(super) fn cjk_quotes(text: &str, open: usize) -> usize {
    let count = |marks: &[char]| text.matches(marks).count();
    (open + count(&['「', '『', '“', '（', '《']))
        .saturating_sub(count(&['」', '』', '”', '）', '》']))
}

/// Is a quotation or a bracket open at the end of the text?
pub(super) fn is_enclosed(text: &str) -> bool {
    let count = |marks: &[char]| text.matches(marks).count();
    count(&['(', '[', '{', '«', '“', '„', '「', '『', '（'])
        > count(&[')', ']', '}', '»', '”', '」', '』', '）'])
        || count(&['"']) % 2 == 1
}

/// What kind of abbreviation stands at the end of `before`, which a full stop follows.
pub(super) fn abbreviation(before: &str) -> Abbreviation {
    let start = before
        .char_indices()
        .rfind(|&(_, c)| c.is_whitespace() || c == '/' || is_opener(c) && c != '-')
        .map_or(0, |(i, c)| i + c.len_utf8());
    let token = &before[start..];
    let letters = token.chars().filter(|c| c.is_alphabetic()).count();
    let single = letters == 1 && token.chars().count() == 1;
    let number = !token.is_empty() && token.len() <= 3 && token.bytes().all(|b| b.is_ascii_digit());
    let leading = !before[..start].contains(char::is_alphanumeric);
    if leading && (number || single && token != "I") || is_listed(GOES_ON, token) {
        return Abbreviation::GoesOn;
    }
    if is_listed(BEFORE_NUMBER, token) {
        return Abbreviation::BeforeNumber;
    }
    let acronym = token.contains('.')
        && token.split('.').all(|part| {
            matches!(part.chars().count(), 1..=2) && part.chars().all(char::is_alphabetic)
        });
    let initial = single && token.chars().all(char::is_uppercase);
    if acronym || initial || is_listed(BY_NEXT_WORD, token) {
        return Abbreviation::ByNextWord;
    }
    Abbreviation::None
}

/// In the list, as it stands there or, if that is in small letters, with a capital.
fn is_listed(list: &[&str], token: &str) -> bool {
    list.contains(&token) || {
        let mut chars = token.chars();
        chars.next().is_some_and(|first| {
            let small = first.to_lowercase().chain(chars).collect::<String>();
            first.is_uppercase() && small.contains('.') && list.contains(&small.as_str())
        })
    }
}

/// Does the text begin with a word that usually begins a sentence? `None` while the word may grow.
pub(super) fn starts_sentence(text: &str) -> Option<bool> {
    let first = text.chars().next()?;
    if !first.is_alphabetic() || is_cjk(first) {
        return Some(is_cjk(first));
    }
    let end = text.find(|c: char| !c.is_alphabetic());
    let word = match end {
        None if text.len() < super::LONGEST_WORD => return None,
        None => text,
        Some(end) => &text[..end],
    };
    let apostrophe = end.is_some_and(|end| text[end..].starts_with(['\'', '’']));
    Some(STARTERS.contains(&word) || apostrophe && ELISIONS.contains(&word))
}

/// The text's first word with what is attached to it, once a space follows.
pub(super) fn whole_word(text: &str, longest: usize) -> Option<&str> {
    match text.find(char::is_whitespace) {
        Some(end) => Some(&text[..end]),
        None if text.len() > longest => Some(text),
        None => None,
    }
}

pub(super) fn is_conjunction(word: &str) -> bool {
    CONJUNCTIONS.contains(&word)
}

/// Does the text begin with a conjunction and a clause, after `before`? `None` while it may.
pub(super) fn opens_clause(text: &str, before: &str) -> Option<bool> {
    let word_end = text.find(|c: char| !c.is_alphabetic());
    let word = &text[..word_end.unwrap_or(text.len())];
    if word_end.is_none() {
        let possible = CONJUNCTIONS.iter().any(|conjunction| conjunction.starts_with(word));
        return if possible { None } else { Some(false) };
    }
    let last = before.rsplit(char::is_whitespace).next().unwrap_or_default();
    if !is_conjunction(word) || LEANING.contains(&last) || is_conjunction(last) {
        return Some(false);
    }
    let Some(rest) = text[word.len()..].strip_prefix(' ') else { return Some(false) };
    let end = rest.find(|c: char| !c.is_alphabetic());
    let opener = &rest[..end.unwrap_or(rest.len())];
    match end {
        None if CLAUSE_OPENERS.iter().any(|known| known.starts_with(opener)) => None,
        None => Some(false),
        Some(_) => Some(CLAUSE_OPENERS.contains(&opener)),
    }
}
