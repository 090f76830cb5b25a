//! Packets to 20 ms frames of samples, and back.
//!
//! In: the RTP fields of one call's Opus packets ([`sound_in`]), and 48 kHz speech ([`sound_out`]).
//! Out: continuous 16 kHz mono frames for listening, and Opus packets for the wire, one a slot of
//! the [`pacer`]. Owned by the call; every part belongs to one call alone. Nothing here reads a
//! clock, waits, or starts anything: callers pass `now`, the time since the call began, and ask
//! `poll_timeout`. It opens no sockets, knows no RTP headers, and decides nothing about turns.
//!
//! | file | what it does |
//! | --- | --- |
//! | [`opus`] | the codec; the one place that names libopus |
//! | [`jitter`] | packets in any order → packets in order, with gaps named |
//! | [`sound_in`] | jitter buffer and decoder joined: frames for listening |
//! | [`sound_out`] | queued speech → packets: fades, ducking, silence |
//! | [`pcm_in`] | samples that come without RTP → frames for listening |
//! | [`g711`] | µ-law and A-law |
//! | [`echo`] | what was sent, taken out of what is heard |
//! | [`pacer`] | when the next slot is due |
//! | [`resample`] | any rate to any rate, in a stream or whole |
//! | [`level`] | loudness, fades, a level meter |
//! | [`wav`] | WAV files |
//! | [`ogg`] | speech as an Ogg Opus stream |
//! | [`file`] | sound files of every usual kind → 16 kHz |

#![deny(clippy::disallowed_methods)]

pub mod echo;
pub mod file;
pub mod g711;
pub mod jitter;
pub mod level;
pub mod ogg;
pub mod opus;
pub mod pacer;
pub mod pcm_in;
pub mod resample;
pub mod sound_in;
pub mod sound_out;
pub mod wav;

#[cfg(test)]
mod echo_tests;
#[cfg(test)]
mod jitter_tests;
#[cfg(test)]
mod line_tests;
#[cfg(test)]
mod sound_out_tests;

/// The sample rate on the wire in Hz: Opus's RTP clock (RFC 7587 section 4.1).
pub const WIRE_RATE: u32 = 48_000;

/// The sample rate of the frames for listening in Hz.
pub const HEARING_RATE: u32 = 16_000;

/// The length of one slot, of one packet sent and of one frame heard, in milliseconds.
pub const SLOT_MS: u32 = 20;

/// Samples of one slot at [`WIRE_RATE`].
pub const SLOT_SAMPLES: usize = 960;
