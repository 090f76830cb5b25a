//! What happened in a headless call, and when: frames said, packets heard, events told.
//!
//! In: the call, as it goes. Out: a [`Timeline`] for whoever measures. It measures nothing itself.

use std::time::Instant;

use serde_json::Value;

/// One frame of 20 ms of the caller's own sound.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// When it was sent.
    pub sent: Instant,
    /// Its level, dBFS, without the echo that the microphone hears.
    pub dbfs: f32,
}

/// One packet from the gateway.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// RTP timestamp of its first sample.
    pub timestamp: u32,
    /// When it was read from the socket.
    pub arrived: Instant,
    /// Its level, dBFS.
    pub dbfs: f32,
    /// Where its sound begins in [`Timeline::recording`].
    pub at: usize,
}

/// One event of the data channel.
#[derive(Clone, Debug)]
pub struct Told {
    /// When it came.
    pub arrived: Instant,
    /// The event.
    pub event: Value,
}

impl Told {
    /// Whether it is of this type.
    pub fn is(&self, kind: &str) -> bool {
        self.event["type"] == kind
    }

    /// One of its fields that holds a number; 0 where it does not.
    pub fn number(&self, field: &str) -> u64 {
        self.event[field].as_u64().unwrap_or_default()
    }

    /// One of its fields that holds a text; empty where it does not.
    pub fn text(&self, field: &str) -> &str {
        self.event[field].as_str().unwrap_or_default()
    }
}

/// A whole call.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Every frame of the microphone, sent or held back.
    pub said: Vec<Said>,
    /// Every packet that came.
    pub packets: Vec<Packet>,
    /// Every event.
    pub told: Vec<Told>,
    /// What was heard, 48 kHz mono, continuous in RTP time since the first packet.
    pub recording: Vec<f32>,
    /// Deviation of each packet's spacing from 20 ms, milliseconds.
    pub pacing_ms: Vec<f64>,
}
