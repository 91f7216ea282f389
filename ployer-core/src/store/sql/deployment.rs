//! Deployments in SQL.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{FromRow, Row};

use super::column::{Columns, Time, Word};
use super::commit::{Guarded, Write, query};
use super::{SqlStore, query_as};
use crate::error::Result;
use crate::model::{ApplicationId, Deployment, DeploymentId};
use crate::store::Deployments;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, version, application_id, server_id, requested_by, kind, status, step, commit_info, ",
            "release_id, image_tag, cancel, failure, superseded_by, requested_at, build_started_at, ",
            "routed_at, finished_at, retired_at, receipt FROM deployments ",
            $rest
        )
    };
}

#[async_trait]
impl Deployments for SqlStore {
    async fn deployment(&self, id: DeploymentId) -> Result<Option<Deployment>> {
        self.first(query_as(select!("WHERE id = $1")).bind(id)).await
    }

    async fn deployments(&self, application: Option<ApplicationId>, limit: u32) -> Result<Vec<Deployment>> {
        let query = match application {
            Some(id) => query_as(select!("WHERE application_id = $2 ORDER BY id DESC LIMIT $1")).bind(limit).bind(id),
            None => query_as(select!("ORDER BY id DESC LIMIT $1")).bind(limit),
        };
        self.all(query).await
    }

    async fn unfinished_deployments(&self, application: ApplicationId) -> Result<Vec<Deployment>> {
        let sql = select!(
            "WHERE application_id = $1 AND status IN ('queued', 'cloning', 'building', 'deploying') ORDER BY id"
        );
        self.all(query_as(sql).bind(application)).await
    }
}

/// Adds or replaces a deployment.
pub(super) fn write(row: &Deployment, write: Write) -> Guarded {
    let sql = match write {
        Write::Insert => {
            "INSERT INTO deployments (id, version, application_id, server_id, requested_by, kind, status, step,
                 commit_info, release_id, image_tag, cancel, failure, superseded_by,
                 requested_at, build_started_at, routed_at, finished_at, retired_at, receipt)
             VALUES ($1, $2 + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)"
        }
        Write::Update => {
            "UPDATE deployments
             SET version = version + 1, application_id = $3, server_id = $4, requested_by = $5, kind = $6,
                 status = $7, step = $8, commit_info = $9, release_id = $10, image_tag = $11, cancel = $12,
                 failure = $13, superseded_by = $14, requested_at = $15, build_started_at = $16,
                 routed_at = $17, finished_at = $18, retired_at = $19, receipt = $20
             WHERE id = $1 AND version = $2"
        }
    };
    Guarded {
        statement: query(sql)
            .bind(row.id)
            .bind(row.version)
            .bind(row.application_id)
            .bind(row.server_id)
            .bind(Json(&row.requested_by))
            .bind(Json(&row.kind))
            .bind(Word(row.status))
            .bind(Word(row.step))
            .bind(row.commit.as_ref().map(Json))
            .bind(row.release)
            .bind(&row.image_tag)
            .bind(row.cancel.as_ref().map(Json))
            .bind(row.failure.as_ref().map(Json))
            .bind(row.superseded_by)
            .bind(Time(row.requested_at))
            .bind(row.build_started_at.map(Time))
            .bind(row.routed_at.map(Time))
            .bind(row.finished_at.map(Time))
            .bind(row.retired_at.map(Time))
            .bind(row.receipt.as_ref().map(Json)),
        present: query("SELECT 1 FROM deployments WHERE id = $1").bind(row.id),
    }
}

impl FromRow<'_, SqliteRow> for Deployment {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            version: row.try_get("version")?,
            application_id: row.try_get("application_id")?,
            server_id: row.try_get("server_id")?,
            requested_by: row.json("requested_by")?,
            kind: row.json("kind")?,
            status: row.word("status")?,
            step: row.word("step")?,
            commit: row.json_if_any("commit_info")?,
            release: row.try_get("release_id")?,
            image_tag: row.try_get("image_tag")?,
            cancel: row.json_if_any("cancel")?,
            failure: row.json_if_any("failure")?,
            superseded_by: row.try_get("superseded_by")?,
            requested_at: row.time("requested_at")?,
            build_started_at: row.time_if_any("build_started_at")?,
            routed_at: row.time_if_any("routed_at")?,
            finished_at: row.time_if_any("finished_at")?,
            retired_at: row.time_if_any("retired_at")?,
            receipt: row.json_if_any("receipt")?,
        })
    }
}
