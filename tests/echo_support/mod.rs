//! A caller's room: what EVA says comes back through loudspeaker, air, microphone and two codecs.

#![allow(dead_code)]

use eva_voice::audio::opus::{Decoder, Encoder, EncoderConfig};
use eva_voice::audio::{HEARING_RATE, SLOT_SAMPLES, WIRE_RATE};

/// Samples of a frame heard.
pub const FRAME: usize = 320;

/// How the sound comes back.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub name: &'static str,
    /// The echo's level beside what was sent, in dB.
    pub gain_db: f32,
    /// Loudspeaker to microphone, devices and air, in ms.
    pub delay_ms: f32,
    /// The network's round trip, in ms.
    pub network_ms: f32,
    /// The delay changes by this much half way, in ms.
    pub jump_ms: f32,
    /// The loudspeaker clips softly: 1 hardly, 4 plainly.
    pub drive: f32,
    /// How long the room rings, RT60 in ms.
    pub ring_ms: f32,
    /// The direct sound beside the room's, in dB.
    pub direct_db: f32,
    /// Frames arrive in bunches of so many.
    pub bunch: usize,
}

const fn room(
    name: &'static str,
    [gain_db, delay_ms, network_ms, jump_ms]: [f32; 4],
    [drive, ring_ms, direct_db]: [f32; 3],
    bunch: usize,
) -> Room {
    Room { name, gain_db, delay_ms, network_ms, jump_ms, drive, ring_ms, direct_db, bunch }
}

/// Twelve rooms over all that the design asks for.
pub const ROOMS: &[Room] = &[
    room("handset", [-30.0, 20.0, 0.0, 0.0], [1.0, 50.0, 10.0], 1),
    room("laptop", [-12.0, 60.0, 40.0, 20.0], [1.5, 150.0, 6.0], 1),
    room("loud speakerphone", [-6.0, 120.0, 60.0, 20.0], [3.0, 200.0, 4.0], 1),
    room("far and loud", [-6.0, 300.0, 100.0, 60.0], [2.0, 250.0, 3.0], 1),
    room("far and soft", [-24.0, 300.0, 400.0, -40.0], [1.0, 150.0, 6.0], 1),
    room("mobile network", [-15.0, 180.0, 250.0, 60.0], [2.0, 120.0, 5.0], 4),
    room("bluetooth", [-18.0, 250.0, 80.0, -60.0], [1.0, 100.0, 8.0], 1),
    room("kitchen", [-10.0, 40.0, 30.0, 40.0], [1.5, 350.0, 0.0], 1),
    room("car", [-9.0, 90.0, 120.0, -20.0], [4.0, 80.0, 6.0], 2),
    room("near and loud", [-6.0, 20.0, 10.0, 0.0], [1.5, 60.0, 8.0], 1),
    room("hall", [-20.0, 80.0, 50.0, 20.0], [1.0, 400.0, 0.0], 1),
    room("tablet", [-14.0, 150.0, 150.0, 30.0], [2.5, 180.0, 4.0], 3),
];

/// The same numbers each time.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// About a normal distribution of variance 1.
    pub fn next(&mut self) -> f32 {
        (0..4).map(|_| self.uniform()).sum::<f32>() * 1.732
    }

    fn uniform(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    }
}

pub fn rms(sound: &[f32]) -> f32 {
    (sound.iter().map(|s| s * s).sum::<f32>() / sound.len().max(1) as f32).sqrt()
}

/// The level of the parts that are not silence.
pub fn speech_rms(sound: &[f32]) -> f32 {
    let frames: Vec<f32> = sound.chunks(960).map(rms).collect();
    let loudest = frames.iter().copied().fold(0.0, f32::max);
    let loud: Vec<f32> = frames.into_iter().filter(|r| *r > loudest * 0.05).collect();
    (loud.iter().map(|r| r * r).sum::<f32>() / loud.len().max(1) as f32).sqrt()
}

/// Through Opus, to 48 kHz.
fn coded(sound: &[f32]) -> Vec<f32> {
    let mut encoder = Encoder::new(EncoderConfig::default()).unwrap();
    let mut decoder = Decoder::full_band().unwrap();
    let mut out = Vec::with_capacity(sound.len());
    for slot in sound.chunks_exact(SLOT_SAMPLES) {
        let packet = encoder.encode(slot.try_into().unwrap()).unwrap();
        decoder.decode(&packet, &mut out).unwrap();
    }
    out
}

/// The microphone's echo of `sent` (48 kHz), as long as it, before the second codec.
pub fn echo_of(sent: &[f32], room: &Room, seed: u64) -> Vec<f32> {
    let played = coded(sent);
    let level = speech_rms(&played).max(1e-6);
    // The loudspeaker: full scale at four times the speech's level.
    let full = 4.0 * level / room.drive;
    let played: Vec<f32> = played.iter().map(|s| (s / full).tanh() * full).collect();
    let mut noise = Noise::new(seed);
    // At 16 kHz, sparse: a tap a quarter of a millisecond.
    let taps = (room.ring_ms / 2.0 * 4.0) as usize;
    let mut response: Vec<(usize, f32)> = vec![(0, 1.0)];
    let mut tail: Vec<(usize, f32)> = (1..taps.max(2))
        .map(|i| {
            let decay = 10f32.powf(-3.0 * (i as f32 / 4.0) / room.ring_ms);
            (i * 12 + (noise.uniform().abs() * 12.0) as usize, noise.next() * decay)
        })
        .collect();
    let energy: f32 = tail.iter().map(|(_, g)| g * g).sum();
    let tail_gain = (10f32.powf(-room.direct_db / 10.0) / energy.max(1e-9)).sqrt();
    tail.iter_mut().for_each(|(_, g)| *g *= tail_gain);
    response.extend(tail);
    let mut wet = vec![0.0f32; played.len()];
    for (offset, gain) in response {
        for (o, s) in wet[offset.min(sent.len())..].iter_mut().zip(&played) {
            *o += s * gain;
        }
    }
    // A small loudspeaker has no bass.
    let (mut low, mut before) = (0.0f32, 0.0f32);
    for s in &mut wet {
        low = 0.97 * (low + *s - before);
        before = *s;
        *s = low;
    }
    let gain = 10f32.powf(room.gain_db / 20.0) * speech_rms(sent) / speech_rms(&wet).max(1e-9);
    let half = sent.len() / 2;
    let delay = |i: usize| {
        let ms = room.delay_ms + room.network_ms + if i >= half { room.jump_ms } else { 0.0 };
        (ms * 48.0) as usize
    };
    (0..sent.len()).map(|i| if i >= delay(i) { wet[i - delay(i)] * gain } else { 0.0 }).collect()
}

/// What arrives: echo and near end (both 48 kHz) with the microphone's hiss through Opus, as 16 kHz
/// frames.
pub fn heard(echo: &[f32], near: &[f32], seed: u64) -> Vec<[f32; FRAME]> {
    let mut noise = Noise::new(seed ^ 77);
    let mic: Vec<f32> = echo.iter().zip(near).map(|(e, n)| e + n + noise.next() * 5e-4).collect();
    let mut encoder = Encoder::new(EncoderConfig::default()).unwrap();
    let mut decoder = Decoder::for_listening().unwrap();
    let mut out = Vec::new();
    for slot in mic.chunks_exact(SLOT_SAMPLES) {
        let packet = encoder.encode(slot.try_into().unwrap()).unwrap();
        decoder.decode(&packet, &mut out).unwrap();
    }
    out.chunks_exact(FRAME).map(|f| f.try_into().unwrap()).collect()
}

/// `sound` put into `into` at `at_ms`, at this level.
pub fn place(into: &mut [f32], sound: &[f32], at_ms: f32, level: f32) {
    let gain = level / speech_rms(sound).max(1e-9);
    let at = (at_ms * (WIRE_RATE / 1000) as f32) as usize;
    for (o, s) in into.iter_mut().skip(at).zip(sound) {
        *o += s * gain;
    }
}

/// ms to samples at 16 kHz.
pub fn samples(ms: u64) -> u64 {
    ms * u64::from(HEARING_RATE / 1000)
}
