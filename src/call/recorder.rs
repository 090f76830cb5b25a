//! Writes the trace of one call's turn machine to a file.
//!
//! In: lines. Out: `CALL_ID.jsonl` in the folder the owner named. A trace holds the words people
//! said; without that folder there is none. The file is written by a task of its own, which ends
//! with the call.

use std::path::Path;

use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::sync::mpsc;

use crate::ids::CallId;
use crate::turn::trace::Line;

/// Lines that may wait for the disk. A trace that falls behind ends there: a gap would make the rest
/// of it worthless.
const WAITING: usize = 4096;

/// One call's trace. It is complete when this is dropped.
pub(super) struct Recorder {
    lines: mpsc::Sender<String>,
}

impl Recorder {
    /// Begins a trace; what goes wrong is said in the log, and the call goes on without one.
    pub(super) fn start(folder: &Path, call: CallId) -> Self {
        let path = folder.join(format!("{call}.jsonl"));
        let (lines, mut waiting) = mpsc::channel::<String>(WAITING);
        tokio::spawn(async move {
            let written = async {
                let mut file = BufWriter::new(tokio::fs::File::create(&path).await?);
                while let Some(line) = waiting.recv().await {
                    file.write_all(line.as_bytes()).await?;
                    file.write_all(b"\n").await?;
                    if waiting.is_empty() {
                        file.flush().await?;
                    }
                }
                file.flush().await
            };
            if let Err(error) = written.await {
                tracing::warn!(path = %path.display(), %error, "a call's trace was not written");
            }
        });
        Self { lines }
    }

    pub(super) fn write(&self, line: &Line) {
        if self.lines.try_send(line.to_json()).is_err() && !self.lines.is_closed() {
            tracing::warn!("a call's trace falls behind the disk and has a gap");
        }
    }
}
