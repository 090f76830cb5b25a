//! Who EVA can be: instructions to the language model by language, with a voice and a temperature.
//!
//! In: a list of personas in TOML, the built-in one or its owner's. Out: [`Personas`]: at least one,
//! each with its own name, the first one for calls that ask for none. Read once, then shared by all
//! calls. Whether a persona's voice is installed is found out where voices are.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::language::Language;
use crate::speaking::VoiceSpec;

/// The personas that come with the program.
const BUILT_IN: &str = include_str!("../personas.toml");
/// The most personas of a list: people choose among them on a page.
const MOST: usize = 32;
/// The longest name, title and instructions, characters.
const LONGEST: [usize; 3] = [40, 60, 4_000];
/// Temperatures that models take.
const TEMPERATURES: std::ops::RangeInclusive<f32> = 0.0..=2.0;
/// Stands behind English instructions where a persona has none for the language.
const IN_FRENCH: &str = "Réponds en français.";
const IN_THEIR_LANGUAGE: &str = "Answer in the language the person speaks.";

/// A text in EVA's languages.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bilingual {
    /// In English.
    pub en: String,
    /// In French.
    pub fr: String,
}

/// Somebody EVA can be.
#[derive(Clone, Debug, PartialEq)]
pub struct Persona {
    /// What programs call it: small letters, digits and hyphens.
    pub name: String,
    /// What people call it.
    pub title: Bilingual,
    /// What it is like, in a sentence.
    pub description: Bilingual,
    /// The voice it speaks with, in the languages that this voice speaks.
    pub voice: Option<VoiceSpec>,
    /// Its sampling temperature; the gateway's own where `None`.
    pub temperature: Option<f32>,
    instructions: Instructions,
}

/// Instructions for each kind of call.
#[derive(Clone, Debug, PartialEq)]
struct Instructions {
    en: String,
    fr: String,
    auto: String,
}

/// A list of personas.
#[derive(Clone, Debug, PartialEq)]
pub struct Personas {
    /// At least one.
    all: Vec<Arc<Persona>>,
}

/// Why a list of personas cannot be used, as a sentence.
#[derive(Debug, thiserror::Error)]
pub enum PersonasError {
    /// The file cannot be read.
    #[error("cannot read the personas {path}: {error}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("line {line}: {reason}")]
    Wrong {
        /// Where, from 1.
        line: usize,
        /// What.
        reason: String,
    },
}

/// There is no such persona, as a sentence.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("There is no persona named \"{name}\" here; choose one of: {known}.")]
pub struct UnknownPersona {
    name: String,
    known: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    persona: Vec<Spanned<Entry>>,
}

/// A persona as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    title: Spanned<Texts>,
    description: Option<Spanned<Texts>>,
    instructions: Spanned<Texts>,
    voice: Option<Spanned<String>>,
    temperature: Option<Spanned<f32>>,
}

/// A text by language; English stands in for what is missing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Texts {
    en: String,
    fr: Option<String>,
    auto: Option<String>,
}

impl Persona {
    /// What the language model is told in a call of this language.
    pub fn instructions(&self, language: Language) -> &str {
        match language {
            Language::En => &self.instructions.en,
            Language::Fr => &self.instructions.fr,
            Language::Auto => &self.instructions.auto,
        }
    }

    /// The same persona under these instructions, whatever the language.
    #[must_use]
    pub fn instructed(&self, instructions: &str) -> Self {
        let (en, fr, auto) = (instructions.into(), instructions.into(), instructions.into());
        Self { instructions: Instructions { en, fr, auto }, ..self.clone() }
    }
}

impl Default for Personas {
    /// The personas that come with the program.
    fn default() -> Self {
        Self::read(BUILT_IN).expect("the built-in personas are read by a test")
    }
}

impl Personas {
    /// The personas of a file.
    ///
    /// # Errors
    /// A sentence that names the file and the line.
    pub fn load(path: &Path) -> Result<Self, PersonasError> {
        let unreadable =
            |error| PersonasError::Unreadable { path: path.display().to_string(), error };
        Self::read(&std::fs::read_to_string(path).map_err(unreadable)?)
    }

    /// The personas of a TOML text.
    ///
    /// # Errors
    /// A sentence that names the line.
    pub fn read(text: &str) -> Result<Self, PersonasError> {
        let wrong =
            |at: usize, reason: String| PersonasError::Wrong { line: line(text, at), reason };
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            wrong(at, format!("{}.", error.message().trim_end_matches('.')))
        })?;
        let count = file.persona.len();
        if count == 0 || count > MOST {
            let reason = format!("There are {count} personas; write 1 to {MOST}, as [[persona]].");
            return Err(wrong(0, reason));
        }
        let mut all: Vec<Arc<Persona>> = Vec::with_capacity(count);
        for entry in file.persona {
            let at = entry.get_ref().name.span().start;
            let persona = entry.into_inner().check().map_err(|(at, reason)| wrong(at, reason))?;
            if all.iter().any(|other| other.name == persona.name) {
                return Err(wrong(
                    at,
                    format!("There are two personas named \"{}\".", persona.name),
                ));
            }
            all.push(Arc::new(persona));
        }
        Ok(Self { all })
    }

    /// The persona of calls that ask for none.
    pub fn default_one(&self) -> &Arc<Persona> {
        &self.all[0]
    }

    /// All of them, in their order.
    pub fn all(&self) -> &[Arc<Persona>] {
        &self.all
    }

    /// The persona of this name; the default one where there is no name.
    ///
    /// # Errors
    /// A sentence that lists the names there are.
    pub fn get(&self, name: &str) -> Result<&Arc<Persona>, UnknownPersona> {
        let name = name.trim();
        if name.is_empty() {
            return Ok(self.default_one());
        }
        self.all.iter().find(|persona| persona.name == name).ok_or_else(|| {
            let known: Vec<&str> = self.all.iter().map(|persona| persona.name.as_str()).collect();
            let name = name.chars().take(LONGEST[0]).collect();
            UnknownPersona { name, known: known.join(", ") }
        })
    }

    /// The same list with other instructions for its default persona.
    #[must_use]
    pub fn instructed(mut self, instructions: &str) -> Self {
        self.all[0] = Arc::new(self.all[0].instructed(instructions));
        self
    }
}

impl Entry {
    /// The persona, or what is wrong with it and where.
    fn check(self) -> Result<Persona, (usize, String)> {
        let at = self.name.span().start;
        let name = self.name.into_inner();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > LONGEST[0] || !name.chars().all(plain) {
            let most = LONGEST[0];
            return Err((
                at,
                format!(
                    "The name \"{name}\" must be 1 to {most} small letters, digits and hyphens."
                ),
            ));
        }
        let title = bilingual("title", &name, self.title, LONGEST[1])?;
        let description = match self.description {
            Some(description) => bilingual("description", &name, description, LONGEST[2])?,
            None => Bilingual { en: String::new(), fr: String::new() },
        };
        let instructions = instructions(&name, self.instructions)?;
        let voice = self.voice.map(|voice| {
            let at = voice.span().start;
            let spec = voice.get_ref().parse::<VoiceSpec>();
            spec.map_err(|error| (at, format!("The voice of \"{name}\" cannot be used: {error}.")))
        });
        let temperature = self.temperature.map(|temperature| {
            let (at, value) = (temperature.span().start, *temperature.get_ref());
            let [least, most] = [TEMPERATURES.start(), TEMPERATURES.end()];
            let wrong =
                format!("The temperature of \"{name}\" must lie between {least} and {most}.");
            if TEMPERATURES.contains(&value) { Ok(value) } else { Err((at, wrong)) }
        });
        Ok(Persona {
            name,
            title,
            description,
            voice: voice.transpose()?,
            temperature: temperature.transpose()?,
            instructions,
        })
    }
}

/// A field's texts, none of them empty or too long.
fn checked(
    field: &str,
    name: &str,
    texts: Spanned<Texts>,
    longest: usize,
) -> Result<Texts, (usize, String)> {
    let at = texts.span().start;
    let texts = texts.into_inner();
    let all = [Some(&texts.en), texts.fr.as_ref(), texts.auto.as_ref()];
    let fits = |text: &String| (1..=longest).contains(&text.trim().chars().count());
    if all.into_iter().flatten().all(fits) {
        return Ok(texts);
    }
    Err((at, format!("The {field} of \"{name}\" must have 1 to {longest} characters.")))
}

fn bilingual(
    field: &str,
    name: &str,
    texts: Spanned<Texts>,
    longest: usize,
) -> Result<Bilingual, (usize, String)> {
    let Texts { en, fr, .. } = checked(field, name, texts, longest)?;
    let fr = fr.unwrap_or_else(|| en.clone());
    Ok(Bilingual { en, fr })
}

fn instructions(name: &str, texts: Spanned<Texts>) -> Result<Instructions, (usize, String)> {
    let Texts { en, fr, auto } = checked("instructions", name, texts, LONGEST[2])?;
    let fr = fr.unwrap_or_else(|| format!("{en} {IN_FRENCH}"));
    let auto = auto.unwrap_or_else(|| format!("{en} {IN_THEIR_LANGUAGE}"));
    Ok(Instructions { en, fr, auto })
}

/// The line of a place in a text, from 1.
fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thinking::history::{default_system, estimate_tokens};

    #[test]
    fn the_built_in_personas_are_short_and_the_default_is_eva() {
        let personas = Personas::default();
        let eva = personas.default_one();
        assert_eq!(eva.name, "eva");
        for language in [Language::En, Language::Fr, Language::Auto] {
            assert_eq!(eva.instructions(language), default_system(language.code()));
            for persona in personas.all() {
                let tokens = estimate_tokens(persona.instructions(language));
                assert!((10..100).contains(&tokens), "{} {language:?}: {tokens}", persona.name);
            }
        }
        let french = |persona: &Arc<Persona>| persona.title.fr.len() * persona.description.fr.len();
        assert!(personas.all().iter().all(|persona| french(persona) > 0));
        assert!(personas.all().len() >= 4);
    }

    #[test]
    fn a_file_needs_little_and_english_stands_in() {
        let text = "[[persona]]\nname = \"pirate\"\ntitle.en = \"Pirate\"\n\
                    instructions.en = \"Talk like a pirate.\"\nvoice = \"joe@1.2\"\ntemperature = 1\n";
        let personas = Personas::read(text).expect("a list");
        let pirate = personas.get("pirate").expect("a pirate");
        assert_eq!(pirate.title.fr, "Pirate");
        assert_eq!(pirate.instructions(Language::Fr), "Talk like a pirate. Réponds en français.");
        assert!(pirate.instructions(Language::Auto).ends_with("the person speaks."));
        assert_eq!(pirate.voice.as_ref().map(ToString::to_string).as_deref(), Some("joe@1.2"));
        assert_eq!(pirate.temperature, Some(1.0));
        let own = personas.clone().instructed("Be brief.");
        assert_eq!(own.default_one().instructions(Language::Fr), "Be brief.");
        let unknown = personas.get("captain").expect_err("nobody").to_string();
        assert_eq!(unknown, "There is no persona named \"captain\" here; choose one of: pirate.");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let head = "[[persona]]\nname = \"a\"\ntitle.en = \"A\"\n";
        let rest = "instructions.en = \"Be A.\"\n";
        for (text, expected) in [
            (String::new(), "line 1: There are 0 personas"),
            (format!("{head}instructions = 7\n"), "line 4: "),
            (format!("{head}{rest}voise = \"x\"\n"), "line 5: unknown field `voise`"),
            (head.to_owned(), "missing field `instructions`"),
            (format!("{head}{rest}temperature = 3\n"), "line 5: The temperature of \"a\" must lie"),
            (format!("{head}{rest}voice = \"#x\"\n"), "line 5: The voice of \"a\" cannot be used"),
            (format!("{head}instructions.en = \" \"\n"), "line 4: The instructions of \"a\" must"),
            (format!("{head}{rest}{head}{rest}"), "line 6: There are two personas named \"a\"."),
            (
                format!("{}{rest}", head.replace("\"a\"", "\"A b\"")),
                "line 2: The name \"A b\" must",
            ),
            ("[[persona]]\nname = ".to_owned(), "line 2: "),
        ] {
            let error = Personas::read(&text).expect_err(&text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
