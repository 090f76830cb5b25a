//! What fuzzers call: one function for each kind of input that strangers send.
//!
//! In: any bytes. Out: nothing; a panic says that a promise is broken. Each function feeds the real
//! parser as the gateway does, without threads or clocks of its own, and checks what must hold
//! whatever came in. `fuzz/` runs them under libFuzzer, `tests` a little of it with every test run.
//! No part of the product calls this.

mod realtime;
mod rtp;
#[cfg(test)]
mod tests;
mod upload;

pub use realtime::realtime;
pub use rtp::rtp;
pub use upload::upload;

pub use crate::rtc::fuzzing::{sdp, stun, whip_fragment};

/// One of them: the name of its target and its seeds, and the function.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("sdp", sdp),
    ("rtp", rtp),
    ("realtime", realtime),
    ("whip_fragment", whip_fragment),
    ("upload", upload),
    ("stun", stun),
];
