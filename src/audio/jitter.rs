//! Packets in any order in; packets in order, with every gap named, out.
//!
//! Made for listening, so nothing is held back for its own sake: a packet in order leaves in the
//! same `poll`. Only a gap in the sequence is waited for, as long as late packets have lately been
//! late, and then it is recovered or concealed. While nothing arrives, silence is handed out at
//! the pace of real time, so that whoever listens notices a pause. What follows such a stall in a
//! burst is all handed out, which puts the sound ahead of real time ([`JitterBuffer::lead48`]);
//! [`super::sound_in`] takes that back where nobody speaks.
//!
//! Owned by [`super::sound_in`]. It decodes nothing. Times are durations since the call began,
//! lengths are samples at 48 kHz, Opus's RTP clock (RFC 7587 section 4.1).

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::opus::{MAX_PACKET_48, STEP_48, carries_fec, packet_samples48};

/// Packets that may wait behind a gap; beyond it the gap is given up. 512 is over a second of the
/// shortest packets and ten seconds of 20 ms.
const CAPACITY: usize = 512;

/// A packet this far ahead is not a loss but another stream (5 s of 20 ms packets).
const MAX_AHEAD: i64 = 250;

/// A packet this far behind is not late but another stream (RFC 3550 appendix A.1).
const MAX_BEHIND: i64 = 100;

/// More concealment than this sounds like nothing anyone said: silence follows.
const MAX_CONCEAL_48: i64 = 5_760;

/// Of a stall, this much is concealed (it fades), then silence begins.
const STALL_CONCEAL_48: i64 = 1_920;

/// A pause that a sender cut out (DTX) is kept up to this long even when packets come in a burst
/// (60 ms), so that words do not run together.
const KEPT_PAUSE_48: i64 = 2_880;

/// The longest pause handed out at once (10 s); a longer one was filled as time passed.
const MAX_PAUSE_48: i64 = 480_000;

/// Stalls and silence are filled in pieces of 20 ms.
const FILL_48: i64 = 960;

/// Missing packets whose lateness is still of interest.
const REMEMBERED: usize = 64;

/// How the buffer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JitterConfig {
    /// The wait for a gap before anything is known of the line.
    pub first_wait: Duration,
    /// The shortest wait for a gap.
    pub min_wait: Duration,
    /// The longest wait for a gap.
    pub max_wait: Duration,
    /// After a stall, what comes in a burst may run this far ahead of real time; the rest is
    /// dropped.
    pub max_lead: Duration,
}

impl Default for JitterConfig {
    fn default() -> Self {
        Self {
            first_wait: Duration::from_millis(20),
            min_wait: Duration::from_millis(10),
            max_wait: Duration::from_millis(80),
            max_lead: Duration::from_secs(1),
        }
    }
}

/// The next piece of the sound.
#[derive(Clone, PartialEq, Eq)]
pub enum Slot {
    /// A packet, in order.
    Packet {
        /// The Opus packet.
        payload: Bytes,
        /// Its length; what to conceal should it not decode.
        samples48: u32,
        /// When it arrived.
        arrived: Duration,
    },
    /// A lost packet whose copy `next` carries.
    Recover {
        /// The packet after the lost one; it comes again as [`Slot::Packet`].
        next: Bytes,
        /// The length lost.
        samples48: u32,
    },
    /// A lost packet without a copy.
    Conceal {
        /// The length lost.
        samples48: u32,
    },
    /// Nothing was sent.
    Silence {
        /// For how long.
        samples48: u32,
    },
}

/// Its kind and length; what people say stays out of logs.
impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Packet { .. } => "Packet",
            Self::Recover { .. } => "Recover",
            Self::Conceal { .. } => "Conceal",
            Self::Silence { .. } => "Silence",
        };
        f.debug_struct(kind).field("samples48", &self.samples48()).finish_non_exhaustive()
    }
}

impl Slot {
    /// The length of the piece.
    pub fn samples48(&self) -> u32 {
        match self {
            Self::Packet { samples48, .. }
            | Self::Recover { samples48, .. }
            | Self::Conceal { samples48 }
            | Self::Silence { samples48 } => *samples48,
        }
    }
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct JitterStats {
    /// Packets taken in, without duplicates and late ones.
    pub received: u64,
    /// Packets that did not come in time.
    pub lost: u64,
    /// Of the lost ones, those whose copy came with the next packet.
    pub recovered: u64,
    /// Packets that came after they were given up.
    pub late: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets dropped because the sound was too far ahead after a stall, or the buffer was full.
    pub dropped: u64,
    /// How often the sender began a new stream.
    pub restarts: u64,
    /// The interarrival jitter of RFC 3550 section 6.4.1 in milliseconds.
    pub jitter_ms: f32,
    /// The wait for a gap at present, in milliseconds.
    pub wait_ms: f32,
}

struct Stored {
    timestamp: i64,
    payload: Bytes,
    arrived: Duration,
}

/// Where the stream stands in sequence numbers and timestamps, both unwrapped.
struct Position {
    /// The sequence number to hand out next.
    next: i64,
    /// The highest sequence number taken in.
    highest: i64,
    /// The newest timestamp, to unwrap the others by.
    timestamp: i64,
    /// The timestamp that continues the sound handed out; `None` after a restart.
    next_timestamp: Option<i64>,
    /// The last packet's length.
    duration: i64,
    /// The last packet was discontinuous transmission's (at most two bytes, RFC 6716 section 2.1.9).
    dtx: bool,
}

/// A reorder and loss buffer for one call's incoming packets.
///
/// After each [`push`](Self::push), and when [`poll_timeout`](Self::poll_timeout) is due, call
/// [`poll`](Self::poll) until it gives `None`.
pub struct JitterBuffer {
    config: JitterConfig,
    stored: BTreeMap<i64, Stored>,
    position: Option<Position>,
    /// Pieces decided on and not yet handed out; at most `MAX_PAUSE_48` and `MAX_CONCEAL_48` long.
    pending: VecDeque<Slot>,
    /// A packet of what may be another stream, kept until a second one confirms it.
    stranger: Option<(u16, u32, Bytes, Duration)>,
    line: Line,
    /// Sound handed out, on the call's clock: where the next piece begins.
    played48: i64,
    /// Of it, what filled the present stall.
    filled48: i64,
    last_arrival: Duration,
    stats: JitterStats,
}

impl JitterBuffer {
    /// An empty buffer; the call's sound begins with the first packet.
    pub fn new(config: JitterConfig) -> Self {
        Self {
            config,
            stored: BTreeMap::new(),
            position: None,
            pending: VecDeque::new(),
            stranger: None,
            line: Line::new(config.first_wait),
            played48: 0,
            filled48: 0,
            last_arrival: Duration::ZERO,
            stats: JitterStats::default(),
        }
    }

    /// Takes a packet in. Empty payloads (padding) count in the sequence and have no sound.
    pub fn push(&mut self, now: Duration, sequence: u16, timestamp: u32, payload: Bytes) {
        let Some(position) = &self.position else {
            self.begin(now, sequence, timestamp, &payload);
            self.store(now, i64::from(sequence), i64::from(timestamp), payload);
            return;
        };
        let ahead = i64::from(sequence.wrapping_sub(position.highest as u16) as i16);
        if !(-MAX_BEHIND..=MAX_AHEAD).contains(&ahead) {
            self.push_stranger(now, sequence, timestamp, payload);
            return;
        }
        self.stranger = None;
        let sequence = position.highest + ahead;
        let newer = timestamp.wrapping_sub(position.timestamp as u32) as i32;
        let timestamp = position.timestamp + i64::from(newer);
        if sequence < position.next {
            match self.line.came_late(now, sequence) {
                true => self.stats.late += 1,
                false => self.stats.duplicates += 1,
            }
        } else if self.stored.contains_key(&sequence) {
            self.stats.duplicates += 1;
        } else {
            self.store(now, sequence, timestamp, payload);
        }
    }

    /// Starts over with whatever comes next, as when the sender's SSRC changes. What waits is given
    /// up; the call's clock goes on.
    pub fn restart(&mut self) {
        if self.position.is_none() {
            return;
        }
        self.stats.restarts += 1;
        self.stats.dropped += self.stored.len() as u64;
        self.stored.clear();
        self.stranger = None;
        self.position = None;
        self.line.forget_stream();
    }

    /// The next piece of the sound, if it is due.
    pub fn poll(&mut self, now: Duration) -> Option<Slot> {
        loop {
            if let Some(slot) = self.pending.pop_front() {
                self.played48 += i64::from(slot.samples48());
                return Some(slot);
            }
            if self.plan_packet(now) {
                continue;
            }
            return self.fill(now);
        }
    }

    /// When [`poll`](Self::poll) has something to hand out even if nothing arrives; `None` before
    /// the first packet.
    pub fn poll_timeout(&self) -> Option<Duration> {
        if !self.pending.is_empty() {
            return Some(Duration::ZERO);
        }
        match self.gap_deadline() {
            Some(deadline) => Some(deadline),
            None => self.fill_due(),
        }
    }

    /// How far the sound handed out is ahead of real time (negative: behind) in 48 kHz samples.
    pub fn lead48(&self, now: Duration) -> i64 {
        self.played48 - samples48(now)
    }

    /// Where the next piece begins on the call's clock, in 48 kHz samples since the call began.
    pub fn played48(&self) -> i64 {
        self.played48
    }

    /// Moves the call's clock: the caller left out (negative) or put in (positive) samples.
    pub fn adjust48(&mut self, samples: i64) {
        self.played48 += samples;
    }

    /// What happened so far.
    pub fn stats(&self) -> JitterStats {
        JitterStats {
            jitter_ms: self.line.jitter48 as f32 / 48.0,
            wait_ms: self.wait().as_secs_f32() * 1e3,
            ..self.stats
        }
    }

    fn begin(&mut self, now: Duration, sequence: u16, timestamp: u32, payload: &[u8]) {
        let duration = packet_samples48(payload).map_or(FILL_48, i64::from);
        // The sound ends as it arrives. A later stream goes on where the one before it ended.
        let start = (samples48(now) - duration).max(0);
        if self.stats.received == 0 {
            self.played48 = start;
        }
        let pause = whole((start - self.played48).clamp(0, MAX_PAUSE_48));
        push_pieces(&mut self.pending, pause, FILL_48, |samples48| Slot::Silence { samples48 });
        self.position = Some(Position {
            next: i64::from(sequence),
            highest: i64::from(sequence),
            timestamp: i64::from(timestamp),
            next_timestamp: None,
            duration,
            dtx: false,
        });
    }

    /// Two packets in a row that do not fit begin a new stream (RFC 3550 appendix A.1).
    fn push_stranger(&mut self, now: Duration, sequence: u16, timestamp: u32, payload: Bytes) {
        match self.stranger.take() {
            Some((before, at, first, arrived)) if before.wrapping_add(1) == sequence => {
                self.restart();
                self.push(arrived, before, at, first);
                self.push(now, sequence, timestamp, payload);
            }
            _ => {
                if self.stranger.is_some() {
                    self.stats.dropped += 1;
                }
                self.stranger = Some((sequence, timestamp, payload, now));
            }
        }
    }

    fn store(&mut self, now: Duration, sequence: i64, timestamp: i64, payload: Bytes) {
        let Some(position) = &mut self.position else { return };
        // A packet overtaken by others: how long would waiting for it have taken?
        let overtaken = self.stored.range(sequence + 1..).map(|(_, s)| s.arrived).min();
        if let Some(first) = overtaken {
            self.line.reordered(now.saturating_sub(first));
        }
        self.line.arrived(now, timestamp);
        if sequence >= position.highest {
            position.highest = sequence;
            position.timestamp = timestamp;
        }
        // Padding is no sound: time goes on without it.
        if !payload.is_empty() {
            self.last_arrival = self.last_arrival.max(now);
        }
        self.stats.received += 1;
        self.stored.insert(sequence, Stored { timestamp, payload, arrived: now });
        if self.stored.len() > CAPACITY {
            self.stored.pop_first();
            self.stats.dropped += 1;
        }
    }

    /// Plans the next packet, or what stands for lost ones; false if there is nothing to plan yet.
    fn plan_packet(&mut self, now: Duration) -> bool {
        let Some(position) = &self.position else { return false };
        let Some((&sequence, _)) = self.stored.first_key_value() else { return false };
        let missing = sequence - position.next;
        if missing > 0 {
            let due = self.gap_deadline().is_none_or(|deadline| now >= deadline);
            if due || self.stored.len() >= CAPACITY {
                self.plan_lost(now, missing);
                return true;
            }
            return false;
        }
        self.plan_in_order(now);
        true
    }

    /// Hands out the packet in order, after the pause that its timestamp tells of.
    fn plan_in_order(&mut self, now: Duration) {
        let lead = self.lead48(now);
        let Some(position) = &mut self.position else { return };
        let Some((_, stored)) = self.stored.pop_first() else { return };
        position.next += 1;
        if stored.payload.is_empty() {
            return;
        }
        let length = packet_samples48(&stored.payload).map_or(position.duration, i64::from);
        let filled = std::mem::take(&mut self.filled48);
        if lead + length > samples48(self.config.max_lead) {
            self.stats.dropped += 1;
            position.next_timestamp = Some(stored.timestamp + length);
            return;
        }
        let pause = position.next_timestamp.map_or(0, |next| stored.timestamp - next) - filled;
        let pause = whole(pause.min((-lead - length).clamp(KEPT_PAUSE_48, MAX_PAUSE_48)));
        if pause > 0 {
            push_pieces(&mut self.pending, pause, FILL_48, |samples48| Slot::Silence { samples48 });
        }
        position.next_timestamp = Some(stored.timestamp + length);
        position.duration = length;
        position.dtx = stored.payload.len() <= 2;
        self.pending.push_back(Slot::Packet {
            payload: stored.payload,
            samples48: length as u32,
            arrived: stored.arrived,
        });
    }

    /// Gives `missing` packets up: concealment, silence if that is too long, and the copy of the
    /// last one if the packet after it has one.
    fn plan_lost(&mut self, now: Duration, missing: i64) {
        let lead = self.lead48(now);
        let Some(position) = &mut self.position else { return };
        let Some((_, after)) = self.stored.first_key_value() else { return };
        let after_length = packet_samples48(&after.payload).map_or(position.duration, i64::from);
        let span = position.next_timestamp.map_or(0, |next| after.timestamp - next);
        let even = span / missing;
        let fits = span > 0 && span % missing == 0 && is_packet_length(even);
        let each = if fits { even } else { position.duration };
        let span = if span > 0 { span } else { each * missing };
        let total = whole((span - std::mem::take(&mut self.filled48)).max(0));

        // Whoever leaves out every other packet of a burst gets no further ahead than with all of them.
        let room = whole((samples48(self.config.max_lead) - lead - after_length).max(0));
        let total = total.min(room);
        let recover = if total >= each && carries_fec(&after.payload) { each } else { 0 };
        let conceal = (total - recover).min(each * missing - recover).clamp(0, MAX_CONCEAL_48);
        let behind = whole(-lead - after_length - recover - conceal);
        let silence = (total - recover - conceal).min(behind).clamp(0, MAX_PAUSE_48);
        push_pieces(&mut self.pending, conceal, each, |samples48| Slot::Conceal { samples48 });
        push_pieces(&mut self.pending, silence, FILL_48, |samples48| Slot::Silence { samples48 });
        if recover > 0 {
            let next = after.payload.clone();
            self.pending.push_back(Slot::Recover { next, samples48: recover as u32 });
            self.stats.recovered += 1;
        }
        self.stats.lost += missing as u64;
        let waited_from = self.stored.values().map(|s| s.arrived).min().unwrap_or(now);
        self.line.gave_up(position.next..position.next + missing, waited_from);
        position.next += missing;
        position.next_timestamp = Some(after.timestamp);
    }

    fn wait(&self) -> Duration {
        self.line.wait().clamp(self.config.min_wait, self.config.max_wait)
    }

    /// When the gap before the first stored packet is given up.
    fn gap_deadline(&self) -> Option<Duration> {
        let next = self.position.as_ref()?.next;
        if self.stored.first_key_value()?.0 <= &next {
            return Some(Duration::ZERO);
        }
        let first = self.stored.values().map(|s| s.arrived).min()?;
        Some(first + self.wait())
    }

    /// When the next piece of a stall is due.
    fn fill_due(&self) -> Option<Duration> {
        let duration = self.position.as_ref().map_or(FILL_48, |p| p.duration);
        let dtx = self.position.as_ref().is_some_and(|p| p.dtx);
        if self.stats.received == 0 {
            return None;
        }
        let patience = self.line.patience(dtx);
        let overdue = self.last_arrival + time48(duration) + patience;
        // One packet's length is left for the packet that ends the stall.
        let behind = time48(self.played48 + FILL_48 + duration);
        Some(overdue.max(behind))
    }

    fn fill(&mut self, now: Duration) -> Option<Slot> {
        if !self.stored.is_empty() || now < self.fill_due()? {
            return None;
        }
        let dtx = self.position.as_ref().is_some_and(|p| p.dtx);
        let samples48 = FILL_48 as u32;
        let conceal = !dtx && self.filled48 < STALL_CONCEAL_48;
        self.filled48 += FILL_48;
        self.played48 += FILL_48;
        Some(if conceal { Slot::Conceal { samples48 } } else { Slot::Silence { samples48 } })
    }
}

/// What is known of the line's timing.
struct Line {
    /// How late overtaken packets came: the worst, slowly forgotten.
    reorder: Duration,
    /// RFC 3550's interarrival jitter in 48 kHz samples.
    jitter48: f64,
    /// Arrival minus timestamp of the last packet.
    transit48: Option<i64>,
    /// Packets given up, and when their wait began.
    given_up: VecDeque<(i64, Duration)>,
}

impl Line {
    fn new(first_wait: Duration) -> Self {
        Self {
            reorder: first_wait.saturating_sub(Duration::from_millis(5)).mul_f64(0.8),
            jitter48: 0.0,
            transit48: None,
            given_up: VecDeque::with_capacity(REMEMBERED),
        }
    }

    fn arrived(&mut self, now: Duration, timestamp: i64) {
        let transit = samples48(now) - timestamp;
        // Beyond a second it is another clock, not jitter.
        let moved = self.transit48.map_or(0, |last| (transit - last).abs());
        if moved < 48_000 {
            self.jitter48 += (moved as f64 - self.jitter48) / 16.0;
        }
        self.transit48 = Some(transit);
        // Half is forgotten in about 14 s of 20 ms packets.
        self.reorder = self.reorder.mul_f64(0.999);
    }

    fn reordered(&mut self, by: Duration) {
        self.reorder = self.reorder.max(by.min(Duration::from_millis(500)));
    }

    fn gave_up(&mut self, sequences: std::ops::Range<i64>, waited_from: Duration) {
        for sequence in sequences {
            if self.given_up.len() == REMEMBERED {
                self.given_up.pop_front();
            }
            self.given_up.push_back((sequence, waited_from));
        }
    }

    /// Whether the packet had been given up; then the wait was too short.
    fn came_late(&mut self, now: Duration, sequence: i64) -> bool {
        let Some(at) = self.given_up.iter().position(|(s, _)| *s == sequence) else {
            return false;
        };
        if let Some((_, waited_from)) = self.given_up.remove(at) {
            self.reordered(now.saturating_sub(waited_from));
        }
        true
    }

    fn forget_stream(&mut self) {
        self.transit48 = None;
        self.given_up.clear();
    }

    fn wait(&self) -> Duration {
        self.reorder.mul_f64(1.25) + Duration::from_millis(5)
    }

    /// How long after its time a packet may come before its place is filled with silence.
    fn patience(&self, dtx: bool) -> Duration {
        let jitter = Duration::from_secs_f64(self.jitter48 / 48_000.0);
        let (least, most) = if dtx { (20, 60) } else { (60, 120) };
        (jitter * 4 + Duration::from_millis(least / 2))
            .clamp(Duration::from_millis(least), Duration::from_millis(most))
    }
}

/// Appends `total` samples in pieces of at most `piece`.
fn push_pieces(to: &mut VecDeque<Slot>, total: i64, piece: i64, slot: impl Fn(u32) -> Slot) {
    let mut left = total;
    while left > 0 {
        let n = left.min(piece.max(i64::from(STEP_48)));
        to.push_back(slot(n as u32));
        left -= n;
    }
}

/// Down to whole steps of 2.5 ms.
fn whole(samples: i64) -> i64 {
    samples.div_euclid(i64::from(STEP_48)) * i64::from(STEP_48)
}

fn is_packet_length(samples: i64) -> bool {
    samples % i64::from(STEP_48) == 0 && samples <= i64::from(MAX_PACKET_48)
}

fn samples48(time: Duration) -> i64 {
    (time.as_nanos() * 48 / 1_000_000) as i64
}

fn time48(samples: i64) -> Duration {
    // Rounded up, so that at this time the samples are over.
    Duration::from_nanos((samples.max(0) as u64 * 1_000_000).div_ceil(48))
}
