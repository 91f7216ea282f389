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
use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, FromRow};
use tokio::sync::{Mutex, OnceCell};

use self::error::{Failure, explain, is_busy};
use self::readers::Readers;
use super::{Commit, Store};
use crate::error::{Error, ErrorKind, Result};
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

/// How long another process's lock is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store in SQLite.
pub struct SqlStore {
    path: PathBuf,
    logs_path: PathBuf,
    patience: Duration,
    writer: Mutex<SqliteConnection>,
    readers: Readers,
    logs: OnceCell<Mutex<SqliteConnection>>,
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("path", &self.path).finish_non_exhaustive()
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
        let mut writer = connect(path, SqliteSynchronous::Full, patience).await?;
        migrate::migrate(&mut writer, path, &migrate::STORE).await?;
        Ok(Self {
            path: path.to_owned(),
            logs_path: logs_path(path),
            patience,
            writer: Mutex::new(writer),
            readers: Readers::new(options(path, SqliteSynchronous::Full, patience).read_only(true)),
            logs: OnceCell::new(),
        })
    }

    /// The database's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    async fn first<R: FromSql>(&self, select: Select<R>) -> Result<Option<R>> {
        let read = async { select.fetch_optional(&mut *self.readers.get().await?).await };
        read.await.map_err(|error| self.explain(error))
    }

    async fn all<R: FromSql>(&self, select: Select<R>) -> Result<Vec<R>> {
        let read = async { select.fetch_all(&mut *self.readers.get().await?).await };
        read.await.map_err(|error| self.explain(error))
    }

    fn explain(&self, error: sqlx::Error) -> Error {
        explain(&self.path, error)
    }

    async fn store(&self, commit: &Commit) -> Result<EventSeq, Failure> {
        let mut writer = self.writer.lock().await;
        let mut tx = writer.begin_with(commit::BEGIN).await?;
        match commit::store(&mut tx, commit).await {
            Ok(seq) => {
                tx.commit().await?;
                Ok(seq)
            }
            Err(failure) => {
                tx.rollback().await?;
                Err(failure)
            }
        }
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn commit(&self, commit: Commit) -> Result<EventSeq> {
        let seq = self.store(&commit).await.map_err(|failure| failure.explain(&self.path))?;
        if commit.changes.iter().any(|change| matches!(change, Change::Delete(Key::Application(_), _))) {
            // The commit is stored: what is left of the output goes when the next application does.
            if let Err(error) = self.remove_marked_logs().await {
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

fn options(path: &Path, synchronous: SqliteSynchronous, patience: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .synchronous(synchronous)
        .foreign_keys(true)
        .busy_timeout(patience)
        // In KiB: the operating system caches the file as well.
        .pragma("cache_size", "-512")
        .pragma("temp_store", "MEMORY")
        // What a large commit left of the log file is given back.
        .pragma("journal_size_limit", "4194304")
        .disable_statement_logging()
}

/// Opens a connection that writes, to a file that only its owner may read.
async fn connect(path: &Path, synchronous: SqliteSynchronous, patience: Duration) -> Result<SqliteConnection> {
    create(path).await?;
    let deadline = tokio::time::Instant::now() + patience;
    let explain = |error| explain(path, error);
    let mut connection = options(path, synchronous, patience).connect().await.map_err(explain)?;
    loop {
        // SQLite does not wait by itself for the lock that a change to WAL needs.
        match sqlx::query("PRAGMA journal_mode = WAL").execute(&mut connection).await {
            Err(error) if is_busy(&error) && tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            done => return done.map(|_| connection).map_err(explain),
        }
    }
}

async fn create(path: &Path) -> Result<()> {
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    match options.open(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            let message = format!("database `{}` cannot be made", path.display());
            Err(Error::new(ErrorKind::Unavailable, message)
                .with_hint("check that its folder exists and may be written to by the user that runs Ployer")
                .with_source(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
