//! The voice's engine: sentences in, chunks of sound out, the most urgent sentence first.
//!
//! Owns the thread "voice" with the network and the phonemizer. A sentence advances in steps
//! (phonemes and lengths, then one chunk a step), each a job of its own, so that sentences of
//! several calls take turns and a more urgent one goes first. A dropped receiver ends its sentence
//! at the next step.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use candle_core::Device;
use tokio::sync::mpsc;

use super::phonemes::{PhonemeError, Phonemizer, Spoken};
use super::vits::{Config, DeviceError, LoadError, Scales, Sentence, Vits};
use super::{CHUNK_QUEUE, SpeakError, Speech, SpokenChunk, Voice, WordSpan};
use crate::inference::{Engine, Overloaded, Resubmitter, Urgency};

/// Sentences that may wait or be under way at once; what comes beyond is refused.
const SENTENCES: usize = 128;
/// The thread's priority: below the media path.
const NICE: i32 = 5;
/// Frames of the first chunk: small, so that it sounds soon.
const FIRST_CHUNK: usize = 8;
/// Frames a chunk grows to: a step stays well below 50 ms.
const LARGEST_CHUNK: usize = 48;
/// The longest text spoken at once, in bytes: some minutes. The rest is dropped.
const LONGEST_TEXT: usize = 4096;

/// Why the voice cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its files are missing or damaged.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its text cannot be turned into phonemes.
    #[error(transparent)]
    Phonemes(#[from] PhonemeError),
}

/// A VITS voice on its own thread.
pub struct VitsVoice {
    engine: Engine<Speaker>,
    sample_rate: u32,
    name: String,
    /// Differs from sentence to sentence, so that none sounds exactly like another.
    seed: AtomicU64,
}

/// What the thread owns.
struct Speaker {
    vits: Vits,
    phonemizer: Phonemizer,
    scales: Scales,
}

impl VitsVoice {
    /// Loads a Piper voice (`model` is its `.onnx`; the `.json` lies beside it) onto a device, on a
    /// thread of its own; returns once it stands.
    pub fn start(model: &Path, device: &Device) -> Result<Self, StartError> {
        let device = device.clone();
        let name = model.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let path = model.to_owned();
        let (told, rate) = std::sync::mpsc::sync_channel(1);
        let engine = Engine::start("voice", SENTENCES, NICE, move || {
            let (vits, config) = Vits::load(&path, &device)?;
            let Config { sample_rate, espeak_voice, scales, phoneme_ids } = config;
            let phonemizer = Phonemizer::new(&espeak_voice, phoneme_ids)?;
            let _ = told.send(sample_rate);
            Ok::<_, StartError>(Speaker { vits, phonemizer, scales })
        })?;
        let sample_rate = rate.recv().expect("a started voice has told its rate");
        Ok(Self { engine, sample_rate, name: name.unwrap_or_default(), seed: AtomicU64::new(1) })
    }

    /// Speaks a sentence to nobody, so that the first real one meets warm caches. Blocks until it
    /// is done: not for async threads.
    pub fn warm_up(&self) -> Result<(), SpeakError> {
        let (done, waits) = std::sync::mpsc::sync_channel(1);
        self.engine.submit(Urgency::Background, move |speaker| {
            let _ = done.send(speaker.speak_to_nobody());
        })?;
        let spoken = waits.recv();
        spoken.map_err(|_| SpeakError::Model("it broke while warming up".into()))?.map_err(failed)
    }
}

fn failed(error: DeviceError) -> SpeakError {
    SpeakError::Model(error.to_string())
}

impl Speaker {
    fn speak_to_nobody(&self) -> Result<(), DeviceError> {
        let spoken = self.phonemizer.phonemes("I am ready, and it is 10 past 9. Shall we?");
        for utterance in &spoken.utterances {
            let mut sentence = self.vits.begin(&utterance.ids, self.scales, 0)?;
            let (mut size, mut pcm) = (FIRST_CHUNK, Vec::new());
            while !sentence.finished() {
                sentence.next(&self.vits, size, &mut pcm)?;
                size = larger(size);
            }
        }
        Ok(())
    }
}

/// Frames of the chunk after one of `size` frames.
fn larger(size: usize) -> usize {
    (3 * size).min(LARGEST_CHUNK)
}

impl Voice for VitsVoice {
    fn speak(&self, speech: Speech) -> mpsc::Receiver<Result<SpokenChunk, SpeakError>> {
        let (chunks, receiver) = mpsc::channel(CHUNK_QUEUE);
        let speaking = Speaking {
            urgency: speech.urgency,
            speech,
            chunks: chunks.clone(),
            steps: self.engine.resubmitter(),
            seed: self.seed.fetch_add(1, Ordering::Relaxed),
            spoken: Spoken::default(),
            sentences: Vec::new(),
            current: 0,
            size: FIRST_CHUNK,
            words: None,
            pcm: Vec::new(),
        };
        let urgency = speaking.urgency;
        if let Err(error) = self.engine.submit(urgency, move |speaker| speaking.prepare(speaker)) {
            refuse(&chunks, error);
        }
        receiver
    }

    fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

type Chunks = mpsc::Sender<Result<SpokenChunk, SpeakError>>;

fn refuse(chunks: &Chunks, error: Overloaded) {
    // Full or closed: then nobody misses the message.
    let _ = chunks.try_send(Err(error.into()));
}

/// One text on its way to sound.
struct Speaking {
    speech: Speech,
    /// Of the next step.
    urgency: Urgency,
    chunks: Chunks,
    steps: Resubmitter<Speaker>,
    seed: u64,
    spoken: Spoken,
    /// One for each utterance of `spoken`, as far as they are prepared.
    sentences: Vec<Sentence>,
    current: usize,
    /// Frames of the next chunk.
    size: usize,
    /// Spans of all words, until the first chunk takes them along.
    words: Option<Vec<WordSpan>>,
    /// Sound that waits for room in the queue.
    pcm: Vec<f32>,
}

impl Speaking {
    /// The first step: phonemes, and the lengths of the first utterance.
    fn prepare(mut self, speaker: &mut Speaker) {
        if self.chunks.is_closed() {
            return;
        }
        let text = self.speech.text.reveal();
        let mut end = text.len().min(LONGEST_TEXT);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.spoken = speaker.phonemizer.phonemes(&text[..end]);
        self.lengths(speaker);
    }

    /// Lengths of the next utterance; each is a step of its own.
    fn lengths(mut self, speaker: &mut Speaker) {
        if self.chunks.is_closed() {
            return;
        }
        if let Some(utterance) = self.spoken.utterances.get(self.sentences.len()) {
            match speaker.vits.begin(&utterance.ids, speaker.scales, self.seed) {
                Ok(sentence) => self.sentences.push(sentence),
                Err(error) => return self.fail(error),
            }
        }
        if self.sentences.len() < self.spoken.utterances.len() {
            self.next_step(Self::lengths);
        } else {
            self.words = Some(spans(&self.spoken, &self.sentences, speaker.vits.hop()));
            self.next_step(Self::chunk);
        }
    }

    /// One chunk of sound.
    fn chunk(mut self, speaker: &mut Speaker) {
        if self.chunks.is_closed() {
            return;
        }
        if let Some(sentence) = self.sentences.get_mut(self.current) {
            if let Err(error) = sentence.next(&speaker.vits, self.size, &mut self.pcm) {
                return self.fail(error);
            }
            self.current += usize::from(sentence.finished());
        }
        let last = self.current >= self.sentences.len();
        // The last place in the queue is kept for the last chunk; until a reader makes room, sound
        // gathers here, at most one text's worth.
        if last || self.chunks.capacity() > 1 && !self.pcm.is_empty() {
            let chunk = SpokenChunk {
                pcm: std::mem::take(&mut self.pcm),
                words: self.words.take().unwrap_or_default(),
                last,
            };
            if self.chunks.try_send(Ok(chunk)).is_err() || last {
                return;
            }
            self.urgency = self.urgency.min(Urgency::Later);
        }
        self.size = larger(self.size);
        self.next_step(Self::chunk);
    }

    fn fail(self, error: DeviceError) {
        // The last place in the queue is free for it.
        let _ = self.chunks.try_send(Err(failed(error)));
    }

    fn next_step(self, step: fn(Self, &mut Speaker)) {
        let (chunks, steps) = (self.chunks.clone(), self.steps.clone());
        if let Err(error) = steps.submit(self.urgency, move |speaker| step(self, speaker)) {
            refuse(&chunks, error);
        }
    }
}

/// When each word sounds: from its first phoneme to its last.
fn spans(spoken: &Spoken, sentences: &[Sentence], hop: usize) -> Vec<WordSpan> {
    let mut found: Vec<Option<std::ops::Range<usize>>> = vec![None; spoken.words.len()];
    let mut at = 0;
    for (utterance, sentence) in spoken.utterances.iter().zip(sentences) {
        for (word, &frames) in utterance.words.iter().zip(sentence.frames()) {
            let end = at + frames * hop;
            if let Some(word) = *word {
                let span = found[word].get_or_insert(at..end);
                span.end = end;
            }
            at = end;
        }
    }
    let mut spans: Vec<WordSpan> = Vec::with_capacity(found.len());
    for (text, samples) in spoken.words.iter().zip(found) {
        let Some(samples) = samples else { continue };
        // A long word was spoken in pieces; it is one word of the text.
        match spans.last_mut() {
            Some(last) if last.text == *text => last.samples.end = samples.end,
            _ => spans.push(WordSpan { text: text.clone(), samples }),
        }
    }
    spans
}
