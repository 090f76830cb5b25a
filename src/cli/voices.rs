//! `eva voices`: the voices there are, adding one, removing one.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use crate::models::{Progress, State, Store, VoiceListing, VoiceState, human_size};
use crate::speaking::{Device, VitsVoice};

/// Stands below the table.
const HINTS: [&str; 3] = [
    "* must be accepted: `eva voices add NAME --accept-licence`; without it, it says why.",
    "1,100 more languages: `eva voices add mms-CODE`, CODE being ISO 639-3 (mms-fra).",
    "Your own: `eva voices add my-voice.onnx`. Try one: `eva speak \"Hello.\" --voice NAME -o a.wav`.",
];

/// Lists the voices, adds and removes them.
#[derive(Args, Debug)]
pub struct VoicesArgs {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show every voice, installed and available (the default)
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Fetch voices by name, or take over your own
    Add {
        /// Names as `eva voices` lists them; mms-CODE for a language of Meta's MMS (mms-fra); or a
        /// path: a Piper .onnx with its .json beside it, or a Hugging Face folder
        #[arg(required = true)]
        names: Vec<String>,
        /// Accept the licences of voices that may not be used freely
        #[arg(long, visible_alias = "accept-license")]
        accept_licence: bool,
    },
    /// Remove voices
    Remove {
        /// Names of installed voices
        #[arg(required = true)]
        names: Vec<String>,
        /// Remove your own voices too, which cannot be fetched again
        #[arg(long)]
        force: bool,
    },
}

/// Runs the command. Errors are sentences; printing them is the caller's part.
pub fn run(args: VoicesArgs) -> anyhow::Result<ExitCode> {
    let store = Store::open(None)?;
    match args.command.unwrap_or(Command::List { json: false }) {
        Command::List { json } => list(&store, json || args.json)?,
        Command::Add { names, accept_licence } => add(&store, &names, accept_licence)?,
        Command::Remove { names, force } => remove(&store, &names, force)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(store: &Store, json: bool) -> anyhow::Result<()> {
    let mut voices = store.voices()?;
    let text = if json {
        serde_json::to_string_pretty(&voices)? + "\n"
    } else {
        voices.sort_by_key(|voice| voice.state == VoiceState::Available);
        table(&voices)
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        outcome => Ok(outcome?),
    }
}

fn table(voices: &[VoiceListing]) -> String {
    let width = voices.iter().map(|voice| voice.name.len()).max().unwrap_or_default();
    let mut lines = vec![format!(
        "{:<width$}  {:<9}  {:<8}  {:<7}  {:>8}  {:>7}  licence",
        "voice", "is", "language", "quality", "speakers", "size"
    )];
    for voice in voices {
        let state = match &voice.state {
            VoiceState::Installed => "installed",
            VoiceState::Available => "available",
            VoiceState::Broken(_) => "broken",
        };
        let mark = if voice.accept.is_some() { " *" } else { "" };
        lines.push(format!(
            "{:<width$}  {state:<9}  {:<8}  {:<7}  {:>8}  {:>7}  {}{mark}",
            voice.name,
            voice.language,
            voice.quality,
            voice.speakers,
            human_size(voice.size),
            voice.licence
        ));
    }
    lines.push(String::new());
    lines.extend(HINTS.map(str::to_owned));
    lines.extend(voices.iter().filter_map(notes_of));
    lines.join("\n") + "\n"
}

fn notes_of(voice: &VoiceListing) -> Option<String> {
    match &voice.state {
        VoiceState::Broken(reason) => Some(format!("{}: {reason}", voice.name)),
        VoiceState::Installed if voice.speakers > 1 && !voice.speaker_names.is_empty() => {
            let shown: Vec<&str> =
                voice.speaker_names.iter().take(12).map(String::as_str).collect();
            let more = if shown.len() < voice.speaker_names.len() { ", …" } else { "" };
            Some(format!("{}: speakers {}{more}", voice.name, shown.join(", ")))
        }
        _ => voice.note.as_ref().map(|note| format!("{}: {note}", voice.name)),
    }
}

/// Everything is looked at before anything is fetched.
fn add(store: &Store, names: &[String], accepted: bool) -> anyhow::Result<()> {
    let (own, listed): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| is_path(name));
    for name in &listed {
        check_licence(store, name, accepted)?;
    }
    for name in listed {
        store.pull_voice(name, Progress::Terminal)?;
        println!("{name} is installed: `eva speak \"Hello.\" --voice {name} -o hello.wav`.");
    }
    for path in own {
        bring(store, Path::new(path))?;
    }
    Ok(())
}

/// Names have no slashes and no endings.
fn is_path(name: &str) -> bool {
    name.contains(['/', '\\']) || name.ends_with(".onnx") || Path::new(name).is_dir()
}

/// Shows a voice's licence, and wants it accepted where it is not free.
fn check_licence(store: &Store, name: &str, accepted: bool) -> anyhow::Result<()> {
    let entry = store.voice_entry(name)?;
    println!("{name}: licence {}", entry.licence);
    if let Some(note) = &entry.note {
        println!("  {note}");
    }
    let reason = entry.voice.as_ref().and_then(|voice| voice.accept.as_deref());
    if let Some(reason) = reason {
        println!("  {reason}");
        if !accepted {
            bail!(
                "{name} was not fetched: {reason}; if that suits you, say `eva voices add {name} \
                 --accept-licence`"
            );
        }
    }
    Ok(())
}

/// Takes over somebody's own voice, if it can be loaded.
fn bring(store: &Store, path: &Path) -> anyhow::Result<()> {
    let brought = store.bring_voice(path)?;
    let name = brought.name().to_owned();
    VitsVoice::start(brought.path(), &Device::Cpu)
        .with_context(|| format!("{} is no voice that can be spoken with", path.display()))?;
    brought.keep()?;
    println!("{name} is installed: `eva speak \"Hello.\" --voice {name} -o hello.wav`.");
    Ok(())
}

fn remove(store: &Store, names: &[String], force: bool) -> anyhow::Result<()> {
    for name in names {
        // Says that there is none, before anything is said of removing it.
        let entry = store.manifest().voice(name);
        if entry.is_none() {
            store.voice_path(name)?;
            if !force {
                bail!(
                    "{name} is your own voice and cannot be fetched again; say --force to remove it"
                );
            }
        }
        let default = entry.is_some_and(|entry| entry.default);
        let there = entry
            .is_some_and(|entry| !matches!(store.state(&entry.id), Ok(State::Absent) | Err(_)));
        store.remove_voice(name)?;
        println!("{name} is removed.");
        if default && there {
            println!(
                "It is the voice a gateway speaks with by default; `eva models pull` brings it back."
            );
        }
    }
    Ok(())
}
