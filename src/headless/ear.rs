//! What the caller hears: decodes, records, and measures the packets as they arrive.

use std::time::{Duration, Instant};

use super::REPLY_AUDIBLE_DBFS;
use super::timeline::Packet;
use crate::audio::level::rms_dbfs;
use crate::audio::opus::Decoder;
use crate::rtc::RtpIn;

/// Longest gap that is recorded as silence, in samples: a minute.
const LONGEST_GAP: u32 = 60 * 48_000;

/// The receiving side of a headless call.
pub(super) struct Ear {
    decoder: Decoder,
    /// 48 kHz mono since the first packet.
    pub(super) recording: Vec<f32>,
    /// Arrival of the first packet.
    pub(super) began: Option<Instant>,
    last: Option<Last>,
    /// Deviation of each packet's spacing from its timestamp's, milliseconds.
    pub(super) pacing_ms: Vec<f64>,
    /// Arrival of the first and the latest audible packet since [`Self::listen_afresh`].
    pub(super) audible: Option<(Instant, Instant)>,
    /// Arrival of the first audible packet of a filler since then.
    pub(super) filler: Option<Instant>,
    /// RTP timestamps between which a filler sounds.
    filled: Option<(u32, u32)>,
    /// Packets received.
    pub(super) packets: u64,
    /// Each of them that could be decoded.
    pub(super) heard: Vec<Packet>,
}

#[derive(Clone, Copy)]
struct Last {
    sequence: u16,
    timestamp: u32,
    arrived: Instant,
}

impl Ear {
    pub(super) fn new() -> Self {
        Self {
            decoder: Decoder::full_band().expect("libopus decodes 48 kHz mono"),
            recording: Vec::new(),
            began: None,
            last: None,
            pacing_ms: Vec::new(),
            audible: None,
            filler: None,
            filled: None,
            packets: 0,
            heard: Vec::new(),
        }
    }

    /// Forgets what was audible so far: the next audible packet counts as the first.
    pub(super) fn listen_afresh(&mut self) {
        self.audible = None;
        self.filler = None;
    }

    /// What sounds between these RTP timestamps is a filler and no answer.
    pub(super) fn expect_filler(&mut self, start: u32, end: u32) {
        self.filled = Some((start, end));
    }

    pub(super) fn packet(&mut self, packet: &RtpIn) {
        self.packets += 1;
        self.began.get_or_insert(packet.arrived);
        let now = Last {
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            arrived: packet.arrived,
        };
        if let Some(last) = self.last {
            let step = now.timestamp.wrapping_sub(last.timestamp);
            if step > LONGEST_GAP {
                return;
            }
            if now.sequence == last.sequence.wrapping_add(1) && step == 960 {
                let spacing = now.arrived - last.arrived;
                self.pacing_ms.push((spacing.as_secs_f64() * 1e3 - 20.0).abs());
            }
            let silence = step.saturating_sub(960) as usize;
            self.recording.resize(self.recording.len() + silence, 0.0);
        }
        self.last = Some(now);
        let before = self.recording.len();
        if self.decoder.decode(&packet.payload, &mut self.recording).is_err() {
            return;
        }
        let filled = self.filled.is_some_and(|(start, end)| {
            packet.timestamp.wrapping_sub(start) < end.wrapping_sub(start)
        });
        let dbfs = rms_dbfs(&self.recording[before..]);
        self.heard.push(Packet {
            timestamp: packet.timestamp,
            arrived: packet.arrived,
            dbfs,
            at: before,
        });
        if dbfs <= REPLY_AUDIBLE_DBFS {
            return;
        }
        if filled {
            self.filler.get_or_insert(packet.arrived);
        } else {
            let first = self.audible.map_or(packet.arrived, |(first, _)| first);
            self.audible = Some((first, packet.arrived));
        }
    }

    /// The place in the recording that is played at this time; `None` before the first packet.
    pub(super) fn playing_at(&self, at: Instant) -> Option<i64> {
        let since = at.checked_duration_since(self.began?)?;
        Some((since.as_nanos() * 48 / 1_000_000) as i64)
    }

    /// Whether nothing audible came for a while.
    pub(super) fn quiet_for(&self, now: Instant) -> Duration {
        self.audible.map_or(Duration::MAX, |(_, last)| now.saturating_duration_since(last))
    }
}
