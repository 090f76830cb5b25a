//! A reply in writing and in sound, sentence by sentence, with something short first.
//!
//! In: a turn, and how it should sound. Out: [`Expressed`]: a filler if the reply is not there at
//! once, each sentence's text with the times of its words and mouth shapes when its first sound is
//! there, its sound when it is whole. Dropping it withdraws the reply; the history keeps the
//! sentences that were sent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::encoding::{Encoder, Format, encode_gently, encode_whole};
use super::turn::{ChatTurn, Summary};
use crate::audio::WIRE_RATE;
use crate::audio::opus::OpusError;
use crate::call::reply::{Made, Manner as ReplyManner, ReplyMaker, Sentence, Sound};
use crate::ids::SessionId;
use crate::private::Private;
use crate::speaking::Voice;
use crate::speaking::clips::{Clip, ClipId, Clips};
use crate::thinking::LlmError;

/// A reply that sounds within this needs no filler.
const AT_ONCE: Duration = Duration::from_millis(5);
/// Encoded fillers in memory, some 50 KB each.
const MOST_FILLERS: usize = 64;

/// How a reply should sound.
#[derive(Clone)]
pub struct Manner {
    /// The voice, if another than the gateway's own.
    pub voice: Option<(Arc<dyn Voice>, Clips)>,
    /// The form of its sound.
    pub format: Format,
    /// Whether fillers are said.
    pub fillers: bool,
}

/// A sound file in memory.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// The file.
    pub bytes: Arc<[u8]>,
    /// How long it plays, milliseconds.
    pub duration_ms: u64,
}

/// A part of a reply.
#[derive(Debug)]
pub enum Expressed {
    /// Something short while the reply is not there; no part of it.
    Filler {
        /// What is said.
        text: &'static str,
        /// Its sound.
        sound: Encoded,
    },
    /// A sentence that begins to be spoken.
    Sentence {
        /// Its number in the reply, from 0.
        index: usize,
        /// The text as written.
        text: Private<String>,
        /// Byte ranges in the text, with milliseconds from the sentence's first sample.
        words: Vec<(std::ops::Range<usize>, (u64, u64))>,
        /// Shapes of the mouth, in the same milliseconds.
        visemes: Vec<(&'static str, (u64, u64))>,
    },
    /// The sentence's sound, whole.
    Sound {
        /// The sentence's number.
        index: usize,
        /// Its sound.
        sound: Encoded,
    },
    /// A tool runs, or has ended.
    Tool {
        /// Its name.
        name: String,
        /// Once it has ended: whether it did what it was asked.
        ok: Option<bool>,
    },
    /// The reply is complete; nothing follows.
    Done(Summary),
    /// It failed; nothing follows. What came before stays.
    Failed(LlmError),
}

impl Expressed {
    /// Whether nothing follows.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Failed(_))
    }
}

/// One reply in writing and in sound.
pub struct ExpressiveTurn {
    turn: ChatTurn,
    maker: ReplyMaker,
    manner: Manner,
    clips: Clips,
    late: Late,
    cached: bool,
    /// The sentence that is being spoken, and how many were before it.
    sentence: Option<SentenceFile>,
    index: usize,
    /// To be told before anything new is waited for.
    ready: Option<Expressed>,
    failed: Option<LlmError>,
}

/// When a filler is due.
#[derive(Debug, Default)]
struct Late {
    /// From the request on; `None`: no further one.
    due: Option<Duration>,
    said: u32,
    last: Option<ClipId>,
}

struct SentenceFile {
    encoder: Encoder,
    bytes: Vec<u8>,
}

impl ExpressiveTurn {
    pub(super) fn start(turn: ChatTurn, manner: Manner) -> Self {
        let mut engines = turn.engines().clone();
        if let Some((voice, clips)) = manner.voice.clone() {
            (engines.voice, engines.clips) = (voice, clips);
        }
        let cached = turn.cached();
        let mut maker = match &cached {
            Some(text) => ReplyMaker::of_text(turn.reply_id(), &engines, turn.prompt(), text),
            None => {
                let manner = ReplyManner::default();
                ReplyMaker::start(turn.reply_id(), &engines, turn.prompt(), manner)
            }
        };
        maker.permit();
        let fills = manner.fillers && cached.is_none() && turn.chat().call.turn.fillers.on;
        let late = Late { due: fills.then_some(AT_ONCE), ..Late::default() };
        Self {
            turn,
            maker,
            manner,
            clips: engines.clips,
            late,
            cached: cached.is_some(),
            sentence: None,
            index: 0,
            ready: None,
            failed: None,
        }
    }

    /// The session it belongs to.
    pub fn session_id(&self) -> &SessionId {
        self.turn.session_id()
    }

    /// Waits for the next part. Not to be asked after [`Expressed::is_end`].
    ///
    /// # Errors
    /// The sound cannot be encoded; nothing follows.
    pub async fn next(&mut self) -> Result<Expressed, OpusError> {
        if let Some(ready) = self.ready.take() {
            return Ok(ready);
        }
        loop {
            let made = match self.late.due {
                None => self.maker.next().await,
                Some(due) => {
                    let at = tokio::time::Instant::from_std(self.turn.began() + due);
                    match tokio::time::timeout_at(at, self.maker.next()).await {
                        Ok(made) => made,
                        Err(_) => match self.fill().await? {
                            Some(filler) => return Ok(filler),
                            None => continue,
                        },
                    }
                }
            };
            if let Some(expressed) = self.take(made).await? {
                return Ok(expressed);
            }
        }
    }

    async fn take(&mut self, made: Made) -> Result<Option<Expressed>, OpusError> {
        match made {
            Made::FirstToken => self.turn.begun(),
            // Chats are spoken here, and have no tools of the client's.
            Made::Piece | Made::Text(_) | Made::HandedOver(_) => {}
            Made::ToolStarted { name } => return Ok(Some(Expressed::Tool { name, ok: None })),
            Made::ToolEnded { name, ok, .. } => {
                return Ok(Some(Expressed::Tool { name, ok: Some(ok) }));
            }
            // What was said before is still spoken.
            Made::Failed(error) => self.failed = Some(error),
            Made::Sound(sound) => return self.take_sound(sound).await,
            Made::Finished => return Ok(Some(self.end())),
        }
        Ok(None)
    }

    fn end(&mut self) -> Expressed {
        let nothing = self.turn.text().is_empty();
        let empty = || LlmError::Model("its reply was empty".to_owned());
        match self.failed.take().or_else(|| nothing.then(empty)) {
            Some(error) => {
                self.turn.failed();
                Expressed::Failed(error)
            }
            None => Expressed::Done(self.turn.whole(self.cached)),
        }
    }

    /// Encodes the sound. A sentence's beginning and its end are told, each on its own.
    async fn take_sound(&mut self, sound: Sound) -> Result<Option<Expressed>, OpusError> {
        self.late.due = None;
        self.turn.begun();
        let Sound { pcm, sentence, last } = sound;
        let mut file = match (self.sentence.take(), &sentence) {
            (Some(file), None) => file,
            (before, _) => {
                // The voice broke in the sentence before: it has no sound.
                self.index += usize::from(before.is_some());
                let encoder = Encoder::new(self.manner.format, WIRE_RATE)?;
                SentenceFile { encoder, bytes: Vec::new() }
            }
        };
        let begun = sentence.map(|sentence| self.announce(sentence));
        encode_gently(&mut file.encoder, &pcm, WIRE_RATE, &mut file.bytes).await?;
        if !last {
            self.sentence = Some(file);
            return Ok(begun);
        }
        let whole = self.finish(file)?;
        if begun.is_none() {
            return Ok(Some(whole));
        }
        self.ready = Some(whole);
        Ok(begun)
    }

    fn finish(&mut self, file: SentenceFile) -> Result<Expressed, OpusError> {
        let mut samples = file.bytes;
        let finished = file.encoder.finish(&mut samples)?;
        let mut bytes = finished.header();
        bytes.append(&mut samples);
        let sound = Encoded { bytes: bytes.into(), duration_ms: finished.duration_ms() };
        let index = self.index;
        self.index += 1;
        Ok(Expressed::Sound { index, sound })
    }

    fn announce(&mut self, sentence: Sentence) -> Expressed {
        let Sentence { text, words, visemes } = sentence;
        if !self.turn.text().is_empty() {
            self.turn.sent(" ");
        }
        self.turn.sent(text.reveal());
        let ms = |samples: usize| samples as u64 * 1000 / u64::from(WIRE_RATE);
        let span = |at: &std::ops::Range<usize>| (ms(at.start), ms(at.end));
        let words = words.into_iter().map(|word| (word.text, span(&word.samples)));
        let visemes = visemes.iter().map(|shape| (shape.viseme.name(), span(&shape.samples)));
        let (words, visemes) = (words.collect(), visemes.collect());
        Expressed::Sentence { index: self.index, text, words, visemes }
    }

    /// A filler, if the voice has one; and when the next one is due.
    async fn fill(&mut self) -> Result<Option<Expressed>, OpusError> {
        let fillers = &self.turn.chat().call.turn.fillers;
        let (again, most) = (fillers.again, fillers.most);
        let clip = self.clips.filler(self.late.last);
        self.late.said += 1;
        let more = self.late.said < most;
        let Some(clip) = clip else {
            self.late.due = None;
            return Ok(None);
        };
        self.late.last = Some(clip.id);
        let voice = self.manner.voice.as_ref().map(|(voice, _)| voice.name()).unwrap_or_default();
        let chat = self.turn.chat();
        let sound = chat.fillers.encoded(&voice, &clip, self.manner.format).await?;
        let length = Duration::from_millis(sound.duration_ms);
        self.late.due = more.then(|| self.turn.began().elapsed() + length + again);
        Ok(Some(Expressed::Filler { text: clip.text, sound }))
    }
}

impl Drop for ExpressiveTurn {
    fn drop(&mut self) {
        let tools = self.maker.take_exchange();
        self.turn.settle(tools);
    }
}

/// Fillers as files.
#[derive(Default)]
pub(super) struct Fillers {
    encoded: Mutex<HashMap<(String, &'static str, Format), Encoded>>,
}

impl Fillers {
    async fn encoded(
        &self,
        voice: &str,
        clip: &Clip,
        format: Format,
    ) -> Result<Encoded, OpusError> {
        let key = (voice.to_owned(), clip.text, format);
        if let Some(encoded) = self.lock().get(&key) {
            return Ok(encoded.clone());
        }
        let (bytes, finished) = encode_whole(format, &clip.pcm, clip.sample_rate).await?;
        let sound = Encoded { bytes: bytes.into(), duration_ms: finished.duration_ms() };
        let mut encoded = self.lock();
        if encoded.len() >= MOST_FILLERS {
            encoded.clear();
        }
        encoded.insert(key, sound.clone());
        Ok(sound)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, &'static str, Format), Encoded>> {
        // Each change is one insertion.
        self.encoded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
