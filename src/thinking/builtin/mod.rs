//! The built-in brain: a small Qwen2.5 on the processor, in this process.
//!
//! In: [`Prompt`]s. Out: [`LlmEvent`]s. One engine thread owns everything (`brain`); it and a small
//! pool of its own do the arithmetic in steps of at most ~50 ms. What a call has read stays in
//! memory from turn to turn, so that only the new words of a turn are read, most of them while the
//! person still speaks ([`Llm::read_ahead`]).
//!
//! A conversation that outgrows the context loses its oldest messages; the system message stays
//! (`chat`). The model file is GGUF; the weights are repacked for integer dot products when it is
//! loaded (`packed`, `kernels`).

mod attention;
mod brain;
mod cache;
mod chat;
mod gguf;
mod kernels;
mod lanes;
mod network;
mod packed;
mod pool;
mod reply;
mod sampler;
#[cfg(test)]
mod tests;
mod tokenizer;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use self::brain::Brain;
pub use self::gguf::StartError;
use self::kernels::Isa;
use self::pool::Pool;
use super::{
    EVENT_QUEUE, Llm, LlmError, LlmEvent, Message, OverloadedBrain, Prompt, Role, ToolSpec,
};
use crate::ids::CallId;
use crate::inference::{Engine, Urgency};

/// Jobs that may wait for the engine; what comes beyond is refused as overload.
const JOBS: usize = 128;
/// The brain runs below the media path and the other engines.
const NICE: i32 = 5;

/// How the built-in brain runs.
#[derive(Clone, Debug)]
pub struct BuiltinConfig {
    /// Threads that share each step.
    pub threads: usize,
    /// The most tokens of one conversation, reply included. A position takes 24 KiB of memory (for
    /// the 0.5B model) in each call that reaches it.
    pub context: usize,
    /// How many calls' conversations stay read between their turns; the one used longest ago gives
    /// way, and is read again at its next turn.
    pub cached_calls: usize,
    /// Seed of the first reply's sampling; each further reply has its own.
    pub seed: u64,
}

impl Default for BuiltinConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self { threads: cores.min(4), context: 4096, cached_calls: 8, seed: 0 }
    }
}

/// The built-in brain. Clones share it; its threads end with the last one.
#[derive(Clone)]
pub struct Builtin {
    engine: Engine<Brain>,
    name: String,
    facts: Facts,
}

/// What a loaded brain is, for benchmarks and the doctor.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Threads that share each step.
    pub threads: usize,
    /// Bytes of weights that are read for each step, whatever the number of tokens in it.
    pub bytes_per_step: usize,
    /// The instructions its arithmetic uses.
    pub kernels: &'static str,
}

/// Loads the model file and starts the brain's threads; takes about a second, blocking.
pub fn start(path: &Path, config: BuiltinConfig) -> Result<Builtin, StartError> {
    let name = path.file_stem().map_or_else(String::new, |name| label(&name.to_string_lossy()));
    let path = path.to_owned();
    let (report, facts) = std::sync::mpsc::sync_channel(1);
    let engine = Engine::start("brain", JOBS, NICE, move || {
        let pool = Pool::new(config.threads, NICE)
            .map_err(|error| StartError::Threads(error.to_string()))?;
        let (network, tokenizer) = gguf::load(&path, config.context, Isa::detect(), &pool)?;
        let _ = report.send(Facts {
            threads: pool.count(),
            bytes_per_step: network.bytes_per_pass(),
            kernels: network.isa().name(),
        });
        Ok(Brain::new(network, tokenizer, pool, config.cached_calls, config.seed))
    })?;
    let driver = engine.resubmitter();
    engine
        .submit(Urgency::Frame, move |brain| brain.drive_with(driver))
        .expect("a new engine's queue has room");
    Ok(Builtin { engine, name, facts: facts.recv().expect("a loaded brain has told its facts") })
}

/// The file's name without its quantisation, for people.
fn label(file: &str) -> String {
    let model = file.rsplit_once("-q").map_or(file, |(model, _)| model);
    format!("{model} (built in)")
}

impl Builtin {
    /// Reads the system prompt and the tools that calls will begin with, so that their first turn
    /// need not; warms up memory and processor on the way. Returns when they are read; blocks
    /// meanwhile.
    ///
    /// # Errors
    /// If the brain has too much to do, or its thread broke.
    pub fn warm_up(&self, system_prompt: &str, tools: Arc<[ToolSpec]>) -> Result<(), LlmError> {
        let messages = [Message::new(Role::System, system_prompt), Message::new(Role::User, "")];
        let (done, read) = std::sync::mpsc::sync_channel(1);
        self.engine
            .submit(Urgency::Now, move |brain| brain.warm_up(&messages, &tools, done))
            .map_err(|_| OverloadedBrain)?;
        let broken = |_| LlmError::Model("the system prompt could not be read".to_owned());
        read.recv().map_err(broken)
    }

    /// What was loaded.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

impl Llm for Builtin {
    fn reply(&self, prompt: Prompt) -> mpsc::Receiver<LlmEvent> {
        let (events, receiver) = mpsc::channel(EVENT_QUEUE);
        let refused = events.clone();
        let job = self.engine.submit(Urgency::Now, move |brain| brain.reply(&prompt, events));
        if job.is_err() {
            let _ = refused.try_send(LlmEvent::Failed(OverloadedBrain.into()));
        }
        receiver
    }

    fn read_ahead(&self, prompt: Prompt) {
        let _ = self.engine.submit(Urgency::Later, move |brain| brain.read_ahead(&prompt));
    }

    fn forget(&self, call: CallId) {
        // A full queue keeps the call's memory until other calls take its place.
        let _ = self.engine.submit(Urgency::Later, move |brain| brain.forget(call));
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}
