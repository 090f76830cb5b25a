//! Queued speech to Opus packets, one a slot.
//!
//! In: 48 kHz mono speech in chunks of any size, and the orders to cut or duck it. Out: a
//! [`Packet`] for each 20 ms slot in which something is to be sent. Owned by the call, which asks
//! for a packet whenever [`super::pacer`] says a slot is due. Every start and end is faded, so
//! nothing clicks. It knows samples, not words or replies.

use std::collections::VecDeque;

use bytes::Bytes;

use super::level::{fade_in, fade_out, gain, raised_cosine, rms_dbfs};
use super::opus::{Encoder, EncoderConfig, OpusError};
use super::{SLOT_SAMPLES, WIRE_RATE};

/// The most speech that may be queued: 60 s. What does not fit is not taken
/// ([`SoundOut::push`] says how much was); speech is made in sentences, far shorter.
pub const CAPACITY: usize = 60 * WIRE_RATE as usize;

/// Fades at the start and the end of speech: 5 ms.
const EDGE: usize = 240;

/// The fade when speech is cut: 15 ms, quick and without a click.
const CUT_FADE: usize = 720;

/// After the queue ran dry in the middle of speech, this much (40 ms) must be there to go on.
const RESUME: usize = 1_920;

/// Ducking goes down in 15 ms and comes up in 100 ms.
const DUCK_DOWN: usize = 720;
const DUCK_UP: usize = 4_800;

/// Silent packets after speech, so that the other side's decoder ends in silence and not in
/// concealment.
const COMFORT_SLOTS: u32 = 5;

/// In longer silence a silent packet goes out every 20 slots (400 ms, as Opus's own DTX does): the
/// other side sees that the stream lives.
const KEEPALIVE_SLOTS: u32 = 20;

/// One packet to send.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// The Opus packet.
    pub payload: Bytes,
    /// The RTP timestamp.
    pub timestamp48: u32,
    /// The RTP marker: the first packet of speech after silence (RFC 3551 section 4.1).
    pub marker: bool,
    /// Loudness of what is in it, in dBFS.
    pub rms_dbfs: f32,
    /// How many samples of the queue are in it; 0 in silence.
    pub samples_from_queue: usize,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoundOutStats {
    /// How often the queue ran dry in the middle of speech.
    pub underruns: u64,
    /// Packets that could not be encoded.
    pub failed: u64,
}

/// One call's outgoing sound.
///
/// Samples are counted from the first one ever queued; those that a cut dropped do not count. So
/// [`queued_end`](Self::queued_end) before a [`push`](Self::push) is where its samples begin, and
/// everything below [`sent_samples`](Self::sent_samples) has been put into packets.
pub struct SoundOut {
    encoder: Encoder,
    queue: VecDeque<f32>,
    sent: u64,
    /// The end of the queue is the end of speech, not a chunk that has more behind it.
    ended: bool,
    /// The last slot carried speech that goes on.
    flowing: bool,
    /// The queue ran dry in the middle of speech.
    dry: bool,
    /// Samples of a new start behind other speech still to be faded in.
    fade_in_left: usize,
    /// Where the speech that is being cut ends.
    cut_at: Option<u64>,
    /// The speech is held, and this many of its samples still fade out.
    held: Option<usize>,
    duck: Ramp,
    timestamp48: u32,
    silence: Silence,
    /// What the last slot sounds like.
    played: [f32; SLOT_SAMPLES],
    stats: SoundOutStats,
}

impl SoundOut {
    /// An empty queue; the first packet has `first_timestamp` (RFC 3550 section 5.1 wants it
    /// random). Fails if libopus refuses the settings.
    pub fn new(encoder: EncoderConfig, first_timestamp: u32) -> Result<Self, OpusError> {
        Ok(Self {
            encoder: Encoder::new(encoder)?,
            queue: VecDeque::new(),
            sent: 0,
            ended: true,
            flowing: false,
            dry: false,
            fade_in_left: 0,
            cut_at: None,
            held: None,
            duck: Ramp::at(1.0),
            timestamp48: first_timestamp,
            silence: Silence::default(),
            played: [0.0; SLOT_SAMPLES],
            stats: SoundOutStats::default(),
        })
    }

    /// Queues speech (48 kHz mono, -1..1); returns how many samples were taken, fewer than given
    /// when the queue is full.
    pub fn push(&mut self, pcm: &[f32]) -> usize {
        let n = pcm.len().min(CAPACITY - self.queue.len());
        if n == 0 {
            return 0;
        }
        if std::mem::replace(&mut self.ended, false) && !self.queue.is_empty() {
            self.fade_in_left = EDGE;
        }
        let faded = self.fade_in_left.min(n);
        for (i, s) in pcm[..faded].iter().enumerate() {
            let done = (EDGE - self.fade_in_left + i) as f32 + 0.5;
            self.queue.push_back(s * raised_cosine(done / EDGE as f32));
        }
        self.fade_in_left -= faded;
        self.queue.extend(&pcm[faded..n]);
        n
    }

    /// The speech queued so far is whole: its end is faded, and running dry after it is no fault.
    pub fn end_of_speech(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            let n = self.queue.len();
            self.fade_out_queue(n.saturating_sub(EDGE));
        }
    }

    /// Cuts the speech: what is queued fades out within the next slot and the rest is dropped.
    /// Ducking ends. Returns where the last sample that will be heard is (exclusive), counted as
    /// [`sent_samples`](Self::sent_samples).
    pub fn cut(&mut self) -> u64 {
        let held = self.held.take();
        if self.cut_at == Some(self.queued_end()) {
            return self.queued_end();
        }
        // What has not begun to sound need not fade; what is held has faded.
        let keep = if self.flowing { CUT_FADE.min(self.queue.len()) } else { 0 };
        if let Some(fading) = held {
            self.queue.truncate(fading);
        } else {
            self.queue.truncate(keep);
            self.fade_out_queue(0);
        }
        let level = self.duck.value();
        self.queue.iter_mut().for_each(|s| *s *= level);
        self.duck = Ramp::at(1.0);
        self.fade_in_left = 0;
        self.ended = true;
        self.dry = false;
        self.cut_at = Some(self.queued_end());
        self.queued_end()
    }

    /// Holds the speech: it fades out within the next slot, and the rest of it waits for
    /// [`SoundOut::resume`] or [`SoundOut::cut`].
    pub fn hold(&mut self) {
        if self.held.is_some() {
            return;
        }
        let fading = if self.flowing { CUT_FADE.min(self.queue.len()) } else { 0 };
        fade_out(&mut self.queue.make_contiguous()[..fading]);
        self.held = Some(fading);
    }

    /// Lets held speech go on where it was.
    pub fn resume(&mut self) {
        // What waits behind a fade that has not sounded yet begins anew.
        if let Some(fading) = self.held.take().filter(|fading| *fading > 0) {
            let end = (fading + EDGE).min(self.queue.len());
            fade_in(&mut self.queue.make_contiguous()[fading..end]);
        }
    }

    /// Whether speech is held.
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Lowers the speech by `db` decibels (given negative: -12.0), smoothly.
    pub fn duck(&mut self, db: f32) {
        self.duck.go_to(gain(db.min(0.0)), DUCK_DOWN);
    }

    /// Brings the speech back to its level, smoothly.
    pub fn unduck(&mut self) {
        self.duck.go_to(1.0, DUCK_UP);
    }

    /// The packet of the next slot; `None` when nothing is sent in it. The timestamp advances
    /// either way.
    pub fn next_packet(&mut self) -> Option<Packet> {
        let timestamp48 = self.timestamp48;
        self.skip_slots(1);
        let mut pcm = [0.0; SLOT_SAMPLES];
        let taken = self.take(&mut pcm);
        self.duck.apply(&mut pcm);
        self.played = pcm;
        let marker = match taken {
            0 if !self.silence.sends() => return None,
            0 => false,
            _ => self.silence.ends(),
        };
        let rms_dbfs = rms_dbfs(&pcm);
        match self.encoder.encode(&pcm) {
            Ok(payload) => {
                Some(Packet { payload, timestamp48, marker, rms_dbfs, samples_from_queue: taken })
            }
            Err(_) => {
                self.stats.failed += 1;
                None
            }
        }
    }

    /// Lets slots pass unsent because it is too late for them; the queue waits.
    pub fn skip_slots(&mut self, slots: u32) {
        self.timestamp48 = self.timestamp48.wrapping_add(slots.wrapping_mul(SLOT_SAMPLES as u32));
    }

    /// The timestamp of the next slot.
    pub fn next_timestamp48(&self) -> u32 {
        self.timestamp48
    }

    /// How many samples of all that was queued are in packets already.
    pub fn sent_samples(&self) -> u64 {
        self.sent
    }

    /// Where the next sample queued will be, counted as [`sent_samples`](Self::sent_samples).
    pub fn queued_end(&self) -> u64 {
        self.sent + self.queue.len() as u64
    }

    /// How many samples wait.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Whether the last slot carried speech and more of it is to come.
    pub fn is_speaking(&self) -> bool {
        self.flowing
    }

    /// Tells the encoder what loss the other side reports, in percent.
    pub fn set_expected_loss(&mut self, percent: u8) -> Result<(), OpusError> {
        self.encoder.set_expected_loss(percent)
    }

    /// The sound of the last slot, as it goes to the encoder: zeros in silence.
    pub fn played(&self) -> &[f32; SLOT_SAMPLES] {
        &self.played
    }

    /// What happened so far.
    pub fn stats(&self) -> SoundOutStats {
        self.stats
    }

    /// Moves the slot's samples from the queue into `pcm`, faded where they start or run dry;
    /// returns how many.
    fn take(&mut self, pcm: &mut [f32; SLOT_SAMPLES]) -> usize {
        let waiting = self.queue.len().min(self.held.unwrap_or(usize::MAX));
        let ended = self.ended || self.held.is_some();
        let starts = !self.flowing;
        let enough = if self.dry { RESUME } else { SLOT_SAMPLES + EDGE };
        if waiting == 0 || (starts && !ended && waiting < enough) {
            return 0;
        }
        let n = waiting.min(SLOT_SAMPLES);
        for (to, from) in pcm.iter_mut().zip(self.queue.drain(..n)) {
            *to = from;
        }
        self.sent += n as u64;
        if starts {
            fade_in(&mut pcm[..n.min(EDGE)]);
        }
        if let Some(fading) = &mut self.held {
            *fading -= n;
        }
        self.flowing = waiting > n;
        self.dry = false;
        // The last 5 ms wait until it is known whether speech goes on, so that it can fade.
        if !ended && waiting < SLOT_SAMPLES + EDGE {
            fade_out(&mut pcm[n.saturating_sub(EDGE)..n]);
            self.flowing = false;
            self.dry = true;
            self.stats.underruns += 1;
        }
        n
    }

    fn fade_out_queue(&mut self, from: usize) {
        let n = (self.queue.len() - from) as f32;
        for (i, s) in self.queue.range_mut(from..).enumerate() {
            *s *= raised_cosine(1.0 - (i as f32 + 0.5) / n);
        }
    }
}

/// Which silent slots are sent.
struct Silence {
    comfort_left: u32,
    /// Slots since the last packet of a silence.
    since: u32,
    /// Slots have passed unsent since the last speech.
    long: bool,
}

impl Default for Silence {
    /// As if silent for long: the first packet of all goes out at once.
    fn default() -> Self {
        Self { comfort_left: 0, since: KEEPALIVE_SLOTS, long: true }
    }
}

impl Silence {
    /// Another silent slot: is it sent?
    fn sends(&mut self) -> bool {
        if self.comfort_left > 0 {
            self.comfort_left -= 1;
            self.since = 1;
            return true;
        }
        self.long = true;
        let sent = self.since >= KEEPALIVE_SLOTS;
        self.since = if sent { 1 } else { self.since + 1 };
        sent
    }

    /// Speech: does it end a silence?
    fn ends(&mut self) -> bool {
        self.comfort_left = COMFORT_SLOTS;
        std::mem::take(&mut self.long)
    }
}

/// A factor that moves smoothly.
struct Ramp {
    from: f32,
    to: f32,
    at: usize,
    length: usize,
}

impl Ramp {
    fn at(value: f32) -> Self {
        Self { from: value, to: value, at: 0, length: 0 }
    }

    fn go_to(&mut self, to: f32, length: usize) {
        *self = Self { from: self.value(), to, at: 0, length };
    }

    fn value(&self) -> f32 {
        if self.at >= self.length {
            return self.to;
        }
        self.from + (self.to - self.from) * raised_cosine(self.at as f32 / self.length as f32)
    }

    fn apply(&mut self, pcm: &mut [f32]) {
        if self.at >= self.length && self.to == 1.0 {
            return;
        }
        for s in pcm {
            *s *= self.value();
            self.at = (self.at + 1).min(self.length);
        }
    }
}
