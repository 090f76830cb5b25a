//! `eva replay`: what the turn machine was told in a recorded call, and what it says to it today.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::turn::trace::{self, Event, What};
use crate::turn::{Action, Input};

/// What to replay.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    /// Traces that `eva serve --traces FOLDER` has written.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Print the differences alone.
    #[arg(long)]
    quiet: bool,
}

/// Replays; fails if a decision differs.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut same = true;
    let mut out = std::io::stdout().lock();
    for file in &args.files {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let replay =
            trace::replay(&text).with_context(|| format!("cannot replay {}", file.display()))?;
        for event in &replay.events {
            let differs = matches!(event.what, What::Missing(_) | What::Unexpected(_));
            if differs || !args.quiet {
                writeln!(out, "{}", line(event))?;
            }
        }
        let verdict = if replay.same { "the same decisions" } else { "OTHER decisions" };
        writeln!(out, "{}: {verdict}, {} events", file.display(), replay.events.len())?;
        same &= replay.same;
    }
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(event: &Event) -> String {
    let (mark, what) = match &event.what {
        What::Told(input) => ("->", told(input)),
        What::Woke(why) => ("..", why.map_or("woken".to_owned(), |why| format!("{why:?}"))),
        What::Did(action) => ("  <-", did(action)),
        What::Missing(action) => ("  !! not today:", did(action)),
        What::Unexpected(action) => ("  !! new today:", did(action)),
    };
    format!("{:9.3} s {mark} {what}", event.at.as_secs_f64())
}

/// An input with its words in the open: the owner has asked for the trace.
fn told(input: &Input) -> String {
    match input {
        Input::PartialWords(heard) => format!("PartialWords {:?}", heard.words.reveal()),
        Input::FinalWords { pass, heard } => format!(
            "FinalWords {{ pass: {}, confidence: {:.2} }} {:?}",
            pass.0,
            heard.confidence,
            heard.words.reveal()
        ),
        Input::SentenceSounds { reply, text } => {
            format!("SentenceSounds {{ reply: {} }} {:?}", reply.0, text.reveal())
        }
        Input::Typed { words } => format!("Typed {:?}", words.reveal()),
        other => format!("{other:?}"),
    }
}

fn did(action: &Action) -> String {
    match action {
        Action::StartReply { reply, words } => {
            format!("StartReply {{ reply: {} }} to {:?}", reply.0, words.reveal())
        }
        Action::Commit { turn, words } => {
            format!("Commit {{ turn: {} }} {:?}", turn.0, words.reveal())
        }
        Action::CommitTyped { turn, words } => {
            format!("CommitTyped {{ turn: {} }} {:?}", turn.0, words.reveal())
        }
        other => format!("{other:?}"),
    }
}
