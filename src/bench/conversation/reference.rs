//! What a reply would have sounded like had nobody spoken over it.
//!
//! [`Dub`] stands between a call and its voice and keeps what the voice made, sample by sample. In:
//! those sounds, and when the gateway said that their words sound. Out: a [`Reference`]: the level that
//! each packet of the reply would have had. So ducking and gaps are told from the voice's own soft
//! sounds and pauses. The voice passes through unchanged.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::reply::{CODEC_DELAY, Reply, Said};
use crate::audio::level::{SILENCE_DBFS, rms_dbfs};
use crate::audio::resample::resample;
use crate::audio::{SLOT_SAMPLES, WIRE_RATE};
use crate::speaking::{SpeakError, Speech, SpokenChunk, Voice, WordSpan};

/// What the voice made of one text.
#[derive(Clone, Debug, Default)]
struct Made {
    pcm: Vec<f32>,
    words: Vec<WordSpan>,
}

/// Everything made of each text: the voice says none twice alike.
type Takes = HashMap<String, Vec<Made>>;

/// A voice that remembers what it said.
pub(super) struct Dub {
    voice: Arc<dyn Voice>,
    takes: Arc<Mutex<Takes>>,
    runtime: Handle,
}

impl Dub {
    /// Stands in front of `voice`; call it on the runtime that the calls run on.
    pub fn new(voice: Arc<dyn Voice>) -> Self {
        Self { voice, takes: Arc::default(), runtime: Handle::current() }
    }

    /// Forgets what was said: a scenario is over.
    pub fn forget(&self) {
        lock(&self.takes).clear();
    }

    /// What a reply would have sounded like; `None` if the voice's sound of it is not known.
    pub fn reference(&self, reply: &Reply) -> Option<Reference> {
        let takes = lock(&self.takes);
        let rate = self.voice.sample_rate();
        let mut reference = Reference { rtp_start: reply.rtp_start, samples: Vec::new() };
        for sentence in &reply.sentences {
            let take = the_take(takes.get(&sentence.text)?, sentence, rate)?;
            reference.place(sentence, take, rate)?;
        }
        Some(reference)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Sound is added chunk by chunk, each whole.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Voice for Dub {
    fn speak(&self, speech: Speech) -> mpsc::Receiver<Result<SpokenChunk, SpeakError>> {
        let text = speech.text.reveal().clone();
        let mut chunks = self.voice.speak(speech);
        // The chunks wait in the voice's own queue.
        let (sender, receiver) = mpsc::channel(1);
        let takes = self.takes.clone();
        self.runtime.spawn(async move {
            let mut made = Made::default();
            loop {
                let chunk = tokio::select! {
                    () = sender.closed() => break,
                    chunk = chunks.recv() => chunk,
                };
                let Some(chunk) = chunk else { break };
                if let Ok(chunk) = &chunk {
                    made.pcm.extend(&chunk.pcm);
                    made.words.extend(chunk.words.iter().cloned());
                }
                if sender.send(chunk).await.is_err() {
                    break;
                }
            }
            // A sentence cut short sounds as far as it was made.
            lock(&takes).entry(text).or_default().push(made);
        });
        receiver
    }

    fn sample_rate(&self) -> u32 {
        self.voice.sample_rate()
    }

    fn name(&self) -> String {
        self.voice.name()
    }
}

/// The take whose words are as long as those that sounded.
fn the_take<'a>(takes: &'a [Made], told: &Said, rate: u32) -> Option<&'a Made> {
    let ratio = f64::from(WIRE_RATE) / f64::from(rate);
    let ends: Vec<f64> = told.words.iter().map(|word| word.end as f64).collect();
    let off = |take: &Made| {
        let made: Vec<f64> = take.words.iter().map(|w| w.samples.end as f64 * ratio).collect();
        if made.len() != ends.len() || ends.is_empty() {
            return f64::INFINITY;
        }
        let shift = ends[ends.len() - 1] - made[made.len() - 1];
        ends.iter().zip(made).map(|(told, made)| (told - made - shift).abs()).sum()
    };
    let (off, take) =
        takes.iter().map(|take| (off(take), take)).min_by(|a, b| a.0.total_cmp(&b.0))?;
    // Rounding, for each word.
    (off <= 4.0 * ends.len() as f64).then_some(take)
}

/// The sound of a whole reply, in the time of its packets.
pub(super) struct Reference {
    rtp_start: u32,
    samples: Vec<f32>,
}

impl Reference {
    /// Puts a sentence where the gateway said that its last word begins.
    fn place(&mut self, sentence: &Said, made: &Made, rate: u32) -> Option<()> {
        let (told, known) = (sentence.words.last()?, made.words.last()?);
        let known = known.samples.start as f64 * f64::from(WIRE_RATE) / f64::from(rate);
        let start = told.start - known as i64 + CODEC_DELAY;
        let sound = resample(&made.pcm, rate, WIRE_RATE).ok()?;
        for (i, sample) in (start..).zip(sound) {
            // What lies before the reply's start is the breath that was cut off.
            let Ok(i) = usize::try_from(i) else { continue };
            if i >= self.samples.len() {
                self.samples.resize(i + 1, 0.0);
            }
            self.samples[i] += sample;
        }
        Some(())
    }

    /// The level that the packet at this RTP timestamp would have, had the reply been held up by
    /// `late` samples before it, dBFS.
    pub fn dbfs(&self, timestamp: u32, late: i64) -> f32 {
        self.at(super::reply::since(self.rtp_start, timestamp) - late)
    }

    /// The level of the 20 ms from this sample of the reply on, dBFS.
    pub fn at(&self, place: i64) -> f32 {
        let Ok(start) = usize::try_from(place) else { return SILENCE_DBFS };
        let end = (start + SLOT_SAMPLES).min(self.samples.len());
        self.samples.get(start..end).map_or(SILENCE_DBFS, rms_dbfs)
    }

    /// Made of given samples.
    #[cfg(test)]
    pub fn of(rtp_start: u32, samples: Vec<f32>) -> Self {
        Self { rtp_start, samples }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reply::Word;
    use super::*;

    #[test]
    fn the_take_that_sounded_is_found_among_others() {
        let made = |ends: [usize; 2]| Made {
            pcm: Vec::new(),
            words: ends.iter().map(|end| WordSpan { text: 0..1, samples: 0..*end }).collect(),
        };
        let word = |end| Word { text: "a".into(), start: 0, end };
        let takes = [made([1_000, 2_000]), made([1_100, 2_000]), made([1_200, 2_500])];
        let told = Said { text: "a a".into(), words: vec![word(2_199 - 500), word(4_000 - 500)] };
        let found = the_take(&takes, &told, 24_000).expect("the second one");
        assert_eq!(found.words[0].samples.end, 1_100);
        let none = Said { text: "a a".into(), words: vec![word(2_300), word(4_000)] };
        assert!(the_take(&takes, &none, 24_000).is_none());
    }

    #[test]
    fn a_sentence_lies_where_its_words_were_said_to_sound() {
        // 100 ms of breath, then a word; the gateway cut 90 ms of the breath off.
        let mut pcm = vec![0.0; 2_400];
        pcm.extend(vec![0.1; 4_800]);
        let words = vec![WordSpan { text: 0..2, samples: 2_400..7_200 }];
        let word = Word { text: "Hi".into(), start: 480, end: 10_080 };
        let said = Said { text: "Hi".into(), words: vec![word] };
        let mut reference = Reference::of(1_000, Vec::new());
        reference.place(&said, &Made { pcm, words }, 24_000).unwrap();
        let quiet = reference.at(480 - 960 + CODEC_DELAY - 100);
        assert!(quiet < -50.0, "{quiet}");
        assert!((reference.at(480 + CODEC_DELAY + 100) + 20.0).abs() < 0.3);
        assert!((reference.dbfs(1_000 + 1_920, 0) + 20.0).abs() < 0.3);
        assert_eq!(reference.dbfs(1_000 + 40_000, 0), SILENCE_DBFS);
        assert!((reference.dbfs(1_000 + 40_000, 38_000) + 20.0).abs() < 0.3, "held up");
    }
}
