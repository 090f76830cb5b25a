//! Streaming text in; pieces that can be spoken out.
//!
//! In: a reply's text in any portions. Out: [`Piece`]s, each as soon as the text decides that it is
//! complete. The first piece of a reply may be a clause, so that speaking can start early; later
//! ones are whole sentences, split only where they are very long. Owned by the call, one splitter
//! for each reply. It has no clock and no model, does not change the text (numbers, markdown and
//! emoji are the voice's business), and cuts at the same places however the text is portioned:
//! every decision reads the text from left to right and waits if the deciding character is missing.

#![deny(clippy::disallowed_methods)]

mod rules;
#[cfg(test)]
mod tests;

use rules::{Abbreviation, is_cjk, is_clause_mark, is_closer, is_emoji, is_newline, is_opener};

/// The words that must stand before a clause may be spoken on its own.
const CLAUSE_WORDS: u32 = 3;
/// The words that must stand before a clause is cut in front of a conjunction.
const CONJUNCTION_WORDS: u32 = 4;
/// A sentence of more words is split; about twelve seconds of speech.
const MAX_WORDS: u32 = 30;
/// A sentence of more characters is split; a Chinese or Japanese one counts three.
const MAX_UNITS: u32 = 200;
/// Text without a single space is cut here, wherever that is.
const HARD_UNITS: u32 = 400;
/// The words that must stand before a comma counts as a place to split a long sentence.
const SOFT_WORDS: u32 = 5;
/// How far (bytes) a stop looks ahead before it counts as the end of the sentence.
const LOOKAHEAD: usize = 96;
/// The longest word that a clause waits for.
const LONGEST_WORD: usize = 32;
/// Text is taken in portions of this many bytes, so that cutting stays cheap.
const PORTION: usize = 1024;

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// Ends with a stop.
    Sentence,
    /// A part of a sentence whose rest follows.
    Clause,
    /// Ended by a line break or by the end of the reply, without a stop: a heading, a list item, a
    /// reply that was broken off.
    Line,
    /// Nothing in it can be spoken: only marks or emoji.
    Silent,
}

/// A part of a reply that can be spoken on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The text as the model wrote it, without the spaces around it.
    pub text: String,
    /// It is the first piece of its reply that can be spoken.
    pub first: bool,
    /// What it is.
    pub kind: PieceKind,
}

/// What the text says about one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// More text decides.
    Wait,
    /// A piece ends before this byte.
    Cut(usize, PieceKind),
    /// No end before this byte.
    Skip(usize),
}

/// Cuts one reply into pieces.
#[derive(Debug, Default)]
pub struct Splitter {
    /// Text not yet given out; begins with something other than a space.
    buf: String,
    /// Everything before this byte is decided.
    scan: usize,
    /// A piece that can be spoken was given out.
    started: bool,
    /// Words begun before `scan`.
    words: u32,
    /// Characters before `scan`.
    units: u32,
    in_word: bool,
    /// Where a long sentence splits best.
    soft: Option<usize>,
    /// Where it splits if there is nothing better.
    space: Option<usize>,
    /// Where the newest word begins.
    word_at: usize,
    /// How many « of earlier pieces are open.
    guillemets: usize,
    /// How many Chinese or Japanese quotations of earlier pieces are open.
    cjk_quotes: usize,
}

impl Splitter {
    /// A splitter for one reply.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes more text; gives the pieces that are complete now, usually none or one.
    pub fn push(&mut self, text: &str) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (portion, after) = rest.split_at(rest.floor_char_boundary(PORTION));
            rest = after;
            self.buf.push_str(portion);
            while let Some((end, kind)) = self.next_cut() {
                pieces.extend(self.take(end, kind));
            }
        }
        pieces
    }

    /// The reply is complete: gives what is left, and is ready for another reply.
    pub fn finish(&mut self) -> Option<Piece> {
        let piece = self.take(self.buf.len(), PieceKind::Line);
        *self = Self::default();
        piece
    }

    /// Reads on until a piece ends or text is missing.
    fn next_cut(&mut self) -> Option<(usize, PieceKind)> {
        if self.scan == 0 {
            let blank = self.buf.len() - self.buf.trim_start().len();
            self.buf.drain(..blank);
        }
        while let Some(c) = self.buf[self.scan..].chars().next() {
            match self.judge(c) {
                Verdict::Wait => return None,
                Verdict::Cut(end, kind) => return Some((end, kind)),
                Verdict::Skip(end) => {
                    while self.scan < end {
                        if let Some(cut) = self.advance() {
                            return Some(cut);
                        }
                    }
                }
            }
        }
        None
    }

    /// Gives out the text before `end`.
    fn take(&mut self, end: usize, kind: PieceKind) -> Option<Piece> {
        let rest = self.buf.split_off(end);
        let text = std::mem::replace(&mut self.buf, rest);
        let line = kind == PieceKind::Line;
        *self = Self {
            buf: std::mem::take(&mut self.buf),
            started: self.started,
            guillemets: if line { 0 } else { rules::guillemets(&text, self.guillemets) },
            cjk_quotes: if line { 0 } else { rules::cjk_quotes(&text, self.cjk_quotes) },
            ..Self::default()
        };
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        let kind = match kind {
            _ if !text.contains(char::is_alphanumeric) => PieceKind::Silent,
            PieceKind::Line if rules::ends_with_stop(text) => PieceKind::Sentence,
            kind => kind,
        };
        let first = !self.started && kind != PieceKind::Silent;
        self.started |= first;
        Some(Piece { text: text.to_owned(), first, kind })
    }

    fn judge(&self, c: char) -> Verdict {
        let at = self.scan;
        let next = at + c.len_utf8();
        if is_newline(c) {
            return Verdict::Cut(at, PieceKind::Line);
        }
        if rules::is_stop(c) {
            return self.judge_stop();
        }
        if self.started || self.words < CLAUSE_WORDS || rules::is_enclosed(&self.buf[..at]) {
            return Verdict::Skip(next);
        }
        if is_clause_mark(c) {
            return self.judge_clause(c);
        }
        if c.is_whitespace() && self.words >= CONJUNCTION_WORDS {
            return self.judge_conjunction(next);
        }
        Verdict::Skip(next)
    }

    /// At a stop: does the sentence end here?
    fn judge_stop(&self) -> Verdict {
        let at = self.scan;
        let before = &self.buf[..at];
        let mut stop = Stop { end: at, ..Stop::default() };
        let quoted = rules::guillemets(before, self.guillemets);
        let cjk_quoted = rules::cjk_quotes(before, self.cjk_quotes);
        for (i, c) in self.buf[at..].char_indices() {
            let i = at + i;
            if i - at > LOOKAHEAD || is_newline(c) {
                return self.cut_at_stop(stop.end);
            }
            if rules::is_stop(c) {
                stop.add(i, c);
                if matches!(c, '。' | '｡') && cjk_quoted == 0 {
                    return self.cut_at_stop(stop.end);
                }
            } else if c.is_whitespace() {
                let decided = stop.strong && !stop.closed && quoted == 0;
                if decided && !rules::is_fixed_space(c) {
                    return self.cut_at_stop(stop.end);
                }
                stop.spaced = true;
            } else if !stop.spaced && (is_closer(c) || is_emoji(c)) || c == '»' && quoted > 0 {
                stop.close(i, c);
            } else if !stop.spaced {
                let ends = stop.cjk || stop.strong && is_cjk(c);
                return if ends { self.cut_at_stop(stop.end) } else { Verdict::Skip(stop.end) };
            } else if !is_opener(c) {
                return self.judge_next(&stop, i, c);
            }
        }
        Verdict::Wait
    }

    /// A stop and a space stand; the next character is known.
    fn judge_next(&self, stop: &Stop, next_at: usize, next: char) -> Verdict {
        if next.is_lowercase() {
            return Verdict::Skip(stop.end);
        }
        if stop.strong || stop.cjk || stop.dots != 1 || stop.closed {
            return self.cut_at_stop(stop.end);
        }
        match rules::abbreviation(&self.buf[..self.scan]) {
            Abbreviation::None => self.cut_at_stop(stop.end),
            Abbreviation::GoesOn => Verdict::Skip(stop.end),
            Abbreviation::BeforeNumber if next.is_numeric() => Verdict::Skip(stop.end),
            Abbreviation::BeforeNumber => self.cut_at_stop(stop.end),
            Abbreviation::ByNextWord => match rules::starts_sentence(&self.buf[next_at..]) {
                None => Verdict::Wait,
                Some(true) => self.cut_at_stop(stop.end),
                Some(false) => Verdict::Skip(stop.end),
            },
        }
    }

    fn cut_at_stop(&self, end: usize) -> Verdict {
        if self.buf[..self.scan].contains(char::is_alphanumeric) {
            Verdict::Cut(end, PieceKind::Sentence)
        } else {
            Verdict::Skip(end)
        }
    }

    /// At a comma, colon, semicolon or dash of the first piece: may it be spoken up to here? Only
    /// if at least one more word follows that does not end the sentence ("…, sir." is not cut).
    fn judge_clause(&self, mark: char) -> Verdict {
        let at = self.scan;
        let end = at + mark.len_utf8();
        if is_cjk(mark) {
            let cut = self.words > CLAUSE_WORDS;
            return if cut { Verdict::Cut(end, PieceKind::Clause) } else { Verdict::Skip(end) };
        }
        let previous = self.buf[..at].chars().next_back().unwrap_or(' ');
        if mark == '-' && !previous.is_whitespace() {
            return Verdict::Skip(end);
        }
        let Some(next) = self.buf[end..].chars().next() else { return Verdict::Wait };
        if is_newline(next) || mark != '—' && !next.is_whitespace() {
            return Verdict::Skip(end);
        }
        let number = self.buf[..at].trim_end().ends_with(|c: char| c.is_numeric());
        let rest =
            self.buf[end..].trim_start_matches(|c: char| c.is_whitespace() && !is_newline(c));
        match rules::whole_word(rest, LONGEST_WORD) {
            None => Verdict::Wait,
            Some(word) if word.is_empty() || rules::ends_with_stop(word) => Verdict::Skip(end),
            Some(word) if word.starts_with(is_closer) => Verdict::Skip(end),
            Some(word) if number && word.starts_with(|c: char| c.is_numeric()) => {
                Verdict::Skip(end)
            }
            Some(_) => Verdict::Cut(end, PieceKind::Clause),
        }
    }

    /// At a space of the first piece: does a conjunction with a clause of its own follow?
    fn judge_conjunction(&self, next: usize) -> Verdict {
        match rules::opens_clause(&self.buf[next..], &self.buf[..self.scan]) {
            None => Verdict::Wait,
            Some(true) => Verdict::Cut(self.scan, PieceKind::Clause),
            Some(false) => Verdict::Skip(next),
        }
    }

    /// Steps over one character and keeps count; a cut if the sentence has become too long.
    fn advance(&mut self) -> Option<(usize, PieceKind)> {
        let at = self.scan;
        let c = self.buf[at..].chars().next()?;
        let previous = self.buf[..at].chars().next_back();
        self.units += if is_cjk(c) { 3 } else { 1 };
        if c.is_whitespace() {
            let comma = previous.is_some_and(is_clause_mark);
            let conjunction = self.in_word && rules::is_conjunction(&self.buf[self.word_at..at]);
            if comma && self.words >= SOFT_WORDS {
                self.soft = Some(at);
            } else if conjunction && self.words > SOFT_WORDS {
                self.soft = Some(self.word_at);
            }
            self.in_word = false;
            self.space = Some(at);
        } else if is_cjk(c) {
            if previous.is_some_and(|c| is_cjk(c) && is_clause_mark(c)) {
                self.soft = Some(at);
            }
            self.words += u32::from(c.is_alphanumeric());
            self.in_word = false;
        } else if c.is_alphanumeric() && !self.in_word {
            self.words += 1;
            self.in_word = true;
            self.word_at = at;
        }
        if self.words > MAX_WORDS || self.units > MAX_UNITS {
            if let Some(end) = self.soft.or(self.space) {
                return Some((end, PieceKind::Clause));
            }
            let joined = rules::is_joined(c) || previous.is_some_and(rules::is_joined);
            let far = self.units > HARD_UNITS || is_cjk(c);
            if far && at > 0 && !joined {
                return Some((at, PieceKind::Clause));
            }
        }
        self.scan = at + c.len_utf8();
        None
    }
}

/// A stop with what belongs to it: more stops, closing quotes and brackets.
#[derive(Debug, Default)]
struct Stop {
    /// The byte after it.
    end: usize,
    /// It holds a mark that only ends sentences, such as "?".
    strong: bool,
    /// Its last mark is a full-width one, after which no space is needed.
    cjk: bool,
    dots: u32,
    /// A closing quote or bracket stands after it.
    closed: bool,
    /// A space stands after it.
    spaced: bool,
}

impl Stop {
    fn add(&mut self, at: usize, c: char) {
        self.end = at + c.len_utf8();
        self.cjk = rules::is_cjk_stop(c);
        self.strong |= !self.cjk && !matches!(c, '.' | '…');
        self.dots += if c == '…' { 2 } else { u32::from(c == '.') };
        self.spaced = false;
    }

    fn close(&mut self, at: usize, c: char) {
        self.end = at + c.len_utf8();
        self.closed = true;
        self.spaced = false;
    }
}
