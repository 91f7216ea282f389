//! Releases in SQL.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{FromRow, Row};

use super::column::{Columns, Time, Word};
use super::commit::{Guarded, Write, query};
use super::{SqlStore, query_as};
use crate::error::Result;
use crate::model::{ApplicationId, Release, ReleaseId};
use crate::store::Releases;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, version, application_id, application_name, commit_sha, artifact, reuse_key, spec, env, ",
            "state, pinned_by, activated_at, created_at FROM releases ",
            $rest
        )
    };
}

#[async_trait]
impl Releases for SqlStore {
    async fn release(&self, id: ReleaseId) -> Result<Option<Release>> {
        self.first(query_as(select!("WHERE id = $1")).bind(id)).await
    }

    async fn releases(&self, application: ApplicationId) -> Result<Vec<Release>> {
        self.all(query_as(select!("WHERE application_id = $1 ORDER BY id")).bind(application)).await
    }
}

/// Adds or replaces a release.
pub(super) fn write(row: &Release, write: Write) -> Guarded {
    let sql = match write {
        Write::Insert => {
            "INSERT INTO releases (id, version, application_id, application_name, commit_sha, artifact, reuse_key,
                 spec, env, state, pinned_by, activated_at, created_at)
             VALUES ($1, $2 + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
        }
        Write::Update => {
            "UPDATE releases
             SET version = version + 1, application_id = $3, application_name = $4, commit_sha = $5,
                 artifact = $6, reuse_key = $7, spec = $8, env = $9, state = $10, pinned_by = $11,
                 activated_at = $12, created_at = $13
             WHERE id = $1 AND version = $2"
        }
    };
    Guarded {
        statement: query(sql)
            .bind(row.id)
            .bind(row.version)
            .bind(row.application_id)
            .bind(&row.application_name)
            .bind(&row.commit)
            .bind(Json(&row.artifact))
            .bind(&row.reuse_key)
            .bind(Json(&row.spec))
            .bind(Json(&row.env))
            .bind(Word(row.state))
            .bind(row.pinned_by)
            .bind(row.activated_at.map(Time))
            .bind(Time(row.created_at)),
        present: query("SELECT 1 FROM releases WHERE id = $1").bind(row.id),
    }
}

impl FromRow<'_, SqliteRow> for Release {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            version: row.try_get("version")?,
            application_id: row.try_get("application_id")?,
            application_name: row.try_get("application_name")?,
            commit: row.try_get("commit_sha")?,
            artifact: row.json("artifact")?,
            reuse_key: row.try_get("reuse_key")?,
            spec: row.json("spec")?,
            env: row.json("env")?,
            state: row.word("state")?,
            pinned_by: row.try_get("pinned_by")?,
            activated_at: row.time_if_any("activated_at")?,
            created_at: row.time("created_at")?,
        })
    }
}
