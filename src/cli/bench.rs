//! `eva bench`: a table for people, `--json` for machines.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::serve::BrainArgs;
use crate::bench::call::{Plan, Report};
use crate::bench::{Spread, llm};
use crate::models::{self, ModelId, Store};

/// What to measure.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Whole calls: from the caller's last word to EVA's first.
    Call(CallArgs),
    /// The built-in language model: time to the first token, tokens a second.
    Llm(LlmArgs),
}

#[derive(clap::Args)]
struct LlmArgs {
    /// Questions, one after the other.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..))]
    turns: u16,
    /// Threads of the model.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Folder of the models.
    #[arg(long, env = "EVA_MODELS_DIR")]
    models: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct CallArgs {
    /// Turns of each call.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..))]
    turns: u16,
    /// Calls at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    calls: u16,
    /// `mock` is the standard brain for comparisons: 50 ms to the first token, then 20 ms each.
    #[arg(long, value_parser = ["mock"])]
    llm: Option<String>,
    #[command(flatten)]
    brain: BrainArgs,
    /// Measure a gateway that runs already.
    #[arg(long, conflicts_with = "llm")]
    url: Option<String>,
    /// Folder of the models.
    #[arg(long, env = "EVA_MODELS_DIR")]
    models: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.what {
        What::Call(args) => call(args),
        What::Llm(args) => llm(args),
    }
}

fn call(args: CallArgs) -> anyhow::Result<ExitCode> {
    crate::observability::start_quiet_logging();
    let plan = Plan {
        turns: args.turns.into(),
        calls: args.calls.into(),
        url: args.url,
        brain: args.llm.is_none().then(|| args.brain.choice()),
        models: args.models,
    };
    let report = super::runtime()?.block_on(crate::bench::call::run(plan))?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    Ok(if report.unanswered == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn llm(args: LlmArgs) -> anyhow::Result<ExitCode> {
    let store = Store::open(args.models)?;
    let files = store.require(&[ModelId::BRAIN_QWEN])?;
    let mut options = llm::Options { turns: args.turns.into(), ..llm::Options::default() };
    options.config.threads = args.threads.into();
    let report = llm::run(&files.file(models::BRAIN_QWEN), &options)?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{:<28}{:>8}{:>8}{:>8}{:>8}", "ms", "p50", "p95", "p99", "max");
    row("first token", &report.first_token_ms);
    println!("\n{:.1} tokens a second on {} threads", report.tokens_per_s, report.threads);
    println!("prompt of {} tokens, {} cached", report.prompt_tokens, report.cached_tokens);
    println!("{} kernels, {:.0} MiB", report.kernels, report.rss_mib);
    Ok(ExitCode::SUCCESS)
}

fn print(report: &Report) {
    println!("brain: {}", report.brain);
    println!(
        "{} turns in {} call(s), {} unanswered, {} taken over\n",
        report.turns, report.calls, report.unanswered, report.taken_over
    );
    println!("{:<28}{:>8}{:>8}{:>8}{:>8}", "ms", "p50", "p95", "p99", "max");
    row("voice to voice", &report.voice_to_voice_ms);
    row("without the brain", &report.without_brain_ms);
    row("pacing error", &report.pacing_error_ms);
    println!("\nmedians of the parts, ms");
    for (part, ms) in &report.parts_ms {
        println!("  {part:<26}{:>8.0}", ms.as_f64().unwrap_or_default());
    }
    if let (Some(cpu), Some(rss)) = (report.cpu_s_per_call_s, report.rss_mib) {
        println!("\n{cpu:.3} CPU seconds a call second, {rss:.0} MiB");
    }
}

fn row(name: &str, spread: &Spread) {
    println!(
        "{name:<28}{:>8.1}{:>8.1}{:>8.1}{:>8.1}",
        spread.p50, spread.p95, spread.p99, spread.max
    );
}
