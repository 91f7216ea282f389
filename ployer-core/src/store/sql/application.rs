//! Applications in SQL.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{FromRow, Row};

use super::column::{Columns, Count, Time, Word};
use super::commit::{Guarded, Query, Write, query};
use super::{SqlStore, machine, query_as};
use crate::error::Result;
use crate::model::{AppName, Application, ApplicationId, Machine, Version};
use crate::store::Applications;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, version, name, server_id, owner, git_url, git_branch, base_directory, build_strategy, ",
            "dockerfile_path, port, auto_deploy, auto_deploy_paused, rollout, replicas, wanted, ",
            "restarts_wanted, allow_process_runtime, created_at, updated_at FROM applications ",
            $rest
        )
    };
}

#[async_trait]
impl Applications for SqlStore {
    async fn application(&self, id: ApplicationId) -> Result<Option<Application>> {
        self.first(query_as(select!("WHERE id = $1")).bind(id)).await
    }

    async fn application_named(&self, name: &AppName) -> Result<Option<Application>> {
        self.first(query_as(select!("WHERE name = $1")).bind(name.clone())).await
    }

    async fn applications(&self) -> Result<Vec<Application>> {
        self.all(query_as(select!("ORDER BY id"))).await
    }

    async fn machine(&self, application: ApplicationId) -> Result<Option<Machine>> {
        self.first(machine::of(application)).await
    }

    async fn machines(&self) -> Result<Vec<Machine>> {
        self.all(machine::all()).await
    }
}

/// Adds or replaces an application.
pub(super) fn write(row: &Application, write: Write) -> Guarded {
    let sql = match write {
        Write::Insert => {
            "INSERT INTO applications (id, version, name, server_id, owner, git_url, git_branch, base_directory,
                 build_strategy, dockerfile_path, port, auto_deploy, auto_deploy_paused,
                 rollout, replicas, wanted, restarts_wanted, allow_process_runtime, created_at,
                 updated_at)
             VALUES ($1, $2 + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)"
        }
        Write::Update => {
            "UPDATE applications
             SET version = version + 1, name = $3, server_id = $4, owner = $5, git_url = $6, git_branch = $7,
                 base_directory = $8, build_strategy = $9, dockerfile_path = $10, port = $11,
                 auto_deploy = $12, auto_deploy_paused = $13, rollout = $14, replicas = $15, wanted = $16,
                 restarts_wanted = $17, allow_process_runtime = $18, created_at = $19, updated_at = $20
             WHERE id = $1 AND version = $2"
        }
    };
    Guarded {
        statement: query(sql)
            .bind(row.id)
            .bind(row.version)
            .bind(&row.name)
            .bind(row.server_id)
            .bind(row.owner)
            .bind(&row.git_url)
            .bind(&row.git_branch)
            .bind(&row.base_directory)
            .bind(Word(row.build_strategy))
            .bind(&row.dockerfile_path)
            .bind(row.port)
            .bind(row.auto_deploy)
            .bind(row.auto_deploy_paused)
            .bind(row.rollout.map(Word))
            .bind(Json(&row.replicas))
            .bind(Json(&row.wanted))
            .bind(Count(row.restarts_wanted))
            .bind(row.allow_process_runtime)
            .bind(Time(row.created_at))
            .bind(Time(row.updated_at)),
        present: query("SELECT 1 FROM applications WHERE id = $1").bind(row.id),
    }
}

/// Removes an application; what refers to it goes along.
pub(super) fn delete(id: ApplicationId, version: Version) -> Guarded {
    Guarded {
        statement: query("DELETE FROM applications WHERE id = $1 AND version = $2").bind(id).bind(version),
        present: query("SELECT 1 FROM applications WHERE id = $1").bind(id),
    }
}

/// What is to be done before an application is removed: its volumes learn whose they were, and its deployments'
/// output, which is in another file, is marked for removal.
pub(super) fn before_delete(id: ApplicationId) -> [Query; 2] {
    [
        query(
            "UPDATE volumes
             SET version = version + 1, detached_from = (SELECT name FROM applications WHERE id = $1)
             WHERE application_id = $1",
        )
        .bind(id),
        query("INSERT INTO removed_logs (deployment_id) SELECT id FROM deployments WHERE application_id = $1").bind(id),
    ]
}

impl FromRow<'_, SqliteRow> for Application {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            version: row.try_get("version")?,
            name: row.try_get("name")?,
            server_id: row.try_get("server_id")?,
            owner: row.try_get("owner")?,
            git_url: row.try_get("git_url")?,
            git_branch: row.try_get("git_branch")?,
            base_directory: row.try_get("base_directory")?,
            build_strategy: row.word("build_strategy")?,
            dockerfile_path: row.try_get("dockerfile_path")?,
            port: row.try_get("port")?,
            auto_deploy: row.try_get("auto_deploy")?,
            auto_deploy_paused: row.try_get("auto_deploy_paused")?,
            rollout: row.word_if_any("rollout")?,
            replicas: row.json("replicas")?,
            wanted: row.json("wanted")?,
            restarts_wanted: row.count("restarts_wanted")?,
            allow_process_runtime: row.try_get("allow_process_runtime")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }
}
