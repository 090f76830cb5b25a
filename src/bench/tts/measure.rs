//! One voice under the clock.
//!
//! In: a voice and texts. Out: when each chunk came and what it cost, for one sentence or several at
//! once. Waits on the calling thread.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::super::stats::process_cpu;
use crate::ids::ReplyId;
use crate::inference::Urgency;
use crate::private::Private;
use crate::speaking::{Speech, SpokenChunk, Voice};

/// A sample beyond this is heard, -50 dBFS: where a call cuts the silence before a word.
const AUDIBLE: f32 = 0.003_16;

/// What one sentence took.
#[derive(Clone, Debug, Default)]
pub struct Spoken {
    /// When each chunk came, after the text was handed over, and its samples.
    pub chunks: Vec<(Duration, usize)>,
    /// When the first chunk with something to hear came.
    pub audible: Option<Duration>,
    /// The sound.
    pub pcm: Vec<f32>,
    /// Processor time of this process.
    pub cpu: Duration,
}

impl Spoken {
    /// From the text to the first chunk with something to hear: voices breathe in first.
    pub fn first(&self) -> Duration {
        self.audible.unwrap_or_default()
    }

    fn take(&mut self, at: Duration, chunk: &SpokenChunk) {
        if chunk.pcm.is_empty() {
            return;
        }
        self.chunks.push((at, chunk.pcm.len()));
        if self.audible.is_none() && chunk.pcm.iter().any(|sample| sample.abs() > AUDIBLE) {
            self.audible = Some(at);
        }
    }

    /// From the text to the last chunk.
    pub fn whole(&self) -> Duration {
        self.chunks.last().map_or(Duration::ZERO, |chunk| chunk.0)
    }

    /// Played from its first chunk on at `rate`, how early the latest chunk came in seconds:
    /// negative is a gap that is heard.
    pub fn slack(&self, rate: u32) -> f64 {
        let mut until = self.chunks.first().map_or(0.0, |chunk| chunk.0.as_secs_f64());
        let mut least = f64::INFINITY;
        for (index, &(at, samples)) in self.chunks.iter().enumerate() {
            if index > 0 {
                least = least.min(until - at.as_secs_f64());
            }
            until += samples as f64 / f64::from(rate);
        }
        least
    }
}

fn speech(text: &str) -> Speech {
    Speech { reply: ReplyId(1), text: Private::new(text.into()), urgency: Urgency::Now }
}

/// Speaks one sentence.
pub fn one(voice: &dyn Voice, text: &str) -> anyhow::Result<Spoken> {
    let cpu = process_cpu();
    let began = Instant::now();
    let mut chunks = voice.speak(speech(text));
    let mut spoken = Spoken::default();
    loop {
        let chunk = chunks.blocking_recv().context("the voice broke off")??;
        spoken.take(began.elapsed(), &chunk);
        spoken.pcm.extend(chunk.pcm);
        if chunk.last {
            spoken.cpu = process_cpu() - cpu;
            return Ok(spoken);
        }
    }
}

/// Speaks all texts at once, as several calls do.
pub fn at_once(voice: &dyn Voice, texts: &[String]) -> anyhow::Result<Vec<Spoken>> {
    let began = Instant::now();
    let mut streams: Vec<_> = texts.iter().map(|text| Some(voice.speak(speech(text)))).collect();
    let mut all = vec![Spoken::default(); texts.len()];
    // Each stream keeps its chunks in a queue; looking at all of them every so often costs no more
    // than the grain of a sound card.
    while streams.iter().any(Option::is_some) {
        for (stream, spoken) in streams.iter_mut().zip(&mut all) {
            let Some(chunks) = stream else { continue };
            match chunks.try_recv() {
                Ok(chunk) => {
                    let chunk = chunk?;
                    spoken.take(began.elapsed(), &chunk);
                    if chunk.last {
                        *stream = None;
                    }
                }
                Err(tokio::sync::mpsc::error::TryRecvError::Empty) => {}
                Err(_) => anyhow::bail!("the voice broke off"),
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(all)
}

/// How long a new sentence waits, beyond its own time, for an engine whose caller just hung up in
/// mid-sentence.
pub fn after_cancelling(voice: &dyn Voice, long: &str, short: &str) -> anyhow::Result<f64> {
    let alone = one(voice, short)?.first();
    let mut chunks = voice.speak(speech(long));
    chunks.blocking_recv().context("the voice broke off")??;
    drop(chunks);
    let after = one(voice, short)?.first();
    Ok(1e3 * (after.as_secs_f64() - alone.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::Spoken;
    use std::time::Duration;

    #[test]
    fn a_chunk_that_comes_after_the_sound_ran_out_is_a_gap() {
        let chunk = |ms, samples| (Duration::from_millis(ms), samples);
        let mut spoken =
            Spoken { chunks: vec![chunk(10, 1000), chunk(510, 500)], ..Spoken::default() };
        assert!((spoken.slack(1000) - 0.5).abs() < 1e-9);
        spoken.chunks.push(chunk(1610, 10));
        assert!((spoken.slack(1000) + 0.1).abs() < 1e-9);
    }
}
