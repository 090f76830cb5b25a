//! Measuring: scripted callers and scripted brains in, tables and JSON out.
//!
//! Used by `eva bench` and by tests. The scripted language model here is the only one in the program;
//! `eva serve` has no way to it.

pub mod call;
pub mod chat;
pub mod conversation;
pub mod llm;
pub mod local;
pub mod mock_llm;
mod questions;
mod stats;
pub mod tts;

pub use stats::Spread;
