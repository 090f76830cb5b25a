//! What callers can choose among: voices, languages, personas.
//!
//! In: the folder of voices, what the recogniser understands. Out: a [`Catalogue`], for the call page.
//! The folder is read at most once in a while: anybody may ask.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Gateway, Refusal};
use crate::language::Language;
use crate::personas::Personas;
use crate::voices;

/// A voice that was added is listed after so long.
const KEPT: Duration = Duration::from_secs(5);

/// The voices and languages of a gateway.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// The installed voices, the gateway's own first where it is no installed one.
    pub voices: Vec<ListedVoice>,
    /// Languages that are both understood and spoken here.
    pub languages: Vec<Language>,
}

/// A voice to choose.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ListedVoice {
    /// Its name.
    pub name: String,
    /// Its language as its name tells: `en`, or an ISO 639-3 code.
    pub language: String,
    /// How many speakers it has.
    pub speakers: u32,
}

/// The newest catalogue, and since when it holds.
pub(super) type Cached = Mutex<Option<(Instant, Arc<Catalogue>)>>;

impl Gateway {
    /// What callers can choose among.
    ///
    /// # Errors
    /// [`Refusal::Media`] when the gateway goes down.
    pub async fn catalogue(&self) -> Result<Arc<Catalogue>, Refusal> {
        if let Some((since, catalogue)) =
            &*self.catalogue.lock().unwrap_or_else(PoisonError::into_inner)
            && since.elapsed() < KEPT
        {
            return Ok(catalogue.clone());
        }
        let voices = self.engines.voices.clone();
        let reading = tokio::task::spawn_blocking(move || voices.listed());
        let installed = reading.await.map_err(|error| Refusal::Media(error.to_string()))?;
        let catalogue = Arc::new(self.catalogue_of(installed));
        let mut newest = self.catalogue.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = Some((Instant::now(), catalogue.clone()));
        Ok(catalogue)
    }

    fn catalogue_of(&self, mut installed: Vec<(String, u32)>) -> Catalogue {
        let own = self.engines.voice.name();
        // Its speaker and speed are no part of a model's name.
        let model = own.split(['#', '@']).next().unwrap_or(&own);
        if !installed.iter().any(|(name, _)| name == model) {
            installed.insert(0, (own.clone(), 1));
        }
        let is_spoken = |language: Language| {
            let heard = language == Language::En || self.config.multilingual;
            heard && installed.iter().any(|(name, _)| voices::speaks(name, language))
        };
        let usual = self.config.call.language;
        let mut languages = vec![Language::En, Language::Fr];
        languages.retain(|language| *language == usual || is_spoken(*language));
        if languages.len() > 1 && self.config.multilingual || usual == Language::Auto {
            languages.push(Language::Auto);
        }
        let listed = |(name, speakers): (String, u32)| {
            let language = voices::language_of(&name).to_owned();
            ListedVoice { name, language, speakers: speakers.max(1) }
        };
        Catalogue { voices: installed.into_iter().map(listed).collect(), languages }
    }

    /// Who EVA can be.
    pub fn personas(&self) -> &Personas {
        &self.config.personas
    }
}
