//! What happened in; logs and metrics out.
//!
//! In: one latency record per turn, calls that begin and end. Out: log lines (never a spoken word),
//! Prometheus metrics, the parts the clients are shown, and for the operator what calls are doing
//! ([`live`]) and what went wrong ([`journal`]). Owns no state of a call.

#![deny(missing_docs)]

pub mod journal;
mod latency;
pub mod live;
mod metrics;
mod system;

pub use latency::{Milestone, Parts, TurnClock};
pub use metrics::Metrics;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging to standard error. `RUST_LOG` overrides the level; `json` gives one JSON object a
/// line for machines.
pub fn start_logging(json: bool) {
    start("info", json);
}

/// Starts logging of warnings and errors only: for commands that print a result.
pub fn start_quiet_logging() {
    start("warn", false);
}

fn start(level: &str, json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new(format!("warn,eva_voice={level},{}", crate::rtc::QUIET_LOGS))
    });
    // It logs what tools answer; whatever matters of it is said by us.
    let filter = filter.add_directive("rmcp=off".parse().expect("a directive"));
    // It says of every broken upload what the sender is told already.
    let filter = filter.add_directive("symphonia=off".parse().expect("a directive"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first.
    let _ = if json {
        lines.json().finish().with(journal::ToJournal).try_init()
    } else {
        lines.with_target(false).finish().with(journal::ToJournal).try_init()
    };
}
