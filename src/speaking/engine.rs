//! The voice's engine: sentences in, chunks of sound out, the most urgent sentence first.
//!
//! Owns what the thread "voice" owns: the network and the phonemizer. A sentence advances in steps
//! (phonemes and lengths, then one chunk a step), each a job of its own, so that sentences of
//! several calls take turns: a more urgent one goes first, and among equals the one whose sound runs
//! out first ([`super::playout_clock`]). On a device that runs several sentences as one batch, those
//! that wait for the same step take it together ([`super::batch`]). A dropped receiver ends its
//! sentence at the next step.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::batch::{Batch, Place, Pool, Step};
use super::phonemes::{Phonemizer, Spoken};
use super::playout_clock::PlayoutClock;
use super::vits::{DeviceError, Request, Sentence, Style, Vits};
use super::{CHUNK_QUEUE, PhonemeSpan, SpeakError, Speech, SpokenChunk, WordSpan, times};
use crate::inference::{Engine, Overloaded, Resubmitter, Urgency};

/// Sentences that may wait or be under way at once; what comes beyond is refused.
pub(super) const SENTENCES: usize = 128;
/// Frames of the first chunk: small, so that it sounds soon. With the frames that a published
/// voice's sound depends on it makes whole tiles of 16 for the decoder, and of 48 for the flow.
const FIRST_CHUNK: usize = 5;
/// The longest text spoken at once, in bytes: some minutes. The rest is dropped.
const LONGEST_TEXT: usize = 4096;

/// What the thread owns.
pub(super) struct Speaker {
    vits: Vits,
    phonemizer: Phonemizer,
    /// Hz.
    sample_rate: u32,
    /// Texts that wait for a batch; empty where each runs alone.
    pool: Pool<Speaking>,
}

impl Speaker {
    /// A network and what reads texts for it; sound comes at `sample_rate` Hz.
    pub fn new(vits: Vits, phonemizer: Phonemizer, sample_rate: u32) -> Self {
        Self { vits, phonemizer, sample_rate, pool: Pool::new() }
    }

    /// Speaks a sentence whose sound nobody hears.
    pub fn speak_to_nobody(&self, style: Style) -> Result<(), DeviceError> {
        self.vits.warm_up()?;
        let spoken = self.phonemizer.phonemes("I am ready, and it is 10 past 9. Shall we?");
        for utterance in &spoken.utterances {
            let mut sentence = self.vits.begin(&utterance.ids, style, 0)?;
            let (mut size, mut pcm) = (FIRST_CHUNK, Vec::new());
            while !sentence.finished() {
                sentence.next(&self.vits, size, &mut pcm)?;
                size = larger(size, &self.vits);
            }
        }
        Ok(())
    }

    /// Runs the next batch.
    fn turn(&mut self, steps: &Resubmitter<Self>) {
        let slots = self.vits.slots();
        let batch = self.pool.take(slots, |text: &Speaking| text.chunks.is_closed());
        // Before the batch runs: were it to break, those who still wait have their turn.
        self.queue_turn(steps);
        match batch {
            Some(Batch { step: Step::Lengths, texts, .. }) => Speaking::lengths_of(texts, self),
            Some(Batch { step: Step::Chunk, size, texts }) => {
                Speaking::chunks_of(texts, size, self);
            }
            None => {}
        }
        self.queue_turn(steps);
    }

    /// Queues the next turn, if one is due and not yet queued.
    fn queue_turn(&mut self, steps: &Resubmitter<Self>) {
        let Some(urgency) = self.pool.wants_turn() else { return };
        let again = steps.clone();
        let queued = steps.submit(urgency, move |speaker| {
            speaker.pool.turn_ended(urgency);
            speaker.turn(&again);
        });
        if queued.is_err() {
            // A full queue: whichever job of it comes next asks again.
            self.pool.turn_ended(urgency);
        }
    }
}

/// Frames of the chunk after one of `size` frames.
fn larger(size: usize, vits: &Vits) -> usize {
    (3 * size).min(vits.frames_of_a_step())
}
/// Starts a text; its chunks come through the receiver. Dropping that withdraws the text.
pub(super) fn start(
    engine: &Engine<Speaker>,
    speech: Speech,
    style: Style,
    seed: u64,
) -> mpsc::Receiver<Result<SpokenChunk, SpeakError>> {
    let (chunks, receiver) = mpsc::channel(CHUNK_QUEUE);
    let speaking = Speaking {
        urgency: speech.urgency,
        clock: PlayoutClock::new(Instant::now()),
        speech,
        chunks: chunks.clone(),
        steps: engine.resubmitter(),
        style,
        seed,
        spoken: Spoken::default(),
        sentences: Vec::new(),
        current: 0,
        size: FIRST_CHUNK,
        words: None,
        phonemes: None,
        pcm: Vec::new(),
    };
    let (urgency, due) = (speaking.urgency, speaking.clock.due());
    let steps = engine.resubmitter();
    let submitted = engine.submit_by(urgency, due, move |speaker| {
        speaking.prepare(speaker);
        speaker.queue_turn(&steps);
    });
    if let Err(error) = submitted {
        refuse(&chunks, error);
    }
    receiver
}

type Chunks = mpsc::Sender<Result<SpokenChunk, SpeakError>>;

fn refuse(chunks: &Chunks, error: Overloaded) {
    // Full or closed: then nobody misses the message.
    let _ = chunks.try_send(Err(error.into()));
}

/// One text on its way to sound.
struct Speaking {
    speech: Speech,
    urgency: Urgency,
    /// Says when the next step is due.
    clock: PlayoutClock,
    chunks: Chunks,
    steps: Resubmitter<Speaker>,
    style: Style,
    seed: u64,
    spoken: Spoken,
    /// One for each utterance of `spoken`, as far as they are prepared.
    sentences: Vec<Sentence>,
    current: usize,
    /// Frames of the next chunk.
    size: usize,
    /// Spans of all words, until the first chunk takes them along.
    words: Option<Vec<WordSpan>>,
    /// Spans of all phonemes, likewise.
    phonemes: Option<Vec<PhonemeSpan>>,
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
        if speaker.vits.slots() > 1 {
            if speaker.pool.len() >= SENTENCES {
                return refuse(&self.chunks, Overloaded("voice"));
            }
            self.next_step(speaker, Step::Lengths);
        } else {
            self.lengths(speaker);
        }
    }

    /// Lengths of the next utterance; each is a step of its own.
    fn lengths(mut self, speaker: &mut Speaker) {
        if self.chunks.is_closed() {
            return;
        }
        if let Some(Request { ids, style, seed }) = self.request() {
            match speaker.vits.begin(ids, style, seed) {
                Ok(sentence) => self.sentences.push(sentence),
                Err(error) => return self.fail(&error),
            }
        }
        self.after_lengths(speaker);
    }

    /// As [`Self::lengths`], for several texts.
    fn lengths_of(texts: Vec<Self>, speaker: &mut Speaker) {
        let requests: Vec<Request> = texts.iter().filter_map(|text| text.request()).collect();
        match speaker.vits.begin_all(&requests) {
            Ok(sentences) => {
                let mut sentences = sentences.into_iter();
                for mut text in texts {
                    if text.request().is_some() {
                        text.sentences.extend(sentences.next());
                    }
                    text.after_lengths(speaker);
                }
            }
            Err(error) => texts.into_iter().for_each(|text| text.fail(&error)),
        }
    }

    /// The next utterance without lengths.
    fn request(&self) -> Option<Request<'_>> {
        let utterance = self.spoken.utterances.get(self.sentences.len())?;
        Some(Request { ids: &utterance.ids, style: self.style, seed: self.seed })
    }

    fn after_lengths(mut self, speaker: &mut Speaker) {
        if self.sentences.len() < self.spoken.utterances.len() {
            self.next_step(speaker, Step::Lengths);
        } else {
            let frames: Vec<&[usize]> = self.sentences.iter().map(Sentence::frames).collect();
            let hop = speaker.vits.hop();
            self.words = Some(times::words(&self.spoken, &frames, hop));
            self.phonemes = Some(times::phonemes(&self.spoken, &frames, hop));
            self.next_step(speaker, Step::Chunk);
        }
    }

    /// One chunk of sound.
    fn chunk(mut self, speaker: &mut Speaker) {
        if self.chunks.is_closed() {
            return;
        }
        if let Some(sentence) = self.sentences.get_mut(self.current)
            && let Err(error) = sentence.next(&speaker.vits, self.size, &mut self.pcm)
        {
            return self.fail(&error);
        }
        self.after_chunk(speaker);
    }

    /// As [`Self::chunk`], for several texts: `size` frames of each.
    fn chunks_of(mut texts: Vec<Self>, size: usize, speaker: &mut Speaker) {
        let (mut sentences, mut sounds) = (Vec::new(), Vec::new());
        for text in &mut texts {
            if let Some(sentence) = text.sentences.get_mut(text.current) {
                sentences.push(sentence);
                sounds.push(&mut text.pcm);
            }
        }
        match speaker.vits.next_all(&mut sentences, size) {
            Ok(made) => {
                sounds.into_iter().zip(made).for_each(|(pcm, made)| pcm.extend(made));
                texts.into_iter().for_each(|text| text.after_chunk(speaker));
            }
            Err(error) => texts.into_iter().for_each(|text| text.fail(&error)),
        }
    }

    /// Hands out what sound there is.
    fn after_chunk(mut self, speaker: &mut Speaker) {
        let finished = self.sentences.get(self.current).is_some_and(Sentence::finished);
        self.current += usize::from(finished);
        let last = self.current >= self.sentences.len();
        // The last place in the queue is kept for the last chunk; until a reader makes room, sound
        // gathers here, at most one text's worth.
        if last || self.chunks.capacity() > 1 && !self.pcm.is_empty() {
            let seconds = self.pcm.len() as f64 / f64::from(speaker.sample_rate);
            self.clock.handed_out(Instant::now(), Duration::from_secs_f64(seconds));
            let chunk = SpokenChunk {
                pcm: std::mem::take(&mut self.pcm),
                words: self.words.take().unwrap_or_default(),
                phonemes: self.phonemes.take().unwrap_or_default(),
                last,
            };
            if self.chunks.try_send(Ok(chunk)).is_err() || last {
                return;
            }
        }
        self.size = larger(self.size, &speaker.vits);
        self.next_step(speaker, Step::Chunk);
    }

    fn fail(self, error: &DeviceError) {
        // The last place in the queue is free for it.
        let _ = self.chunks.try_send(Err(SpeakError::Model(error.to_string())));
    }

    /// Waits for a batch where there are batches, else for its turn.
    fn next_step(self, speaker: &mut Speaker, step: Step) {
        if speaker.vits.slots() > 1 {
            let size = match step {
                Step::Lengths => {
                    let utterance = self.spoken.utterances.get(self.sentences.len());
                    speaker.vits.places(utterance.map_or(0, |utterance| utterance.ids.len()))
                }
                Step::Chunk => self.size,
            };
            let (urgency, due) = (self.urgency, self.clock.due());
            return speaker.pool.enter(Place { urgency, due, step, size }, self);
        }
        let (chunks, steps) = (self.chunks.clone(), self.steps.clone());
        let submitted =
            steps.submit_by(self.urgency, self.clock.due(), move |speaker| match step {
                Step::Lengths => self.lengths(speaker),
                Step::Chunk => self.chunk(speaker),
            });
        if let Err(error) = submitted {
            refuse(&chunks, error);
        }
    }
}
