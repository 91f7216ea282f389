//! Build output in SQL: a file of its own, opened when it is first needed.
//!
//! It is synced less often than the journal (`synchronous=NORMAL`): a crash of the machine may cost its last lines,
//! never its order. A chunk of lines is one statement.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnection, SqliteRow, SqliteSynchronous};
use sqlx::{Connection, FromRow, Row};
use tokio::sync::{Mutex, MutexGuard};

use super::column::{Columns, Count};
use super::commit::{BEGIN, query};
use super::error::explain;
use super::migrate::{LOGS, migrate};
use super::{SqlStore, connect, query_as};
use crate::error::{Error, Result};
use crate::model::{DeploymentId, LogLine, LogPage};
use crate::store::LogStore;

#[async_trait]
impl LogStore for SqlStore {
    async fn append_log(&self, deployment: DeploymentId, lines: &[LogLine]) -> Result<()> {
        let lines = as_json(lines)?;
        let mut logs = self.logs().await?;
        append(&mut logs, deployment, lines).await.map_err(|error| explain(&self.logs_path, error))
    }

    async fn log(&self, deployment: DeploymentId, after: u64, limit: u32) -> Result<LogPage> {
        let mut logs = self.logs().await?;
        page(&mut logs, deployment, after, limit).await.map_err(|error| explain(&self.logs_path, error))
    }

    async fn log_tail(&self, deployment: DeploymentId, limit: u32) -> Result<Vec<LogLine>> {
        let mut logs = self.logs().await?;
        tail(&mut logs, deployment, limit).await.map_err(|error| explain(&self.logs_path, error))
    }

    async fn leave_out_log(&self, deployment: DeploymentId, from: u64, to: u64) -> Result<()> {
        let mut logs = self.logs().await?;
        leave_out(&mut logs, deployment, from, to).await.map_err(|error| explain(&self.logs_path, error))
    }

    async fn remove_log(&self, deployment: DeploymentId) -> Result<()> {
        let mut logs = self.logs().await?;
        remove(&mut logs, deployment).await.map_err(|error| explain(&self.logs_path, error))
    }
}

impl SqlStore {
    async fn logs(&self) -> Result<MutexGuard<'_, SqliteConnection>> {
        let logs = self.logs.get_or_try_init(async || {
            let mut logs = connect(&self.logs_path, SqliteSynchronous::Normal, self.patience).await?;
            migrate(&mut logs, &self.logs_path, &LOGS).await?;
            Ok::<_, Error>(Mutex::new(logs))
        });
        Ok(logs.await?.lock().await)
    }

    /// Removes the output that deleted applications left behind, also before a crash.
    pub(super) async fn remove_marked_logs(&self) -> Result<()> {
        let marked: Vec<Marked> = self.all(query_as("SELECT deployment_id FROM removed_logs")).await?;
        for Marked(deployment) in marked {
            self.remove_log(deployment).await?;
            let mut writer = self.writer.lock().await;
            let unmark = query("DELETE FROM removed_logs WHERE deployment_id = $1").bind(deployment);
            unmark.execute(&mut *writer).await.map_err(|error| self.explain(error))?;
        }
        Ok(())
    }
}

async fn append(logs: &mut SqliteConnection, deployment: DeploymentId, lines: String) -> sqlx::Result<()> {
    let mut tx = logs.begin_with(BEGIN).await?;
    query("INSERT INTO logs (deployment_id) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(deployment)
        .execute(&mut *tx)
        .await?;
    query(
        "INSERT INTO log_lines (log, number, at, text)
         SELECT logs.id, line.value ->> 0, line.value ->> 1, line.value ->> 2
         FROM logs, json_each($2) AS line
         WHERE deployment_id = $1
           AND (left_out_to IS NULL OR line.value ->> 0 NOT BETWEEN left_out_from AND left_out_to)
         ON CONFLICT DO NOTHING",
    )
    .bind(deployment)
    .bind(lines)
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

/// The lines as one JSON value, so that one statement stores them all.
fn as_json(lines: &[LogLine]) -> Result<String> {
    let row = |line: &LogLine| Some((line.number, i64::try_from(line.at.as_nanosecond()).ok()?, line.text.clone()));
    let rows: Option<Vec<_>> = lines.iter().map(row).collect();
    let rows = rows.ok_or_else(|| Error::invalid("at", "the time of a line must lie between 1678 and 2262"))?;
    serde_json::to_string(&rows).map_err(|error| Error::internal("build output cannot be encoded", error))
}

async fn page(logs: &mut SqliteConnection, deployment: DeploymentId, after: u64, limit: u32) -> sqlx::Result<LogPage> {
    let lines = query_as(
        "SELECT number, at, text FROM log_lines
         WHERE log = (SELECT id FROM logs WHERE deployment_id = $1) AND number > $2
         ORDER BY number LIMIT $3",
    );
    let after = Count(after.min(i64::MAX as u64));
    let lines = lines.bind(deployment).bind(after).bind(limit).fetch_all(&mut *logs).await?;
    let left_out = query_as("SELECT left_out AS number FROM logs WHERE deployment_id = $1");
    let left_out = left_out.bind(deployment).fetch_optional(logs).await?;
    Ok(LogPage { lines, left_out: left_out.map_or(0, |Number(count)| count) })
}

async fn tail(logs: &mut SqliteConnection, deployment: DeploymentId, limit: u32) -> sqlx::Result<Vec<LogLine>> {
    let lines = query_as(
        "SELECT number, at, text FROM log_lines
         WHERE log = (SELECT id FROM logs WHERE deployment_id = $1)
         ORDER BY number DESC LIMIT $2",
    );
    let mut lines: Vec<LogLine> = lines.bind(deployment).bind(limit).fetch_all(logs).await?;
    lines.reverse();
    Ok(lines)
}

async fn leave_out(logs: &mut SqliteConnection, deployment: DeploymentId, from: u64, to: u64) -> sqlx::Result<()> {
    if from > to {
        return Ok(());
    }
    let (from, to) = (from.min(i64::MAX as u64), to.min(i64::MAX as u64));
    let mut tx = logs.begin_with(BEGIN).await?;
    let removed = query(
        "DELETE FROM log_lines
         WHERE log = (SELECT id FROM logs WHERE deployment_id = $1) AND number BETWEEN $2 AND $3",
    );
    let removed = removed.bind(deployment).bind(Count(from)).bind(Count(to)).execute(&mut *tx).await?.rows_affected();
    query(
        "UPDATE logs
         SET left_out = left_out + $4,
             left_out_from = min(coalesce(left_out_from, $2), $2),
             left_out_to = max(coalesce(left_out_to, $3), $3)
         WHERE deployment_id = $1",
    )
    .bind(deployment)
    .bind(Count(from))
    .bind(Count(to))
    .bind(Count(removed))
    .execute(&mut *tx)
    .await?;
    tx.commit().await
}

async fn remove(logs: &mut SqliteConnection, deployment: DeploymentId) -> sqlx::Result<()> {
    query("DELETE FROM logs WHERE deployment_id = $1").bind(deployment).execute(logs).await?;
    Ok(())
}

struct Number(u64);

impl FromRow<'_, SqliteRow> for Number {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        row.count("number").map(Self)
    }
}

/// A deployment whose output is to be removed.
struct Marked(DeploymentId);

impl FromRow<'_, SqliteRow> for Marked {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        row.try_get("deployment_id").map(Self)
    }
}

impl FromRow<'_, SqliteRow> for LogLine {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let nanoseconds: i64 = row.try_get("at")?;
        let at = Timestamp::from_nanosecond(nanoseconds.into()).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Self { number: row.count("number")?, at, text: row.try_get("text")? })
    }
}
