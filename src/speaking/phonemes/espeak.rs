//! espeak-ng (the pure Rust port), named only here.

/// Why text cannot be turned into phonemes.
#[derive(Debug, thiserror::Error)]
pub enum PhonemeError {
    /// The program was built without espeak-ng.
    #[cfg(not(feature = "espeak"))]
    #[error(
        "this voice needs espeak-ng for its phonemes, and this program was built without it; \
         build it with the feature `espeak` (which makes the program GPL-3.0-or-later)"
    )]
    NotBuilt,
    /// Its data cannot be written.
    #[cfg(feature = "espeak")]
    #[error("cannot write espeak-ng's data to {path}: {source}; make room, or set XDG_CACHE_HOME")]
    Data {
        /// Where to.
        path: std::path::PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It does not know the language.
    #[cfg(feature = "espeak")]
    #[error("espeak-ng cannot make phonemes for {name:?}: {reason}")]
    Language {
        /// The voice's name for it.
        name: String,
        /// What espeak-ng says.
        reason: String,
    },
}

#[cfg(not(feature = "espeak"))]
pub use without::Espeak;

#[cfg(not(feature = "espeak"))]
mod without {
    use super::PhonemeError;

    /// Stands for espeak-ng in a build without it: cannot be made.
    pub enum Espeak {}

    impl Espeak {
        /// Always refuses.
        pub fn start(_name: &str) -> Result<Self, PhonemeError> {
            Err(PhonemeError::NotBuilt)
        }

        pub(in super::super) fn readable(&self, _word: &str) -> Option<String> {
            match *self {}
        }

        pub(in super::super) fn ipa(&self, _text: &str) -> String {
            match *self {}
        }
    }
}

#[cfg(feature = "espeak")]
pub use with::Espeak;

#[cfg(feature = "espeak")]
mod with {
    use std::fs;
    use std::io;
    use std::path::{Path, PathBuf};

    use espeak_ng::Translator;

    use super::PhonemeError;

    /// espeak-ng with the data of one language.
    pub struct Espeak {
        translator: Translator,
        latin: bool,
    }

    impl Espeak {
        /// Writes the bundled data of the language into the cache folder if it is not there yet,
        /// and tries it.
        pub fn start(name: &str) -> Result<Self, PhonemeError> {
            let language = name.split(['-', '_']).next().unwrap_or(name).to_lowercase();
            let dir = data_dir(name, &language)?;
            let refused = |reason: String| PhonemeError::Language { name: name.into(), reason };
            let translator =
                Translator::new(name, Some(&dir)).map_err(|error| refused(error.to_string()))?;
            translator.text_to_ipa("a").map_err(|error| refused(error.to_string()))?;
            let others =
                ["ar", "bg", "el", "fa", "he", "hi", "ja", "ka", "kk", "ko", "ru", "uk", "zh"];
            Ok(Self { translator, latin: !others.contains(&language.as_str()) })
        }

        /// The word without letters of scripts the language cannot read; `None` if none is left.
        pub(in super::super) fn readable(&self, word: &str) -> Option<String> {
            let kept: String = word
                .chars()
                .filter(|&c| !self.latin || !c.is_alphanumeric() || is_latin(c))
                .collect();
            kept.chars().any(|c| !c.is_whitespace()).then_some(kept)
        }

        /// Phonemes of a clause, its words parted by white space; empty if it fails.
        pub(in super::super) fn ipa(&self, text: &str) -> String {
            let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.translator.text_to_ipa(text)
            }));
            let ipa = match made {
                Ok(Ok(ipa)) => ipa,
                Ok(Err(_)) => {
                    tracing::debug!("espeak-ng refuses a clause, which is skipped");
                    return String::new();
                }
                Err(_) => {
                    tracing::debug!("espeak-ng broke on a clause, which is skipped");
                    return String::new();
                }
            };
            without_marks(&ipa)
        }
    }

    /// Drops the marks of language switches: `(en)`.
    fn without_marks(ipa: &str) -> String {
        let mut inside = false;
        ipa.chars()
            .filter(|&c| {
                let outside = !inside && c != '(';
                inside = (inside || c == '(') && c != ')';
                outside
            })
            .collect()
    }

    fn is_latin(c: char) -> bool {
        matches!(u32::from(c), 0..=0x24f | 0x1e00..=0x1eff)
    }

    /// The folder with the language's data, written if need be.
    fn data_dir(name: &str, language: &str) -> Result<PathBuf, PhonemeError> {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).unwrap_or_else(|| {
            PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache")
        });
        let plain: String = name.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect();
        let place = format!("eva-voice/espeak-ng-{}/{plain}", espeak_ng::EspeakNg::version());
        let wanted = cache.join(&place);
        let failed = match install(&wanted, name, language) {
            Ok(()) => return Ok(wanted),
            Err(error) => error,
        };
        // A home that cannot be written to, as in some containers.
        let instead = std::env::temp_dir().join(&place);
        install(&instead, name, language)
            .map(|()| instead)
            .map_err(|_| PhonemeError::Data { path: wanted, source: failed })
    }

    /// Writes the data beside `dir` and moves it there whole: others may be doing the same.
    fn install(dir: &Path, name: &str, language: &str) -> io::Result<()> {
        if dir.join("phontab").exists() {
            return Ok(());
        }
        let parent = dir.parent().expect("the data folder lies below the cache folder");
        let fresh = parent.join(format!("{}.{}", uuid::Uuid::new_v4(), "new"));
        fs::create_dir_all(&fresh)?;
        let written = espeak_ng::install_bundled_languages(&fresh, &[language])
            .and_then(|()| prune(&fresh.join("lang"), name, language))
            .and_then(|()| fs::rename(&fresh, dir));
        if written.is_err() {
            let _ = fs::remove_dir_all(&fresh);
        }
        if dir.join("phontab").exists() { Ok(()) } else { written }
    }

    /// Removes the descriptions of other languages: espeak-ng reads all of them on every call.
    fn prune(dir: &Path, name: &str, language: &str) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                prune(&path, name, language)?;
            } else {
                let file = entry.file_name().to_string_lossy().to_lowercase();
                if file != name.to_lowercase() && file != language {
                    fs::remove_file(&path)?;
                }
            }
        }
        Ok(())
    }
}
