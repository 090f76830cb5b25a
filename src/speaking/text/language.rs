//! Which language a voice speaks, as far as reading aloud goes.

use super::tongue::{Marks, Tongue};
use super::{english, french};

/// The language of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Language {
    /// English with American dates and numbers.
    American,
    /// English with British dates and numbers.
    British,
    /// French.
    French,
    /// Another: two or three letters (`de`, `deu`). Its numbers are left as they stand.
    Other(String),
}

impl Language {
    /// From a tag as espeak-ng's voices (`en-gb-x-rp`), Piper (`fr_FR`) or ISO 639-3 (`eng`) write
    /// it.
    pub fn named(tag: &str) -> Self {
        let tag = tag.to_lowercase().replace('_', "-");
        let mut parts = tag.split('-');
        match parts.next().unwrap_or_default() {
            "en" | "eng" => match parts.next() {
                None | Some("us" | "ca") => Self::American,
                Some(_) => Self::British,
            },
            "fr" | "fra" | "fre" => Self::French,
            other => Self::Other(other.into()),
        }
    }

    /// Its words for numbers and the like; `None` where espeak-ng reads them.
    pub(super) fn tongue(&self) -> Option<&'static Tongue> {
        static AMERICAN: Tongue = english::AMERICAN;
        static BRITISH: Tongue = english::BRITISH;
        static FRENCH: Tongue = french::FRENCH;
        match self {
            Self::American => Some(&AMERICAN),
            Self::British => Some(&BRITISH),
            Self::French => Some(&FRENCH),
            Self::Other(_) => None,
        }
    }

    /// The names of the letters `a` to `z`, where they are known.
    pub fn letter(&self, letter: char) -> Option<&'static str> {
        let index = u32::from(letter).checked_sub(u32::from('a'))?;
        self.tongue()?.letters.get(index as usize).copied()
    }

    /// How marks in addresses are read.
    pub(super) fn marks(&self) -> Marks {
        let [dot, at, slash, dash, underscore, colon] = match self {
            Self::Other(code) => match code.as_str() {
                "de" | "deu" => {
                    ["Punkt", "ät", "Schrägstrich", "Minus", "Unterstrich", "Doppelpunkt"]
                }
                "es" | "spa" => ["punto", "arroba", "barra", "guion", "guion bajo", "dos puntos"],
                "it" | "ita" => {
                    ["punto", "chiocciola", "barra", "trattino", "trattino basso", "due punti"]
                }
                _ => ["", "", "", "", "", ""],
            },
            _ => {
                return self.tongue().map(|tongue| tongue.marks).unwrap_or(english::AMERICAN.marks);
            }
        };
        Marks { dot, at, slash, dash, underscore, colon }
    }
}
