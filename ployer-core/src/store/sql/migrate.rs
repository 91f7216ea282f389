//! Migrations: numbered, forward only, all missing ones in one transaction.
//!
//! The number of the last one is `user_version` in the file's header, and `application_id` beside it says whose file
//! it is: neither needs a table. A file of a newer program is left alone.

use std::path::Path;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection};

use super::commit::BEGIN;
use super::error::explain;
use crate::error::{Error, ErrorKind, Result};

/// The form of a file: what marks it as ours, and how it came to be.
pub(super) struct Schema {
    /// SQLite's `application_id`.
    mark: i32,
    /// The first is number one.
    migrations: &'static [&'static str],
}

/// The database of everything but build output.
pub(super) const STORE: Schema =
    Schema { mark: i32::from_be_bytes(*b"PLYR"), migrations: &[include_str!("migrations/sqlite/0001_ground.sql")] };

/// The database of build output.
pub(super) const LOGS: Schema = Schema {
    mark: i32::from_be_bytes(*b"PLYL"),
    migrations: &[include_str!("migrations/sqlite/logs/0001_ground.sql")],
};

/// Brings the file at `path` to the form that this program knows.
///
/// # Errors
///
/// `Unsupported` if the file is of a newer program, `Invalid` if it is of another one.
pub(super) async fn migrate(connection: &mut SqliteConnection, path: &Path, schema: &Schema) -> Result<()> {
    let explain = |error| explain(path, error);
    let mut tx = connection.begin_with(BEGIN).await.map_err(explain)?;
    let found = Found::read(&mut tx).await.map_err(explain)?;
    let pending = schema.pending(path, &found)?;
    if pending.is_empty() {
        return Ok(());
    }
    for migration in pending {
        sqlx::raw_sql(*migration).execute(&mut *tx).await.map_err(explain)?;
    }
    let (mark, newest) = (schema.mark, schema.newest());
    let stamp = format!("PRAGMA application_id = {mark}; PRAGMA user_version = {newest}");
    sqlx::raw_sql(AssertSqlSafe(stamp)).execute(&mut *tx).await.map_err(explain)?;
    tx.commit().await.map_err(explain)
}

/// What a file says of itself.
struct Found {
    mark: i32,
    version: u32,
    is_empty: bool,
}

impl Found {
    async fn read(tx: &mut SqliteConnection) -> sqlx::Result<Self> {
        Ok(Self {
            mark: sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *tx).await?,
            version: sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *tx).await?,
            is_empty: sqlx::query_scalar("SELECT count(*) = 0 FROM sqlite_schema").fetch_one(&mut *tx).await?,
        })
    }
}

impl Schema {
    /// The version of a file that this program has brought up to date.
    pub(super) fn newest(&self) -> usize {
        self.migrations.len()
    }

    fn pending(&self, path: &Path, found: &Found) -> Result<&'static [&'static str]> {
        let file = path.display();
        if found.mark != self.mark && !(found.mark == 0 && found.is_empty) {
            return Err(Error::new(ErrorKind::Invalid, format!("`{file}` is the database of another program"))
                .with_hint("name another file, or move this one out of the way"));
        }
        self.migrations.get(found.version as usize..).ok_or_else(|| {
            let newest = self.newest();
            let message = format!(
                "database `{file}` has version {}, and this program knows versions up to {newest}",
                found.version
            );
            Error::new(ErrorKind::Unsupported, message)
                .with_hint("start the newer program that wrote it, or restore a copy from before its first start")
        })
    }
}
