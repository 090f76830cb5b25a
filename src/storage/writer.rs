//! The one task that writes.
//!
//! In: a queue of [`Job`]s. Out: rows, in the queue's order, several turns in one transaction. A
//! database that is away for a while is waited for, and the queue grows meanwhile; what the database
//! refuses is dropped and counted. Also sweeps away what is too old. Ends with the last sender.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use super::database::{Database, Write, told, will_pass};
use super::turn::now_ms;
use crate::ids::SessionId;
use crate::observability::Metrics;

/// Turns that may wait to be written: minutes of a busy gateway's. One more is not kept, and counted
/// in `eva_turns_lost_total`: a conversation never waits for the database.
pub(super) const QUEUE: usize = 1024;
/// Jobs that are taken at once.
const BATCH: usize = 64;
/// How often old turns are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// How long a database that fails is left alone: at first, and at most.
const RETRY: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];
/// Failures are told in the log once in this time.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// Something to do.
#[derive(Debug)]
pub(super) enum Job {
    /// Writes a turn.
    Write(Write),
    /// Deletes a session; tells whether there was one.
    Delete { owner: String, session: SessionId, done: oneshot::Sender<Result<bool, String>> },
    /// Tells when all before it is done.
    Flush(oneshot::Sender<()>),
}

/// What the writer shows to others.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// Turns that were handed over and are not written yet.
    pub(super) waiting: AtomicUsize,
    /// The last attempt to write failed.
    pub(super) failing: AtomicBool,
}

/// The writer's own state.
pub(super) struct Writer {
    pub(super) database: Database,
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) signs: Arc<Signs>,
    /// Turns older than this are deleted, milliseconds.
    pub(super) keep_ms: i64,
    pub(super) told: Option<Instant>,
}

impl Writer {
    /// Works until the last sender is gone and the queue is empty.
    pub(super) async fn run(mut self) {
        self.sweep().await;
        let mut sweeps = interval_at(Instant::now() + SWEEP_EVERY, SWEEP_EVERY);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                _ = sweeps.tick() => self.sweep().await,
                taken = self.jobs.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        return;
                    }
                    self.work(&mut batch).await;
                }
            }
        }
    }

    async fn sweep(&mut self) {
        match self.database.sweep(now_ms().saturating_sub(self.keep_ms)).await {
            Ok(true) => tracing::info!("turns that were kept long enough are deleted"),
            Ok(false) => {}
            Err(error) => self.tell(&error, "old turns cannot be deleted; tried again in an hour"),
        }
    }

    async fn work(&mut self, batch: &mut Vec<Job>) {
        let mut writes = Vec::new();
        for job in batch.drain(..) {
            match job {
                Job::Write(write) => writes.push(write),
                Job::Delete { owner, session, done } => {
                    self.write(std::mem::take(&mut writes)).await;
                    let deleted = self.database.delete(&owner, &session).await;
                    let _ = done.send(deleted.map_err(|error| told(&error)));
                }
                Job::Flush(done) => {
                    self.write(std::mem::take(&mut writes)).await;
                    let _ = done.send(());
                }
            }
        }
        self.write(writes).await;
    }

    /// Writes all of them, or each that the database takes.
    async fn write(&mut self, writes: Vec<Write>) {
        if writes.is_empty() {
            return;
        }
        if self.try_write(&writes).await.is_break() {
            for write in &writes {
                if self.try_write(std::slice::from_ref(write)).await.is_break() {
                    Metrics::turn_lost("refused");
                    self.done(0, 1);
                }
            }
        }
    }

    /// Tries until it succeeds; breaks where the database refuses what is to be written.
    async fn try_write(&mut self, writes: &[Write]) -> ControlFlow<()> {
        let [mut pause, longest] = RETRY;
        loop {
            let error = match self.database.write(writes).await {
                Ok(()) => {
                    self.signs.failing.store(false, Ordering::Release);
                    self.done(writes.len(), writes.len());
                    return ControlFlow::Continue(());
                }
                Err(error) => error,
            };
            self.signs.failing.store(true, Ordering::Release);
            // Without senders nobody would wait for it any more.
            if !will_pass(&error) || self.jobs.is_closed() {
                self.tell(&error, "the database refuses turns; they are not kept");
                return ControlFlow::Break(());
            }
            self.tell(&error, "turns cannot be written and wait");
            sleep(pause).await;
            pause = longest.min(pause * 2);
        }
    }

    fn done(&self, kept: usize, fewer: usize) {
        let waiting = self.signs.waiting.fetch_sub(fewer, Ordering::AcqRel) - fewer;
        Metrics::turns_kept(kept, waiting);
    }

    fn tell(&mut self, error: &sqlx::Error, what: &str) {
        if self.told.is_none_or(|told| told.elapsed() > TELL_EVERY) {
            self.told = Some(Instant::now());
            tracing::warn!(error = told(error), "{what}");
        }
    }
}
