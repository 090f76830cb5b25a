//! Sounds that people make or live among, made from a seed: coughs, hums, keys, babble, music.
//!
//! In: a seeded source of chance, and voices for babble. Out: 48 kHz mono, -1..1. The same seed gives
//! the same sounds.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::audio::WIRE_RATE;
use crate::audio::level::{gain, rms_dbfs};

const RATE: f32 = WIRE_RATE as f32;

/// A source of chance for one purpose.
pub(super) fn chance(seed: u64, purpose: u64) -> StdRng {
    StdRng::seed_from_u64(seed ^ purpose.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// This much silence.
pub(super) fn silence(seconds: f32) -> Vec<f32> {
    vec![0.0; (seconds * RATE) as usize]
}

/// Brings a sound's mean level to `dbfs`.
pub(super) fn at_level(mut sound: Vec<f32>, dbfs: f32) -> Vec<f32> {
    let factor = gain(dbfs - rms_dbfs(&sound));
    sound.iter_mut().for_each(|sample| *sample = (*sample * factor).clamp(-1.0, 1.0));
    sound
}

/// A resonance: what a throat does to noise (two poles, after Klatt 1980).
struct Formant {
    a: f32,
    b: f32,
    c: f32,
    last: [f32; 2],
}

impl Formant {
    fn new(hz: f32, width_hz: f32) -> Self {
        let radius = (-std::f32::consts::PI * width_hz / RATE).exp();
        let c = -radius * radius;
        let b = 2.0 * radius * (std::f32::consts::TAU * hz / RATE).cos();
        Self { a: 1.0 - b - c, b, c, last: [0.0; 2] }
    }

    fn filter(&mut self, sample: f32) -> f32 {
        let out = self.a * sample + self.b * self.last[0] + self.c * self.last[1];
        self.last = [out, self.last[0]];
        out
    }
}

/// A cough: one or two bursts of 250 to 400 ms in all, sharp at the start, through two formants.
pub(super) fn cough(chance: &mut StdRng) -> Vec<f32> {
    let mut sound = Vec::new();
    let bursts = chance.random_range(1..=2);
    for _ in 0..bursts {
        let seconds = chance.random_range(0.25..0.4) / bursts as f32;
        let mut low = Formant::new(chance.random_range(500.0..900.0), 180.0);
        let mut high = Formant::new(chance.random_range(1_300.0..2_200.0), 300.0);
        let samples = (seconds * RATE) as usize;
        for i in 0..samples {
            let noise: f32 = chance.random_range(-1.0..1.0);
            let rise = (i as f32 / (0.008 * RATE)).min(1.0);
            let fall = (-4.0 * i as f32 / samples as f32).exp();
            sound.push((low.filter(noise) + 0.7 * high.filter(noise)) * rise * fall);
        }
        sound.extend(silence(0.03));
    }
    at_level(sound, -22.0)
}

/// "Mhm" with closed lips: two humps of a hum, the second one higher.
pub(super) fn hum(chance: &mut StdRng) -> Vec<f32> {
    let mut lips = Formant::new(250.0, 90.0);
    let mut nose = Formant::new(2_100.0, 400.0);
    let pitch: f32 = chance.random_range(95.0..200.0);
    let mut phase = 0.0_f32;
    let mut sound = Vec::new();
    let speed: f32 = chance.random_range(0.8..1.25);
    for (seconds, from, to) in [(0.16 / speed, 1.0, 0.93), (0.24 / speed, 1.0, 1.22)] {
        let samples = (seconds * RATE) as usize;
        for i in 0..samples {
            let done = i as f32 / samples as f32;
            phase = (phase + pitch * (from + (to - from) * done) / RATE).fract();
            // A glottis opens slowly and closes at once.
            let pulse = if phase < 0.6 { phase / 0.6 } else { -((phase - 0.6) / 0.4) };
            let hump = (std::f32::consts::PI * done).sin().powf(0.6).max(0.12);
            sound.push((lips.filter(pulse) + 0.05 * nose.filter(pulse)) * hump);
        }
    }
    at_level(sound, -24.0)
}

/// Somebody types for so long: a click for each key, a softer one when it comes up.
pub(super) fn keyboard(chance: &mut StdRng, seconds: f32) -> Vec<f32> {
    let mut sound = silence(seconds);
    let mut at = 0.02;
    while at + 0.12 < seconds {
        for (delay, loudness) in [(0.0, 1.0), (chance.random_range(0.05..0.09), 0.45)] {
            let mut body = Formant::new(chance.random_range(1_800.0..4_200.0), 900.0);
            let start = ((at + delay) * RATE) as usize;
            for (i, slot) in sound[start..].iter_mut().take((0.02 * RATE) as usize).enumerate() {
                let noise: f32 = chance.random_range(-1.0..1.0);
                *slot += loudness * body.filter(noise) * (-(i as f32) / (0.003 * RATE)).exp();
            }
        }
        at += chance.random_range(0.09..0.26);
    }
    at_level(sound, -32.0)
}

/// Several people speak at once, far away: the voices summed, `below_db` below a speaker's level.
pub(super) fn babble(
    chance: &mut StdRng,
    voices: &[Vec<f32>],
    seconds: f32,
    below_db: f32,
) -> Vec<f32> {
    let mut sound = silence(seconds);
    for _ in 0..chance.random_range(3..=6) {
        let voice = &voices[chance.random_range(0..voices.len())];
        let start = chance.random_range(0..voice.len().max(1));
        for (i, slot) in sound.iter_mut().enumerate() {
            *slot += voice[(start + i) % voice.len()];
        }
    }
    edges(&mut sound);
    at_level(sound, SPEAKER_DBFS - below_db)
}

/// The mean level of somebody who speaks into the microphone, dBFS.
const SPEAKER_DBFS: f32 = -22.0;

/// Music from a radio: chords of plucked strings on a beat.
pub(super) fn music(chance: &mut StdRng, seconds: f32) -> Vec<f32> {
    let mut sound = silence(seconds);
    let beat = chance.random_range(0.25..0.4);
    let root = chance.random_range(110.0..180.0);
    let steps = [[0, 4, 7], [5, 9, 12], [7, 11, 14], [9, 12, 16]];
    let mut at = 0.0;
    while at < seconds {
        let chord = steps[chance.random_range(0..steps.len())];
        for step in chord {
            let hz = root * 2f32.powf(step as f32 / 12.0);
            let start = (at * RATE) as usize;
            for (i, slot) in
                sound[start..].iter_mut().take((2.0 * beat * RATE) as usize).enumerate()
            {
                let time = i as f32 / RATE;
                let tone: f32 = (1..=6u8)
                    .map(f32::from)
                    .map(|n| (std::f32::consts::TAU * n * hz * time).sin() / n.powf(1.4))
                    .sum();
                *slot += tone * (time / 0.005).min(1.0) * (-time / (0.7 * beat)).exp();
            }
        }
        at += beat;
    }
    edges(&mut sound);
    at_level(sound, -32.0)
}

/// 20 ms of fade at both ends.
fn edges(sound: &mut [f32]) {
    let fade = ((0.02 * RATE) as usize).min(sound.len() / 2);
    crate::audio::level::fade_in(&mut sound[..fade]);
    let from = sound.len() - fade;
    crate::audio::level::fade_out(&mut sound[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sound_and_another_one_another() {
        let of = |seed| {
            let mut chance = chance(seed, 1);
            (cough(&mut chance), hum(&mut chance), keyboard(&mut chance, 1.0))
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1).0, of(2).0);
    }

    #[test]
    fn sounds_are_as_long_and_as_loud_as_they_should_be() {
        let mut chance = chance(3, 1);
        let voices = vec![hum(&mut chance).repeat(4)];
        for (sound, dbfs, seconds) in [
            (cough(&mut chance), -22.0, 0.25..0.5),
            (hum(&mut chance), -24.0, 0.3..0.6),
            (keyboard(&mut chance, 2.0), -32.0, 2.0..2.01),
            (babble(&mut chance, &voices, 2.0, 20.0), -42.0, 2.0..2.01),
            (music(&mut chance, 2.0), -32.0, 2.0..2.01),
        ] {
            assert!(sound.iter().all(|s| s.is_finite()));
            // Clicks are so steep that their peaks are clipped.
            assert!((rms_dbfs(&sound) - dbfs).abs() < 1.5, "{}", rms_dbfs(&sound));
            assert!(seconds.contains(&(sound.len() as f32 / RATE)), "{}", sound.len());
        }
    }
}
