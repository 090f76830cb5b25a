//! Starts and warms the engines.
//!
//! In: which models and which brain. Out: [`Engines`] that have each done their work once, so that the
//! first caller waits for nothing. Used by `eva serve` and by the benches.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;

use crate::call::Engines;
use crate::listening::silero::VadEngine;
use crate::listening::smart_turn::EndOfTurnEngine;
use crate::listening::whisper::{WhisperEngines, WhisperPaths};
use crate::models::{self, ModelId, Store};
use crate::speaking::{Device, Voice, VoiceSpec};
use crate::thinking::Llm;
use crate::thinking::builtin::{self as brain, BuiltinConfig};
use crate::thinking::discover::{KNOWN, discover};
use crate::thinking::openai::{OpenAi, OpenAiConfig, api_key_from_env};
use crate::thinking::tools::Toolbox;
use crate::voices::{self, Voices};

/// Which language model answers.
#[derive(Clone, Debug)]
pub enum BrainChoice {
    /// This OpenAI-compatible server.
    Server {
        /// Its address.
        url: String,
        /// The model; the server's first where `None`.
        model: Option<String>,
    },
    /// A server that runs on this machine, else the built-in model.
    Find {
        /// The model to ask a found server for.
        model: Option<String>,
    },
    /// The built-in model.
    Builtin,
}

/// Which engines to start.
#[derive(Clone, Debug)]
pub struct EngineChoice {
    /// Folder of the models; the default one where `None`.
    pub models: Option<PathBuf>,
    /// Load the multilingual recogniser.
    pub multilingual: bool,
    /// The voice of calls that ask for none.
    pub voice: VoiceSpec,
    /// What the voice runs on.
    pub device: Device,
    /// The language model.
    pub brain: BrainChoice,
}

/// Engines, ready.
pub struct Loaded {
    /// The engines.
    pub engines: Engines,
    /// Whether other languages than English are understood.
    pub multilingual: bool,
}

/// Starts the engines and warms each of them up. `instructions` are read ahead by the built-in brain.
///
/// Models are loaded on threads of their own; the caller's thread waits.
pub async fn start(choice: EngineChoice, instructions: &str) -> anyhow::Result<Loaded> {
    start_with_tools(choice, instructions, Toolbox::default()).await
}

/// The same with tools, which the built-in brain reads ahead too.
pub async fn start_with_tools(
    choice: EngineChoice,
    instructions: &str,
    tools: Toolbox,
) -> anyhow::Result<Loaded> {
    let store = Store::open(choice.models.clone())?;
    let found = matches!(choice.brain, BrainChoice::Find { .. });
    let brain = find_brain(choice.brain).await;
    let mut wanted = vec![ModelId::SILERO_VAD, ModelId::SMART_TURN, ModelId::WHISPER_TINY_EN];
    if choice.multilingual {
        wanted.push(ModelId::WHISPER_BASE);
    }
    if matches!(brain, BrainChoice::Builtin) {
        wanted.push(ModelId::BRAIN_QWEN);
    }
    let files = store.require(&wanted)?;
    let paths = WhisperPaths {
        en: Some(files.file(models::WHISPER_TINY_EN)),
        multilingual: choice.multilingual.then(|| files.file(models::WHISPER_BASE)),
    };
    let (vad, vote) = (files.file(models::SILERO_VAD), files.file(models::SMART_TURN));
    // Said before anything is loaded.
    store.voice_path(&choice.voice.model)?;
    let voices = Arc::new(Voices::of(store, choice.device));
    let to_load = voices.clone();
    let senses = tokio::task::spawn_blocking(move || {
        let transcriber = WhisperEngines::start(paths)?;
        transcriber.warm_up()?;
        let vad = VadEngine::start(&vad)?;
        let end_of_turn = EndOfTurnEngine::start(&vote)?;
        let voice = to_load.get(&choice.voice)?;
        anyhow::Ok((vad, end_of_turn, Arc::new(transcriber), voice))
    });
    let llm =
        start_brain(brain, found, files.file(models::BRAIN_QWEN), instructions, &tools).await?;
    let (vad, end_of_turn, transcriber, voice) =
        senses.await.context("a model could not be loaded")??;
    let (voice, clips) = voices::for_call(&voices, voice);
    let tongues = Vec::new();
    let engines =
        Engines { vad, end_of_turn, transcriber, llm, tools, voice, clips, voices, tongues };
    Ok(Loaded { engines, multilingual: choice.multilingual })
}

/// Starts the default voice alone, on the CPU.
pub fn start_voice(models: Option<PathBuf>) -> anyhow::Result<Arc<dyn Voice>> {
    Ok(Arc::new(Voices::open(models, Device::Cpu)?.get(&VoiceSpec::of(models::DEFAULT_VOICE))?))
}

/// Looks for a server on this machine where nobody named one.
async fn find_brain(choice: BrainChoice) -> BrainChoice {
    let BrainChoice::Find { model } = choice else { return choice };
    match discover(&KNOWN).await.into_iter().next() {
        Some(found) => {
            tracing::info!(
                server = found.name,
                url = found.url,
                "a language model server runs here"
            );
            BrainChoice::Server { url: found.url, model: model.or(Some(found.model)) }
        }
        None => BrainChoice::Builtin,
    }
}

async fn start_brain(
    choice: BrainChoice,
    found: bool,
    builtin: PathBuf,
    instructions: &str,
    tools: &Toolbox,
) -> anyhow::Result<Arc<dyn Llm>> {
    match choice {
        BrainChoice::Server { url, model } => {
            // The key belongs to a server somebody named, not to one that was found.
            let api_key = if found { None } else { api_key_from_env() };
            let config = OpenAiConfig { model, api_key, ..OpenAiConfig::new(url) };
            let server = OpenAi::new(config)?;
            // A server that is down now may be up when the first call comes: EVA says so then.
            match server.warm_up().await {
                Ok(found) => tracing::info!("{found}"),
                Err(error) => tracing::warn!("{error}; calls will hear an apology until it does"),
            }
            Ok(Arc::new(server))
        }
        BrainChoice::Builtin | BrainChoice::Find { .. } => {
            let (instructions, tools) = (instructions.to_owned(), tools.specs());
            let brain = tokio::task::spawn_blocking(move || {
                let brain = brain::start(&builtin, BuiltinConfig::default())?;
                brain.warm_up(&instructions, tools)?;
                anyhow::Ok(brain)
            });
            Ok(Arc::new(brain.await.context("the built-in language model could not be loaded")??))
        }
    }
}
