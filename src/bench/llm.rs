//! `eva bench llm`: how fast the built-in brain answers.
//!
//! In: a model file and a number of turns. Out: a [`Report`]. One call, a different question of
//! about 15 words each turn, the history growing as in a conversation; the system prompt is warm, as
//! it is when `eva serve` is ready, and nothing is read ahead. Measures, and decides nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::Spread;
use super::stats::{process_cpu, rss_mib};
use crate::ids::CallId;
use crate::thinking::builtin::{self, BuiltinConfig};
use crate::thinking::{Llm, LlmEvent, Message, Offer, Prompt, Role, Usage};

const SYSTEM: &str = "You are EVA, a friendly voice assistant on a phone call. Answer in one or two \
                      short spoken sentences, in the language of the person.";

/// What a conversation is about; each turn asks of another pair of these.
const SUBJECTS: [&str; 12] = [
    "volcanoes",
    "bicycles",
    "honey bees",
    "the violin",
    "lighthouses",
    "sourdough bread",
    "glaciers",
    "chess",
    "hot air balloons",
    "the printing press",
    "tea",
    "railway bridges",
];

/// How the benchmark runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Questions asked, one after the other.
    pub turns: usize,
    /// The most tokens of one answer.
    pub max_tokens: u32,
    /// How the brain runs.
    pub config: BuiltinConfig,
}

impl Default for Options {
    fn default() -> Self {
        let config = BuiltinConfig { threads: 2, ..BuiltinConfig::default() };
        Self { turns: 12, max_tokens: 60, config }
    }
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// From handing the prompt over to the first text.
    pub first_token_ms: Spread,
    /// Tokens after the first, per second of writing; all turns together.
    pub tokens_per_s: f64,
    /// Processor time of all threads to the first text, median: what a busy machine cannot stretch.
    pub first_token_cpu_ms: f64,
    /// Processor time of all threads for each token after the first.
    pub cpu_ms_per_token: f64,
    /// Prompt tokens of the median turn.
    pub prompt_tokens: u32,
    /// Of them, those that were cached.
    pub cached_tokens: u32,
    /// Threads that shared each step.
    pub threads: usize,
    /// Questions asked.
    pub turns: usize,
    /// Loading the model and reading the system prompt.
    pub start_ms: f64,
    /// Weights read for each token, MB.
    pub weights_mb: f64,
    /// The instructions used.
    pub kernels: &'static str,
    /// Memory of the whole process at the end, MiB.
    pub rss_mib: f64,
}

/// One turn's times.
struct Turn {
    first: Duration,
    /// From the first to the last text.
    writing: Duration,
    /// Processor time of the process, the same way.
    first_cpu: Duration,
    writing_cpu: Duration,
    usage: Usage,
}

/// Loads the model and asks; blocks until all is answered.
pub fn run(model: &Path, options: &Options) -> anyhow::Result<Report> {
    anyhow::ensure!(options.turns > 0, "a benchmark needs at least one turn");
    let started = Instant::now();
    let brain = builtin::start(model, options.config.clone())?;
    brain.warm_up(SYSTEM, Arc::default())?;
    let start_ms = started.elapsed().as_secs_f64() * 1e3;
    let call = CallId::random();
    let mut messages = vec![message(Role::System, SYSTEM.to_owned())];
    let mut turns = Vec::with_capacity(options.turns);
    for index in 0..options.turns {
        messages.push(message(Role::User, question(index)));
        let prompt = Prompt {
            call,
            messages: messages.clone(),
            offer: Offer::default(),
            max_tokens: options.max_tokens,
            temperature: 0.7,
        };
        let (turn, answer) = ask(&brain, prompt)?;
        messages.push(message(Role::Assistant, answer));
        turns.push(turn);
    }
    let tokens: u32 = turns.iter().map(|turn| turn.usage.completion_tokens - 1).sum();
    let seconds: f64 = turns.iter().map(|turn| turn.writing.as_secs_f64()).sum();
    let cpu: f64 = turns.iter().map(|turn| turn.writing_cpu.as_secs_f64()).sum();
    let firsts_cpu: Vec<f64> =
        turns.iter().map(|turn| turn.first_cpu.as_secs_f64() * 1e3).collect();
    let firsts: Vec<f64> = turns.iter().map(|turn| turn.first.as_secs_f64() * 1e3).collect();
    turns.sort_by_key(|turn| turn.usage.prompt_tokens);
    let usage = turns[turns.len() / 2].usage;
    let facts = brain.facts();
    Ok(Report {
        first_token_ms: Spread::of(firsts),
        tokens_per_s: if seconds > 0. { f64::from(tokens) / seconds } else { 0. },
        first_token_cpu_ms: Spread::of(firsts_cpu).p50,
        cpu_ms_per_token: cpu * 1e3 / f64::from(tokens.max(1)),
        prompt_tokens: usage.prompt_tokens,
        cached_tokens: usage.cached_tokens,
        threads: facts.threads,
        turns: turns.len(),
        start_ms,
        weights_mb: facts.bytes_per_step as f64 / 1e6,
        kernels: facts.kernels,
        rss_mib: rss_mib(),
    })
}

/// A question of about 15 words that was not asked before.
fn question(index: usize) -> String {
    let one = SUBJECTS[index % SUBJECTS.len()];
    let other = SUBJECTS[(index * 5 + 1 + index / SUBJECTS.len()) % SUBJECTS.len()];
    let number = index + 1;
    format!(
        "Question {number}: what do {one} and {other} have in common, and which of them is older?"
    )
}

fn message(role: Role, text: String) -> Message {
    Message::new(role, text)
}

fn ask(brain: &dyn Llm, prompt: Prompt) -> anyhow::Result<(Turn, String)> {
    let (asked, asked_cpu) = (Instant::now(), process_cpu());
    let mut events = brain.reply(prompt);
    let mut answer = String::new();
    let (mut first, mut last) = (None, (asked, asked_cpu));
    while let Some(event) = events.blocking_recv() {
        match event {
            LlmEvent::Text(text) => {
                last = (Instant::now(), process_cpu());
                first.get_or_insert(last);
                answer.push_str(text.reveal());
            }
            LlmEvent::ToolCall(_) => {}
            LlmEvent::Done(usage) => {
                let Some(first) = first else { anyhow::bail!("the brain answered with nothing") };
                let turn = Turn {
                    first: first.0 - asked,
                    writing: last.0 - first.0,
                    first_cpu: first.1.saturating_sub(asked_cpu),
                    writing_cpu: last.1.saturating_sub(first.1),
                    usage,
                };
                return Ok((turn, answer));
            }
            LlmEvent::Failed(error) => return Err(error.into()),
        }
    }
    anyhow::bail!("the brain stopped in the middle of an answer")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::question;

    #[test]
    fn no_question_is_asked_twice_and_each_has_about_fifteen_words() {
        let questions: HashSet<String> = (0..200).map(question).collect();
        assert_eq!(questions.len(), 200);
        assert!(questions.iter().all(|q| (15..=20).contains(&q.split_whitespace().count())));
    }
}
