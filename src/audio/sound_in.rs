//! Incoming packets to continuous 20 ms frames of 16 kHz mono sound.
//!
//! In: the RTP fields of the call's incoming packets. Out: [`Frame`]s without a gap, whatever the
//! line does. Owned by the call. Joins [`super::jitter`] and [`super::opus`], and keeps the sound
//! on real time: what a stall or the sender's clock put ahead or behind is taken back one quiet
//! frame at a time. It does not judge whether anyone speaks.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::jitter::{JitterBuffer, JitterConfig, JitterStats, Slot};
use super::level::{fade_in, fade_out, rms_dbfs};
use super::opus::{Decoder, OpusError};

/// Samples of one frame: 20 ms at 16 kHz.
pub const FRAME_SAMPLES: usize = 320;

/// Samples on the wire for each one here.
const WIRE_PER_SAMPLE: u32 = 3;

/// How far the sound may be ahead of real time or behind it before quiet frames are left out or
/// doubled: 60 ms at 48 kHz, beyond what jitter does.
const TOLERANCE_48: f64 = 2_880.0;

/// Below this nobody speaks, in dBFS.
const QUIET_DBFS: f32 = -55.0;

/// This close above the noise of the line nobody speaks either, in dB.
const ABOVE_FLOOR_DB: f32 = 3.0;

/// How fast the estimate of the line's noise rises, in dB a frame (2.5 dB a second).
const FLOOR_RISE_DB: f32 = 0.05;

/// The noise of a line is never taken for less, in dBFS: digital silence says nothing of it.
const QUIETEST_FLOOR_DBFS: f32 = -70.0;

/// The seam after silence: 2.5 ms.
const SEAM: usize = 40;

/// One packet's fields that matter here.
#[derive(Clone)]
pub struct RtpFields {
    /// The sender's source; a change starts over.
    pub ssrc: u32,
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp, 48 kHz.
    pub timestamp: u32,
    /// The Opus packet.
    pub payload: Bytes,
}

/// The header alone; what people say stays out of logs.
impl fmt::Debug for RtpFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtpFields")
            .field("ssrc", &self.ssrc)
            .field("sequence", &self.sequence)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

/// 20 ms of sound.
#[derive(Clone, PartialEq)]
pub struct Frame {
    /// 16 kHz mono, -1..1.
    pub samples: [f32; FRAME_SAMPLES],
    /// Where it begins, in 16 kHz samples since the call began; each frame begins where the one
    /// before it ended.
    pub start_sample: u64,
    /// When the packet that completed it arrived; for sound nothing arrived for, when it was made.
    pub arrived: Duration,
    /// Loudness in dBFS.
    pub rms_dbfs: f32,
    /// None of it was heard: all of it conceals a loss or stands for a stall.
    pub concealed: bool,
}

/// All but the samples; what people say stays out of logs.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("start_sample", &self.start_sample)
            .field("arrived", &self.arrived)
            .field("rms_dbfs", &self.rms_dbfs)
            .field("concealed", &self.concealed)
            .finish_non_exhaustive()
    }
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SoundInStats {
    /// Of the jitter buffer.
    pub jitter: JitterStats,
    /// Packets that did not decode.
    pub damaged: u64,
    /// Quiet frames left out to come back to real time.
    pub shortened: u64,
    /// Quiet frames doubled to come back to real time.
    pub stretched: u64,
}

/// One call's incoming sound.
///
/// After each [`push`](Self::push), and when [`poll_timeout`](Self::poll_timeout) is due, call
/// [`poll_frame`](Self::poll_frame) until it gives `None`.
pub struct SoundIn {
    jitter: JitterBuffer,
    decoder: Decoder,
    ssrc: Option<u32>,
    /// Decoded and not yet a whole frame; at most a frame and the longest piece (10 s of silence
    /// come in pieces of 20 ms, packets are at most 120 ms).
    decoded: VecDeque<f32>,
    scratch: Vec<f32>,
    /// About the newest piece in `decoded`.
    newest: Newest,
    start_sample: Option<u64>,
    pace: Pace,
    damaged: u64,
}

#[derive(Clone, Copy, Default)]
struct Newest {
    arrived: Duration,
    /// Some of the frame to come was heard.
    heard: bool,
    /// The last piece was silence, and the sample it faded from.
    silent: bool,
    last: f32,
}

impl SoundIn {
    /// Ready for the first packet. Fails only if libopus cannot make a decoder.
    pub fn new(config: JitterConfig) -> Result<Self, OpusError> {
        Ok(Self {
            jitter: JitterBuffer::new(config),
            decoder: Decoder::for_listening()?,
            ssrc: None,
            decoded: VecDeque::new(),
            scratch: Vec::new(),
            newest: Newest::default(),
            start_sample: None,
            pace: Pace::default(),
            damaged: 0,
        })
    }

    /// Takes a packet in.
    pub fn push(&mut self, now: Duration, rtp: RtpFields) {
        if self.ssrc.replace(rtp.ssrc).is_some_and(|before| before != rtp.ssrc) {
            self.jitter.restart();
        }
        self.jitter.push(now, rtp.sequence, rtp.timestamp, rtp.payload);
    }

    /// The next frame, if it is complete or overdue.
    pub fn poll_frame(&mut self, now: Duration) -> Option<Frame> {
        loop {
            if let Some(samples) = self.pace.repeat.take() {
                return Some(self.frame(samples, now, false));
            }
            if self.decoded.len() >= FRAME_SAMPLES {
                let mut samples = [0.0; FRAME_SAMPLES];
                for (to, from) in samples.iter_mut().zip(self.decoded.drain(..FRAME_SAMPLES)) {
                    *to = from;
                }
                let lead = self.jitter.lead48(now);
                let change = self.pace.change(lead, &samples);
                self.jitter.adjust48(change);
                if change < 0 {
                    continue;
                }
                let heard = std::mem::take(&mut self.newest.heard);
                return Some(self.frame(samples, self.newest.arrived, heard));
            }
            // Read before the piece is handed out: that is where the first frame begins.
            let begins = self.jitter.played48();
            let slot = self.jitter.poll(now)?;
            if self.start_sample.is_none() {
                self.start_sample = Some(begins.max(0) as u64 / u64::from(WIRE_PER_SAMPLE));
            }
            self.take_in(slot, now);
        }
    }

    /// When [`poll_frame`](Self::poll_frame) may have a frame even if nothing arrives; `None`
    /// before the first packet.
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.pace.repeat.is_some() || self.decoded.len() >= FRAME_SAMPLES {
            return Some(Duration::ZERO);
        }
        self.jitter.poll_timeout()
    }

    /// What happened so far.
    pub fn stats(&self) -> SoundInStats {
        SoundInStats {
            jitter: self.jitter.stats(),
            damaged: self.damaged,
            shortened: self.pace.shortened,
            stretched: self.pace.stretched,
        }
    }

    fn frame(&mut self, samples: [f32; FRAME_SAMPLES], arrived: Duration, heard: bool) -> Frame {
        let start_sample = self.start_sample.unwrap_or(0);
        self.start_sample = Some(start_sample + FRAME_SAMPLES as u64);
        Frame { samples, start_sample, arrived, rms_dbfs: rms_dbfs(&samples), concealed: !heard }
    }

    fn take_in(&mut self, slot: Slot, now: Duration) {
        self.scratch.clear();
        let samples = (slot.samples48() / WIRE_PER_SAMPLE) as usize;
        self.newest.arrived = now;
        match slot {
            Slot::Packet { payload, arrived, .. } => {
                match self.decoder.decode(&payload, &mut self.scratch) {
                    Ok(_) => {
                        self.newest.arrived = arrived;
                        self.newest.heard = true;
                    }
                    Err(_) => {
                        self.damaged += 1;
                        self.decoder.conceal(samples, &mut self.scratch);
                    }
                }
            }
            Slot::Recover { next, .. } => {
                self.decoder.decode_fec(&next, samples, &mut self.scratch);
                self.newest.heard = true;
            }
            Slot::Conceal { .. } => self.decoder.conceal(samples, &mut self.scratch),
            Slot::Silence { .. } => {
                self.silence(samples);
                return;
            }
        }
        self.scratch.resize(samples, 0.0);
        if std::mem::take(&mut self.newest.silent) {
            let n = SEAM.min(self.scratch.len());
            fade_in(&mut self.scratch[..n]);
        }
        self.newest.last = self.scratch.last().copied().unwrap_or(0.0);
        self.decoded.extend(&self.scratch);
    }

    /// Appends silence; what sounded last is let go within the seam.
    fn silence(&mut self, samples: usize) {
        let last = std::mem::take(&mut self.newest.last);
        self.newest.silent = true;
        self.scratch.resize(SEAM.min(samples), last);
        fade_out(&mut self.scratch);
        self.scratch.resize(samples, 0.0);
        self.decoded.extend(&self.scratch);
    }
}

/// Keeps the sound on real time.
struct Pace {
    /// How far the sound is ahead of real time at its best of late, in 48 kHz samples.
    lead48: f64,
    /// The line's noise in dBFS.
    floor: f32,
    /// The last frame was left out or doubled.
    changed: bool,
    /// A quiet frame to give once more.
    repeat: Option<[f32; FRAME_SAMPLES]>,
    shortened: u64,
    stretched: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            lead48: f64::NEG_INFINITY,
            floor: f32::INFINITY,
            changed: false,
            repeat: None,
            shortened: 0,
            stretched: 0,
        }
    }
}

impl Pace {
    /// What to do with a frame: -960 leaves it out, 960 doubles it, 0 takes it as it is. At most
    /// every other frame is touched, so that pauses keep at least half their length.
    fn change(&mut self, lead48: i64, samples: &[f32; FRAME_SAMPLES]) -> i64 {
        const FRAME_48: f64 = (FRAME_SAMPLES * WIRE_PER_SAMPLE as usize) as f64;
        // Jitter only ever makes a packet late; the best of late is the line's own delay.
        self.lead48 = (lead48 as f64).max(self.lead48 - 24.0);
        let level = rms_dbfs(samples);
        self.floor = level.max(QUIETEST_FLOOR_DBFS).min(self.floor + FLOOR_RISE_DB);
        let quiet = level < QUIET_DBFS || level < self.floor + ABOVE_FLOOR_DB;
        if std::mem::take(&mut self.changed) || !quiet {
            return 0;
        }
        if self.lead48 > TOLERANCE_48 {
            self.changed = true;
            self.shortened += 1;
            self.lead48 -= FRAME_48;
            -(FRAME_48 as i64)
        } else if self.lead48 < -TOLERANCE_48 {
            self.changed = true;
            self.stretched += 1;
            self.lead48 += FRAME_48;
            self.repeat = Some(*samples);
            FRAME_48 as i64
        } else {
            0
        }
    }
}
