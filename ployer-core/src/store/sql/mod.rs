//! The SQL store: SQLite in one file, and build output in another beside it.
//!
//! All writes go through **one** connection, each commit as a `BEGIN IMMEDIATE` transaction that is on the disk when
//! `commit` returns (WAL, `synchronous=FULL`). So writers of this process wait in a queue of ours, not in SQLite's,
//! and a second process is waited for. Reads have connections of their own, opened when they are needed.
//!
//! To add a column or a table: a new file in `migrations/`, its name in `migrate.rs`; what is stored is never edited.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteRow, SqliteSynchronous};
use sqlx::{Connection, FromRow};

use self::error::Failure;
use self::log::Logs;
use self::readers::Readers;
use self::writer::{Database, Writer};
use super::{Commit, Store};
use crate::error::Result;
use crate::model::{Change, EventSeq, Installation, Key, Lease};

mod application;
mod column;
mod commit;
mod deployment;
mod domain;
mod env_var;
mod error;
mod event;
mod health;
mod installation;
mod log;
mod machine;
mod member;
mod migrate;
mod readers;
mod release;
mod secret;
mod server;
mod user;
mod volume;
mod writer;

/// How long another process's lock is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store in SQLite.
pub struct SqlStore {
    writer: Writer,
    readers: Readers,
    logs: Logs,
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl SqlStore {
    /// Opens the database at `path`, made if it is not there, and brings it to the form this program knows.
    ///
    /// Build output goes into a second file beside it: `ployer.db` and `ployer-logs.db`.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the file cannot be opened or written, or if another process locks it for half a minute;
    /// `Invalid` if it is not Ployer's; `Unsupported` if a newer program wrote it; `Exhausted` if the disk is full.
    pub async fn open(path: &Path) -> Result<Self> {
        Self::open_within(path, PATIENCE).await
    }

    async fn open_within(path: &Path, patience: Duration) -> Result<Self> {
        let database = Database { path: path.to_owned(), synchronous: SqliteSynchronous::Full, patience };
        let logs = Database { path: logs_path(path), synchronous: SqliteSynchronous::Normal, patience };
        let readers = Readers::new(database.for_reading());
        let writer = Writer::open(database, &migrate::STORE).await?;
        Ok(Self { writer, readers, logs: Logs::new(logs) })
    }

    /// The database's file.
    pub fn path(&self) -> &Path {
        self.writer.path()
    }

    async fn first<R: FromSql>(&self, select: Select<R>) -> Result<Option<R>> {
        let read = async { select.fetch_optional(&mut *self.readers.get().await?).await };
        read.await.map_err(|error| self.writer.explain(error))
    }

    async fn all<R: FromSql>(&self, select: Select<R>) -> Result<Vec<R>> {
        let read = async { select.fetch_all(&mut *self.readers.get().await?).await };
        read.await.map_err(|error| self.writer.explain(error))
    }

    async fn store(&self, commit: &Commit) -> Result<EventSeq> {
        let mut connection = self.writer.connection().await?;
        let stored: Result<EventSeq, Failure> = async {
            let mut tx = connection.begin_with(commit::BEGIN).await?;
            let seq = commit::store(&mut tx, commit).await?;
            tx.commit().await?;
            Ok(seq)
        }
        .await;
        stored.map_err(|failure| match failure {
            Failure::Refused(error) => error,
            Failure::Database(error) => self.writer.explain(error),
        })
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn commit(&self, commit: Commit) -> Result<EventSeq> {
        let seq = self.store(&commit).await?;
        if commit.changes.iter().any(|change| matches!(change, Change::Delete(Key::Application(_), _))) {
            // The commit is stored: what is left of the output goes with the next deletion or start.
            if let Err(error) = self.after_deletion().await {
                tracing::warn!(error = error.chain(), "build output of a deleted application was not removed yet");
            }
        }
        Ok(seq)
    }

    async fn installation(&self) -> Result<Option<Installation>> {
        self.first(installation::installation()).await
    }

    async fn lease(&self) -> Result<Option<Lease>> {
        self.first(installation::lease()).await
    }
}

/// What can be read from a row of SQLite.
trait FromSql: for<'r> FromRow<'r, SqliteRow> + Send + Unpin {}

impl<R: for<'r> FromRow<'r, SqliteRow> + Send + Unpin> FromSql for R {}

/// A query for rows that are an `R` each.
type Select<R> = sqlx::query::QueryAs<'static, Sqlite, R, SqliteArguments>;

fn query_as<R: FromSql>(sql: &'static str) -> Select<R> {
    sqlx::query_as(sql)
}

/// `ployer.db` has its build output in `ployer-logs.db`.
fn logs_path(path: &Path) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push("-logs");
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests;
