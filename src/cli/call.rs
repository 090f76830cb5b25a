//! `eva call`: a headless caller. A WAV file in, EVA's answer out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::audio::WIRE_RATE;
use crate::audio::resample::resample;
use crate::audio::wav::{WavWriter, read_wav};
use crate::headless::{HeadlessCall, Options, TurnReport};

/// Whom to call and what to say.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    /// The gateway, as its page's address.
    #[arg(default_value = "http://127.0.0.1:8484")]
    url: String,
    /// A WAV file to say; several are said one after the other, each when EVA has answered.
    #[arg(long, required = true)]
    wav: Vec<PathBuf>,
    /// Where to write what EVA said (48 kHz mono WAV).
    #[arg(long)]
    out: Option<PathBuf>,
    /// The gateway's key.
    #[arg(long, env = "EVA_API_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Language to ask for: en, fr or auto.
    #[arg(long)]
    language: Option<String>,
    /// Voice to ask for, such as fr_FR-siwis-medium or NAME#SPEAKER@SPEED.
    #[arg(long)]
    voice: Option<String>,
    /// Persona to ask for, by its name.
    #[arg(long)]
    persona: Option<String>,
    /// Session to go on with: what was said in it before is remembered.
    #[arg(long)]
    session: Option<String>,
    /// Accept a development certificate.
    #[arg(long)]
    insecure: bool,
    /// Use TCP for the sound, as where UDP is blocked.
    #[arg(long)]
    tcp: bool,
    /// Seconds to wait for an answer.
    #[arg(long, default_value_t = 30)]
    patience: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    crate::observability::start_quiet_logging();
    super::runtime()?.block_on(call(args))
}

async fn call(args: Args) -> anyhow::Result<ExitCode> {
    let questions = args.wav.iter().map(|path| load(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let options = Options {
        key: args.key.clone(),
        language: args.language.clone(),
        voice: args.voice.clone(),
        session: args.session.clone(),
        persona: args.persona.clone(),
        push_to_talk: false,
        any_certificate: args.insecure,
        tcp_only: args.tcp,
        via: None,
    };
    let mut call = HeadlessCall::dial(&args.url, &options).await?;
    let mut reports = Vec::new();
    for question in &questions {
        let report = call.ask(question, Duration::from_secs(args.patience)).await;
        if !args.json {
            print(&report);
        }
        reports.push(report);
    }
    if let Some(path) = &args.out {
        let mut wav = WavWriter::create(path, WIRE_RATE, 1)?;
        wav.write(call.recording())?;
        wav.finish()?;
    }
    let answered = reports.iter().all(|report| report.voice_to_voice_ms.is_some());
    if args.json {
        println!("{}", serde_json::json!({ "call_id": call.id(), "turns": reports }));
    }
    if call.is_closed() {
        eprintln!("eva: the gateway ended the call");
    } else {
        call.hang_up().await?;
    }
    Ok(if answered { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn load(path: &Path) -> anyhow::Result<Vec<f32>> {
    let sound = read_wav(path)?;
    resample(&sound.samples, sound.sample_rate, WIRE_RATE)
        .with_context(|| format!("{} has an odd sample rate", path.display()))
}

fn print(report: &TurnReport) {
    println!("you   {}", report.understood);
    println!("EVA   {}", report.answered);
    match report.voice_to_voice_ms {
        Some(ms) => println!("      voice to voice {ms:.0} ms"),
        None if report.taken_over => println!("      EVA spoke before you had finished"),
        None => println!("      no answer"),
    }
    if let Some(parts) = &report.parts_ms {
        println!(
            "      pause {:.0}, words {:.0}, decision {:.0}, first token {:.0}, first piece {:.0}, \
             first sound {:.0}, wire {:.0}",
            parts.pause,
            parts.words,
            parts.committed,
            parts.first_token,
            parts.first_piece,
            parts.first_sound,
            parts.wire
        );
    }
    for error in &report.errors {
        println!("      {error}");
    }
}
