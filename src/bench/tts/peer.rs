//! Piper's own engine as the peer: texts in, its times and its sound out.
//!
//! Owns the child process: a Python that has piper-tts, running `scripts/piper_peer.py`, which is
//! built into the program. Its times are taken inside that process.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context;
use serde::Deserialize;

const SCRIPT: &str = include_str!("../../../scripts/piper_peer.py");

/// The peer's process; ends when dropped.
pub struct Peer {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// What the peer says of one sentence.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// From the text to its first sound.
    pub first_sound_ms: f64,
    /// From the text to its last sound.
    pub whole_ms: f64,
    /// Seconds of sound.
    pub audio_s: f64,
    /// Processor time of its process.
    pub cpu_ms: f64,
    /// The most memory its process has held.
    pub peak_mib: f64,
}

impl Peer {
    /// Starts it with a Piper voice; returns once it has loaded.
    pub fn start(python: &Path, voice: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(python)
            .arg("-c")
            .arg(SCRIPT)
            .arg(voice)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start the peer's Python, {}", python.display()))?;
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("the peer has no output")?);
        let mut peer = Self { child, requests, answers };
        peer.line().with_context(|| {
            format!(
                "the peer does not start (see above); `{} -m pip install piper-tts` installs it",
                python.display()
            )
        })?;
        Ok(peer)
    }

    /// Speaks a text; `wav` is where its sound is written.
    pub fn speak(&mut self, text: &str, wav: Option<&PathBuf>) -> anyhow::Result<Answer> {
        let request = serde_json::json!({ "text": text, "wav": wav });
        let requests = self.requests.as_mut().context("the peer is gone")?;
        writeln!(requests, "{request}").context("the peer does not listen any more")?;
        Ok(serde_json::from_str(&self.line()?)?)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line)?;
        anyhow::ensure!(read > 0, "the peer has ended");
        Ok(line)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends at the end of its input.
        self.requests = None;
        let _ = self.child.wait();
    }
}
