//! A headless caller: sound in, sound and timings out, over the same wire as a browser.
//!
//! In: a gateway's address and 48 kHz sound to say. Out: what EVA said, when, and what the gateway
//! told on the data channel, and a [`Timeline`] of it all. Used by `eva call`, `eva bench` and the
//! tests; no part of the gateway uses it. One task drives a [`HeadlessCall`] and owns all of it.

mod call;
mod ear;
mod mouth;
mod room;
mod signaling;
mod timeline;

pub use call::{HeadlessCall, Options, TurnReport};
pub use room::Room;
pub use signaling::DialError;
pub use timeline::{Packet, Said, Timeline, Told};

/// Voice-to-voice starts with the caller's last 20 ms frame above this, dBFS.
pub const CALLER_VOICED_DBFS: f32 = -45.0;
/// ... and ends with the first packet of the reply above this, dBFS.
pub const REPLY_AUDIBLE_DBFS: f32 = -50.0;
