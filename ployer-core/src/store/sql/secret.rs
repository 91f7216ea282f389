//! Encrypted secret values in SQL. They are added and removed; nothing here changes one.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::column::{Columns, Time};
use super::commit::{Guarded, query};
use super::{SqlStore, query_as};
use crate::error::Result;
use crate::model::{ApplicationId, SealedSecret, SecretScope, SecretVersion, Version};
use crate::store::Secrets;

#[async_trait]
impl Secrets for SqlStore {
    async fn sealed_secret(&self, version: SecretVersion) -> Result<Option<SealedSecret>> {
        let sql = "SELECT id, version, application_id, key, key_id, sealed, created_at FROM secrets WHERE id = $1";
        self.first(query_as(sql).bind(version)).await
    }
}

/// Adds a secret value.
pub(super) fn insert(row: &SealedSecret) -> Guarded {
    let application = match row.scope {
        SecretScope::Application(id) => Some(id),
        SecretScope::Installation => None,
    };
    Guarded {
        statement: query(
            "INSERT INTO secrets (id, version, application_id, key, key_id, sealed, created_at)
             VALUES ($1, $2 + 1, $3, $4, $5, $6, $7)",
        )
        .bind(row.id)
        .bind(row.version)
        .bind(application)
        .bind(&row.key)
        .bind(&row.key_id)
        .bind(&row.sealed)
        .bind(Time(row.created_at)),
        present: query("SELECT 1 FROM secrets WHERE id = $1").bind(row.id),
    }
}

/// Removes a secret value.
pub(super) fn delete(id: SecretVersion, version: Version) -> Guarded {
    Guarded {
        statement: query("DELETE FROM secrets WHERE id = $1 AND version = $2").bind(id).bind(version),
        present: query("SELECT 1 FROM secrets WHERE id = $1").bind(id),
    }
}

impl FromRow<'_, SqliteRow> for SealedSecret {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let application: Option<ApplicationId> = row.try_get("application_id")?;
        Ok(Self {
            id: row.try_get("id")?,
            version: row.try_get("version")?,
            scope: application.map_or(SecretScope::Installation, SecretScope::Application),
            key: row.try_get("key")?,
            key_id: row.try_get("key_id")?,
            sealed: row.try_get("sealed")?,
            created_at: row.time("created_at")?,
        })
    }
}
