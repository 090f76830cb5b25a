//! MMS voices by language: an ISO 639-3 code in, an entry of the manifest out.
//!
//! Meta's MMS (Pratap et al. 2023, "Scaling Speech Technology to 1,000+ Languages") has a voice for
//! each of some 1,100 languages, `facebook/mms-tts-<code>` at the hub. No list of their hashes is
//! published: what the hub states is checked, and what came is recorded in the voice's folder.

use std::fmt::Write as _;

use super::super::VOICES;
use crate::models::manifest::{Entry, EntryFile, HubFile, ModelId, Source, VoiceFacts};
use crate::models::stamp::Stamp;

/// What an MMS voice's name starts with.
pub(super) const PREFIX: &str = "mms-";
/// The licence of all of them.
const LICENCE: &str = "CC-BY-NC-4.0";
/// Why it must be accepted.
const ACCEPT: &str = "Meta's MMS voices may not be used commercially (CC BY-NC 4.0)";
/// The model first: its folder is the voice.
const FILES: [&str; 4] =
    ["model.safetensors", "config.json", "vocab.json", "tokenizer_config.json"];

/// The entry of a language's voice, of which no size is known yet (0); `None` where the name is no
/// MMS voice's (`mms-fra`, `mms-uig-script_arabic`).
pub(in crate::models) fn entry(name: &str) -> Option<Entry> {
    let code = name.strip_prefix(PREFIX)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if code.len() < 3 || code.len() > 60 || !code.chars().all(plain) {
        return None;
    }
    let to = |file: &str| format!("{VOICES}/{name}/{file}");
    let files = FILES.iter().map(|file| HubFile {
        to: to(file),
        from: format!("facebook/mms-tts-{code}/resolve/main/{file}"),
        sha256: None,
        md5: None,
    });
    Some(Entry {
        id: ModelId::from(name.to_owned()),
        purpose: format!("a voice, {code} (MMS)"),
        licence: LICENCE.to_owned(),
        note: None,
        default: false,
        files: FILES.iter().map(|file| EntryFile { path: to(file), size: 0 }).collect(),
        sources: vec![Source::Hub { files: files.collect() }],
        voice: Some(VoiceFacts {
            name: name.to_owned(),
            language: code.to_owned(),
            quality: "mms".to_owned(),
            speakers: 1,
            accept: Some(ACCEPT.to_owned()),
        }),
    })
}

/// The entry with the sizes and hashes that came, as a manifest's text.
pub(in crate::models) fn record(entry: &Entry, stamp: &Stamp) -> String {
    let mut text = String::from(
        "# Written when the voice was fetched: the sizes and hashes of what came, for\n\
         # `eva models verify`.\n\n",
    );
    let voice = entry.voice.as_ref().expect("an MMS entry is a voice's");
    let mut line = |line: std::fmt::Arguments| {
        writeln!(text, "{line}").expect("a string takes every line");
    };
    line(format_args!("[[model]]\nid = \"{}\"\npurpose = \"{}\"", entry.id, entry.purpose));
    line(format_args!("licence = \"{}\"", entry.licence));
    line(format_args!(
        "voice = {{ name = \"{}\", language = \"{}\", quality = \"{}\", accept = \"{}\" }}",
        voice.name,
        voice.language,
        voice.quality,
        voice.accept.as_deref().unwrap_or_default()
    ));
    line(format_args!("files = ["));
    for file in &stamp.files {
        line(format_args!("    {{ path = \"{}\", size = {} }},", file.path, file.size));
    }
    line(format_args!("]\n\n[[model.source]]\nkind = \"hub\"\nfiles = ["));
    let Source::Hub { files } = &entry.sources[0] else { panic!("MMS voices come from the hub") };
    for (file, came) in files.iter().zip(&stamp.files) {
        line(format_args!(
            "    {{ to = \"{}\", from = \"{}\", sha256 = \"{}\" }},",
            file.to, file.from, came.sha256
        ));
    }
    line(format_args!("]"));
    text
}
