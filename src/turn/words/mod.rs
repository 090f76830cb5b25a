//! What the words themselves tell: whether a sentence is open, whether it is only a backchannel,
//! whether it is EVA's own.
//!
//! In: transcribed words. Out: judgements from closed lists per language. Pure. The recogniser puts
//! a full stop or a question mark behind most sentences that break off, so a mark alone proves nothing.

mod en;
mod fr;
mod spelling;

use crate::language::Language;

/// How words end, from what needs no more to what needs most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    /// A sentence with its mark; nothing in its grammar is missing.
    Finished,
    /// Nothing is missing, but the recogniser put no mark behind it.
    Unmarked,
    /// It may stand alone, and mostly goes on ("Can you tell me?", "Who is it from?").
    Doubtful,
    /// A number, a name or an address is being spelled, and is not known to be whole.
    Spelling,
    /// It goes on: an article, a conjunction, "my number is", a comma.
    Open,
}

/// The words of one language that the judgements rest on.
struct Lists {
    endings: Endings,
    grammar: Grammar,
    spelling: Spelling,
    reactions: Reactions,
}

/// What sentences do not end in.
struct Endings {
    /// Words that end no sentence.
    open: &'static [&'static str],
    /// Words that end no statement, but may end a question or follow a subject.
    open_in_statements: &'static [&'static str],
    /// Beginnings that want more, as the last words.
    open_phrases: &'static [&'static str],
    /// Commands that want an object, when they are all that was said.
    transitive: &'static [&'static str],
    /// What the recogniser makes of a filler.
    like_fillers: &'static [&'static str],
    /// Words that end a sentence about as often as they go on.
    particles: &'static [&'static str],
    /// Verbs that want an object.
    wanting: &'static [&'static str],
    /// Common adjectives: behind an article they want a noun.
    adjectives: &'static [&'static str],
    /// Words that begin a clause which needs another.
    subordinators: &'static [&'static str],
}

/// Words by what they do in a sentence.
struct Grammar {
    /// Pronouns that are a sentence's subject.
    subjects: &'static [&'static str],
    /// Verbs before a subject that want another verb after it.
    auxiliaries: &'static [&'static str],
    /// Verbs that want another one behind the subject.
    helpers: &'static [&'static str],
    /// Verbs before a subject that may end there.
    be: &'static [&'static str],
    /// Articles and the like.
    articles: &'static [&'static str],
    /// Words that begin a question.
    question_words: &'static [&'static str],
    /// Words that begin a question whose object comes first.
    object_questions: &'static [&'static str],
}

/// What comes before and within something spelled.
struct Spelling {
    /// What announces a number.
    announcements: &'static [&'static str],
    /// Numbers of four digits or more.
    short_codes: &'static [&'static str],
    /// What announces letters.
    spelled: &'static [&'static str],
    /// What announces an e-mail address.
    mail: &'static [&'static str],
    /// What stands inside one.
    mail_signs: &'static [&'static str],
    /// Digits as words.
    digits: &'static [&'static str],
    /// How many digits a phone number has.
    phone_lengths: &'static [usize],
}

/// What people say while somebody else speaks.
struct Reactions {
    /// "I am listening."
    backchannels: &'static [&'static str],
    /// "Let me speak", however short.
    interrupting: &'static [&'static str],
    /// What takes the floor and says nothing yet: "Sorry." "Wait."
    openers: &'static [&'static str],
}

/// The lists for these words; of both languages, those that know more of the words.
fn lists(language: Language, words: &[&str]) -> &'static Lists {
    let known = |lists: &Lists| {
        let (endings, grammar) = (&lists.endings, &lists.grammar);
        let all =
            [endings.open, endings.open_in_statements, grammar.subjects, grammar.question_words];
        let reactions = [lists.reactions.backchannels, lists.reactions.interrupting];
        let knows = |word: &&&str| all.iter().chain(&reactions).any(|list| list.contains(word));
        words.iter().filter(knows).count()
    };
    match language {
        Language::En => &en::LISTS,
        Language::Fr => &fr::LISTS,
        Language::Auto if known(&fr::LISTS) > known(&en::LISTS) => &fr::LISTS,
        Language::Auto => &en::LISTS,
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

/// Whether two hypotheses say the same, whatever their case, punctuation and spaces.
pub(super) fn same_words(a: &str, b: &str) -> bool {
    let letters = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    letters(a) == letters(b)
}

/// Whether the words plainly go on.
pub fn looks_unfinished(text: &str, language: Language) -> bool {
    ending(text, language) >= Ending::Spelling
}

/// How the words end.
pub(super) fn ending(text: &str, language: Language) -> Ending {
    let text = text.trim();
    let plain = normalised(text);
    let words: Vec<&str> = plain.split(' ').filter(|word| !word.is_empty()).collect();
    let Some(last) = words.last() else { return Ending::Unmarked };
    let lists = lists(language, &words);
    let question = text.ends_with('?');
    if let Some(ending) = spelling::ending(text, &words, &lists.spelling) {
        return ending;
    }
    let breaks_off = ["...", "…", ",", "-", ":", "–"].iter().any(|mark| text.ends_with(mark));
    if breaks_off {
        return Ending::Open;
    }
    // A house number comes before its street, or after it.
    if words.iter().any(|word| ADDRESSES.contains(word)) && last.parse::<u32>().is_ok() {
        return Ending::Doubtful;
    }
    if !question && lists.reactions.openers.contains(&plain.as_str()) {
        return Ending::Doubtful;
    }
    let grammar = lists.ending_of(&words, last, question);
    let marked = question || text.ends_with(['.', '!']);
    if grammar == Ending::Finished && !marked { Ending::Unmarked } else { grammar }
}

/// Whether the words tell something, and neither ask nor want anything: they begin with a subject.
pub(super) fn is_statement(text: &str, language: Language) -> bool {
    let plain = normalised(text);
    let words: Vec<&str> = plain.split(' ').collect();
    let grammar = &lists(language, &words).grammar;
    let skipped = usize::from(JOINTS.contains(&words[0]) || SEQUENCES.contains(&words[0]));
    let begins = |first: &&str| {
        grammar.subjects.contains(first)
            || grammar.articles.contains(first)
            || SUBJECTS.contains(first)
            || first.contains('\'')
    };
    words.len() >= 3 && !text.contains('?') && words.get(skipped).is_some_and(begins)
}

impl Lists {
    /// How the last sentence ends by its grammar alone.
    fn ending_of(&self, words: &[&str], last: &str, question: bool) -> Ending {
        let before = words.len().checked_sub(2).map_or("", |place| words[place]);
        let asks = words.first().is_some_and(|first| self.grammar.question_words.contains(first));
        if self.hides_filler(words, last, before) {
            return Ending::Doubtful;
        }
        if self.grammar.subjects.contains(&last) && self.grammar.auxiliaries.contains(&before) {
            return Ending::Open;
        }
        if last != "there"
            && self.grammar.subjects.contains(&last)
            && self.grammar.be.contains(&before)
            && question
        {
            return Ending::Finished;
        }
        if self.endings.open.contains(&last) {
            return Ending::Open;
        }
        if self.endings.open_phrases.iter().any(|phrase| ends_with(words, phrase)) {
            return if question && words.len() > 2 && !asks {
                Ending::Doubtful
            } else {
                Ending::Open
            };
        }
        if self.endings.open_in_statements.contains(&last) {
            return self.statement_ending_of(words, last, before, question);
        }
        if self.endings.adjectives.contains(&last) && self.grammar.articles.contains(&before) {
            return Ending::Doubtful;
        }
        if self.lacks_verb(words) || self.begins_clause(words) {
            return Ending::Open;
        }
        let object_first = self.grammar.object_questions.contains(&words[0]);
        let verb = before == "to"
            || [self.grammar.subjects, self.grammar.helpers, self.grammar.auxiliaries]
                .iter()
                .any(|list| list.contains(&before));
        if self.endings.wanting.contains(&last) && verb && !object_first
            || self.endings.particles.contains(&last)
        {
            return Ending::Doubtful;
        }
        let alone = words.strip_suffix(&["please"]).unwrap_or(words);
        let alone = alone.strip_prefix(&["please"]).unwrap_or(alone).join(" ");
        let clause =
            !question && words.len() <= 6 && self.endings.subordinators.contains(&words[0]);
        let bare_noun = words.len() == 2 && self.grammar.articles.contains(&words[0]);
        if clause || bare_noun || self.endings.transitive.contains(&&*alone) {
            return Ending::Doubtful;
        }
        Ending::Finished
    }

    /// "The answer is up": the recogniser makes words of a filler behind an open end.
    fn hides_filler(&self, words: &[&str], last: &str, before: &str) -> bool {
        words.len() > 2
            && self.endings.like_fillers.contains(&last)
            && !self.grammar.articles.contains(&before)
            && self.ending_of(&words[..words.len() - 1], before, false) >= Ending::Doubtful
    }

    /// "… but the website": a clause of a noun alone.
    fn begins_clause(&self, words: &[&str]) -> bool {
        let [.., joint, article, _] = words else { return false };
        words.len() > 3 && JOINTS.contains(joint) && self.grammar.articles.contains(article)
    }

    /// "Does my insurance", "What time does the shop": a helping verb and a noun, no verb yet.
    fn lacks_verb(&self, words: &[&str]) -> bool {
        let helper = words.iter().take(3).position(|word| self.grammar.helpers.contains(word));
        helper.is_some_and(|at| {
            let rest = &words[at + 1..];
            let described = rest.get(1).is_some_and(|word| self.endings.adjectives.contains(word));
            let noun_only = rest.len() <= 2 + usize::from(described);
            noun_only && rest.first().is_some_and(|word| self.grammar.articles.contains(word))
        })
    }

    /// A word that ends no statement: it may end a question, or stand alone.
    fn statement_ending_of(
        &self,
        words: &[&str],
        last: &str,
        before: &str,
        question: bool,
    ) -> Ending {
        let after_subject = self.grammar.subjects.contains(&before);
        if words.len() == 1
            || (after_subject
                && (self.grammar.be.contains(&last) || (words.len() <= 3 && !question)))
        {
            // "I think it was" goes on; "I don't know what it was" and "yes it was" do not.
            let asks = words.iter().any(|word| self.grammar.question_words.contains(word));
            let goes_on = words.len() > 3 && !asks && !question;
            return if goes_on { Ending::Doubtful } else { Ending::Finished };
        }
        if question { Ending::Doubtful } else { Ending::Open }
    }
}

/// Whether these are the last words.
fn ends_with(words: &[&str], phrase: &str) -> bool {
    let phrase: Vec<&str> = phrase.split(' ').collect();
    words.ends_with(&phrase)
}

/// What announces a street and its number.
const ADDRESSES: &[&str] = &["address", "adresse"];

/// Words before a statement's subject.
const SEQUENCES: &[&str] = &["so", "and", "then", "yes", "no", "well", "et", "alors", "oui", "non"];

/// Subjects beside the pronouns.
const SUBJECTS: &[&str] = &[
    "my", "our", "his", "her", "their", "this", "that", "there", "it", "nobody", "somebody", "mon",
    "ma", "mes", "notre", "ce", "cela", "ça", "on", "personne",
];

/// Words that join a clause to another; what follows them has a verb.
const JOINTS: &[&str] = &["that", "but", "because", "if", "mais", "que", "si"];

/// Most words of a backchannel.
const LONGEST_BACKCHANNEL: usize = 6;

/// Whether the words only say "I am listening": backchannels and hums, one or several.
pub fn is_backchannel(text: &str, language: Language) -> bool {
    let plain = normalised(text).replace('-', " ");
    let words: Vec<&str> = plain.split(' ').filter(|word| !word.is_empty()).collect();
    if words.is_empty() || words.len() > LONGEST_BACKCHANNEL {
        return false;
    }
    let known = lists(language, &words).reactions.backchannels;
    let mut rest = &words[..];
    while !rest.is_empty() {
        let covered = (1..=rest.len().min(3)).rev().find(|&count| {
            let phrase = rest[..count].join(" ");
            known.contains(&&*phrase) || (count == 1 && is_hum(rest[0]))
        });
        let Some(covered) = covered else { return false };
        rest = &rest[covered..];
    }
    true
}

/// "mm", "mhm", "hmm", "uh", "um", as the recogniser spells them.
fn is_hum(word: &str) -> bool {
    let word = word.replace(['&', '.'], "");
    (1..=8).contains(&word.len())
        && word.chars().all(|c| matches!(c, 'm' | 'h' | 'u' | 'n'))
        && word != "nu"
}

/// Whether the words take the floor however few they are: "Stop.", "No, the other one."
pub(super) fn interrupts(text: &str, language: Language) -> bool {
    let plain = normalised(text).replace('-', " ");
    let words: Vec<&str> = plain.split(' ').filter(|word| !word.is_empty()).collect();
    let known = lists(language, &words).reactions.interrupting;
    let begins = |phrase: &&str| {
        let phrase: Vec<&str> = phrase.split(' ').collect();
        words.starts_with(&phrase)
    };
    known.iter().any(begins) && !is_backchannel(text, language)
}

/// One word in this many may be misheard in an echo.
const ECHO_MISHEARD: usize = 4;

/// Whether the words are (nearly) a run of what EVA has just said: two words or more, of which one in
/// four may be misheard. Never words that take the floor.
pub(super) fn is_echo_of(words: &str, said: &str) -> bool {
    if interrupts(words, Language::Auto) {
        return false;
    }
    let (words, said) = (normalised(words), normalised(said));
    let words: Vec<&str> = words.split(' ').filter(|word| !word.is_empty()).collect();
    let said: Vec<&str> = said.split(' ').collect();
    words.len() >= 2 && least_changes(&words, &said) <= words.len() / ECHO_MISHEARD
}

/// How many words must change, come or go to make `words` a run of `said`.
fn least_changes(words: &[&str], said: &[&str]) -> usize {
    // A run may begin anywhere: nothing said before it counts.
    let mut row = vec![0; said.len() + 1];
    for (place, word) in words.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = place + 1;
        for column in 1..row.len() {
            let changed = diagonal + usize::from(*word != said[column - 1]);
            diagonal = row[column];
            row[column] = changed.min(row[column] + 1).min(row[column - 1] + 1);
        }
    }
    row.into_iter().min().unwrap_or(words.len())
}

#[cfg(test)]
mod tests;
