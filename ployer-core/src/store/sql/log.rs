//! Build output in SQL: a file of its own, opened when it is first needed.
//!
//! It is synced less often than the journal (`synchronous=NORMAL`): a crash of the machine may cost its last lines,
//! never its order. A chunk of lines is one statement.

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection, FromRow, Row};
use tokio::sync::OnceCell;

use super::column::{Columns, Count};
use super::commit::{BEGIN, query};
use super::migrate::LOGS;
use super::writer::{Database, Writer};
use super::{SqlStore, query_as};
use crate::error::{Error, Result};
use crate::model::{DeploymentId, LogLine, LogPage};
use crate::store::LogStore;

/// The file of build output.
pub(super) struct Logs {
    database: Database,
    writer: OnceCell<Writer>,
}

impl Logs {
    pub(super) fn new(database: Database) -> Self {
        Self { database, writer: OnceCell::new() }
    }
}

#[async_trait]
impl LogStore for SqlStore {
    async fn append_log(&self, deployment: DeploymentId, lines: &[LogLine]) -> Result<()> {
        let (lines, logs) = (as_json(lines)?, self.logs().await?);
        append(&mut *logs.connection().await?, deployment, lines).await.map_err(|error| logs.explain(error))
    }

    async fn log(&self, deployment: DeploymentId, after: u64, limit: u32) -> Result<LogPage> {
        let logs = self.logs().await?;
        page(&mut *logs.connection().await?, deployment, after, limit).await.map_err(|error| logs.explain(error))
    }

    async fn log_tail(&self, deployment: DeploymentId, limit: u32) -> Result<Vec<LogLine>> {
        let logs = self.logs().await?;
        tail(&mut *logs.connection().await?, deployment, limit).await.map_err(|error| logs.explain(error))
    }

    async fn leave_out_log(&self, deployment: DeploymentId, from: u64, to: u64) -> Result<()> {
        let logs = self.logs().await?;
        leave_out(&mut *logs.connection().await?, deployment, from, to).await.map_err(|error| logs.explain(error))
    }

    async fn remove_log(&self, deployment: DeploymentId) -> Result<()> {
        remove(self.logs().await?, deployment).await
    }
}

impl SqlStore {
    /// The file of build output, opened at its first use.
    pub(super) async fn logs(&self) -> Result<&Writer> {
        let open = async || {
            let logs = Writer::open(self.logs.database.clone(), &LOGS).await?;
            self.remove_marked_logs(&logs).await?;
            Ok(logs)
        };
        self.logs.writer.get_or_try_init(open).await
    }

    /// Removes the output of applications that were deleted. What a crash left of it goes when the file is next opened.
    pub(super) async fn after_deletion(&self) -> Result<()> {
        self.remove_marked_logs(self.logs().await?).await
    }

    async fn remove_marked_logs(&self, logs: &Writer) -> Result<()> {
        let marked: Vec<Marked> = self.all(query_as("SELECT deployment_id FROM removed_logs")).await?;
        for Marked(deployment) in marked {
            remove(logs, deployment).await?;
            let unmark = query("DELETE FROM removed_logs WHERE deployment_id = $1").bind(deployment);
            let mut connection = self.writer.connection().await?;
            unmark.execute(&mut *connection).await.map_err(|error| self.writer.explain(error))?;
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

async fn remove(logs: &Writer, deployment: DeploymentId) -> Result<()> {
    let removal = query("DELETE FROM logs WHERE deployment_id = $1").bind(deployment);
    let removed = removal.execute(&mut *logs.connection().await?).await;
    removed.map(|_| ()).map_err(|error| logs.explain(error))
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
