//! A VITS voice: a network on a thread of its own, and how one voice speaks with it.
//!
//! Owns the engine's thread. Several voices (speakers, speeds) share one network. What happens on the
//! thread is in [`super::engine`].

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::Device;
use tokio::sync::mpsc;

use super::engine::{self, SENTENCES, Speaker};
use super::fingerprint;
use super::phonemes::{PhonemeError, Phonemizer};
use super::vits::{Config, LoadError, Style, Symbols, Vits};
use super::{SpeakError, Speech, SpokenChunk, Voice, VoiceSpec};
use crate::inference::{Engine, Urgency};

/// The thread's priority: below the media path.
const NICE: i32 = 5;
/// So many speakers are named in a sentence.
const SPEAKERS_NAMED: usize = 12;

/// Why the voice cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its files are missing or damaged.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its text cannot be turned into phonemes.
    #[error(transparent)]
    Phonemes(#[from] PhonemeError),
}

/// A model has no such speaker.
#[derive(Debug, thiserror::Error)]
#[error("the voice {model} has no speaker {speaker}; it has {known}")]
pub struct UnknownSpeaker {
    /// The model.
    pub model: String,
    /// Who was asked for.
    pub speaker: String,
    /// Who there is, as a part of the sentence.
    pub known: String,
}

/// A VITS voice on a thread of its own. Clones, and other speakers and speeds of the same model
/// ([`Self::styled`]), share the thread and its network.
#[derive(Clone)]
pub struct VitsVoice {
    engine: Engine<Speaker>,
    model: Arc<Model>,
    spec: VoiceSpec,
    style: Style,
}

/// What is known of a network outside of its thread.
struct Model {
    sample_rate: u32,
    speakers: Vec<String>,
    speaker_count: usize,
    /// The model's own style.
    style: Style,
    language: String,
    fingerprint: String,
    /// Floating-point operations of a second of sound.
    flops: f64,
    /// Differs from sentence to sentence, so that none sounds exactly like another.
    seed: AtomicU64,
}

impl VitsVoice {
    /// Loads a voice onto a device, on a thread of its own; returns once it stands. `path` is a
    /// Piper voice's `.onnx` (the `.json` lies beside it), or a Hugging Face folder.
    pub fn start(path: &Path, device: &Device) -> Result<Self, StartError> {
        let device = device.clone();
        Self::start_with(path, move |path| Vits::load(path, &device))
    }

    /// As [`Self::start`], running several sentences as one batch on every device, which on the
    /// CPU is slower than one by one: for tests.
    pub fn start_batched(path: &Path, device: &Device) -> Result<Self, StartError> {
        let device = device.clone();
        Self::start_with(path, move |path| Vits::load_graph(path, &device))
    }

    fn start_with(
        path: &Path,
        load: impl FnOnce(&Path) -> Result<(Vits, Config), LoadError> + Send + 'static,
    ) -> Result<Self, StartError> {
        let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
        let spec = VoiceSpec::of(name.unwrap_or_default().to_string_lossy());
        let fingerprint = fingerprint::of_voice(path);
        let path = path.to_owned();
        let (told, model) = std::sync::mpsc::sync_channel(1);
        let engine = Engine::start("voice", SENTENCES, NICE, move || {
            let (vits, config) = load(&path)?;
            let Config { sample_rate, scales, symbols, speakers } = config;
            let language = language_of(&symbols);
            let phonemizer = Phonemizer::new(symbols)?;
            let style = Style { scales, speaker: 0 };
            let speaker_count = vits.speakers();
            let flops = vits.flops_per_second_of_sound(sample_rate);
            let seed = AtomicU64::new(1);
            let _ = told.send(Model {
                sample_rate,
                speakers,
                speaker_count,
                style,
                language,
                fingerprint,
                flops,
                seed,
            });
            Ok::<_, StartError>(Speaker::new(vits, phonemizer, sample_rate))
        })?;
        let model = model.recv().expect("a started voice has told what it is");
        Ok(Self { engine, style: model.style, model: Arc::new(model), spec })
    }

    /// Another speaker or speed of the same model: the network is shared. `spec` names the model
    /// as people call it.
    ///
    /// # Errors
    /// The model has no such speaker.
    pub fn styled(&self, spec: VoiceSpec) -> Result<Self, UnknownSpeaker> {
        let mut style = self.model.style;
        if let Some(wanted) = &spec.speaker {
            style.speaker = self.model.speaker(wanted).ok_or_else(|| UnknownSpeaker {
                model: spec.model.clone(),
                speaker: wanted.clone(),
                known: self.model.known_speakers(),
            })?;
        }
        // The length scale stretches the phonemes' durations, not the wave.
        style.scales.length /= spec.speed;
        Ok(Self { engine: self.engine.clone(), model: self.model.clone(), spec, style })
    }

    /// The language it speaks: `en`, `fr`; ISO 639-3 where there is no shorter code.
    pub fn language(&self) -> &str {
        &self.model.language
    }

    /// The speakers' names; empty for one speaker, or for speakers without names.
    pub fn speakers(&self) -> &[String] {
        &self.model.speakers
    }

    /// Differs for whatever sounds different: model, speaker, speed.
    pub fn fingerprint(&self) -> String {
        let Style { scales, speaker } = self.style;
        format!("{}-{speaker}-{:08x}", self.model.fingerprint, scales.length.to_bits())
    }

    /// Floating-point operations of a second of its sound, without the encoder and the durations.
    pub fn flops_per_second_of_sound(&self) -> f64 {
        self.model.flops
    }

    /// Whether somebody else speaks with this network too.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.model) > 1
    }

    /// Speaks a sentence to nobody, so that the first real one meets warm caches. Blocks until it
    /// is done: not for async threads.
    pub fn warm_up(&self) -> Result<(), SpeakError> {
        let (done, waits) = std::sync::mpsc::sync_channel(1);
        let style = self.style;
        self.engine.submit(Urgency::Background, move |speaker| {
            let _ = done.send(speaker.speak_to_nobody(style));
        })?;
        let spoken = waits.recv();
        spoken
            .map_err(|_| SpeakError::Model("it broke while warming up".into()))?
            .map_err(|error| SpeakError::Model(error.to_string()))
    }
}

impl Model {
    /// The number of a speaker given by name or number.
    fn speaker(&self, wanted: &str) -> Option<u32> {
        let named = self.speakers.iter().position(|name| name == wanted);
        let named = named
            .or_else(|| self.speakers.iter().position(|name| name.eq_ignore_ascii_case(wanted)));
        let number = || wanted.parse().ok().filter(|number: &usize| *number < self.speaker_count);
        named.or_else(number).and_then(|number| u32::try_from(number).ok())
    }

    /// The speakers for a sentence.
    fn known_speakers(&self) -> String {
        match (self.speaker_count, self.speakers.len()) {
            (0 | 1, _) => "one speaker only".to_owned(),
            (count, 0) => format!("the speakers 0 to {}", count - 1),
            (_, named) if named <= SPEAKERS_NAMED => self.speakers.join(", "),
            (count, _) => {
                format!("{count} speakers: {}, …", self.speakers[..SPEAKERS_NAMED].join(", "))
            }
        }
    }
}

/// The language of a voice's symbols: `en` of espeak-ng's `en-us`, `fr` of ISO 639-3's `fra`.
fn language_of(symbols: &Symbols) -> String {
    let code = match symbols {
        Symbols::Espeak { voice, .. } => voice,
        Symbols::Characters(alphabet) => &alphabet.language,
    };
    let code = code.split(['-', '_']).next().unwrap_or_default();
    let short = match code {
        "eng" => "en",
        "fra" => "fr",
        "deu" => "de",
        "spa" => "es",
        "ita" => "it",
        other => other,
    };
    short.to_owned()
}

impl Voice for VitsVoice {
    fn speak(&self, speech: Speech) -> mpsc::Receiver<Result<SpokenChunk, SpeakError>> {
        let seed = self.model.seed.fetch_add(1, Ordering::Relaxed);
        engine::start(&self.engine, speech, self.style, seed)
    }

    fn sample_rate(&self) -> u32 {
        self.model.sample_rate
    }

    fn name(&self) -> String {
        self.spec.to_string()
    }
}
