//! EVA-Voice: a self-hosted real-time voice gateway.

#![warn(missing_docs)]
#![allow(clippy::disallowed_methods)]

pub mod audio;
pub mod bench;
pub mod call;
pub mod cli;
pub mod ids;
pub mod inference;
pub mod listening;
pub mod models;
pub mod observability;
pub mod private;
pub mod rtc;
pub mod signaling;
pub mod speaking;
pub mod thinking;
pub mod turn;
