//! Conversations that outlive their call: kept, loaded, exported, deleted.
//!
//! In: turns as they were heard, from calls and chats. Out: the turns of a session that goes on, and
//! all of it for the person it belongs to. SQLite in a file, or PostgreSQL; one schema. Owned by the
//! gateway; [`Storage`] is a handle that is cheap to clone. A session belongs to whoever made it (the
//! `owner`, opaque here): for others it does not exist.
//!
//! Nobody who talks waits for the database: [`Storage::keep`] hands a turn to the one task that
//! writes. It decides nothing about a conversation, and knows no keys and no calls.

mod database;
mod turn;
mod url;
mod writer;

pub use turn::{Channel, Export, Page, SessionInfo, Sessions, StoredTurn, Turn};
pub use url::{BadDatabaseUrl, DatabaseUrl};

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use self::database::{Database, Write, told};
use self::writer::{Job, Signs, Writer};
use crate::ids::SessionId;
use crate::observability::Metrics;

/// How long somebody waits for the database to answer: a caller, too.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the gateway's end waits for what was said last.
const LAST_TURNS: Duration = Duration::from_secs(5);
/// How long loading waits for turns that are still to be written.
const CATCH_UP: Duration = Duration::from_secs(1);
/// How long a check may take.
const CHECK: Duration = Duration::from_secs(1);
const DAY_MS: i64 = 86_400_000;

/// Why conversations cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file cannot be used.
    #[error(
        "cannot keep conversations in {path} ({reason}); give another file with --database, or --database off"
    )]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The server cannot be used.
    #[error(
        "cannot keep conversations in {place} ({reason}); look at --database, or say --database off"
    )]
    Server {
        /// The server and its database.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// It failed just then.
    #[error("the database failed: {0}")]
    Failed(String),
    /// It did not answer in time.
    #[error("the database does not answer")]
    Slow,
    /// The session after which to list is gone.
    #[error("there is no session to go on from")]
    NoSuchPage,
}

impl From<sqlx::Error> for StorageError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(told(&error))
    }
}

/// How long turns are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    days: u32,
}

impl Retention {
    /// So many days from when a turn was said. None at all keeps turns in memory only: for a day at
    /// most, and no longer than the gateway runs.
    pub fn days(days: u32) -> Self {
        Self { days }
    }

    /// Nothing is written to a disk.
    pub fn is_memory_only(self) -> bool {
        self.days == 0
    }

    fn ms(self) -> i64 {
        i64::from(self.days.max(1)) * DAY_MS
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self::days(30)
    }
}

/// Whether the database works, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Nothing is kept here.
    Off,
    /// It answers and takes turns.
    Healthy,
    /// It does not answer, or takes no turns.
    Failing,
}

/// Where conversations are kept; a handle.
#[derive(Clone, Default)]
pub struct Storage {
    kept: Option<Arc<Kept>>,
}

struct Kept {
    database: Database,
    queue: mpsc::Sender<Job>,
    signs: Arc<Signs>,
    days: u32,
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_off() { "Storage(off)" } else { "Storage" })
    }
}

impl Storage {
    /// Keeps nothing and knows nothing.
    pub fn off() -> Self {
        Self::default()
    }

    /// Opens the database, brings its schema up to date and starts the task that writes; it ends with
    /// the last handle.
    ///
    /// # Errors
    /// If the database cannot be used; the sentence says what to do.
    pub async fn open(url: &DatabaseUrl, retention: Retention) -> Result<Self, StorageError> {
        let database = match url {
            DatabaseUrl::Off => return Ok(Self::off()),
            _ if retention.is_memory_only() => Database::in_memory().await?,
            DatabaseUrl::Sqlite(path) => Database::file(path).await?,
            DatabaseUrl::Postgres(options) => Database::server(options, &url.to_string()).await?,
        };
        let (queue, jobs) = mpsc::channel(writer::QUEUE);
        let signs = Arc::new(Signs::default());
        let writer = Writer {
            database: database.clone(),
            jobs,
            signs: signs.clone(),
            keep_ms: retention.ms(),
            told: None,
        };
        tokio::spawn(writer.run());
        Ok(Self { kept: Some(Arc::new(Kept { database, queue, signs, days: retention.days })) })
    }

    /// Whether nothing is kept.
    pub fn is_off(&self) -> bool {
        self.kept.is_none()
    }

    /// Days that a turn is kept on a disk; 0 where it is not.
    pub fn kept_days(&self) -> u32 {
        self.kept.as_ref().map_or(0, |kept| kept.days)
    }

    /// Keeps a turn; never waits. Where too many wait already (the database is away), it is dropped
    /// and counted in `eva_turns_lost_total`.
    pub fn keep(&self, turn: Turn) {
        self.hand_over(Write::Keep(turn));
    }

    /// Replaces a turn that was kept under the same id, with what was really heard of it. One that was
    /// deleted since stays deleted. Never waits.
    pub fn correct(&self, turn: Turn) {
        self.hand_over(Write::Correct(turn));
    }

    /// Takes back a turn that was kept: it was not said after all. Never waits.
    pub fn forget(&self, turn: Turn) {
        self.hand_over(Write::Forget(turn));
    }

    fn hand_over(&self, write: Write) {
        let Some(kept) = &self.kept else { return };
        kept.signs.waiting.fetch_add(1, Ordering::AcqRel);
        if kept.queue.try_send(Job::Write(write)).is_err() {
            kept.signs.waiting.fetch_sub(1, Ordering::AcqRel);
            Metrics::turn_lost("queue_full");
        }
    }

    /// The newest turns of a session, as many as a history can use, oldest first. An unknown session
    /// has none.
    ///
    /// # Errors
    /// If the database fails or does not answer.
    pub async fn load(
        &self,
        owner: &str,
        session: &SessionId,
    ) -> Result<Vec<StoredTurn>, StorageError> {
        let Some(kept) = &self.kept else { return Ok(Vec::new()) };
        kept.catch_up().await;
        within(kept.database.turns(owner, session, false)).await
    }

    /// An owner's sessions, those that changed last first.
    ///
    /// # Errors
    /// If the database fails or does not answer, or the session to go on from is gone.
    pub async fn sessions(&self, owner: &str, page: &Page) -> Result<Sessions, StorageError> {
        let none = Sessions { data: Vec::new(), has_more: false };
        let Some(kept) = &self.kept else { return Ok(none) };
        kept.catch_up().await;
        within(kept.database.sessions(owner, page)).await?.ok_or(StorageError::NoSuchPage)
    }

    /// Everything that is kept of a session; `None` if there is no such session.
    ///
    /// # Errors
    /// If the database fails or does not answer.
    pub async fn export(
        &self,
        owner: &str,
        session: &SessionId,
    ) -> Result<Option<Export>, StorageError> {
        let Some(kept) = &self.kept else { return Ok(None) };
        kept.catch_up().await;
        within(kept.database.export(owner, session)).await
    }

    /// Deletes a session and all that was said in it, also what waits to be written; whether there was
    /// one. What is said in it from now on is kept anew.
    ///
    /// # Errors
    /// If the database fails or does not answer; what was asked in time is still deleted once it
    /// does.
    pub async fn delete(&self, owner: &str, session: &SessionId) -> Result<bool, StorageError> {
        let Some(kept) = &self.kept else { return Ok(false) };
        let (done, deleted) = oneshot::channel();
        let job = Job::Delete { owner: owner.to_owned(), session: session.clone(), done };
        match timeout(PATIENCE, kept.ask(job, deleted)).await {
            Ok(Some(deleted)) => deleted.map_err(StorageError::Failed),
            Ok(None) | Err(_) => Err(StorageError::Slow),
        }
    }

    /// Waits until all that was handed over is written, for a few seconds at most; whether it is.
    pub async fn flush(&self) -> bool {
        match &self.kept {
            Some(kept) => timeout(LAST_TURNS, kept.flush()).await.is_ok(),
            None => true,
        }
    }

    /// Writes what waits and closes the database: nothing is kept from then on.
    pub async fn close(&self) {
        if !self.flush().await {
            tracing::warn!("some turns could not be written before the end");
        }
        if let Some(kept) = &self.kept {
            kept.database.close().await;
        }
    }

    /// Whether the database answers and takes turns; also where nothing is kept.
    pub async fn healthy(&self) -> bool {
        self.health().await != Health::Failing
    }

    /// How the database is doing.
    pub async fn health(&self) -> Health {
        let Some(kept) = &self.kept else { return Health::Off };
        let answers = matches!(timeout(CHECK, kept.database.check()).await, Ok(Ok(())));
        if answers && !kept.signs.failing.load(Ordering::Acquire) {
            Health::Healthy
        } else {
            Health::Failing
        }
    }
}

impl Kept {
    /// Waits a moment for what is still to be written, so that a reader sees it.
    async fn catch_up(&self) {
        if self.signs.waiting.load(Ordering::Acquire) > 0 {
            let _ = timeout(CATCH_UP, self.flush()).await;
        }
    }

    async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        let _ = self.ask(Job::Flush(done), flushed).await;
    }

    /// Hands a job to the writer and waits for its answer; `None` if the writer is gone.
    async fn ask<T>(&self, job: Job, answer: oneshot::Receiver<T>) -> Option<T> {
        self.queue.send(job).await.ok()?;
        answer.await.ok()
    }
}

async fn within<T>(query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StorageError> {
    match timeout(PATIENCE, query).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(StorageError::Slow),
    }
}
