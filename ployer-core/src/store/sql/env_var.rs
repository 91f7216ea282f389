//! Variables in SQL.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::column::{Columns, Time};
use super::commit::{Guarded, Write, query};
use super::{SqlStore, query_as};
use crate::error::Result;
use crate::model::{ApplicationId, EnvKey, EnvVar, Version};
use crate::store::EnvVars;

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT application_id, key, version, value, locked, updated_at FROM env_vars ", $rest)
    };
}

#[async_trait]
impl EnvVars for SqlStore {
    async fn env_vars(&self, application: ApplicationId) -> Result<Vec<EnvVar>> {
        self.all(query_as(select!("WHERE application_id = $1 ORDER BY key")).bind(application)).await
    }
}

/// Adds or replaces a variable.
pub(super) fn write(row: &EnvVar, write: Write) -> Guarded {
    let sql = match write {
        Write::Insert => {
            "INSERT INTO env_vars (application_id, key, version, value, locked, updated_at)
             VALUES ($1, $2, $3 + 1, $4, $5, $6)"
        }
        Write::Update => {
            "UPDATE env_vars
             SET version = version + 1, value = $4, locked = $5, updated_at = $6
             WHERE application_id = $1 AND key = $2 AND version = $3"
        }
    };
    Guarded {
        statement: query(sql)
            .bind(row.application_id)
            .bind(&row.key)
            .bind(row.version)
            .bind(row.value)
            .bind(row.locked)
            .bind(Time(row.updated_at)),
        present: query("SELECT 1 FROM env_vars WHERE application_id = $1 AND key = $2")
            .bind(row.application_id)
            .bind(&row.key),
    }
}

/// Removes a variable.
pub(super) fn delete(application: ApplicationId, key: &EnvKey, version: Version) -> Guarded {
    Guarded {
        statement: query("DELETE FROM env_vars WHERE application_id = $1 AND key = $2 AND version = $3")
            .bind(application)
            .bind(key)
            .bind(version),
        present: query("SELECT 1 FROM env_vars WHERE application_id = $1 AND key = $2").bind(application).bind(key),
    }
}

impl FromRow<'_, SqliteRow> for EnvVar {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            application_id: row.try_get("application_id")?,
            key: row.try_get("key")?,
            version: row.try_get("version")?,
            value: row.try_get("value")?,
            locked: row.try_get("locked")?,
            updated_at: row.time("updated_at")?,
        })
    }
}
