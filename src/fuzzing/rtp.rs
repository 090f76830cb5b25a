//! Packets of a caller's sound, in any order, at any time, with anything in them.
//!
//! The bytes are a list of packets. Of each, one byte says how its sequence number, timestamp, arrival
//! and payload differ from the packet before; what it says to be there follows. Zeros are a call on a
//! clean line.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;

use crate::audio::jitter::JitterConfig;
use crate::audio::opus::{Encoder, EncoderConfig};
use crate::audio::sound_in::{FRAME_SAMPLES, RtpFields, SoundIn};
use crate::audio::{HEARING_RATE, SLOT_SAMPLES};

/// Time that one input may take up.
const LONGEST: Duration = Duration::from_secs(30);
/// How far the sound may be ahead of real time beyond what the jitter buffer is asked for: the
/// longest packet and a frame.
const AHEAD: Duration = Duration::from_millis(160);
/// How far it may be behind: the patience with a stall, a gap, two of the longest packets, and what
/// lies in pieces of a frame.
const BEHIND: Duration = Duration::from_millis(600);
/// Times that a driver may be woken for nothing, one after the other.
const MOST_IDLE: u32 = 8;

/// Any packets: frames follow each other without a gap, keep to real time, and hold samples.
pub fn rtp(bytes: &[u8]) {
    let mut call = Call::new();
    let mut rest = Fields { rest: bytes };
    while let Some(packet) = rest.packet(&mut call.sender) {
        call.run_until(call.sender.now);
        if call.sender.now > LONGEST {
            return;
        }
        call.input.push(call.sender.now, packet);
        call.poll(call.sender.now);
    }
    let end = call.sender.now + Duration::from_secs(2);
    call.run_until(end);
}

/// The packet before.
struct Sender {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    now: Duration,
    packets: usize,
}

struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    fn packet(&mut self, sender: &mut Sender) -> Option<RtpFields> {
        let [how] = self.take()?;
        let step = match how & 3 {
            0 => 1,
            1 => i16::from(i8::from_le_bytes(self.take()?)) as u16,
            2 => i16::from_le_bytes(self.take()?) as u16,
            _ => 0,
        };
        sender.sequence = sender.sequence.wrapping_add(step);
        let step48 = match how >> 2 & 3 {
            0 => 960,
            1 => (i32::from(i16::from_le_bytes(self.take()?)) * 120) as u32,
            2 => u32::from_le_bytes(self.take()?),
            _ => u32::from(step).wrapping_mul(960),
        };
        sender.timestamp = sender.timestamp.wrapping_add(step48);
        sender.now += Duration::from_millis(match how >> 4 & 3 {
            0 => 20,
            1 => u64::from(self.take::<1>()?[0]),
            2 => u64::from(u16::from_le_bytes(self.take()?)) / 8,
            _ => 0,
        });
        let payload = if how & 0x40 == 0 {
            sender.packets += 1;
            let packets = packets();
            packets[sender.packets % packets.len()].clone()
        } else {
            let [length] = self.take()?;
            if length == 0xff {
                sender.ssrc = sender.ssrc.wrapping_add(1);
            }
            let length = usize::from(length).min(self.rest.len());
            let (payload, rest) = self.rest.split_at(length);
            self.rest = rest;
            Bytes::copy_from_slice(payload)
        };
        let Sender { ssrc, sequence, timestamp, .. } = *sender;
        Some(RtpFields { ssrc, sequence, timestamp, payload })
    }
}

/// Speech-like packets of 20 ms; later ones carry copies of those before.
fn packets() -> &'static [Bytes] {
    static PACKETS: OnceLock<Vec<Bytes>> = OnceLock::new();
    PACKETS.get_or_init(|| {
        let config = EncoderConfig { expected_loss: 20, ..EncoderConfig::default() };
        let mut encoder = Encoder::new(config).expect("an encoder");
        let sample = |at: usize| {
            let at = at as f32 / 48_000.0;
            let envelope = (at * 25.0).sin().max(0.0);
            envelope * 0.3 * ((at * 900.0).sin() + (at * 2_300.0).sin())
        };
        (0..32)
            .map(|slot| {
                let pcm = std::array::from_fn(|at| sample(slot * SLOT_SAMPLES + at));
                encoder.encode(&pcm).expect("sound can be encoded")
            })
            .collect()
    })
}

/// A call's driver.
struct Call {
    input: SoundIn,
    sender: Sender,
    /// Where the next frame begins.
    next: Option<u64>,
}

impl Call {
    fn new() -> Self {
        let input = SoundIn::new(JitterConfig::default()).expect("a decoder");
        let now = Duration::from_millis(100);
        let sender = Sender { ssrc: 0, sequence: 0, timestamp: 0, now, packets: 0 };
        Self { input, sender, next: None }
    }

    /// Wakes up whenever there is something to do until `end`.
    fn run_until(&mut self, end: Duration) {
        let (mut now, mut idle) = (Duration::ZERO, 0);
        while let Some(due) = self.input.poll_timeout().filter(|due| *due <= end) {
            now = now.max(due);
            idle = if self.poll(now) { 0 } else { idle + 1 };
            assert!(idle <= MOST_IDLE, "woken for nothing at {now:?}");
        }
        self.poll(end);
        if let Some(next) = self.next {
            assert!(sound(next) + BEHIND >= end, "{:?} of sound at {end:?}", sound(next));
        }
    }

    /// Takes all frames; whether there were any.
    fn poll(&mut self, now: Duration) -> bool {
        let before = self.next;
        while let Some(frame) = self.input.poll_frame(now) {
            let begins = self.next.unwrap_or(frame.start_sample);
            assert_eq!(frame.start_sample, begins, "frames follow each other");
            self.next = Some(begins + FRAME_SAMPLES as u64);
            assert!(frame.arrived <= now, "{:?} is not yet", frame.arrived);
            assert!(frame.rms_dbfs.is_finite(), "a loudness of {}", frame.rms_dbfs);
            let wrong = frame.samples.iter().find(|sample| !(-1.0..=1.0).contains(*sample));
            assert!(wrong.is_none(), "a sample of {wrong:?}");
            self.keeps_to_real_time(now);
        }
        self.next != before
    }

    fn keeps_to_real_time(&self, now: Duration) {
        let stats = self.input.stats();
        let heard = sound(self.next.unwrap_or_default());
        let ahead = JitterConfig::default().max_lead + AHEAD;
        assert!(heard <= now + ahead, "{heard:?} of sound at {now:?}: {stats:?}");
    }
}

/// How long so many samples sound.
fn sound(samples: u64) -> Duration {
    Duration::from_secs_f64(samples as f64 / f64::from(HEARING_RATE))
}
