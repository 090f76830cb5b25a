//! EVA's voice on its way out: one track to each who listens to a call.
//!
//! In: Opus packets with their timestamps. Out: the same packets on the call's own connection, if
//! that listens, and on every player's, each under its own synchronisation source and sequence
//! numbers. Nothing is encoded again and nobody is waited for.
//!
//! [`Players`] is the list of a call's players. A player is a connection like a call's, with a task of
//! its own; its [`Seat`] takes it off the list when that task ends, and clearing the list ends the
//! tasks.

use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::FutureExt;
use rtc::rtp;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;

use super::handle::LegHandle;
use super::inbox::Inbox;
use super::leg::LegSender;
use super::mux::locked;
use super::{MOST_PLAYERS, RtcError};
use crate::ids::PlayerId;

/// One outgoing track.
pub(super) struct Voice {
    inbox: Arc<Inbox>,
    pub(super) track: Arc<TrackLocalStaticRTP>,
    pub(super) ssrc: u32,
    sequence: AtomicU16,
    /// The far side does not want to hear anything now.
    held: AtomicBool,
    /// Nothing has been sent yet.
    fresh: AtomicBool,
}

impl Voice {
    pub(super) fn new(inbox: Arc<Inbox>, track: Arc<TrackLocalStaticRTP>, ssrc: u32) -> Self {
        Self {
            inbox,
            track,
            ssrc,
            sequence: AtomicU16::new(rand::random()),
            held: AtomicBool::new(false),
            fresh: AtomicBool::new(true),
        }
    }

    pub(super) fn hold(&self, held: bool) {
        self.held.store(held, Ordering::Relaxed);
    }

    /// See [`LegSender::send_opus`].
    pub(super) fn send(&self, payload: Bytes, timestamp: u32, marker: bool) -> bool {
        if !self.inbox.is_connected() || self.held.load(Ordering::Relaxed) {
            return false;
        }
        // Whoever joins in the middle begins here.
        let fresh = self.fresh.swap(false, Ordering::Relaxed);
        let header = rtp::Header {
            version: 2,
            marker: marker || fresh,
            payload_type: self.inbox.payload_type(),
            sequence_number: self.sequence.fetch_add(1, Ordering::Relaxed),
            timestamp,
            ssrc: self.ssrc,
            ..Default::default()
        };
        let packet = rtp::Packet { header, payload };
        // Only a full queue to the driver makes this pend.
        let sent = matches!(self.track.write_rtp(packet).now_or_never(), Some(Ok(())));
        if sent {
            self.inbox.count_sent();
        }
        sent
    }
}

/// The players of one call.
#[derive(Default)]
pub(super) struct Players(Mutex<State>);

#[derive(Default)]
struct State {
    /// The call is over: nobody may join.
    over: bool,
    seats: Vec<(PlayerId, Option<Player>)>,
}

/// A player that is connected or about to be.
struct Player {
    /// Its end is the player's.
    sender: LegSender,
    handle: LegHandle,
}

/// A player's place among those of a call.
pub(super) struct Seat {
    players: Arc<Players>,
    id: PlayerId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        drop(self.players.take(self.id));
    }
}

impl Players {
    /// Takes a place for a player.
    ///
    /// # Errors
    /// [`RtcError::Over`] if the call is over, [`RtcError::TooManyPlayers`].
    pub(super) fn reserve(self: &Arc<Self>, id: PlayerId) -> Result<Seat, RtcError> {
        let mut state = locked(&self.0);
        if state.over {
            return Err(RtcError::Over);
        }
        if state.seats.len() == MOST_PLAYERS {
            return Err(RtcError::TooManyPlayers);
        }
        state.seats.push((id, None));
        Ok(Seat { players: self.clone(), id })
    }

    /// The player of a place is there. If the place is gone, so is the player.
    pub(super) fn seat(&self, id: PlayerId, sender: LegSender, handle: LegHandle) {
        let mut state = locked(&self.0);
        if let Some((_, seat)) = state.seats.iter_mut().find(|(seat, _)| *seat == id) {
            *seat = Some(Player { sender, handle });
        }
    }

    pub(super) fn handle(&self, id: PlayerId) -> Option<LegHandle> {
        let state = locked(&self.0);
        let (_, player) = state.seats.iter().find(|(seat, _)| *seat == id)?;
        player.as_ref().map(|player| player.handle.clone())
    }

    pub(super) fn count(&self) -> usize {
        locked(&self.0).seats.len()
    }

    /// Sends a packet to all of them; whether anybody was there to hear it.
    pub(super) fn send(&self, payload: &Bytes, timestamp: u32, marker: bool) -> bool {
        let state = locked(&self.0);
        let mut heard = false;
        for player in state.seats.iter().filter_map(|(_, player)| player.as_ref()) {
            heard |= player.sender.send_opus(payload.clone(), timestamp, marker);
        }
        heard
    }

    /// The call is over, and so are its players.
    pub(super) fn close(&self) {
        let mut state = locked(&self.0);
        state.over = true;
        let seats = std::mem::take(&mut state.seats);
        drop(state);
        drop(seats);
    }

    fn take(&self, id: PlayerId) -> Option<Player> {
        let mut state = locked(&self.0);
        let at = state.seats.iter().position(|(seat, _)| *seat == id)?;
        state.seats.swap_remove(at).1
    }
}
