//! One sentence on its way to sound: a voice's chunks in, sound at another rate with word times out.
//!
//! In: a text and a voice. Out: [`Sound`]: its silent beginning trimmed, resampled, with the sentence
//! on its first stretch. Knows nothing of replies: `reply.rs` speaks one after the other in a call, and
//! speech over HTTP does the same without one.

use std::ops::Range;

use tokio::sync::mpsc;

use crate::audio::resample::Resampler;
use crate::private::Private;
use crate::speaking::visemes::{self, VisemeSpan};
use crate::speaking::{SpeakError, Speech, SpokenChunk, Voice, WordSpan};

/// Sound below this is not heard: -50 dBFS.
const INAUDIBLE: f32 = 0.003_16;
/// What is left of a sentence's silent beginning, seconds: the breath before the word.
const LEAD_IN_S: f32 = 0.01;

/// A stretch of a sentence's sound.
#[derive(Debug)]
pub(crate) struct Sound {
    /// The samples.
    pub pcm: Vec<f32>,
    /// With the first stretch of a sentence: the sentence.
    pub sentence: Option<Sentence>,
    /// Nothing of this sentence follows.
    pub last: bool,
}

/// A sentence and when its words sound.
#[derive(Clone, Debug)]
pub(crate) struct Sentence {
    /// The text as written.
    pub text: Private<String>,
    /// Words, in samples from the sentence's first.
    pub words: Vec<WordSpan>,
    /// The mouth's shapes, in the same samples.
    pub visemes: Vec<VisemeSpan>,
}

/// A sentence that is being spoken. Dropping it withdraws it.
pub(crate) struct Spoken {
    text: Private<String>,
    chunks: mpsc::Receiver<Result<SpokenChunk, SpeakError>>,
    rate: u32,
    resampler: Resampler,
    /// Samples cut off its silent beginning, at the voice's rate; `None` until sound was found.
    trimmed: Option<usize>,
    words: Vec<WordSpan>,
    visemes: Vec<VisemeSpan>,
    announced: bool,
}

impl Spoken {
    /// Starts a sentence; its sound will have `rate` Hz.
    pub(crate) fn start(voice: &dyn Voice, speech: Speech, rate: u32) -> Self {
        Self {
            text: speech.text.clone(),
            chunks: voice.speak(speech),
            rate: voice.sample_rate(),
            resampler: Resampler::new(voice.sample_rate(), rate)
                .expect("a voice has a rate that sound can have"),
            trimmed: None,
            words: Vec::new(),
            visemes: Vec::new(),
            announced: false,
        }
    }

    /// The next chunk from the voice, for [`Self::take`]; `None`: nothing of it could be spoken, or
    /// the voice broke. Cancel-safe.
    pub(crate) async fn chunk(&mut self) -> Option<Result<SpokenChunk, SpeakError>> {
        self.chunks.recv().await
    }

    /// Trims the silent beginning, resamples, and attaches the sentence to its first sound.
    pub(crate) fn take(&mut self, mut chunk: SpokenChunk) -> Option<Sound> {
        if !chunk.words.is_empty() {
            self.words = std::mem::take(&mut chunk.words);
            self.visemes = visemes::track(&chunk.phonemes, self.rate);
        }
        let mut samples = &chunk.pcm[..];
        if self.trimmed.is_none() {
            let lead_in = (LEAD_IN_S * self.rate as f32) as usize;
            let onset = samples.iter().position(|sample| sample.abs() > INAUDIBLE);
            match onset {
                Some(onset) => {
                    let cut = onset.saturating_sub(lead_in);
                    self.trimmed = Some(cut);
                    samples = &samples[cut..];
                }
                None if chunk.last => return None,
                None => {
                    // A whole chunk of silence before the first word: its words shift by it.
                    self.shift(samples.len());
                    return None;
                }
            }
        }
        let mut pcm = Vec::with_capacity(samples.len() * 3);
        self.resampler.push(samples, &mut pcm);
        if chunk.last {
            self.resampler.finish(&mut pcm);
        }
        let sentence = (!self.announced).then(|| self.announce());
        Some(Sound { pcm, sentence, last: chunk.last })
    }

    /// The sentence, with its times at the rate of its sound.
    fn announce(&mut self) -> Sentence {
        self.announced = true;
        self.shift(self.trimmed.unwrap_or(0));
        let ratio = f64::from(self.resampler.output_rate()) / f64::from(self.rate);
        let scaled = |at: &Range<usize>| {
            (at.start as f64 * ratio) as usize..(at.end as f64 * ratio) as usize
        };
        let mut words = std::mem::take(&mut self.words);
        words.iter_mut().for_each(|word| word.samples = scaled(&word.samples));
        let mut visemes = std::mem::take(&mut self.visemes);
        visemes.retain(|viseme| viseme.samples.end > 0);
        visemes.iter_mut().for_each(|viseme| viseme.samples = scaled(&viseme.samples));
        Sentence { text: self.text.clone(), words, visemes }
    }

    /// All times come `by` samples earlier.
    fn shift(&mut self, by: usize) {
        let earlier = |at: &mut Range<usize>| {
            *at = at.start.saturating_sub(by)..at.end.saturating_sub(by);
        };
        self.words.iter_mut().for_each(|word| earlier(&mut word.samples));
        self.visemes.iter_mut().for_each(|viseme| earlier(&mut viseme.samples));
    }
}
