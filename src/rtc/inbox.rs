//! What a leg has to tell, waiting for the call to read it.
//!
//! In: events from the library's driver (media, state) and from the leg's task (texts, the end).
//! Out: [`LegEvents`], read by the call. Nothing here ever makes the driver wait: when the call
//! reads too slowly the oldest media is dropped, since late sound is worth less than new.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::mux::locked;
use super::{CloseReason, LegEvent, LegStats, RtpIn};

/// Opus packets waiting to be read, 1.3 s: beyond that the oldest goes.
const WAITING_PACKETS: usize = 64;
/// Texts waiting to be read: beyond that the newest goes, so that a flooding client fills nothing.
const WAITING_TEXTS: usize = 64;
/// How long a data channel may take to open once connected.
const SETTLING: Duration = Duration::from_secs(2);
/// No event a client sends is longer; longer texts are dropped.
const LONGEST_TEXT: usize = 64 << 10;

/// A leg's state that the driver, the leg's task and the call's handles share.
#[derive(Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    /// The driver has found out that the leg is over.
    pub(super) ending: Notify,
    end: Mutex<Option<CloseReason>>,
    connected: AtomicBool,
    connected_at: OnceLock<Instant>,
    channel_open: AtomicBool,
    /// A channel is open, ours or not, whose end is the leg's.
    channel_held: AtomicBool,
    /// The payload type agreed for Opus.
    payload_type: AtomicU8,
    counters: Counters,
}

#[derive(Default)]
struct Waiting {
    /// State changes (each at most once) and texts.
    events: VecDeque<LegEvent>,
    packets: VecDeque<RtpIn>,
    closed: Option<CloseReason>,
}

#[derive(Default)]
struct Counters {
    received: AtomicU64,
    dropped: AtomicU64,
    sent: AtomicU64,
    lost_by_remote: AtomicU32,
    /// In 1/256, as on the wire.
    fraction_lost: AtomicU8,
    jitter: AtomicU32,
}

impl Inbox {
    pub(super) fn set_payload_type(&self, payload_type: u8) {
        self.payload_type.store(payload_type, Ordering::Relaxed);
    }

    pub(super) fn payload_type(&self) -> u8 {
        self.payload_type.load(Ordering::Relaxed)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Acquire)
    }

    /// Whether it is, or was before the end.
    pub(super) fn was_connected(&self) -> bool {
        self.connected_at.get().is_some()
    }

    pub(super) fn is_channel_open(&self) -> bool {
        self.channel_open.load(Ordering::Acquire)
    }

    /// Whether the far side hangs up by closing a channel.
    pub(super) fn is_channel_held(&self) -> bool {
        self.channel_held.load(Ordering::Acquire)
    }

    pub(super) fn channel_held(&self) {
        self.channel_held.store(true, Ordering::Release);
    }

    /// Whether handshakes are still going on: until the data channel is open, or, since there may
    /// be none, for a while after connecting.
    pub(super) fn is_settling(&self) -> bool {
        !self.is_channel_open()
            && self.connected_at.get().is_none_or(|at| at.elapsed() < SETTLING)
            && locked(&self.waiting).closed.is_none()
    }

    pub(super) fn connected(&self) {
        if !self.connected.swap(true, Ordering::AcqRel) {
            let _ = self.connected_at.set(Instant::now());
            locked(&self.waiting).events.push_back(LegEvent::Connected);
            self.arrived.notify_one();
        }
    }

    pub(super) fn channel_opened(&self) {
        self.channel_held();
        if !self.channel_open.swap(true, Ordering::AcqRel) {
            locked(&self.waiting).events.push_back(LegEvent::ChannelOpen);
            self.arrived.notify_one();
        }
    }

    pub(super) fn packet(&self, packet: RtpIn) {
        self.counters.received.fetch_add(1, Ordering::Relaxed);
        let mut waiting = locked(&self.waiting);
        if waiting.packets.len() == WAITING_PACKETS {
            waiting.packets.pop_front();
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
        waiting.packets.push_back(packet);
        drop(waiting);
        self.arrived.notify_one();
    }

    pub(super) fn text(&self, text: String) {
        let mut waiting = locked(&self.waiting);
        if text.len() > LONGEST_TEXT || waiting.events.len() >= WAITING_TEXTS {
            tracing::debug!(bytes = text.len(), "a text of the data channel was dropped");
            return;
        }
        waiting.events.push_back(LegEvent::Text(text));
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Asks the leg's task to end the leg. The first reason given counts.
    pub(super) fn end(&self, reason: CloseReason) {
        locked(&self.end).get_or_insert(reason);
        self.ending.notify_one();
    }

    pub(super) fn end_reason(&self) -> Option<CloseReason> {
        *locked(&self.end)
    }

    /// The last event. What arrived before it is still read first.
    pub(super) fn close(&self, reason: CloseReason) {
        self.connected.store(false, Ordering::Release);
        self.channel_open.store(false, Ordering::Release);
        locked(&self.waiting).closed.get_or_insert(reason);
        self.arrived.notify_one();
    }

    pub(super) fn count_sent(&self) {
        self.counters.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes what the far side reports about our packets.
    pub(super) fn report(&self, lost: u32, fraction_lost: u8, jitter: u32) {
        self.counters.lost_by_remote.store(lost, Ordering::Relaxed);
        self.counters.fraction_lost.store(fraction_lost, Ordering::Relaxed);
        self.counters.jitter.store(jitter, Ordering::Relaxed);
    }

    /// The counted part of the statistics; round-trip time and transport are missing.
    pub(super) fn stats(&self) -> LegStats {
        let counters = &self.counters;
        LegStats {
            rtt: None,
            transport: None,
            lost_by_remote: counters.lost_by_remote.load(Ordering::Relaxed),
            fraction_lost_by_remote: f32::from(counters.fraction_lost.load(Ordering::Relaxed))
                / 256.0,
            jitter_at_remote: counters.jitter.load(Ordering::Relaxed),
            received: counters.received.load(Ordering::Relaxed),
            dropped_unread: counters.dropped.load(Ordering::Relaxed),
            sent: counters.sent.load(Ordering::Relaxed),
        }
    }

    fn take(&self) -> Option<LegEvent> {
        let mut waiting = locked(&self.waiting);
        if let Some(event) = waiting.events.pop_front() {
            return Some(event);
        }
        if let Some(packet) = waiting.packets.pop_front() {
            return Some(LegEvent::Rtp(packet));
        }
        None
    }
}

/// The events of one leg, in order; media after texts and state changes that wait with it.
pub struct LegEvents {
    inbox: Arc<Inbox>,
    /// [`LegEvent::Closed`] has been handed out.
    over: bool,
}

impl LegEvents {
    pub(super) fn new(inbox: Arc<Inbox>) -> Self {
        Self { inbox, over: false }
    }

    /// The next event; `None` after [`LegEvent::Closed`]. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Option<LegEvent> {
        loop {
            match self.try_next() {
                Some(event) => return Some(event),
                None if self.over => return None,
                None => self.inbox.arrived.notified().await,
            }
        }
    }

    /// The next event if one is waiting.
    pub fn try_next(&mut self) -> Option<LegEvent> {
        if self.over {
            return None;
        }
        if let Some(event) = self.inbox.take() {
            return Some(event);
        }
        let reason = locked(&self.inbox.waiting).closed?;
        self.over = true;
        Some(LegEvent::Closed(reason))
    }
}
