//! EVA-Voice: a self-hosted real-time voice gateway.
//!
//! # The tour of one frame
//!
//! A call is one path that sound walks, 20 ms at a time, and the folders are its stations:
//!
//! 1. [`signaling`] takes a browser's offer over HTTP, [`admission`] says whether there may be one
//!    more; [`gateway`] admits the call and starts its task.
//! 2. [`rtc`]: a packet comes in on the one media port. STUN and its sender's address tell which call
//!    it belongs to; DTLS-SRTP opens it; what leaves is RTP with Opus inside.
//! 3. [`audio`]: the jitter buffer puts packets in order, libopus decodes straight to 16 kHz, what was
//!    lost is recovered or concealed, EVA's own echo is taken out; what leaves are frames of 320
//!    samples, continuous in time.
//! 4. [`listening`]: Silero marks where the voice starts and pauses; Whisper makes words, partial ones
//!    while the person speaks and final ones from the first hint of silence on; Smart Turn votes on
//!    whether the turn is over.
//! 5. [`turn`]: one pure state machine weighs marks, words and votes and says what to do: start a
//!    reply behind the gate, commit the turn, release the reply, stop it when the person interrupts.
//! 6. [`thinking`]: history and words go to a language model (any OpenAI-compatible server, or the
//!    built-in brain); its stream is cut into pieces that can be spoken. Tools that it calls run once
//!    the turn is committed, and their results go back to it.
//! 7. [`speaking`]: VITS turns a piece into sound, first chunk first, and knows when each word sounds.
//! 8. [`call`]`::playout` queues the sound, knows what was sent and heard, and what is cut.
//! 9. [`audio`] again: fades, Opus, one packet for each 20 ms slot.
//! 10. [`rtc`] again: the packet leaves on the same call.
//!
//! [`call`] joins the stations: one task owns all state of a call by value. [`chat`] joins them without
//! a call: text conversations, speech of a text, words of a recording. [`inference`] runs the
//! models, each on a thread of its own, the most urgent work first. [`models`] fetches and verifies
//! their files, [`engines`] starts and warms them, [`voices`] are loaded when first asked for.
//! [`personas`] are who EVA can be. [`storage`] keeps conversations beyond their call, [`recordings`]
//! their sound, if the owner wants it. [`realtime`] is OpenAI's
//! protocol as a pure session that a call drives; [`admission`] counts who calls, [`outbound`] keeps
//! the gateway's own requests away from private addresses.
//! [`observability`] keeps one latency record a turn. [`headless`] is a caller without a browser,
//! [`bench`] measures with it, [`cli`] is the command line.
//!
//! # Rules
//!
//! Stations never import each other; only [`call`] joins them. [`turn`] and [`audio`] are told the time
//! and keep no clock. Every queue is bounded, every reply has an id, a foreign library is named in one
//! place. `tests/architecture.rs` and clippy hold the rules that a machine can check.

#![warn(missing_docs)]
#![allow(clippy::disallowed_methods)]

pub mod admission;
pub mod audio;
pub mod bench;
pub mod call;
pub mod chat;
pub mod cli;
pub mod engines;
#[doc(hidden)]
pub mod fuzzing;
pub mod gateway;
pub mod headless;
pub mod ids;
pub mod inference;
pub mod language;
pub mod listening;
pub mod models;
pub mod observability;
pub mod outbound;
pub mod personas;
pub mod private;
pub mod realtime;
pub mod recordings;
pub mod rtc;
pub mod signaling;
pub mod speaking;
pub mod storage;
pub mod thinking;
pub mod turn;
pub mod voices;
