//! Piper voices in short: a name, sizes and hashes in; an entry of the manifest out.
//!
//! The name says it all: `fr_FR-siwis-medium` lies at the hub under `fr/fr_FR/siwis/medium/`, and
//! goes into the folder `voices/fr_FR-siwis-medium`.

use serde::Deserialize;

use crate::models::manifest::{Entry, EntryFile, HubFile, ModelId, Source, VoiceFacts};

/// Where Piper's authors keep their voices.
const HUB: &str = "rhasspy/piper-voices/resolve";
/// The branch their list speaks of; then the tag, in case a file was replaced there.
const REVISIONS: [&str; 2] = ["main", "v1.0.0"];

/// One voice of the list.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::models) struct PiperVoice {
    name: String,
    licence: String,
    note: Option<String>,
    accept: Option<String>,
    #[serde(default = "one")]
    speakers: u32,
    model: Published,
    config: Published,
}

/// What is published of a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    size: u64,
    md5: String,
}

fn one() -> u32 {
    1
}

impl PiperVoice {
    /// The manifest's entry; an error names what is wrong with the name.
    pub(in crate::models) fn entry(self) -> Result<Entry, String> {
        let name = self.name;
        let whole = name.clone();
        let mut parts = whole.splitn(2, '-').chain([""]);
        let language = parts.next().unwrap_or_default().to_owned();
        let rest = parts.next().unwrap_or_default();
        let (Some((family, _)), Some((speaker, quality))) =
            (language.split_once('_'), rest.rsplit_once('-'))
        else {
            return Err(format!("{name} is no Piper voice's name such as fr_FR-siwis-medium"));
        };
        let files = [("", &self.model), (".json", &self.config)];
        let to = |end: &str| format!("{}/{name}/{name}.onnx{end}", super::super::VOICES);
        let source = |revision: &&str| Source::Hub {
            files: files
                .iter()
                .map(|(end, published)| HubFile {
                    to: to(end),
                    from: format!(
                        "{HUB}/{revision}/{family}/{language}/{speaker}/{quality}/{name}.onnx{end}"
                    ),
                    sha256: None,
                    md5: Some(published.md5.clone()),
                })
                .collect(),
        };
        Ok(Entry {
            id: ModelId::from(name.clone()),
            purpose: format!("a voice, {language} (Piper, {quality})"),
            licence: self.licence,
            note: self.note,
            default: false,
            files: files
                .iter()
                .map(|(end, published)| EntryFile { path: to(end), size: published.size })
                .collect(),
            sources: REVISIONS.iter().map(source).collect(),
            voice: Some(VoiceFacts {
                quality: quality.to_owned(),
                language,
                speakers: self.speakers,
                accept: self.accept,
                name,
            }),
        })
    }
}
