//! `eva keys`: makes, lists and removes API keys.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};

use crate::signaling::Scope;
use crate::signaling::auth::{Keys, new_key, without};

/// What to do with the file of keys.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct KeysArgs {
    /// The file; `eva serve --keys FILE` uses it.
    #[arg(long, env = "EVA_KEYS", value_name = "FILE", default_value = "keys.toml", global = true)]
    keys: PathBuf,
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum KeysCommand {
    /// Make a key and print it, this once; the file holds its hash only.
    New {
        /// Its name; calls and sessions belong to it.
        name: String,
        /// What it opens: call, chat, speech, admin.
        #[arg(long, value_delimiter = ',', default_value = "call,chat,speech")]
        scopes: Vec<String>,
        /// How many days it is good for; for ever by default.
        #[arg(long, value_name = "DAYS")]
        days: Option<u64>,
    },
    /// List the keys.
    List,
    /// Remove a key; its calls in progress go on, its secrets end.
    Remove {
        /// Its name.
        name: String,
    },
}

pub(super) fn run(args: &KeysArgs) -> anyhow::Result<ExitCode> {
    let file = &args.keys;
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let keys = Keys::read(&file.display().to_string(), &text)?;
    match &args.command {
        KeysCommand::New { name, scopes, days } => new(file, &text, name, scopes, *days)?,
        KeysCommand::List => list(&keys),
        KeysCommand::Remove { name } => {
            let Some(rest) = without(&text, name) else {
                bail!("{} has no key named {name:?}; `eva keys list` shows them", file.display());
            };
            write(file, &rest)?;
            println!("The key {name} is gone; a gateway that runs forgets it within seconds.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn new(
    file: &Path,
    text: &str,
    name: &str,
    scopes: &[String],
    days: Option<u64>,
) -> anyhow::Result<()> {
    let scopes = scopes
        .iter()
        .map(|name| {
            Scope::parse(name.trim())
                .with_context(|| format!("{name:?} is no scope: call, chat, speech, admin"))
        })
        .collect::<anyhow::Result<_>>()?;
    let end = |days: u64| SystemTime::now().checked_add(Duration::from_secs(86_400 * days));
    let expires = match days {
        None => None,
        Some(days) if days <= 36_500 => end(days),
        Some(_) => bail!("--days is at most 36500; leave it out for a key without an end"),
    };
    let new = new_key(name, scopes, expires)?;
    let gap = if text.is_empty() || text.ends_with("\n\n") { "" } else { "\n" };
    let text = format!("{text}{gap}{}", new.entry);
    // Says what is wrong with the name before anything is written.
    Keys::read(&file.display().to_string(), &text)?;
    write(file, &text)?;
    println!("{}", new.key);
    eprintln!(
        "This is the key of {name}; it is shown this once. {} holds its hash.",
        file.display()
    );
    Ok(())
}

fn list(keys: &Keys) {
    for line in keys.lines(SystemTime::now()) {
        let expires = match line.expires {
            None => "no end".to_owned(),
            Some((date, false)) => format!("until {date}"),
            Some((date, true)) => format!("EXPIRED {date}"),
        };
        println!("{:<24} {:<28} {expires}", line.name, line.scopes.join(","));
    }
    if keys.is_empty() {
        eprintln!("There are no keys; make one with `eva keys new NAME`.");
    }
}

/// Whole or not at all, readable by its owner only.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let beside = file.with_extension("new");
    let written = || {
        let mut options = fs::OpenOptions::new();
        let mut new = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        fs::rename(&beside, file)
    };
    written().with_context(|| format!("cannot write {}", file.display()))
}
