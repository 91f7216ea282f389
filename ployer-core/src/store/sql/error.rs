//! What SQLite says, in Ployer's words: what happened to which file, and what to do about it.

use std::path::Path;

use crate::error::{Error, ErrorKind};

/// Why a commit was not stored.
#[derive(Debug)]
pub(super) enum Failure {
    /// The commit itself is refused.
    Refused(Error),
    /// The database did not do it.
    Database(sqlx::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// A rule of the schema that a statement ran into.
pub(super) enum Constraint {
    /// A unique index or primary key over these columns: `table.column`, joined by `, `.
    Unique(String),
    /// A reference to a row that is not there.
    ForeignKey,
}

impl Constraint {
    pub(super) fn of(error: &sqlx::Error) -> Option<Self> {
        let error = error.as_database_error()?;
        if error.is_unique_violation() {
            let columns = error.message().rsplit("constraint failed: ").next().unwrap_or_default();
            Some(Self::Unique(columns.to_owned()))
        } else if error.is_foreign_key_violation() {
            Some(Self::ForeignKey)
        } else {
            None
        }
    }
}

/// The public error for what SQLite said of the database at `path`.
pub(super) fn explain(path: &Path, error: sqlx::Error) -> Error {
    let file = path.display();
    let (kind, message, hint) = match primary_code(&error) {
        Some(BUSY | LOCKED) => (
            ErrorKind::Unavailable,
            format!("database `{file}` is locked by another process"),
            "find it with `fuser`, and end it or wait until it is done",
        ),
        Some(READ_ONLY | PERMISSION) => (
            ErrorKind::Unavailable,
            format!("database `{file}` cannot be written"),
            "let the user that runs Ployer write to the file and its folder",
        ),
        Some(CANNOT_OPEN) => (
            ErrorKind::Unavailable,
            format!("database `{file}` cannot be opened"),
            "check that its folder exists and may be written to by the user that runs Ployer",
        ),
        Some(FULL) => (
            ErrorKind::Exhausted,
            format!("no space is left for database `{file}`"),
            "free some disk space; nothing was changed",
        ),
        Some(INPUT_OUTPUT) => {
            (ErrorKind::Unavailable, format!("the disk of database `{file}` fails"), "see the kernel's log (`dmesg`)")
        }
        Some(NOT_A_DATABASE) => (
            ErrorKind::Invalid,
            format!("`{file}` is not a database"),
            "name another file, or move this one out of the way",
        ),
        Some(CORRUPT) => (
            ErrorKind::Internal,
            format!("database `{file}` is damaged"),
            "stop Ployer and restore a copy; `sqlite3 FILE .recover` may save the rest",
        ),
        _ => return Error::internal(format!("database `{file}` did not do what was asked"), error),
    };
    Error::new(kind, message).with_hint(hint).with_source(error)
}

// SQLite's primary result codes (https://sqlite.org/rescode.html).
const PERMISSION: i32 = 3;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const READ_ONLY: i32 = 8;
const INPUT_OUTPUT: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANNOT_OPEN: i32 = 14;
const NOT_A_DATABASE: i32 = 26;

/// Whether somebody else held a lock for longer than we wait.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(BUSY | LOCKED))
}

/// The lowest byte of SQLite's result code; the others only say more of it.
fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}
