//! espeak-ng (the pure Rust port), named only here: words in, IPA out.

#[cfg(feature = "espeak")]
mod data;
#[cfg(feature = "espeak")]
mod repairs;

#[cfg(not(feature = "espeak"))]
pub use without::Espeak;

#[cfg(not(feature = "espeak"))]
mod without {
    use super::super::PhonemeError;

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

        pub(in super::super) fn letter(&self, _letter: &str) -> String {
            match *self {}
        }

        pub(in super::super) fn repaired(&self, _word: &str, _phonemes: &str) -> String {
            match *self {}
        }

        pub(in super::super) fn pair(&self, _one: &str, _two: &str) -> Option<[&'static str; 2]> {
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
    use espeak_ng::Translator;

    use super::super::PhonemeError;
    use super::data;
    use super::repairs::Repairs;

    /// espeak-ng with the data of one language.
    pub struct Espeak {
        translator: Translator,
        latin: bool,
        repairs: Repairs,
    }

    impl Espeak {
        /// For espeak-ng's voice `name`: a language tag as voices name it (`en-us`, `en-gb-x-rp`,
        /// `fr`, `fr-fr`, `es-419`); a variant (`+f3`) changes no phonemes. Writes the bundled
        /// data of the language into the cache folder if it is not there yet, and tries it.
        pub fn start(name: &str) -> Result<Self, PhonemeError> {
            let tag = name.split('+').next().unwrap_or(name).replace('_', "-").to_lowercase();
            let language = tag.split('-').next().unwrap_or(&tag).to_owned();
            let dir = data::folder(&tag, &language)?;
            let refused = |reason: String| PhonemeError::Language { name: name.into(), reason };
            let repairs = Repairs::of(&tag);
            let known = data::voice(&dir, &tag).unwrap_or(tag);
            let translator =
                Translator::new(&known, Some(&dir)).map_err(|error| refused(error.to_string()))?;
            translator.text_to_ipa("a").map_err(|error| refused(error.to_string()))?;
            let others =
                ["ar", "bg", "el", "fa", "he", "hi", "ja", "ka", "kk", "ko", "ru", "uk", "zh"];
            let latin = !others.contains(&language.as_str());
            Ok(Self { translator, latin, repairs })
        }

        /// How a letter is written so that its name is said.
        pub(in super::super) fn letter(&self, letter: &str) -> String {
            match letter {
                // Alone it would be the article.
                "a" | "a's" if self.repairs.is_english() => letter.replacen('a', "eh", 1),
                letter => letter.to_owned(),
            }
        }

        /// The word without letters of scripts the language cannot read; `None` if none is left.
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
            let text = &self.respelled(text);
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

        /// Words that the port mispronounces, written so that it does not.
        fn respelled(&self, text: &str) -> String {
            let words = text.split(' ').map(|word| {
                let core = word.trim_end_matches(|c: char| c.is_ascii_punctuation());
                let written = self.repairs.respelled(core);
                written.map_or(word.into(), |written| written + &word[core.len()..])
            });
            words.collect::<Vec<_>>().join(" ")
        }

        /// The phonemes of one word, put right where the port is wrong.
        pub(in super::super) fn repaired(&self, word: &str, phonemes: &str) -> String {
            self.repairs.ending(word, phonemes).unwrap_or_else(|| phonemes.into())
        }

        /// What replaces the phonemes of two words that run together without a space between; an
        /// empty string keeps them.
        pub(in super::super) fn pair(
            &self,
            first: &str,
            second: &str,
        ) -> Option<[&'static str; 2]> {
            self.repairs.pair(first, second)
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
        matches!(u32::from(c), 0..=0x24f | 0x300..=0x36f | 0x1e00..=0x1eff)
    }
}
