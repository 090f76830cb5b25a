//! Voices by name: loaded when first asked for, and kept.
//!
//! In: a [`VoiceSpec`]. Out: a [`VitsVoice`] that stands and is warm, and its [`Clips`]. Voices that
//! differ only in speaker and speed share a network and its thread. Owns the loaded networks, at
//! most [`NETWORKS`]; one that nobody speaks with makes room. Loading blocks: [`Voices::get`] is
//! not for async threads.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use crate::audio::WIRE_RATE;
use crate::audio::resample::resample;
use crate::language::Language;
use crate::models::{DEFAULT_VOICE, ModelError, Store, VoiceState, cache_dir};
use crate::speaking::clips::Clips;
use crate::speaking::{
    Device, SpeakError, StartError, UnknownSpeaker, VitsVoice, Voice, VoiceSpec,
};

/// Networks in memory at once, some 100-200 MB each.
pub const NETWORKS: usize = 4;
/// Sets of clips in memory at once: voices of one network that differ in speaker or speed.
const CLIP_SETS: usize = 16;

/// Why there is no such voice to speak with.
#[derive(Debug, thiserror::Error)]
pub enum VoiceError {
    /// It is not installed, or damaged.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// It has no such speaker.
    #[error(transparent)]
    Speaker(#[from] UnknownSpeaker),
    /// It cannot be loaded.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It was loaded and did not speak.
    #[error(transparent)]
    Speak(#[from] SpeakError),
    /// Others are spoken with.
    #[error("{NETWORKS} other voices are being spoken with; try again when a call has ended")]
    Full,
}

impl VoiceError {
    /// Whether whoever asked can ask for something else, rather than the gateway being at fault.
    pub fn is_askers(&self) -> bool {
        let absent = |error: &ModelError| {
            matches!(error, ModelError::UnknownVoice { .. } | ModelError::VoiceAbsent { .. })
        };
        matches!(self, Self::Speaker(_)) || matches!(self, Self::Model(error) if absent(error))
    }
}

/// The voices of one folder of models.
pub struct Voices {
    store: Store,
    /// What they run on.
    device: Device,
    /// Least recently used first.
    loaded: Mutex<Vec<VitsVoice>>,
    /// One is loaded at a time.
    loading: Mutex<()>,
    clips: Mutex<Vec<(String, Clips)>>,
}

impl Voices {
    /// The voices of a folder of models, the default folder where `None`, on a device.
    pub fn open(models: Option<PathBuf>, device: Device) -> Result<Self, ModelError> {
        Ok(Self::of(Store::open(models)?, device))
    }

    /// The voices of an open store, on a device.
    pub fn of(store: Store, device: Device) -> Self {
        Self {
            store,
            device,
            loaded: Mutex::default(),
            loading: Mutex::default(),
            clips: Mutex::default(),
        }
    }

    /// The voice of calls that ask for none, where its owner named none either: the default one if
    /// it speaks the language, else the first installed one that does, else the default one.
    pub fn default_for(&self, language: Language) -> VoiceSpec {
        self.speaking(language).unwrap_or_else(|| VoiceSpec::of(DEFAULT_VOICE))
    }

    /// An installed voice that speaks the language: the default one if it does, else the first.
    pub fn speaking(&self, language: Language) -> Option<VoiceSpec> {
        if speaks(DEFAULT_VOICE, language) {
            return Some(VoiceSpec::of(DEFAULT_VOICE));
        }
        let mut installed = self.store.installed_voices().into_iter();
        installed.find(|name| speaks(name, language)).map(VoiceSpec::of)
    }

    /// The names of the installed voices.
    pub fn installed(&self) -> Vec<String> {
        self.store.installed_voices()
    }

    /// The installed voices, with their speakers counted. Reads the disk.
    pub fn listed(&self) -> Vec<(String, u32)> {
        let all = self.store.voices().unwrap_or_default().into_iter();
        let whole = all.filter(|voice| voice.state == VoiceState::Installed);
        whole.map(|voice| (voice.name, voice.speakers)).collect()
    }

    /// A voice whose network is loaded already; costs nothing.
    ///
    /// # Errors
    /// The model has no such speaker.
    pub fn loaded(&self, spec: &VoiceSpec) -> Result<Option<VitsVoice>, UnknownSpeaker> {
        let mut loaded = lock(&self.loaded);
        let Some(at) = loaded.iter().position(|voice| voice.name() == spec.model) else {
            return Ok(None);
        };
        // The most recently used one is the last.
        let voice = loaded.remove(at);
        let styled = voice.styled(spec.clone());
        loaded.push(voice);
        styled.map(Some)
    }

    /// Whether there is such a voice, without loading it.
    ///
    /// # Errors
    /// It is not installed (the sentence lists what is), or is loaded and has no such speaker.
    pub fn check(&self, spec: &VoiceSpec) -> Result<(), VoiceError> {
        self.store.voice_path(&spec.model)?;
        self.loaded(spec)?;
        Ok(())
    }

    /// A voice; loads and warms its network if need be (some tenths of a second). Blocks.
    ///
    /// # Errors
    /// It is not installed (the sentence lists what is), has no such speaker, cannot be loaded, or
    /// all places are taken by voices that are being spoken with.
    pub fn get(&self, spec: &VoiceSpec) -> Result<VitsVoice, VoiceError> {
        if let Some(voice) = self.loaded(spec)? {
            return Ok(voice);
        }
        let _one_at_a_time = lock(&self.loading);
        // Somebody else may have loaded it meanwhile.
        if let Some(voice) = self.loaded(spec)? {
            return Ok(voice);
        }
        let path = self.store.voice_path(&spec.model)?;
        self.make_room()?;
        let began = Instant::now();
        let network = VitsVoice::start(&path, &self.device)?;
        let network = network.styled(VoiceSpec::of(spec.model.clone()))?;
        let voice = network.styled(spec.clone())?;
        network.warm_up()?;
        let ms = began.elapsed().as_millis() as u64;
        tracing::info!(voice = %spec.model, ms, "a voice was loaded");
        lock(&self.loaded).push(network);
        Ok(voice)
    }

    /// The fillers and backchannels of a voice: there at once, filling up in the voice's idle time,
    /// and then brought to the wire's rate. Needs the async runtime: they are made on one of its blocking threads.
    pub fn clips(&self, voice: &VitsVoice) -> Clips {
        let fingerprint = voice.fingerprint();
        let mut sets = lock(&self.clips);
        if let Some((_, clips)) = sets.iter().find(|(of, _)| *of == fingerprint) {
            return clips.clone();
        }
        if sets.len() >= CLIP_SETS {
            sets.remove(0);
        }
        let clips = Clips::new();
        sets.push((fingerprint.clone(), clips.clone()));
        let (made, voice) = (clips.clone(), voice.clone());
        tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let dir = cache_dir().join("clips");
            let prepared = made.prepare(&voice, &fingerprint, voice.language(), &dir);
            made.at_rate(WIRE_RATE, |pcm, rate| resample(pcm, rate, WIRE_RATE).ok());
            let ms = began.elapsed().as_millis() as u64;
            let (made, cached) = (prepared.made, prepared.cached);
            tracing::info!(voice = voice.name(), made, cached, ms, "clips are ready");
        });
        clips
    }

    /// Lets go of the networks that nobody speaks with, until there is a place.
    fn make_room(&self) -> Result<(), VoiceError> {
        let mut loaded = lock(&self.loaded);
        while loaded.len() >= NETWORKS {
            let idle = loaded.iter().position(|voice| !voice.is_shared());
            drop(loaded.remove(idle.ok_or(VoiceError::Full)?));
        }
        Ok(())
    }
}

/// Whether the voice of this name speaks the language, as far as its name tells.
pub fn speaks(name: &str, language: Language) -> bool {
    let mms = match language {
        Language::Fr => "mms-fra",
        Language::En => "mms-eng",
        Language::Auto => return true,
    };
    name.starts_with(&format!("{}_", language.code())) || name.starts_with(mms)
}

/// Whether a voice of this name may speak the language: a name that tells no language may.
pub fn may_speak(name: &str, language: Language) -> bool {
    let tells = name.starts_with("mms-") || name.as_bytes().get(2) == Some(&b'_');
    !tells || speaks(name, language)
}

/// The language of the voice of this name, as far as its name tells: `en`, or an ISO 639-3 code.
pub fn language_of(name: &str) -> &str {
    match name.strip_prefix("mms-") {
        Some(iso) => iso.get(..3).unwrap_or(iso),
        None => name.split(['_', '-']).next().unwrap_or_default(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is one push or removal.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A voice and its clips, as a call takes them.
pub fn for_call(voices: &Voices, voice: VitsVoice) -> (Arc<dyn Voice>, Clips) {
    let clips = voices.clips(&voice);
    (Arc::new(voice), clips)
}
