//! The languages of calls.

use serde::{Deserialize, Serialize};

/// The language of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English; the fast English-only recogniser.
    #[default]
    En,
    /// French; the multilingual recogniser.
    Fr,
    /// Whatever the person speaks; the multilingual recogniser finds out.
    Auto,
}

impl Language {
    /// `en`, `fr` or `auto`.
    pub fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Fr => "fr",
            Self::Auto => "auto",
        }
    }
}
