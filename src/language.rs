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

/// Why a language cannot be had, as a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LanguageError {
    /// It is not one of EVA's.
    #[error("Choose en, fr or auto as the language.")]
    Unknown,
    /// The multilingual recogniser is not loaded.
    #[error(
        "This gateway understands English only; its owner can start it with --language auto after \
         `eva models pull whisper-base`."
    )]
    NotUnderstood,
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

    /// The language that is asked for, `own` where none is, if it is understood: other languages than
    /// English need the multilingual recogniser.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub fn asked_for(
        asked: Option<&str>,
        own: Self,
        multilingual: bool,
    ) -> Result<Self, LanguageError> {
        let language = match asked {
            None | Some("") => own,
            Some("en") => Self::En,
            Some("fr") => Self::Fr,
            Some("auto") => Self::Auto,
            Some(_) => return Err(LanguageError::Unknown),
        };
        if language != Self::En && !multilingual {
            return Err(LanguageError::NotUnderstood);
        }
        Ok(language)
    }
}
