//! What carries a call: a peer connection, or a WebSocket.
//!
//! In: packets, samples and texts of the caller. Out: EVA's packets and texts. A closed set, so an
//! enum; the call asks where the difference matters and nowhere else.

use tokio::sync::mpsc;

use crate::audio::sound_out::Packet;
use crate::rtc::{CloseReason, LegEvent, LegEvents, LegSender, WebLeg};

/// Texts to a WebSocket that may wait, some 5 s of sound. A client that reads so slowly has lost the
/// conversation: its call ends.
const WAITING_TEXTS: usize = 512;
/// Texts from a WebSocket that may wait; its reader waits beyond that.
const WAITING_EVENTS: usize = 64;

/// What carries a call.
pub enum Leg {
    /// WebRTC.
    Web(WebLeg),
    /// A WebSocket, whose texts carry the sound too.
    Socket(SocketLeg),
}

/// The call's end of a WebSocket.
pub struct SocketLeg {
    texts: mpsc::Sender<String>,
    events: mpsc::Receiver<String>,
}

/// The other end: what came is sent in, what is to go out is received. Dropping it ends the call.
pub struct SocketEnds {
    /// Texts from the client. It is closed when the call is over.
    pub events: mpsc::Sender<String>,
    /// Texts for the client; closed when the call is over.
    pub texts: mpsc::Receiver<String>,
}

/// Both ends of a leg over a WebSocket.
pub fn socket() -> (Leg, SocketEnds) {
    let (texts, outgoing) = mpsc::channel(WAITING_TEXTS);
    let (incoming, events) = mpsc::channel(WAITING_EVENTS);
    let leg = Leg::Socket(SocketLeg { texts, events });
    (leg, SocketEnds { events: incoming, texts: outgoing })
}

impl Leg {
    /// The sending side and the events, to be owned apart.
    pub(super) fn split(self) -> (LegOut, LegIn) {
        match self {
            Self::Web(leg) => {
                let (sender, events) = leg.split();
                (LegOut::Web(sender), LegIn::Web(events))
            }
            Self::Socket(SocketLeg { texts, events }) => {
                let events = LegIn::Socket { events, said: 0 };
                (LegOut::Socket(texts), events)
            }
        }
    }
}

/// The sending side.
pub(super) enum LegOut {
    Web(LegSender),
    Socket(mpsc::Sender<String>),
}

impl LegOut {
    /// Sends a packet of EVA's voice, where packets are sent.
    pub(super) fn send_opus(&self, packet: Packet) {
        if let Self::Web(leg) = self {
            leg.send_opus(packet.payload, packet.timestamp48, packet.marker);
        }
    }

    /// Sends a text; false if the client does not read.
    pub(super) fn send_text(&self, text: String) -> bool {
        match self {
            Self::Web(leg) => {
                leg.send_text(text);
                true
            }
            Self::Socket(texts) => texts.try_send(text).is_ok(),
        }
    }

    pub(super) fn is_socket(&self) -> bool {
        matches!(self, Self::Socket(_))
    }

    /// Hangs up, and returns when everything the leg held is released.
    pub(super) async fn close(self) {
        if let Self::Web(leg) = self {
            leg.close().await;
        }
    }
}

/// What comes in.
pub(super) enum LegIn {
    Web(LegEvents),
    Socket {
        events: mpsc::Receiver<String>,
        /// Of connected and open, which a WebSocket is from the start, so many were said.
        said: u8,
    },
}

impl LegIn {
    /// The next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<LegEvent> {
        match self {
            Self::Web(events) => events.next().await,
            Self::Socket { said: said @ 0, .. } => {
                *said = 1;
                Some(LegEvent::Connected)
            }
            Self::Socket { said: said @ 1, .. } => {
                *said = 2;
                Some(LegEvent::ChannelOpen)
            }
            Self::Socket { events, .. } => match events.recv().await {
                Some(text) => Some(LegEvent::Text(text)),
                None => Some(LegEvent::Closed(CloseReason::ChannelClosed)),
            },
        }
    }
}
