//! Samples that arrive in pieces of any size in; frames for listening out.
//!
//! For callers whose sound does not come as RTP. Frames leave as soon as they are whole. A client that
//! stops sending is silent: once the sound it has sent is over by its own length, frames of silence
//! follow for a while, so that an open turn comes to its end. Owned by the call; told the time.

use std::collections::VecDeque;
use std::time::Duration;

use super::level::{SILENCE_DBFS, rms_dbfs};
use super::resample::{BadRate, Resampler};
use super::sound_in::{FRAME_SAMPLES, Frame};
use super::{HEARING_RATE, SLOT_MS};

/// A client may be this late with its next piece.
const PATIENCE: Duration = Duration::from_millis(200);
/// Silence is added for at most this long; then there is nothing until more sound comes.
const MOST_SILENCE: Duration = Duration::from_secs(6);
/// Samples that wait to be read, 60 s: beyond that the oldest go.
const MOST_WAITING: usize = 60 * HEARING_RATE as usize;

const SLOT: Duration = Duration::from_millis(SLOT_MS as u64);

/// Pieces to frames.
pub struct PcmIn {
    resampler: Option<Resampler>,
    rate: u32,
    waiting: VecDeque<f32>,
    /// Up to when what has come would sound.
    covered: Duration,
    arrived: Option<Duration>,
    silence: Duration,
    given: u64,
}

impl PcmIn {
    /// Takes samples at this rate, in Hz.
    pub fn new(rate: u32) -> Result<Self, BadRate> {
        let resampler =
            (rate != HEARING_RATE).then(|| Resampler::new(rate, HEARING_RATE)).transpose()?;
        Ok(Self {
            resampler,
            rate,
            waiting: VecDeque::new(),
            covered: Duration::ZERO,
            arrived: None,
            silence: Duration::ZERO,
            given: 0,
        })
    }

    /// Samples a second that it takes.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Takes the next samples, -1..1.
    pub fn push(&mut self, now: Duration, pcm: &[f32]) {
        match &mut self.resampler {
            Some(resampler) => {
                let mut out = Vec::with_capacity(pcm.len());
                resampler.push(pcm, &mut out);
                self.waiting.extend(out);
            }
            None => self.waiting.extend(pcm),
        }
        let over = self.waiting.len().saturating_sub(MOST_WAITING);
        self.waiting.drain(..over);
        let length = Duration::from_secs_f64(pcm.len() as f64 / f64::from(self.rate));
        self.covered = self.covered.max(now) + length;
        self.arrived = Some(now);
        self.silence = Duration::ZERO;
    }

    /// The next frame that is whole at `now`.
    pub fn poll_frame(&mut self, now: Duration) -> Option<Frame> {
        let arrived = self.arrived?;
        if self.waiting.len() >= FRAME_SAMPLES {
            let mut samples = [0.0; FRAME_SAMPLES];
            for (to, from) in samples.iter_mut().zip(self.waiting.drain(..FRAME_SAMPLES)) {
                *to = from;
            }
            return Some(self.frame(samples, arrived, false));
        }
        if self.silence >= MOST_SILENCE || now < self.covered + PATIENCE {
            return None;
        }
        // The rest of a frame is followed by silence.
        let mut samples = [0.0; FRAME_SAMPLES];
        let rest = self.waiting.len();
        for (to, from) in samples.iter_mut().zip(self.waiting.drain(..)) {
            *to = from;
        }
        self.covered += SLOT;
        self.silence += SLOT;
        Some(self.frame(samples, now, rest == 0))
    }

    /// When to ask again without new sound.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let open = self.arrived.is_some() && self.silence < MOST_SILENCE;
        open.then_some(self.covered + PATIENCE)
    }

    fn frame(&mut self, samples: [f32; FRAME_SAMPLES], arrived: Duration, empty: bool) -> Frame {
        let start_sample = self.given;
        self.given += FRAME_SAMPLES as u64;
        let rms_dbfs = if empty { SILENCE_DBFS } else { rms_dbfs(&samples) };
        Frame { samples, start_sample, arrived, rms_dbfs, concealed: empty }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(at: u64) -> Duration {
        Duration::from_millis(at)
    }

    fn frames(input: &mut PcmIn, now: u64) -> Vec<Frame> {
        std::iter::from_fn(|| input.poll_frame(ms(now))).collect()
    }

    #[test]
    fn pieces_become_frames_at_once_and_lose_nothing() {
        let mut input = PcmIn::new(24_000).expect("a usual rate");
        let mut count = 0;
        for piece in 0..50 {
            input.push(ms(piece * 20), &[0.5; 480]);
            count += frames(&mut input, piece * 20).len();
        }
        assert!((48..=50).contains(&count), "{count} frames of 50");
    }

    #[test]
    fn a_client_that_stops_is_silent_for_a_while() {
        let mut input = PcmIn::new(16_000).expect("a usual rate");
        assert!(input.poll_timeout().is_none());
        // A whole second comes at once: silence begins only after it would have sounded.
        input.push(ms(100), &[0.5; 16_000]);
        assert_eq!(frames(&mut input, 100).len(), 50);
        assert!(frames(&mut input, 1200).is_empty());
        assert_eq!(input.poll_timeout(), Some(ms(1300)));
        let silent = frames(&mut input, 1400);
        assert_eq!(silent.len(), 6);
        assert!(silent.iter().all(|frame| frame.concealed));
        assert_eq!(silent.last().expect("frames").start_sample, 55 * 320);
        let rest = frames(&mut input, 60_000).len();
        assert_eq!(rest + 6, 300, "six seconds in all");
        assert!(input.poll_timeout().is_none());
    }
}
