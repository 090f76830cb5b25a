//! What reading aloud needs to know of a language: its words for numbers, money, units and signs.
//!
//! Filled in by [`super::english`] and [`super::french`]; used by [`super::reading`]. Holds no
//! text.

/// A language's words, and how it puts them together. Whole numbers are at most [`LARGEST`].
pub(super) struct Tongue {
    /// 0 and up, in words.
    pub cardinal: fn(u64) -> String,
    /// The same before a feminine noun.
    pub feminine: fn(u64) -> String,
    /// First and up.
    pub ordinal: fn(u64) -> String,
    /// A year; cardinal where the language does not pair its digits.
    pub year: fn(u64) -> String,
    /// Hours (0..=24), minutes and perhaps seconds.
    pub time: fn(u64, u64, Option<u64>) -> String,
    /// The digits after the decimal mark.
    pub fraction: fn(&str) -> String,
    /// Day (1..=31), month (1..=12), perhaps a year.
    pub date: fn(u64, u64, Option<u64>) -> String,
    /// `3/4`: `None` for what is not read as a fraction.
    pub part: fn(u64, u64) -> Option<String>,
    /// What parts the fraction.
    pub decimal: char,
    /// What groups thousands inside a token; spaces do so in languages with a decimal comma.
    pub group: char,
    /// Whether `3/4/2026` is in April.
    pub day_first: bool,
    /// Whether phone numbers are read in pairs.
    pub pairs: bool,
    /// `point`, `virgule`.
    pub point: &'static str,
    pub minus: &'static str,
    pub plus: &'static str,
    /// Between the ends of a range.
    pub to: &'static str,
    /// Before `1.2.3` where the text has a `v`.
    pub version: &'static str,
    /// `.`, `@`, `/`, `-`, `_`, `:` in addresses.
    pub marks: Marks,
    pub months: [&'static str; 12],
    /// Shorter names of months, without a full stop, in order; may repeat.
    pub short_months: &'static [(&'static str, u8)],
    /// Sign or code, one, many, hundredth, hundredths. Feminine ones say so.
    pub currencies: &'static [Currency],
    /// As written; one; many; whether feminine.
    pub units: &'static [(&'static str, &'static str, &'static str, bool)],
    /// Words after a number that multiply it: as written, one, many, and whether the counted noun
    /// follows with [`Tongue::of`].
    pub scales: &'static [(&'static str, &'static str, &'static str)],
    /// Between a scale word and a currency: `d'` and `de ` in French, nothing in English.
    pub of: fn(&str) -> String,
    /// Letters put on digits for thousands, millions, thousand millions.
    pub suffixes: &'static [(&'static str, &'static str, &'static str)],
    /// Without the full stop; what is said; when.
    pub abbreviations: &'static [(&'static str, &'static str, When)],
    /// Signs read by name between words.
    pub signs: &'static [(char, &'static str)],
    /// Words before a Roman numeral that counts: `Chapter IV`.
    pub counted: &'static [&'static str],
    /// Names before a Roman numeral: `Louis XIV`.
    pub regal: &'static [&'static str],
    /// How the numeral after a name is read.
    pub reign: fn(u64) -> String,
    /// Words of up to four letters that are words also in capitals, and acronyms said as words.
    pub words: &'static [&'static str],
    /// The names of the letters `a` to `z`.
    pub letters: [&'static str; 26],
}

/// Numbers beyond are read digit by digit.
pub(super) const LARGEST: u64 = 999_999_999_999_999;

/// How an address's marks are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    pub dot: &'static str,
    pub at: &'static str,
    pub slash: &'static str,
    pub dash: &'static str,
    pub underscore: &'static str,
    pub colon: &'static str,
}

/// Money.
#[derive(Clone, Copy, Debug)]
pub(super) struct Currency {
    /// As written.
    pub sign: &'static str,
    pub one: &'static str,
    pub many: &'static str,
    pub cent: &'static str,
    pub cents: &'static str,
    pub feminine: bool,
}

/// When an abbreviation is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// With its full stop only.
    Stop,
    /// With or without.
    Any,
    /// With or without, before a capital letter only.
    Name,
    /// With or without, before a digit only.
    Number,
}
