//! The data espeak-ng reads: bundled in the program, written to the cache folder, made lean.
//!
//! In: an espeak voice's tag. Out: a folder for [`espeak_ng::Translator`]. The port (0.2) reads its
//! files anew on every call, so what phonemes do not need is left out: the sounds of espeak-ng's
//! own synthesizer (`phondata`), the voice files of other languages, and the phoneme tables of
//! other languages. A call of 20 words then costs a third; the phonemes are the same (tested).
//! Makes no phonemes itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use espeak_ng::phoneme::load::parse_phontab;
use espeak_ng::phoneme::table::{PhonemeTabList, compile_phontab};
use espeak_ng::voices::{VoiceEntry, list_voices};

use super::super::PhonemeError;

/// Goes into the folder's name: another number when what is kept changes.
const LAYOUT: u32 = 2;

/// The language whose words other languages borrow: espeak-ng's dictionaries switch to it.
const BORROWED: &str = "en";

/// The folder with the data of the voice `tag` of `language`, written if need be.
pub(super) fn folder(tag: &str, language: &str) -> Result<PathBuf, PhonemeError> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache")
    });
    let plain: String = tag.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect();
    let version = espeak_ng::EspeakNg::version();
    let place = format!("eva-voice/espeak-ng-{version}-{LAYOUT}/{plain}");
    let wanted = cache.join(&place);
    let failed = match install(&wanted, tag, language) {
        Ok(()) => return Ok(wanted),
        Err(error) => error,
    };
    // A home that cannot be written to, as in some containers.
    let instead = std::env::temp_dir().join(&place);
    install(&instead, tag, language)
        .map(|()| instead)
        .map_err(|_| PhonemeError::Data { path: wanted, source: failed })
}

/// The name by which espeak-ng finds the voice `tag`: the first language of its file. `fr` alone
/// would miss what the file says of `fr-fr`.
pub(super) fn voice(dir: &Path, tag: &str) -> Option<String> {
    find(&list_voices(dir), tag).map(|voice| voice.language.to_lowercase())
}

fn find<'a>(voices: &'a [VoiceEntry], tag: &str) -> Option<&'a VoiceEntry> {
    let named = |voice: &&VoiceEntry| {
        let file = voice.file.rsplit('/').next().unwrap_or_default();
        file.eq_ignore_ascii_case(tag)
    };
    let exact = voices.iter().find(|voice| voice.language.eq_ignore_ascii_case(tag));
    let other = |voice: &&VoiceEntry| {
        voice.other_languages.iter().any(|language| language.eq_ignore_ascii_case(tag))
    };
    exact.or_else(|| voices.iter().find(named)).or_else(|| voices.iter().find(other))
}

/// Writes the data beside `dir` and moves it there whole: others may be doing the same.
fn install(dir: &Path, tag: &str, language: &str) -> io::Result<()> {
    if dir.join("phontab").exists() {
        return Ok(());
    }
    let parent = dir.parent().expect("the data folder lies below the cache folder");
    let fresh = parent.join(format!("{}.{}", uuid::Uuid::new_v4(), "new"));
    fs::create_dir_all(&fresh)?;
    let written = espeak_ng::install_bundled_languages(&fresh, &[language, BORROWED])
        .and_then(|()| make_lean(&fresh, tag, language))
        .and_then(|()| fs::rename(&fresh, dir));
    if written.is_err() {
        let _ = fs::remove_dir_all(&fresh);
    }
    if dir.join("phontab").exists() { Ok(()) } else { written }
}

/// Removes what phonemes of this voice do not need.
fn make_lean(dir: &Path, tag: &str, language: &str) -> io::Result<()> {
    let all = list_voices(dir);
    let mut tags = vec![tag.to_owned(), language.to_owned()];
    let mut kept = Vec::new();
    for wanted in [tag, language, BORROWED] {
        let Some(voice) = find(&all, wanted) else { continue };
        tags.push(voice.language.to_lowercase());
        tags.extend(voice.phonemes.clone());
        let file = dir.join("lang").join(&voice.file);
        kept.push((voice.file.replace('/', "-"), fs::read(file)?));
    }
    tags.push(BORROWED.into());
    let lang = dir.join("lang");
    fs::remove_dir_all(&lang)?;
    fs::create_dir(&lang)?;
    for (name, content) in kept {
        fs::write(lang.join(name), content)?;
    }
    for unneeded in ["voices", "mbrola_ph"] {
        let _ = fs::remove_dir_all(dir.join(unneeded));
    }
    for unneeded in ["phondata", "phondata-manifest"] {
        let _ = fs::remove_file(dir.join(unneeded));
    }
    let path = dir.join("phontab");
    let bytes = fs::read(&path)?;
    let mut tables = parse_phontab(&bytes).map_err(io::Error::other)?;
    empty_tables(&mut tables, &tags);
    fs::write(&path, compile_phontab(&tables))
}

/// Empties the phoneme tables that none of `tags` uses. They keep their numbers, by which tables
/// include each other.
fn empty_tables(tables: &mut [PhonemeTabList], tags: &[String]) {
    let mut needed = vec![false; tables.len()];
    for (index, table) in tables.iter().enumerate() {
        needed[index] = tags.contains(&table.name);
    }
    // A table includes only earlier ones.
    for index in (0..tables.len()).rev() {
        let included = usize::from(tables[index].includes);
        if needed[index] && included > 0 {
            needed[included - 1] = true;
        }
    }
    for (table, needed) in tables.iter_mut().zip(needed) {
        if !needed {
            table.phonemes.clear();
            table.n_phonemes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{folder, voice};

    #[test]
    fn voices_are_found_by_the_names_that_voice_files_use() {
        for (tag, expected) in [
            ("en-us", "en-us"),
            ("en-gb-x-rp", "en-gb-x-rp"),
            ("en", "en-gb"),
            ("fr", "fr-fr"),
            ("fr-fr", "fr-fr"),
            ("de", "de"),
            ("es", "es"),
            ("es-419", "es-419"),
            ("it", "it"),
        ] {
            let language = tag.split('-').next().unwrap();
            let dir = folder(tag, language).unwrap();
            assert_eq!(voice(&dir, tag).as_deref(), Some(expected), "{tag}");
        }
    }

    #[test]
    fn lean_data_makes_the_same_phonemes() {
        let whole = std::env::temp_dir().join(format!("eva-voice-test-{}", uuid::Uuid::new_v4()));
        let languages = ["en", "fr", "de", "es", "it"];
        espeak_ng::install_bundled_languages(&whole, &languages).unwrap();
        for (tag, text) in [
            ("en-us", "The weather was cold, so they're reading what I read: a record of records!"),
            ("en-gb-x-rp", "Far and near, the caf\u{e9}'s owner couldn't bear 21 more cars."),
            ("fr-fr", "Les enfants ont mang\u{e9} un hamburger ce week-end, n'est-ce pas ?"),
            ("de", "Die Software l\u{e4}uft \u{fc}ber 25 Jahre, und das ist gro\u{df}artig."),
            ("es", "\u{bf}D\u{f3}nde est\u{e1} el software del ni\u{f1}o? Cuesta 32 pesos."),
            ("es-419", "El coraz\u{f3}n de la ciudad, gracias a Dios, late cien veces."),
            ("it", "Gli amici scaricano il software, perch\u{e9} costa 18 euro."),
        ] {
            let language = tag.split('-').next().unwrap();
            let lean = folder(tag, language).unwrap();
            let ipa = |dir: &Path| {
                let name = voice(dir, tag).unwrap();
                espeak_ng::Translator::new(&name, Some(dir)).unwrap().text_to_ipa(text).unwrap()
            };
            assert_eq!(ipa(&lean), ipa(&whole), "{tag}");
        }
        std::fs::remove_dir_all(&whole).unwrap();
    }
}
