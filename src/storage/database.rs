//! The database itself: connections, the schema, and every statement.
//!
//! One SQL text serves SQLite and PostgreSQL. Nothing here waits longer than the connection's own
//! timeouts, retries, or knows of the queue.

use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteError, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, PgPool, SqlSafeStr, SqlitePool};

use super::turn::{exchange_of_text, exchange_to_text};
use super::{Channel, Export, Page, SessionInfo, Sessions, StorageError, StoredTurn, Turn};
use crate::ids::SessionId;
use crate::private::Private;

/// How long a statement waits for another process that writes to the same file.
const BUSY: Duration = Duration::from_secs(5);
/// How long a statement waits for a free connection, or for the server to come back.
const ACQUIRE: Duration = Duration::from_secs(2);
/// Connections at once: one for the writer, the others for reading.
const CONNECTIONS: u32 = 4;
/// The turns that a history is loaded from: more never fit into it.
const LOADED_TURNS: i64 = 100;
/// Turns that are swept away in one statement, so that nobody waits long for it.
const SWEPT_AT_ONCE: i64 = 500;

/// A turn's columns as they are read.
type Row = (String, i64, Option<f64>, String, String, String);

/// Runs the same on either kind of pool.
macro_rules! on {
    ($database:expr, $pool:ident => $body:expr) => {
        match $database {
            Database::Sqlite($pool) => $body,
            Database::Postgres($pool) => $body,
        }
    };
}

/// Writes a new turn; what was written already stays as it is.
macro_rules! insert {
    ($turn:expr, $transaction:expr) => {{
        let number: i64 = sqlx::query_scalar(
            "INSERT INTO sessions (owner, id, created_at, changed_at, last_turn) \
             VALUES ($1, $2, $3, $3, 1) ON CONFLICT (owner, id) DO UPDATE SET \
             changed_at = excluded.changed_at, last_turn = sessions.last_turn + 1 \
             RETURNING last_turn",
        )
        .bind(&$turn.owner)
        .bind($turn.session.as_str())
        .bind($turn.at)
        .fetch_one(&mut *$transaction)
        .await?;
        sqlx::query(
            "INSERT INTO turns (owner, session, number, id, channel, said_at, latency_ms, \
             user_text, reply_text, exchange) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(&$turn.owner)
        .bind($turn.session.as_str())
        .bind(number)
        .bind($turn.id.simple().to_string())
        .bind($turn.channel.name())
        .bind($turn.at)
        .bind($turn.latency_ms)
        .bind(storable(&$turn.user))
        .bind(storable(&$turn.reply))
        .bind(exchange_to_text(&$turn.exchange))
        .execute(&mut *$transaction)
        .await?;
    }};
}

/// Changes a turn that was written, if it still is there.
macro_rules! update {
    ($turn:expr, $transaction:expr) => {{
        sqlx::query(
            "UPDATE turns SET latency_ms = $4, user_text = $5, reply_text = $6, exchange = $7 \
             WHERE owner = $1 AND session = $2 AND id = $3",
        )
        .bind(&$turn.owner)
        .bind($turn.session.as_str())
        .bind($turn.id.simple().to_string())
        .bind($turn.latency_ms)
        .bind(storable(&$turn.user))
        .bind(storable(&$turn.reply))
        .bind(exchange_to_text(&$turn.exchange))
        .execute(&mut *$transaction)
        .await?;
    }};
}

/// Takes a turn back, and its session if nothing else is in it.
macro_rules! forget {
    ($turn:expr, $transaction:expr) => {{
        sqlx::query("DELETE FROM turns WHERE owner = $1 AND session = $2 AND id = $3")
            .bind(&$turn.owner)
            .bind($turn.session.as_str())
            .bind($turn.id.simple().to_string())
            .execute(&mut *$transaction)
            .await?;
        sqlx::query(
            "DELETE FROM sessions WHERE owner = $1 AND id = $2 AND NOT EXISTS \
             (SELECT 1 FROM turns WHERE owner = $1 AND session = $2)",
        )
        .bind(&$turn.owner)
        .bind($turn.session.as_str())
        .execute(&mut *$transaction)
        .await?;
    }};
}

/// Connections to the one or the other. Cheap to clone.
#[derive(Clone)]
pub(super) enum Database {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A turn to write.
#[derive(Clone, Debug)]
pub(super) enum Write {
    /// A new one.
    Keep(Turn),
    /// One that was written before, unless it is gone.
    Correct(Turn),
    /// Takes one back.
    Forget(Turn),
}

impl Database {
    /// Opens a file, made if need be, readable by its owner only.
    pub(super) async fn file(path: &Path) -> Result<Self, StorageError> {
        let failed = |reason: String| StorageError::File { path: path.to_owned(), reason };
        make_private(path).map_err(|error| failed(error.to_string()))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            // A crash of the program loses nothing, one of the machine the last turns.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY);
        let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS);
        Self::sqlite(pool, options).await.map_err(|error| failed(told(&error)))
    }

    /// Opens a database that lives in memory, and as long as its one connection.
    pub(super) async fn in_memory() -> Result<Self, StorageError> {
        let options = SqliteConnectOptions::new().in_memory(true).pragma("temp_store", "memory");
        let pool =
            SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let opened = Self::sqlite(pool, options).await;
        opened.map_err(|error| StorageError::Failed(told(&error)))
    }

    async fn sqlite(
        pool: SqlitePoolOptions,
        options: SqliteConnectOptions,
    ) -> Result<Self, sqlx::Error> {
        // What is deleted is overwritten.
        let options = options.pragma("secure_delete", "on").disable_statement_logging();
        let pool = pool.acquire_timeout(ACQUIRE).test_before_acquire(false);
        let pool = pool.connect_with(options).await?;
        migrations().run(&pool).await?;
        Ok(Self::Sqlite(pool))
    }

    /// Connects to a server.
    pub(super) async fn server(
        options: &PgConnectOptions,
        place: &str,
    ) -> Result<Self, StorageError> {
        let failed = |error: sqlx::Error| StorageError::Server {
            place: place.to_owned(),
            reason: told(&error),
        };
        let options = options.clone().application_name("eva-voice").disable_statement_logging();
        // A pool would try again and hide why.
        let first = options.connect().await.map_err(failed)?;
        drop(first);
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(ACQUIRE);
        let pool = pool.connect_with(options).await.map_err(failed)?;
        migrations().run(&pool).await.map_err(|error| failed(error.into()))?;
        Ok(Self::Postgres(pool))
    }

    /// Reads something.
    pub(super) async fn check(&self) -> Result<(), sqlx::Error> {
        on!(self, pool => {
            sqlx::query("SELECT 1 FROM sessions LIMIT 1").fetch_optional(pool).await.map(|_| ())
        })
    }

    pub(super) async fn close(&self) {
        on!(self, pool => pool.close().await);
    }

    /// Writes turns, all of them or none.
    pub(super) async fn write(&self, writes: &[Write]) -> Result<(), sqlx::Error> {
        on!(self, pool => {
            let mut transaction = pool.begin().await?;
            for write in writes {
                match write {
                    Write::Keep(turn) => insert!(turn, transaction),
                    Write::Correct(turn) => update!(turn, transaction),
                    Write::Forget(turn) => forget!(turn, transaction),
                }
            }
            transaction.commit().await
        })
    }

    /// The newest turns of a session, oldest first; all of them, or as many as a history can use.
    pub(super) async fn turns(
        &self,
        owner: &str,
        session: &SessionId,
        all: bool,
    ) -> Result<Vec<StoredTurn>, sqlx::Error> {
        let limit = if all { i64::MAX } else { LOADED_TURNS };
        let rows: Vec<Row> = on!(self, pool => {
            sqlx::query_as(
                "SELECT channel, said_at, latency_ms, user_text, reply_text, exchange FROM turns \
                 WHERE owner = $1 AND session = $2 ORDER BY number DESC LIMIT $3",
            )
            .bind(owner)
            .bind(session.as_str())
            .bind(limit)
            .fetch_all(pool)
            .await?
        });
        Ok(rows.into_iter().rev().map(turn).collect())
    }

    /// A session with everything in it.
    pub(super) async fn export(
        &self,
        owner: &str,
        session: &SessionId,
    ) -> Result<Option<Export>, sqlx::Error> {
        let times: Option<(i64, i64)> = on!(self, pool => {
            sqlx::query_as("SELECT created_at, changed_at FROM sessions WHERE owner = $1 AND id = $2")
                .bind(owner)
                .bind(session.as_str())
                .fetch_optional(pool)
                .await?
        });
        let Some((created_at, changed_at)) = times else { return Ok(None) };
        let turns = self.turns(owner, session, true).await?;
        let count = i64::try_from(turns.len()).unwrap_or(i64::MAX);
        let session = SessionInfo { id: session.clone(), created_at, changed_at, turns: count };
        Ok(Some(Export { session, turns }))
    }

    /// A page of an owner's sessions; `None` if the one that it should follow is gone.
    pub(super) async fn sessions(
        &self,
        owner: &str,
        page: &Page,
    ) -> Result<Option<Sessions>, sqlx::Error> {
        let limit = i64::from(page.limit.unwrap_or(20).clamp(1, 100));
        let mut from = (i64::MAX, String::new());
        if let Some(after) = &page.after {
            let changed_at: Option<i64> = on!(self, pool => {
                sqlx::query_scalar("SELECT changed_at FROM sessions WHERE owner = $1 AND id = $2")
                    .bind(owner)
                    .bind(after.as_str())
                    .fetch_optional(pool)
                    .await?
            });
            let Some(changed_at) = changed_at else { return Ok(None) };
            from = (changed_at, after.to_string());
        }
        let rows: Vec<(String, i64, i64, i64)> = on!(self, pool => {
            sqlx::query_as(
                "SELECT id, created_at, changed_at, (SELECT COUNT(*) FROM turns WHERE \
                 turns.owner = sessions.owner AND turns.session = sessions.id) FROM sessions \
                 WHERE owner = $1 AND changed_at <= $2 AND (changed_at < $2 OR id < $3) \
                 ORDER BY changed_at DESC, id DESC LIMIT $4",
            )
            .bind(owner)
            .bind(from.0)
            .bind(&from.1)
            // One more than is shown tells whether more follow.
            .bind(limit + 1)
            .fetch_all(pool)
            .await?
        });
        let has_more = rows.len() as i64 > limit;
        let data = rows.into_iter().take(limit as usize).filter_map(|row| {
            let (id, created_at, changed_at, turns) = row;
            let id = SessionId::parse(&id).ok()?;
            Some(SessionInfo { id, created_at, changed_at, turns })
        });
        Ok(Some(Sessions { data: data.collect(), has_more }))
    }

    /// Deletes a session with everything in it; whether there was one.
    pub(super) async fn delete(
        &self,
        owner: &str,
        session: &SessionId,
    ) -> Result<bool, sqlx::Error> {
        let deleted = on!(self, pool => {
            sqlx::query("DELETE FROM sessions WHERE owner = $1 AND id = $2")
                .bind(owner)
                .bind(session.as_str())
                .execute(pool)
                .await?
                .rows_affected()
        });
        if deleted > 0 {
            self.forget_deleted().await;
        }
        Ok(deleted > 0)
    }

    /// Deletes turns said before this time, and sessions without turns; whether there were any.
    pub(super) async fn sweep(&self, before: i64) -> Result<bool, sqlx::Error> {
        let mut swept = 0;
        loop {
            let turns = on!(self, pool => {
                sqlx::query(
                    "DELETE FROM turns WHERE id IN \
                     (SELECT id FROM turns WHERE said_at < $1 LIMIT $2)",
                )
                .bind(before)
                .bind(SWEPT_AT_ONCE)
                .execute(pool)
                .await?
                .rows_affected()
            });
            swept += turns;
            if turns == 0 {
                break;
            }
        }
        if swept > 0 {
            on!(self, pool => {
                sqlx::query(
                    "DELETE FROM sessions WHERE changed_at < $1 AND NOT EXISTS (SELECT 1 FROM \
                     turns WHERE turns.owner = sessions.owner AND turns.session = sessions.id)",
                )
                .bind(before)
                .execute(pool)
                .await?;
            });
            self.forget_deleted().await;
        }
        Ok(swept > 0)
    }

    /// Empties SQLite's log of changes, which holds what was deleted. Where somebody reads from it
    /// just then, the next deletion or sweep does it.
    async fn forget_deleted(&self) {
        let Self::Sqlite(pool) = self else { return };
        let emptied = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(pool).await;
        if let Err(error) = emptied {
            tracing::warn!(error = told(&error), "the database's log could not be emptied");
        }
    }
}

/// Makes an empty file that only its owner can read, where there is none.
fn make_private(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Every change to the schema, in order. One that was released is never edited.
fn migrations() -> Migrator {
    let first = include_str!("migrations/1_conversations.sql").into_sql_str();
    let kind = MigrationType::Simple;
    Migrator::with_migrations(vec![Migration::new(1, "conversations".into(), kind, first, false)])
}

/// PostgreSQL stores no NUL.
fn storable(text: &Private<String>) -> String {
    text.reveal().replace('\0', "")
}

fn turn((channel, at, latency_ms, user, reply, exchange): Row) -> StoredTurn {
    StoredTurn {
        channel: Channel::of(&channel),
        user: Private::new(user),
        reply: Private::new(reply),
        exchange: exchange_of_text(&exchange),
        at,
        latency_ms,
    }
}

/// Whether the same may succeed later: nothing is wrong with what was to be written.
pub(super) fn will_pass(error: &sqlx::Error) -> bool {
    use sqlx::Error;
    let Error::Database(refused) = error else {
        return matches!(
            error,
            Error::Io(_)
                | Error::Tls(_)
                | Error::Protocol(_)
                | Error::PoolTimedOut
                | Error::WorkerCrashed
        );
    };
    let code = refused.code().unwrap_or_default();
    if refused.try_downcast_ref::<SqliteError>().is_some() {
        // Busy, locked, read-only, input or output, full, cannot open.
        return code.parse().is_ok_and(|code: i32| matches!(code & 0xff, 5 | 6 | 8 | 10 | 13 | 14));
    }
    // PostgreSQL's classes: connection, read-only, transaction, resources, shutdown, system.
    ["08", "25", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
}

/// What went wrong, without anything of what was to be written.
pub(super) fn told(error: &sqlx::Error) -> String {
    let refused = match error {
        sqlx::Error::Database(refused) => refused,
        sqlx::Error::PoolTimedOut => return "it does not answer".to_owned(),
        other => return other.to_string(),
    };
    let code = refused.code().unwrap_or_default();
    // PostgreSQL's classes whose texts name a user, a database or a column; others may quote a value.
    let harmless = ["08", "28", "3D", "42", "53", "57"].iter().any(|class| code.starts_with(class));
    if harmless || refused.try_downcast_ref::<SqliteError>().is_some() {
        refused.message().to_owned()
    } else {
        format!("the server refused it with code {code}")
    }
}
