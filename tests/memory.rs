//! Conversations are kept, come back after a restart, and are gone when they are deleted.

#![allow(clippy::disallowed_methods)]

#[path = "memory/calls.rs"]
mod calls;
mod common;
#[path = "memory/postgres.rs"]
mod postgres;
#[path = "memory/stored.rs"]
mod stored;
