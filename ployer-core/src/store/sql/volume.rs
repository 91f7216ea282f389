//! Volumes in SQL.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::column::{Columns, Time};
use super::commit::{Guarded, Write, query};
use super::{SqlStore, query_as};
use crate::error::Result;
use crate::model::{ApplicationId, Version, Volume, VolumeName};
use crate::store::Volumes;

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT application_id, name, version, detached_from, created_at FROM volumes ", $rest)
    };
}

#[async_trait]
impl Volumes for SqlStore {
    async fn volumes(&self, application: ApplicationId) -> Result<Vec<Volume>> {
        self.all(query_as(select!("WHERE application_id = $1 ORDER BY name")).bind(application)).await
    }

    async fn detached_volumes(&self) -> Result<Vec<Volume>> {
        self.all(query_as(select!("WHERE detached_from IS NOT NULL ORDER BY application_id, name"))).await
    }
}

/// Adds or replaces a persistent directory.
pub(super) fn write(row: &Volume, write: Write) -> Guarded {
    let sql = match write {
        Write::Insert => {
            "INSERT INTO volumes (application_id, name, version, detached_from, created_at)
             VALUES ($1, $2, $3 + 1, $4, $5)"
        }
        Write::Update => {
            "UPDATE volumes
             SET version = version + 1, detached_from = $4, created_at = $5
             WHERE application_id = $1 AND name = $2 AND version = $3"
        }
    };
    Guarded {
        statement: query(sql)
            .bind(row.application_id)
            .bind(&row.name)
            .bind(row.version)
            .bind(&row.detached_from)
            .bind(Time(row.created_at)),
        present: query("SELECT 1 FROM volumes WHERE application_id = $1 AND name = $2")
            .bind(row.application_id)
            .bind(&row.name),
    }
}

/// Removes a persistent directory.
pub(super) fn delete(application: ApplicationId, name: &VolumeName, version: Version) -> Guarded {
    Guarded {
        statement: query("DELETE FROM volumes WHERE application_id = $1 AND name = $2 AND version = $3")
            .bind(application)
            .bind(name)
            .bind(version),
        present: query("SELECT 1 FROM volumes WHERE application_id = $1 AND name = $2").bind(application).bind(name),
    }
}

impl FromRow<'_, SqliteRow> for Volume {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            application_id: row.try_get("application_id")?,
            name: row.try_get("name")?,
            version: row.try_get("version")?,
            detached_from: row.try_get("detached_from")?,
            created_at: row.time("created_at")?,
        })
    }
}
