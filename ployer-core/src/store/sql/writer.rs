//! Writers: the one connection that writes to a file.
//!
//! A transaction whose future was dropped is rolled back before the connection is used again. Where SQLite has ended
//! a transaction by itself (on a full disk, say), sqlx does not know: such a connection is replaced by a fresh one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};

use super::error::{explain, is_busy};
use super::migrate::{Schema, migrate};
use crate::error::{Error, ErrorKind, Result};

/// A file and how it is opened.
#[derive(Clone)]
pub(super) struct Database {
    pub(super) path: PathBuf,
    /// When what was written is flushed.
    pub(super) synchronous: SqliteSynchronous,
    /// How long a lock of another process is waited for.
    pub(super) patience: Duration,
}

/// The connection that writes.
pub(super) struct Writer {
    database: Database,
    connection: Mutex<SqliteConnection>,
}

impl Writer {
    /// Opens a file, made if it is not there, and brings it to the form of `schema`.
    pub(super) async fn open(database: Database, schema: &Schema) -> Result<Self> {
        create(&database.path).await?;
        let mut connection = database.connect().await?;
        migrate(&mut connection, &database.path, schema).await?;
        Ok(Self { database, connection: Mutex::new(connection) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.database.path
    }

    /// The connection, once nobody else has it, outside any transaction.
    pub(super) async fn connection(&self) -> Result<MutexGuard<'_, SqliteConnection>> {
        let mut connection = self.connection.lock().await;
        if connection.is_in_transaction() {
            // A rollback may be on its way: it is through when the connection answers.
            let answers = connection.ping().await.is_ok();
            if !answers || connection.is_in_transaction() {
                *connection = self.database.connect().await?;
            }
        }
        Ok(connection)
    }

    /// The public error for what SQLite said.
    pub(super) fn explain(&self, error: sqlx::Error) -> Error {
        explain(&self.database.path, error)
    }
}

impl Database {
    /// Options for a connection that only reads.
    pub(super) fn for_reading(&self) -> SqliteConnectOptions {
        self.options().read_only(true)
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .synchronous(self.synchronous)
            .foreign_keys(true)
            .busy_timeout(self.patience)
            // In KiB: the operating system caches the file as well.
            .pragma("cache_size", "-512")
            .pragma("temp_store", "MEMORY")
            // What a large commit left of the log file is given back.
            .pragma("journal_size_limit", "4194304")
            .disable_statement_logging()
    }

    async fn connect(&self) -> Result<SqliteConnection> {
        let deadline = Instant::now() + self.patience;
        let explain = |error| explain(&self.path, error);
        let mut connection = self.options().connect().await.map_err(explain)?;
        loop {
            // SQLite does not wait by itself for the lock that a change to WAL needs.
            match sqlx::query("PRAGMA journal_mode = WAL").execute(&mut connection).await {
                Err(error) if is_busy(&error) && Instant::now() < deadline => sleep(Duration::from_millis(20)).await,
                done => return done.map(|_| connection).map_err(explain),
            }
        }
    }
}

/// Makes a file that only its owner may read, unless there is one.
async fn create(path: &Path) -> Result<()> {
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    match options.open(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::new(ErrorKind::Unavailable, format!("database `{}` cannot be made", path.display()))
                .with_hint("check that its folder exists and may be written to by the user that runs Ployer")
                .with_source(error))
        }
        _ => Ok(()),
    }
}
