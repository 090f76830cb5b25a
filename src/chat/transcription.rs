//! A recording to its words, without a call.
//!
//! In: the bytes of a sound file. Out: [`Heard`], stretch by stretch, as they are recognised. The
//! file is decoded, cut at its silences and recognised one stretch after the other on a blocking
//! thread, which ends when nobody listens any more or its time is up; at most one stretch is in
//! memory. Recordings give way to calls: their passes have a thread of the lowest priority.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::bound::Permit;
use super::cutting::{Cutter, Stretch};
use crate::audio::file::{FileError, FileReader};
use crate::language::Language;
use crate::listening::{ListenError, Pass, Transcriber};
use crate::private::Private;

/// The longest recording, seconds: three hours.
const LONGEST_S: f64 = 3.0 * 3600.0;
/// How long one recording may take.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Stretches that may wait to be sent; the recogniser waits beyond that.
const WAITING: usize = 4;

/// What came of a stretch of a recording.
#[derive(Debug)]
pub enum Heard {
    /// Words.
    Words(Segment),
    /// The recording is over; nothing follows.
    End {
        /// How long it plays, seconds.
        seconds: f64,
    },
}

/// Words that belong together.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Where they begin and end, seconds.
    pub span_s: (f64, f64),
    /// The words.
    pub text: Private<String>,
    /// The language they are in.
    pub language: Language,
    /// Mean probability the recogniser gave its tokens, 0-1.
    pub confidence: f32,
    /// Probability that there is no speech at all, 0-1.
    pub no_speech: f32,
}

/// Why a recording has no words.
#[derive(Debug, thiserror::Error)]
pub enum TranscriptionError {
    /// It cannot be listened to.
    #[error(transparent)]
    File(#[from] FileError),
    /// The recogniser refuses or fails.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// It is too long.
    #[error("the recording is longer than {} hours; send it in parts", LONGEST_S / 3600.0)]
    TooLong,
    /// It took too long.
    #[error("the recording took longer than {} minutes; send it in parts", PATIENCE.as_secs() / 60)]
    TimeUp,
}

type Outcome = Result<Heard, TranscriptionError>;

/// Starts on a recording; the place is given back when it has ended. Dropping the receiver ends it.
pub fn start(
    transcriber: Arc<dyn Transcriber>,
    file: Bytes,
    language: Language,
    place: Permit,
) -> mpsc::Receiver<Outcome> {
    let (heard, receiver) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let work = Work { transcriber, language, heard: heard.clone(), began: Instant::now() };
        let last = match work.run(file) {
            Ok(Some(seconds)) => Ok(Heard::End { seconds }),
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let _ = heard.blocking_send(last);
        drop(place);
    });
    receiver
}

/// One recording's work.
struct Work {
    transcriber: Arc<dyn Transcriber>,
    language: Language,
    heard: mpsc::Sender<Outcome>,
    began: Instant,
}

impl Work {
    /// The recording's length, or `None` if nobody listens any more.
    fn run(&self, file: Bytes) -> Result<Option<f64>, TranscriptionError> {
        let mut reader = FileReader::open(file)?;
        let mut cutter = Cutter::new();
        let mut samples = Vec::new();
        while reader.read(&mut samples)? {
            cutter.push(&samples);
            samples.clear();
            if cutter.seconds() > LONGEST_S {
                return Err(TranscriptionError::TooLong);
            }
            while let Some(stretch) = cutter.next() {
                if !self.hear(stretch)? {
                    return Ok(None);
                }
            }
        }
        cutter.push(&samples);
        while let Some(stretch) = cutter.finish() {
            if !self.hear(stretch)? {
                return Ok(None);
            }
        }
        Ok(Some(cutter.seconds()))
    }

    /// Recognises a stretch; whether somebody still listens.
    fn hear(&self, stretch: Stretch) -> Result<bool, TranscriptionError> {
        if self.began.elapsed() > PATIENCE {
            return Err(TranscriptionError::TimeUp);
        }
        if self.heard.is_closed() {
            return Ok(false);
        }
        let span_s = (stretch.start_s, stretch.end_s());
        let mut pass = self.transcriber.transcribe(stretch.samples, self.language, Pass::Recording);
        let broken = |_| ListenError::Model("it broke".to_owned());
        let words = futures::executor::block_on(&mut pass.result).map_err(broken)??;
        if words.text.reveal().is_empty() {
            return Ok(true);
        }
        let segment = Segment {
            span_s,
            text: words.text,
            language: words.language,
            confidence: words.confidence,
            no_speech: words.no_speech,
        };
        Ok(self.heard.blocking_send(Ok(Heard::Words(segment))).is_ok())
    }
}
