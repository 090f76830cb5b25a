//! What the caller says: 20 ms frames, one after the other.
//!
//! In: sounds to say, sounds to mix in, the echo of the room. Out: Opus packets, and the level of
//! each frame. Owned by the call; it waits for nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::CALLER_VOICED_DBFS;
use super::timeline::Said;
use crate::audio::level::rms_dbfs;
use crate::audio::opus::{Encoder, EncoderConfig};
use crate::audio::{SLOT_SAMPLES, WIRE_RATE};

/// The caller's microphone.
pub(super) struct Mouth {
    encoder: Encoder,
    queue: VecDeque<f32>,
    layers: Vec<Layer>,
    timestamp: u32,
    /// When the next frame is due.
    pub(super) next: Instant,
    started: bool,
    /// Nothing is sent, though time goes on.
    pub(super) held: bool,
    pub(super) last_voiced: Option<Instant>,
    /// Every frame so far.
    pub(super) said: Vec<Said>,
}

/// A sound beside what is said.
struct Layer {
    /// Samples until it begins.
    wait: usize,
    sound: VecDeque<f32>,
}

impl Mouth {
    pub(super) fn new() -> Self {
        Self {
            encoder: Encoder::new(EncoderConfig::default()).expect("libopus encodes 48 kHz mono"),
            queue: VecDeque::new(),
            layers: Vec::new(),
            timestamp: 0,
            next: Instant::now(),
            started: false,
            held: false,
            last_voiced: None,
            said: Vec::new(),
        }
    }

    /// Says this behind what is queued.
    pub(super) fn say(&mut self, sound: &[f32]) {
        self.queue.extend(sound);
    }

    /// Mixes this in, in `delay` from now.
    pub(super) fn mix(&mut self, delay: Duration, sound: Vec<f32>) {
        let wait = (delay.as_secs_f64() * f64::from(WIRE_RATE)) as usize;
        self.layers.push(Layer { wait, sound: sound.into() });
    }

    /// Whether there is something left to say or to mix in.
    pub(super) fn is_speaking(&self) -> bool {
        !self.queue.is_empty() || !self.layers.is_empty()
    }

    /// The next 20 ms: what is queued, else silence, and what is mixed in; `None` where nothing is
    /// sent.
    pub(super) fn frame(
        &mut self,
        echo: Option<[f32; SLOT_SAMPLES]>,
    ) -> Option<(Bytes, u32, bool)> {
        self.next += Duration::from_millis(20);
        let mut pcm = [0.0; SLOT_SAMPLES];
        for (slot, sample) in
            pcm.iter_mut().zip(self.queue.drain(..SLOT_SAMPLES.min(self.queue.len())))
        {
            *slot = sample;
        }
        self.layers.iter_mut().for_each(|layer| layer.add_to(&mut pcm));
        self.layers.retain(|layer| !layer.sound.is_empty());
        let dbfs = rms_dbfs(&pcm);
        let now = Instant::now();
        if dbfs > CALLER_VOICED_DBFS {
            self.last_voiced = Some(now);
        }
        self.said.push(Said { sent: now, dbfs });
        if let Some(echo) = echo {
            pcm.iter_mut().zip(echo).for_each(|(slot, sample)| *slot += sample);
        }
        let timestamp = self.timestamp;
        self.timestamp = timestamp.wrapping_add(SLOT_SAMPLES as u32);
        let payload = self.encoder.encode(&pcm).ok()?;
        if self.held {
            return None;
        }
        let marker = !std::mem::replace(&mut self.started, true);
        Some((payload, timestamp, marker))
    }
}

impl Layer {
    fn add_to(&mut self, pcm: &mut [f32; SLOT_SAMPLES]) {
        let skip = self.wait.min(SLOT_SAMPLES);
        self.wait -= skip;
        let count = (SLOT_SAMPLES - skip).min(self.sound.len());
        for (slot, sample) in pcm[skip..].iter_mut().zip(self.sound.drain(..count)) {
            *slot += sample;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_sound_beside_what_is_said_from_their_time_on() {
        let mut mouth = Mouth::new();
        mouth.say(&[0.1; 2 * SLOT_SAMPLES]);
        mouth.mix(Duration::from_millis(30), vec![0.1; SLOT_SAMPLES]);
        for _ in 0..4 {
            mouth.frame(None);
        }
        assert!(!mouth.is_speaking());
        let levels: Vec<f32> = mouth.said.iter().map(|said| said.dbfs).collect();
        assert!((levels[0] + 20.0).abs() < 0.1, "the queue alone: {levels:?}");
        assert!((levels[1] + 16.0).abs() < 0.2, "half of it doubled: {levels:?}");
        assert!((levels[2] + 23.0).abs() < 0.1, "the layer's second half: {levels:?}");
        assert_eq!(levels[3], -100.0);
    }

    #[test]
    fn a_held_mouth_sends_nothing_and_keeps_its_clock() {
        let mut mouth = Mouth::new();
        mouth.held = true;
        assert!(mouth.frame(None).is_none());
        mouth.held = false;
        let (_, timestamp, marker) = mouth.frame(None).expect("a packet");
        assert_eq!((timestamp, marker), (960, true));
    }
}
