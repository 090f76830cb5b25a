//! `eva models`: what is in the folder of models, and fetching it.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};

use crate::models::{Entry, ModelError, ModelId, Progress, State, Store, human_size};

/// Lists the models, fetches them, checks them.
#[derive(Args, Debug)]
pub struct ModelsArgs {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show every model: whether it is here, its size, its licence (the default)
    List,
    /// Fetch what is missing or damaged; without names, what a call needs
    Pull {
        /// Models by name, as `eva models` lists them
        ids: Vec<String>,
        /// Every model there is, but of the voices only the default one
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Hash every file again
    Verify,
    /// Print the folder of models
    Path,
}

/// Runs the command. Errors are sentences; printing them is the caller's part.
pub fn run(args: ModelsArgs) -> anyhow::Result<ExitCode> {
    let store = Store::open(None)?;
    match args.command.unwrap_or(Command::List) {
        Command::List => list(&store)?,
        Command::Pull { ids, all } => pull(&store, ids, all)?,
        Command::Verify => return verify(&store),
        Command::Path => println!("{}", store.dir().display()),
    }
    Ok(ExitCode::SUCCESS)
}

fn list(store: &Store) -> Result<(), ModelError> {
    println!("{:<16} {:<10} {:>7}  {:<13} for", "model", "is", "size", "licence");
    let mut notes = Vec::new();
    for entry in store.manifest().entries() {
        let state = store.state(&entry.id)?;
        if is_extra_voice(entry) && matches!(state, State::Absent) {
            continue;
        }
        println!(
            "{:<16} {:<10} {:>7}  {:<13} {}",
            entry.id.to_string(),
            word(&state, entry),
            human_size(entry.size()),
            entry.licence,
            entry.purpose
        );
        notes.extend(entry.note.iter().map(|note| format!("{}: {note}", entry.id)));
        if let State::Broken(error) = state {
            notes.push(error.to_string());
        }
    }
    println!("\nfolder: {}; more voices: `eva voices`", store.dir().display());
    notes.iter().for_each(|note| println!("{note}"));
    Ok(())
}

/// Voices beyond the default one are `eva voices`' affair.
fn is_extra_voice(entry: &Entry) -> bool {
    entry.voice.is_some() && !entry.default
}

fn word(state: &State, entry: &Entry) -> &'static str {
    match state {
        State::Whole => "installed",
        State::Broken(_) => "broken",
        State::Absent if entry.default => "missing",
        State::Absent => "available",
    }
}

fn pull(store: &Store, ids: Vec<String>, all: bool) -> anyhow::Result<()> {
    let ids: Vec<ModelId> = if all {
        let entries = store.manifest().entries().iter();
        entries.filter(|entry| !is_extra_voice(entry)).map(|entry| entry.id.clone()).collect()
    } else if ids.is_empty() {
        store.manifest().defaults()
    } else {
        ids.into_iter().map(ModelId::from).collect()
    };
    for id in &ids {
        let entry = store.manifest().entry(id)?;
        let accept = entry.voice.as_ref().and_then(|voice| voice.accept.as_deref());
        if let Some(reason) = accept
            && matches!(store.state(id)?, State::Absent)
        {
            bail!("{id} must be accepted ({reason}): `eva voices add {id} --accept-licence`");
        }
    }
    store.pull(&ids, Progress::Terminal)?;
    println!("The models are in {}.", store.dir().display());
    Ok(())
}

fn verify(store: &Store) -> anyhow::Result<ExitCode> {
    let mut damaged = 0;
    for entry in store.manifest().entries() {
        if matches!(store.state(&entry.id)?, State::Absent) {
            continue;
        }
        match store.verify(&entry.id) {
            Ok(()) => println!("{}: whole", entry.id),
            Err(error) => {
                damaged += 1;
                println!("{}: {error}", entry.id);
            }
        }
    }
    Ok(if damaged == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
