//! Health checks in SQL.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::column::{Columns, Time};
use super::commit::{Guarded, Write, query};
use super::{SqlStore, query_as};
use crate::error::Result;
use crate::model::{ApplicationId, HealthCheck, HealthCheckId, Version};
use crate::store::HealthChecks;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, version, application_id, path, interval_seconds, timeout_seconds, healthy_threshold, ",
            "unhealthy_threshold, created_at FROM health_checks ",
            $rest
        )
    };
}

#[async_trait]
impl HealthChecks for SqlStore {
    async fn health_check(&self, application: ApplicationId) -> Result<Option<HealthCheck>> {
        self.first(query_as(select!("WHERE application_id = $1")).bind(application)).await
    }
}

/// Adds or replaces a health check.
pub(super) fn write(row: &HealthCheck, write: Write) -> Guarded {
    let sql = match write {
        Write::Insert => {
            "INSERT INTO health_checks (id, version, application_id, path, interval_seconds, timeout_seconds,
                 healthy_threshold, unhealthy_threshold, created_at)
             VALUES ($1, $2 + 1, $3, $4, $5, $6, $7, $8, $9)"
        }
        Write::Update => {
            "UPDATE health_checks
             SET version = version + 1, application_id = $3, path = $4, interval_seconds = $5,
                 timeout_seconds = $6, healthy_threshold = $7, unhealthy_threshold = $8, created_at = $9
             WHERE id = $1 AND version = $2"
        }
    };
    Guarded {
        statement: query(sql)
            .bind(row.id)
            .bind(row.version)
            .bind(row.application_id)
            .bind(&row.path)
            .bind(row.interval_seconds)
            .bind(row.timeout_seconds)
            .bind(row.healthy_threshold)
            .bind(row.unhealthy_threshold)
            .bind(Time(row.created_at)),
        present: query("SELECT 1 FROM health_checks WHERE id = $1").bind(row.id),
    }
}

/// Removes a health check.
pub(super) fn delete(id: HealthCheckId, version: Version) -> Guarded {
    Guarded {
        statement: query("DELETE FROM health_checks WHERE id = $1 AND version = $2").bind(id).bind(version),
        present: query("SELECT 1 FROM health_checks WHERE id = $1").bind(id),
    }
}

impl FromRow<'_, SqliteRow> for HealthCheck {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            version: row.try_get("version")?,
            application_id: row.try_get("application_id")?,
            path: row.try_get("path")?,
            interval_seconds: row.try_get("interval_seconds")?,
            timeout_seconds: row.try_get("timeout_seconds")?,
            healthy_threshold: row.try_get("healthy_threshold")?,
            unhealthy_threshold: row.try_get("unhealthy_threshold")?,
            created_at: row.time("created_at")?,
        })
    }
}
