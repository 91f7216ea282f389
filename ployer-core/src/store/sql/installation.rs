//! The rows of which there is one, in SQL: the installation and the engine's lease.

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::column::{Columns, Count, Time};
use super::commit::{Guarded, Write, query};
use super::{Select, query_as};
use crate::model::{Installation, Lease};

/// The identity of this installation.
pub(super) fn installation() -> Select<Installation> {
    query_as("SELECT version, instance, secret_key_id FROM installation")
}

/// The engine's lease.
pub(super) fn lease() -> Select<Lease> {
    query_as("SELECT version, holder, epoch, expires_at FROM lease")
}

/// Adds or replaces the installation's row.
pub(super) fn write(row: &Installation, write: Write) -> Guarded {
    let sql = match write {
        Write::Insert => "INSERT INTO installation (only, version, instance, secret_key_id) VALUES (1, $1 + 1, $2, $3)",
        Write::Update => {
            "UPDATE installation SET version = version + 1, instance = $2, secret_key_id = $3 WHERE version = $1"
        }
    };
    Guarded {
        statement: query(sql).bind(row.version).bind(row.instance).bind(&row.secret_key_id),
        present: query("SELECT 1 FROM installation"),
    }
}

/// Adds or replaces the lease.
pub(super) fn write_lease(row: &Lease, write: Write) -> Guarded {
    let sql = match write {
        Write::Insert => "INSERT INTO lease (only, version, holder, epoch, expires_at) VALUES (1, $1 + 1, $2, $3, $4)",
        Write::Update => {
            "UPDATE lease SET version = version + 1, holder = $2, epoch = $3, expires_at = $4 WHERE version = $1"
        }
    };
    Guarded {
        statement: query(sql).bind(row.version).bind(&row.holder).bind(Count(row.epoch)).bind(Time(row.expires_at)),
        present: query("SELECT 1 FROM lease"),
    }
}

impl FromRow<'_, SqliteRow> for Installation {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            version: row.try_get("version")?,
            instance: row.try_get("instance")?,
            secret_key_id: row.try_get("secret_key_id")?,
        })
    }
}

impl FromRow<'_, SqliteRow> for Lease {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            version: row.try_get("version")?,
            holder: row.try_get("holder")?,
            epoch: row.count("epoch")?,
            expires_at: row.time("expires_at")?,
        })
    }
}
