//! `eva bench`: a table for people, `--json` for machines.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::serve::BrainArgs;
use crate::bench::call::{Plan, Report};
use crate::bench::{Spread, chat, conversation, llm, tts};
use crate::call::CallSettings;
use crate::engines::BrainChoice;
use crate::models::{self, DEFAULT_VOICE, ModelId, Store};
use crate::speaking::{Device, VitsVoice, VoiceSpec, device};
use crate::voices::Voices;

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
    /// Chats: what the gateway adds to the brain, time to the first sound, WebSockets, fillers.
    Chat(ChatArgs),
    /// Conversations: pauses, interruptions, backchannels, noises, echo, what was heard.
    Conversation(ConversationArgs),
    /// The built-in language model: time to the first token, tokens a second.
    Llm(LlmArgs),
    /// The voice: time to the first sound, processor time, beside Piper's engine.
    Tts(TtsArgs),
}

#[derive(clap::Args)]
struct TtsArgs {
    /// Sentences of each length.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Lengths of sentences, in words.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 10, 20, 40], value_parser = length)]
    words: Vec<usize>,
    /// A voice by name, or a Piper voice's .onnx, or a Hugging Face folder.
    #[arg(long, env = "EVA_VOICE", default_value = DEFAULT_VOICE)]
    voice: String,
    /// What the voice runs on: cpu, cuda (cuda:1 is the second GPU), or auto.
    #[arg(long, env = "EVA_DEVICE", default_value = "cpu")]
    device: String,
    /// A Python that has piper-tts: its engine speaks the same sentences in turn.
    #[arg(long)]
    peer: Option<PathBuf>,
    /// Sentences that a recogniser writes down, to count word errors.
    #[arg(long, default_value_t = 0)]
    transcribe: u16,
    /// Decides the sentences; a new one each time where it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Folder of the models.
    #[arg(long, env = "EVA_MODELS_DIR")]
    models: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
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
    /// What the voice runs on: cpu, cuda (cuda:1 is the second GPU), or auto.
    #[arg(long, env = "EVA_DEVICE", default_value = "auto")]
    device: String,
    /// Folder of the models.
    #[arg(long, env = "EVA_MODELS_DIR")]
    models: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct ChatArgs {
    /// Messages over each way, none of them seen before.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(5..))]
    requests: u16,
    /// What the voice runs on: cpu, cuda (cuda:1 is the second GPU), or auto.
    #[arg(long, env = "EVA_DEVICE", default_value = "auto")]
    device: String,
    /// Folder of the models.
    #[arg(long, env = "EVA_MODELS_DIR")]
    models: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct ConversationArgs {
    /// Calls at once; beyond 1 only smooth turns are measured, staggered and at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    calls: u16,
    /// Only these scenarios.
    #[arg(long, num_args = 1.., value_parser = conversation::SCENARIOS)]
    scenario: Vec<String>,
    /// A few of everything, in some minutes.
    #[arg(long)]
    quick: bool,
    /// Decides pauses, moments, rooms and noises.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// File of conversation settings (TOML), to see what one does to the figures.
    #[arg(long, value_name = "FILE")]
    conversation: Option<PathBuf>,
    /// Folder for traces of the calls' decisions, for `eva replay`.
    #[arg(long, value_name = "FOLDER")]
    traces: Option<PathBuf>,
    /// `mock` is the standard brain for comparisons: 50 ms to the first token, then 20 ms each. Else
    /// `builtin`, or the address of an OpenAI-compatible server.
    #[arg(long, default_value = "mock")]
    llm: String,
    /// What the voice runs on: cpu, cuda (cuda:1 is the second GPU), or auto.
    #[arg(long, env = "EVA_DEVICE", default_value = "auto")]
    device: String,
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
        What::Chat(args) => chat(args),
        What::Conversation(args) => conversation(args),
        What::Llm(args) => llm(args),
        What::Tts(args) => tts(args),
    }
}

fn conversation(args: ConversationArgs) -> anyhow::Result<ExitCode> {
    crate::observability::start_quiet_logging();
    let plan = conversation::Plan {
        scenarios: args.scenario,
        calls: args.calls.into(),
        size: if args.quick { conversation::Size::Quick } else { conversation::Size::Full },
        seed: args.seed,
        brain: match args.llm.as_str() {
            "mock" => None,
            "builtin" => Some(BrainChoice::Builtin),
            url => Some(BrainChoice::Server { url: url.to_owned(), model: None }),
        },
        device: device::pick(&args.device)?,
        models: args.models,
        call: CallSettings {
            turn: super::serve::turn_settings(args.conversation.as_deref())?,
            traces: super::serve::traces(args.traces)?,
            ..CallSettings::default()
        },
    };
    let json = args.json;
    let part_began = std::cell::Cell::new(std::time::Instant::now());
    let told = |part: &str, lines: &[conversation::Line]| {
        let took = part_began.replace(std::time::Instant::now()).elapsed().as_secs_f64();
        let text: Vec<String> = lines.iter().map(conversation::Line::print).collect();
        let text = format!("{part} ({took:.0} s)\n{}\n", text.join("\n"));
        // Machines read the object; people who watch see the same.
        if json { eprintln!("{text}") } else { println!("{text}") }
    };
    let report = super::runtime()?.block_on(conversation::run(&plan, told))?;
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!(
            "brain: {}; human prompts: {}; seed {}",
            report.brain, report.prompts, report.seed
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn tts(args: TtsArgs) -> anyhow::Result<ExitCode> {
    crate::observability::start_quiet_logging();
    let device = device::pick(&args.device)?;
    let (voice, model) = bench_voice(&args, &device)?;
    let peer = args.peer.map(|python| tts::Peer::start(&python, &model)).transpose()?;
    let plan = tts::Plan {
        words: args.words,
        rounds: args.rounds.into(),
        seed: args.seed.unwrap_or_else(rand::random),
        transcribed: args.transcribe.into(),
        models: args.models,
    };
    let report = tts::run(&voice, &device, peer, &plan)?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print_voice(&report);
    }
    Ok(ExitCode::SUCCESS)
}

/// A number of words that there are sentences of.
fn length(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(words) if matches!(words, 1 | 4) || (10..=400).contains(&words) && words % 10 == 0 => {
            Ok(words)
        }
        _ => Err("say 1, 4, or a multiple of ten up to 400".into()),
    }
}

/// The voice to measure, warm, and where it lies.
fn bench_voice(args: &TtsArgs, device: &Device) -> anyhow::Result<(VitsVoice, PathBuf)> {
    let path = PathBuf::from(&args.voice);
    if path.exists() {
        let voice = VitsVoice::start(&path, device)?;
        voice.warm_up()?;
        return Ok((voice, path));
    }
    let spec: VoiceSpec = args.voice.parse()?;
    let path = Store::open(args.models.clone())?.voice_path(&spec.model)?;
    let voice = Voices::open(args.models.clone(), device.clone())?.get(&spec)?;
    Ok((voice, path))
}

fn print_voice(report: &tts::Report) {
    println!("{} on {}; medians\n", report.voice, report.device);
    println!(
        "{:>6}{:>13}{:>10}{:>10}{:>14}{:>20}{:>14}",
        "words", "first sound", "whole", "sound", "CPU ms / s", "Piper: first sound", "CPU ms / s"
    );
    for row in &report.sentences {
        print!(
            "{:>6}{:>10.1} ms{:>7.0} ms{:>8.2} s{:>14.1}",
            row.words, row.first_sound_ms, row.whole_ms, row.audio_s, row.cpu_ms_per_audio_s
        );
        match (&row.peer, &row.ratio) {
            (Some(peer), Some(ratio)) => println!(
                "{:>10.1} ms {:.2}x{:>8.1} {:.2}x",
                peer.first_sound_ms, ratio.first_sound, peer.cpu_ms_per_audio_s, ratio.cpu
            ),
            _ => println!(),
        }
    }
    if let Some(limit) = &report.limit {
        println!(
            "\na second of sound takes {} GFLOP, computed at {} GFLOP/s; gemm reaches {} on a thread",
            limit.gflop_per_audio_s, limit.gflops, limit.gemm_gflops
        );
    }
    let at_once = &report.at_once;
    println!(
        "{} sentences at once: {} with a gap; the latest chunk came {:.0} ms early",
        at_once.sentences, at_once.underruns, at_once.least_slack_ms
    );
    println!("a sentence after a hang-up waits {:.1} ms more", report.after_cancelling_ms);
    print!("peak memory {:.0} MiB", report.peak_mib);
    println!(
        "{}",
        report.peer_peak_mib.map_or(String::new(), |peak| format!(", Piper's {peak:.0} MiB"))
    );
    if let Some(heard) = &report.intelligible {
        print!(
            "{} sentences over Opus: {:.1} % of words misheard",
            heard.sentences,
            1e2 * heard.word_error_rate
        );
        let peer =
            heard.peer_word_error_rate.map(|rate| format!(", of Piper's {:.1} %", 1e2 * rate));
        println!("{}", peer.unwrap_or_default());
    }
}

fn call(args: CallArgs) -> anyhow::Result<ExitCode> {
    crate::observability::start_quiet_logging();
    let plan = Plan {
        turns: args.turns.into(),
        calls: args.calls.into(),
        url: args.url,
        brain: args.llm.is_none().then(|| args.brain.choice()),
        device: device::pick(&args.device)?,
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

fn chat(args: ChatArgs) -> anyhow::Result<ExitCode> {
    crate::observability::start_quiet_logging();
    let plan = chat::Plan {
        requests: args.requests.into(),
        device: device::pick(&args.device)?,
        models: args.models,
    };
    let report = super::runtime()?.block_on(chat::run(&plan))?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print_chat(&report);
    }
    let whole = report.sockets.dropped == 0 && report.cached == 0;
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The table, with what EVA-Voice's predecessor measured beside it (on a GPU, with a hosted brain).
fn print_chat(report: &chat::Report) {
    println!("{} messages over each way, none seen before; mock brain\n", report.requests);
    println!("{:<34}{:>8}{:>8}{:>8}{:>8}   predecessor", "ms", "p50", "p95", "p99", "max");
    for (name, spread, floor) in [
        ("brain alone, first token", &report.first_token.brain_ms, "181 (Groq)"),
        ("/chat/stream, first token", &report.first_token.stream_ms, ""),
        ("/v1/chat/completions, first token", &report.first_token.passed_ms, ""),
        ("brain alone, whole reply", &report.whole.brain_ms, ""),
        ("/chat, whole reply", &report.whole.chat_ms, "169-252"),
        ("/tts, 4 words, first byte", &report.tts.first_byte_ms, "no streaming"),
        ("/tts, 4 words, whole file", &report.tts.whole_ms, "50-154"),
        ("/ws/chat, first token", &report.sockets.first_token_ms, "76 (one alone)"),
        ("/ws/chat, whole reply", &report.sockets.whole_ms, "180 (one alone)"),
        ("/chat/expressive, filler", &report.expressive.filler_ms, "14-23"),
        ("/chat/expressive, first sentence", &report.expressive.first_sentence_ms, "516"),
        ("/chat/expressive, whole", &report.expressive.whole_ms, "858"),
    ] {
        let Spread { p50, p95, p99, max } = spread;
        println!("{name:<34}{p50:>8.1}{p95:>8.1}{p99:>8.1}{max:>8.1}   {floor}");
    }
    println!("\nadded to the brain, median of the differences");
    println!("  /chat/stream, first token         {:>6.2} ms", report.first_token.stream_adds_ms);
    println!("  /chat, whole reply                {:>6.2} ms", report.whole.chat_adds_ms);
    println!("  /v1/chat/completions, first token {:>6.2} ms", report.first_token.passed_adds_ms);
    println!("\n{} WebSockets at once, {} dropped", report.sockets.count, report.sockets.dropped);
    println!("{} replies from the cache", report.cached);
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
