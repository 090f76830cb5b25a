//! What the calls are doing at this moment, for the operator.
//!
//! In: what each call's task says of itself through its [`Post`]. Out: a [`CallStatus`] a call, and word
//! that something has changed. Owned by the gateway; a call's entry goes with the call. Nothing of what
//! is said in a call is here. Nobody waits: an entry is locked for as long as it takes to write it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use dashmap::DashMap;
use serde::Serialize;
use tokio::sync::watch;

use crate::ids::CallId;
use crate::turn::{State, WhyHangUp};

/// The latest times that a call's median is taken of.
const MEDIAN_OF: usize = 101;

/// What carries a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CallCarrier {
    /// A peer connection, offered as JSON.
    WebRtc,
    /// A peer connection, offered by a WHIP client.
    Whip,
    /// A WebSocket.
    WebSocket,
}

/// Whose events the client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CallProtocol {
    /// EVA's own.
    Eva,
    /// OpenAI's Realtime protocol.
    Realtime,
}

/// What kind of call it is.
#[derive(Clone, Debug, Serialize)]
pub struct CallAbout {
    /// What carries it.
    pub carrier: CallCarrier,
    /// Whose events the client reads.
    pub protocol: CallProtocol,
    /// `en`, `fr` or `auto`.
    pub language: &'static str,
    /// Name of the voice in use.
    pub voice: String,
    /// Name of the persona, where one was chosen.
    pub persona: Option<String>,
    /// It goes on with a conversation of an earlier call.
    pub continued: bool,
    /// Its sound is kept.
    pub recorded: bool,
}

/// How the turns of a call went.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CallFigures {
    /// Turns answered.
    pub turns: u32,
    /// Replies that were interrupted.
    pub interruptions: u32,
    /// The newest voice-to-voice time, milliseconds.
    pub last_ms: Option<f64>,
    /// Their median, milliseconds.
    pub median_ms: Option<f64>,
    #[serde(skip)]
    times: Vec<f64>,
}

/// How the wire of a call does.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct CallWire {
    /// `udp` or `tcp`, once it is known.
    pub transport: Option<&'static str>,
    /// Packets of the caller's that did not come in time, percent of the last seconds'.
    pub lost_percent: Option<f32>,
    /// Packets of ours that the caller missed, percent, from its newest report.
    pub lost_by_caller_percent: Option<f32>,
    /// Jitter of the caller's packets, milliseconds.
    pub jitter_ms: Option<f32>,
    /// Round-trip time, milliseconds.
    pub rtt_ms: Option<f32>,
}

/// One call, as the operator sees it.
#[derive(Clone, Debug, Serialize)]
pub struct CallStatus {
    /// The call.
    pub id: CallId,
    /// When it was admitted, milliseconds since 1970.
    pub began_ms: u64,
    /// What kind of call it is.
    #[serde(flatten)]
    pub about: CallAbout,
    /// Whether media flows.
    pub connected: bool,
    /// Who has the floor.
    pub state: State,
    /// How its turns went.
    #[serde(flatten)]
    pub figures: CallFigures,
    /// How its wire does.
    pub wire: CallWire,
    /// Whether its connection was restarted: the caller's network changed.
    pub reconnected: bool,
    /// Why it is to end.
    #[serde(skip)]
    pub hang_up: Option<WhyHangUp>,
}

/// All calls in progress.
pub struct Board {
    calls: DashMap<CallId, CallStatus>,
    changes: watch::Sender<u64>,
}

impl Default for Board {
    fn default() -> Self {
        Self { calls: DashMap::new(), changes: watch::Sender::new(0) }
    }
}

impl Board {
    /// Puts a call up; its task writes with the [`Post`].
    pub fn post(self: &Arc<Self>, id: CallId, about: CallAbout) -> Post {
        let began_ms = unix_ms(SystemTime::now());
        let status = CallStatus {
            id,
            began_ms,
            about,
            connected: false,
            state: State::Listening,
            figures: CallFigures::default(),
            wire: CallWire::default(),
            reconnected: false,
            hang_up: None,
        };
        self.calls.insert(id, status);
        self.changed();
        Post { id, board: self.clone() }
    }

    /// Takes a call down.
    pub fn remove(&self, id: CallId) {
        if self.calls.remove(&id).is_some() {
            self.changed();
        }
    }

    /// Changes what is known of a call; whether it is in progress.
    pub fn update(&self, id: CallId, change: impl FnOnce(&mut CallStatus)) -> bool {
        let known = self.calls.get_mut(&id).map(|mut status| change(&mut status)).is_some();
        if known {
            self.changed();
        }
        known
    }

    /// All calls, the oldest first.
    pub fn calls(&self) -> Vec<CallStatus> {
        let mut calls: Vec<_> = self.calls.iter().map(|status| status.clone()).collect();
        calls.sort_by_key(|status| (status.began_ms, status.id));
        calls
    }

    /// Changes whenever something about a call does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Wakes whoever waits for changes.
    pub fn wake(&self) {
        self.changed();
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Where one call says what it is doing.
#[derive(Clone)]
pub struct Post {
    id: CallId,
    board: Arc<Board>,
}

impl Post {
    /// Changes what is known of the call.
    pub fn update(&self, change: impl FnOnce(&mut CallStatus)) {
        self.board.update(self.id, change);
    }

    /// A turn was answered after so many milliseconds.
    pub fn answered(&self, total_ms: f64) {
        self.update(|status| {
            let figures = &mut status.figures;
            figures.turns += 1;
            figures.last_ms = Some(total_ms);
            if figures.times.len() == MEDIAN_OF {
                figures.times.remove(0);
            }
            figures.times.push(total_ms);
            let mut sorted = figures.times.clone();
            sorted.sort_by(f64::total_cmp);
            figures.median_ms = sorted.get(sorted.len() / 2).copied();
        });
    }

    /// Why the call is to end, if somebody has ended it.
    pub fn hang_up(&self) -> Option<WhyHangUp> {
        self.board.calls.get(&self.id).and_then(|status| status.hang_up)
    }
}

/// Milliseconds since 1970.
pub fn unix_ms(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> CallAbout {
        CallAbout {
            carrier: CallCarrier::WebRtc,
            protocol: CallProtocol::Eva,
            language: "en",
            voice: "alba".to_owned(),
            persona: None,
            continued: false,
            recorded: false,
        }
    }

    #[test]
    fn a_call_is_seen_as_long_as_it_lasts_and_changes_are_told() {
        let board = Arc::new(Board::default());
        let mut changes = board.changes();
        let id = CallId::random();
        let post = board.post(id, about());
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        post.update(|status| status.state = State::Hearing);
        for ms in [900.0, 300.0, 500.0] {
            post.answered(ms);
        }
        assert!(changes.has_changed().unwrap());
        let json = serde_json::to_value(&board.calls()[0]).unwrap();
        assert_eq!((&json["state"], &json["turns"]), (&"hearing".into(), &3.into()));
        assert_eq!((&json["last_ms"], &json["median_ms"]), (&500.0.into(), &500.0.into()));
        assert_eq!((&json["carrier"], &json["protocol"]), (&"webrtc".into(), &"eva".into()));
        assert!(board.update(id, |status| status.hang_up = Some(WhyHangUp::Operator)));
        assert_eq!(post.hang_up(), Some(WhyHangUp::Operator));
        board.remove(id);
        // What a call says after its end is nobody's business.
        post.answered(1.0);
        assert!(board.calls().is_empty());
    }
}
