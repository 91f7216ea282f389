//! What the engine knows of applications, in SQL.

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::commit::{Guarded, Write, query};
use super::{Select, query_as};
use crate::model::{ApplicationId, Machine};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT application_id, version, active, degraded, serving, journal_version, journal FROM machines ",
            $rest
        )
    };
}

/// What the engine knows of one application.
pub(super) fn of(application: ApplicationId) -> Select<Machine> {
    query_as(select!("WHERE application_id = $1")).bind(application)
}

/// What the engine knows of all applications.
pub(super) fn all() -> Select<Machine> {
    query_as(select!("ORDER BY application_id"))
}

/// Adds or replaces what the engine knows of an application.
pub(super) fn write(row: &Machine, write: Write) -> Guarded {
    let sql = match write {
        Write::Insert => {
            "INSERT INTO machines (application_id, version, active, degraded, serving, journal_version, journal)
             VALUES ($1, $2 + 1, $3, $4, $5, $6, $7)"
        }
        Write::Update => {
            "UPDATE machines
             SET version = version + 1, active = $3, degraded = $4, serving = $5, journal_version = $6,
                 journal = $7
             WHERE application_id = $1 AND version = $2"
        }
    };
    Guarded {
        statement: query(sql)
            .bind(row.application_id)
            .bind(row.version)
            .bind(row.active)
            .bind(row.degraded)
            .bind(row.serving)
            .bind(row.journal_version)
            .bind(&row.journal),
        present: query("SELECT 1 FROM machines WHERE application_id = $1").bind(row.application_id),
    }
}

impl FromRow<'_, SqliteRow> for Machine {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            application_id: row.try_get("application_id")?,
            version: row.try_get("version")?,
            active: row.try_get("active")?,
            degraded: row.try_get("degraded")?,
            serving: row.try_get("serving")?,
            journal_version: row.try_get("journal_version")?,
            journal: row.try_get("journal")?,
        })
    }
}
