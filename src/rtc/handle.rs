//! What signaling may do to a connection while it lasts.
//!
//! In: later offers and ICE restarts of a connection that [`RtcEndpoint`](super::RtcEndpoint) has
//! answered. Out: answers, new ICE sessions, the end. A [`LegHandle`] keeps nothing alive: the
//! connection belongs to its leg's task, and a handle of one that is over says so.

use std::sync::{Arc, Mutex};

use super::ice::IceCredentials;
use super::inbox::Inbox;
use super::mux::{Mux, locked};
use super::port::CallPort;
use super::reoffer::Agreed;
use super::sdp::Offer;
use super::voice::{Players, Voice};
use super::{CloseReason, IceFragment, RtcError};
use crate::ids::PlayerId;

/// See the module.
#[derive(Clone)]
pub struct LegHandle {
    shared: Arc<Shared>,
}

/// What the connection is made of, as far as signaling goes.
pub(super) struct Shared {
    pub(super) mux: Arc<Mux>,
    pub(super) port: Arc<CallPort>,
    pub(super) inbox: Arc<Inbox>,
    /// Absent if the far side never listens.
    pub(super) voice: Option<Arc<Voice>>,
    pub(super) players: Arc<Players>,
    pub(super) agreed: Mutex<Agreed>,
}

impl LegHandle {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// Whether the connection has ended or is about to.
    pub fn is_over(&self) -> bool {
        self.shared.port.is_closed() || self.shared.inbox.end_reason().is_some()
    }

    /// Ends the connection, with a goodbye to the far side. Returns at once.
    pub fn hang_up(&self) {
        self.shared.inbox.end(CloseReason::Local);
    }

    /// Our name in the ICE session in force: it changes with every ICE restart, and never comes back.
    pub fn ice_name(&self) -> String {
        self.shared.port.sessions.current().local().ufrag.clone()
    }

    /// Whether these are the far side's credentials in the ICE session in force.
    pub fn is_current(&self, remote: &IceCredentials) -> bool {
        self.shared.port.sessions.current().remote() == Some(remote)
    }

    /// Whether ICE has been restarted.
    pub fn was_restarted(&self) -> bool {
        let sessions = &self.shared.port.sessions;
        !sessions.is_first(&sessions.current())
    }

    /// A player of this call's.
    pub fn player(&self, id: PlayerId) -> Option<LegHandle> {
        self.shared.players.handle(id)
    }

    /// How many players the call has.
    pub fn players(&self) -> usize {
        self.shared.players.count()
    }

    pub(super) fn seats(&self) -> &Arc<Players> {
        &self.shared.players
    }

    /// Our side of the ICE session in force.
    pub(super) fn ours(&self) -> IceCredentials {
        self.shared.port.sessions.current().local().clone()
    }

    /// Our side of an ICE session, with these candidates.
    pub(super) fn fragment(&self, local: IceCredentials, candidates: Vec<String>) -> IceFragment {
        locked(&self.shared.agreed).fragment(local, candidates)
    }

    /// Begins a new ICE session: the far side comes with `remote` from now on, and to us with the
    /// credentials returned. Media goes on meanwhile.
    ///
    /// # Errors
    /// [`RtcError::Over`] if the connection has ended.
    pub(super) fn restart(&self, remote: IceCredentials) -> Result<IceCredentials, RtcError> {
        let Shared { mux, port, .. } = &*self.shared;
        let local = IceCredentials::random();
        let restarted = mux
            .restart(port, local.clone(), remote)
            .map_err(|error| RtcError::Setup(error.to_string()))?;
        if restarted { Ok(local) } else { Err(RtcError::Over) }
    }

    /// Answers a later offer of the same connection. New credentials in it restart ICE.
    ///
    /// # Errors
    /// [`RtcError::BadOffer`] if the offer does not continue what was agreed; the connection goes on
    /// as it was then. [`RtcError::Over`] if it has ended.
    pub(super) fn reanswer(&self, offer: &str, candidates: &[String]) -> Result<String, RtcError> {
        if self.is_over() {
            return Err(RtcError::Over);
        }
        let offer = Offer::read(offer)?;
        let mut agreed = locked(&self.shared.agreed);
        let next = agreed.next(&offer, self.shared.inbox.payload_type())?;
        let ours = if self.is_current(&offer.ice) {
            self.ours()
        } else {
            self.restart(offer.ice.clone())?
        };
        if let Some(voice) = &self.shared.voice {
            voice.hold(!next.is_heard());
        }
        *agreed = next.with_ice(&ours, candidates);
        Ok(agreed.answer.clone())
    }
}
