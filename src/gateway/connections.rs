//! What can be asked of a call's connections while it lasts: later offers, ICE restarts, players.
//!
//! In: ids and descriptions from `signaling/`. Out: answers. The connections belong to `rtc`; here are
//! the handles of calls only, each gone with its call.

use std::time::{Duration, Instant};

use super::{Admitted, Gateway, Invitation, Refusal, refusal};
use crate::call::Leg;
use crate::ids::{CallId, PlayerId};
use crate::realtime::Carrier;
use crate::rtc::{Flow, IceCredentials, IceFragment, LegHandle, RtcError};

/// A player that listens to a call.
#[derive(Debug)]
pub struct Playing {
    /// Its id.
    pub player: PlayerId,
    /// The complete SDP answer.
    pub answer_sdp: String,
    /// Its ICE session: changes with every restart.
    pub ice_name: String,
}

impl Gateway {
    /// Answers an offer with sound going this way at most, and starts the call.
    ///
    /// # Errors
    /// [`Refusal`] says why there is no call.
    pub async fn admit_as(&self, invitation: Invitation, flow: Flow) -> Result<Admitted, Refusal> {
        let Invitation { offer_sdp, mut wishes, realtime, ticket } = invitation;
        if let Some(config) = &realtime {
            self.follow(&mut wishes, config);
        }
        let prepared = self.prepare(&wishes).await?;
        let protocol = realtime.map(|config| self.session(&prepared, Carrier::DataChannel, config));
        let session = prepared.settings.memory.as_ref().map(|memory| memory.session.clone());
        let answered = self.endpoint.answer_as(&offer_sdp, flow).await;
        let (leg, answer_sdp) = answered.map_err(refusal)?;
        if let Some(ticket) = &ticket {
            ticket.follow(leg.was_connected());
        }
        let call_id = self.begin(prepared, Leg::Web(leg), protocol, ticket);
        Ok(Admitted { call_id, answer_sdp, session })
    }

    /// The connection of a call, or of one of its players.
    ///
    /// # Errors
    /// [`Refusal::UnknownCall`], [`Refusal::UnknownPlayer`].
    pub fn connection(&self, call: CallId, player: Option<PlayerId>) -> Result<LegHandle, Refusal> {
        let leg = self.legs.get(&call).map(|leg| leg.value().clone());
        let leg = leg.filter(|leg| !leg.is_over()).ok_or(Refusal::UnknownCall)?;
        match player {
            Some(player) => {
                let player = leg.player(player).filter(|player| !player.is_over());
                player.ok_or(Refusal::UnknownPlayer)
            }
            None => Ok(leg),
        }
    }

    /// Answers a later offer of a call; new ICE credentials in it restart ICE.
    ///
    /// # Errors
    /// [`Refusal::UnknownCall`], [`Refusal::BadOffer`]; the call goes on as it was.
    pub fn renegotiate(&self, call: CallId, offer_sdp: &str) -> Result<String, Refusal> {
        let leg = self.connection(call, None)?;
        self.endpoint.reanswer(&leg, offer_sdp).map_err(refusal)
    }

    /// Ends a call and waits until its place is free, or a second has passed.
    pub async fn end(&self, call: CallId) {
        self.hang_up(call);
        let give_up = Instant::now() + Duration::from_secs(1);
        while self.calls.contains_key(&call) && Instant::now() < give_up {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Lets a player listen to a call.
    ///
    /// # Errors
    /// [`Refusal::UnknownCall`], [`Refusal::TooManyPlayers`], [`Refusal::BadOffer`].
    pub async fn play(&self, call: CallId, offer_sdp: &str) -> Result<Playing, Refusal> {
        let leg = self.connection(call, None)?;
        let player = PlayerId::random();
        let attached = self.endpoint.attach(&leg, player, offer_sdp).await;
        let (handle, answer_sdp) = attached.map_err(refusal)?;
        Ok(Playing { player, answer_sdp, ice_name: handle.ice_name() })
    }

    /// Restarts ICE of a connection: `remote` are the client's credentials from now on, ours are in
    /// the answer.
    ///
    /// # Errors
    /// [`Refusal::UnknownCall`] if it has ended.
    pub fn restart_ice(
        &self,
        leg: &LegHandle,
        remote: IceCredentials,
    ) -> Result<IceFragment, Refusal> {
        self.endpoint.restart_ice(leg, remote).map_err(refusal)
    }

    /// Our side of a connection's ICE session.
    pub fn ice(&self, leg: &LegHandle) -> IceFragment {
        self.endpoint.ice(leg)
    }
}

/// What a connection's errors mean to whoever asked.
pub(super) fn of_connection(error: &RtcError) -> Option<Refusal> {
    match error {
        RtcError::Over => Some(Refusal::UnknownCall),
        RtcError::TooManyPlayers => {
            Some(Refusal::TooManyPlayers { message: error.to_string(), retry_after_s: 10 })
        }
        _ => None,
    }
}
