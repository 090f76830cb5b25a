//! What the gateway's operator can see and do.
//!
//! In: requests of `signaling/`. Out: the state of the calls, their end, the recordings. What calls are
//! doing they say themselves, on the board.

use std::sync::atomic::Ordering;

use tokio::sync::watch;

use super::Gateway;
use crate::call::{CallSettings, Leg, Plan};
use crate::ids::CallId;
use crate::observability::live::{CallAbout, CallCarrier, CallProtocol, CallStatus};
use crate::recordings::Recordings;
use crate::turn::WhyHangUp;

impl Gateway {
    /// All calls as they are at this moment, the oldest first.
    pub fn calls_now(&self) -> Vec<CallStatus> {
        let mut calls = self.board.calls();
        for call in &mut calls {
            call.reconnected = self.legs.get(&call.id).is_some_and(|leg| leg.was_restarted());
        }
        calls
    }

    /// Changes whenever something about a call does.
    pub fn call_changes(&self) -> watch::Receiver<u64> {
        self.board.changes()
    }

    /// Whether the gateway shuts down.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Says what carries a call, where its offer does not.
    pub(crate) fn carried_by(&self, call: CallId, carrier: CallCarrier) {
        self.board.update(call, |status| status.about.carrier = carrier);
    }

    /// Ends a call in the operator's name: its client is told so. Whether there was one.
    pub fn dismiss(&self, call: CallId) -> bool {
        self.board.update(call, |status| status.hang_up = Some(WhyHangUp::Operator));
        self.hang_up(call)
    }

    /// The recordings of calls, where they are kept.
    pub fn recordings(&self) -> Option<&Recordings> {
        self.config.call.recordings.as_ref()
    }
}

/// What kind of call begins, whose client speaks EVA's own protocol.
pub(super) fn about(leg: &Leg, settings: &CallSettings, plan: &Plan) -> CallAbout {
    CallAbout {
        carrier: match leg {
            Leg::Web(_) => CallCarrier::WebRtc,
            Leg::Socket(_) => CallCarrier::WebSocket,
        },
        protocol: CallProtocol::Eva,
        language: settings.language.code(),
        voice: String::new(),
        persona: Some(plan.persona.name.clone()),
        continued: settings.memory.as_ref().is_some_and(|memory| !memory.turns.is_empty()),
        recorded: settings.recordings.is_some(),
    }
}
