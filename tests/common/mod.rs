//! What the tests of whole calls share: engines that are started once, speech, transcription.

#![allow(dead_code, clippy::disallowed_methods)]

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use eva_voice::audio::WIRE_RATE;
use eva_voice::audio::resample::resample;
use eva_voice::bench::local::LocalGateway;
use eva_voice::call::{CallSettings, Engines};
use eva_voice::engines::{self, BrainChoice, EngineChoice};
use eva_voice::listening::{LISTENING_RATE, Language, Pass};
use eva_voice::models::DEFAULT_VOICE;
use eva_voice::signaling::Access;
use eva_voice::speaking::{Device, VoiceSpec};
use eva_voice::thinking::Llm;
use eva_voice::thinking::openai::{OpenAi, OpenAiConfig};

/// One runtime for a whole test program: the engines' tasks live on it.
pub fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
    })
}

/// Engines with the built-in brain, started once.
pub fn engines() -> Engines {
    static ENGINES: OnceLock<Engines> = OnceLock::new();
    ENGINES
        .get_or_init(|| {
            let choice = EngineChoice {
                models: None,
                multilingual: false,
                voice: VoiceSpec::of(DEFAULT_VOICE),
                device: Device::Cpu,
                brain: BrainChoice::Builtin,
            };
            let instructions = CallSettings::default().instructions();
            // On a thread of its own: tests call this from inside the runtime.
            std::thread::spawn(move || {
                runtime()
                    .block_on(engines::start(choice, &instructions))
                    .map(|loaded| loaded.engines)
            })
            .join()
            .expect("the engines start")
            .expect("all models are there: run `eva models pull --all`")
        })
        .clone()
}

/// The same engines with an OpenAI-compatible server as the brain.
pub fn engines_with_server(url: &str) -> Engines {
    let config =
        OpenAiConfig { model: Some("mock-23-tokens".to_owned()), ..OpenAiConfig::new(url) };
    let llm: Arc<dyn Llm> = Arc::new(OpenAi::new(config).expect("a client"));
    Engines { llm, ..engines() }
}

/// A gateway on free ports.
pub async fn gateway(engines: Engines) -> LocalGateway {
    LocalGateway::start(engines, CallSettings::default(), 8, Access::open())
        .await
        .expect("a gateway on 127.0.0.1")
}

/// A sentence spoken by the voice itself, 48 kHz.
pub async fn say(text: &str) -> Vec<f32> {
    eva_voice::bench::call::say(&*engines().voice, text).await.expect("the voice speaks")
}

/// What Whisper hears in 48 kHz sound, in lower case.
pub async fn transcribe(sound: &[f32]) -> String {
    let sound = resample(sound, WIRE_RATE, LISTENING_RATE).expect("usual rates");
    let mut pass = engines().transcriber.transcribe(sound, Language::En, Pass::Final);
    let words = (&mut pass.result).await.expect("the recogniser answers").expect("words");
    words.text.reveal().to_lowercase()
}

/// A human prompt of Debian's asterisk-core-sounds-en-wav, 48 kHz.
pub fn human(name: &str) -> Vec<f32> {
    prompt(["en", "en_US_f_Allison"], name)
}

/// A human prompt of Debian's asterisk-core-sounds-fr-wav, 48 kHz.
pub fn human_french(name: &str) -> Vec<f32> {
    prompt(["fr", "fr_CA_f_June"], name)
}

fn prompt(voices: [&str; 2], name: &str) -> Vec<f32> {
    let folder = PathBuf::from("/usr/share/asterisk/sounds");
    let candidates = voices.map(|voice| folder.join(voice).join(name));
    let path = candidates.iter().find(|path| path.exists()).unwrap_or_else(|| {
        panic!("no {name} in {}: install asterisk-core-sounds-{}-wav", folder.display(), voices[0])
    });
    let sound = eva_voice::audio::wav::read_wav(path).expect("a WAV file");
    resample(&sound.samples, sound.sample_rate, WIRE_RATE).expect("usual rates")
}
