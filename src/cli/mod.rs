//! The command line: arguments in, a gateway, a call or a table out.
//!
//! `eva serve` (the default), `eva call`, `eva speak`, `eva bench`, `eva replay`, `eva keys`,
//! `eva models`, `eva voices`, `eva doctor`. Every command returns a sentence when it cannot go on; `main` prints
//! it and exits with status 1.

mod bench;
mod call;
mod doctor;
mod keys;
mod models;
mod replay;
mod safety;
mod serve;
mod speak;
mod voices;

use clap::{Parser, Subcommand};

/// Talk with an AI voice from your browser, on your own hardware.
#[derive(Parser)]
#[command(name = "eva", version, about, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Args,
}

#[derive(Subcommand)]
enum Command {
    /// Start the gateway and its call page (the default).
    Serve(Box<serve::Args>),
    /// Call a gateway without a browser: a WAV file in, EVA's answer out.
    Call(call::Args),
    /// Measure this machine: calls, the language model.
    Bench(bench::Args),
    /// Speak a text into a WAV file.
    Speak(speak::Args),
    /// Replay recorded calls through the turn machine, and say whether it decides the same.
    Replay(replay::Args),
    /// Make, list and remove API keys.
    Keys(keys::KeysArgs),
    /// List, add and remove voices.
    Voices(voices::VoicesArgs),
    /// List, fetch and check the models.
    Models(models::ModelsArgs),
    /// Say what is missing or slow on this machine.
    Doctor(doctor::DoctorArgs),
}

/// Parses the command line and runs it; the exit status.
pub fn main() -> std::process::ExitCode {
    // Both cryptography libraries can be linked in; this names the one in use.
    let _ = rustls::crypto::ring::default_provider().install_default();
    keep_panics_private();
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        None => serve::run(arguments.serve),
        Some(Command::Serve(args)) => serve::run(*args),
        Some(Command::Call(args)) => call::run(args),
        Some(Command::Bench(args)) => bench::run(args),
        Some(Command::Speak(args)) => speak::run(args),
        Some(Command::Replay(args)) => replay::run(&args),
        Some(Command::Keys(args)) => keys::run(&args),
        Some(Command::Voices(args)) => voices::run(args),
        Some(Command::Models(args)) => models::run(args),
        Some(Command::Doctor(args)) => doctor::run(args),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("eva: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// A panic's message can hold what somebody said: only its place is printed.
fn keep_panics_private() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        eprintln!("eva: a broken assumption at {place} (thread {thread}); please report it");
    }));
}

/// The async runtime of one command: media tasks only, so two threads serve many calls.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("eva-media")
        .enable_all()
        .build()?)
}
