//! The event log in SQL.
//!
//! A number is given out inside the commit that stores its event, and commits come one after the other: so the numbers
//! have no gap. The number of the last trimmed event is kept, to go on from when no event is left.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{Connection, FromRow, Row};

use super::column::{Columns, Count, Time};
use super::commit::{BEGIN, Query, query};
use super::{SqlStore, query_as};
use crate::error::Result;
use crate::model::{Event, EventSeq, NewEvent};
use crate::store::{Commit, Events, gone};

#[async_trait]
impl Events for SqlStore {
    async fn events(&self, after: EventSeq, limit: u32) -> Result<Vec<Event>> {
        let after = after.0.min(i64::MAX as u64);
        let select =
            query_as("SELECT seq, at, actor, application_id, kind FROM events WHERE seq > $1 ORDER BY seq LIMIT $2");
        let events: Vec<Event> = self.all(select.bind(Count(after)).bind(limit)).await?;
        if events.first().is_some_and(|first| first.seq.0 == after + 1) {
            return Ok(events);
        }
        // Nothing follows directly: either nothing has happened since, or it is no longer kept.
        match self.trimmed_to().await? {
            trimmed if trimmed > after => Err(gone(EventSeq(after), EventSeq(trimmed + 1))),
            _ => Ok(events),
        }
    }

    async fn last_event(&self) -> Result<EventSeq> {
        let last = query_as("SELECT coalesce((SELECT max(seq) FROM events), trimmed_to) AS number FROM event_log");
        Ok(self.first::<Number>(last).await?.map_or(EventSeq(0), |number| EventSeq(number.0)))
    }

    async fn trim_events(&self, up_to: EventSeq) -> Result<()> {
        let up_to = Count(up_to.0.min(i64::MAX as u64));
        let mut connection = self.writer.connection().await?;
        let trim = async {
            let mut tx = connection.begin_with(BEGIN).await?;
            query(
                "UPDATE event_log
                 SET trimmed_to = max(trimmed_to, min($1, coalesce((SELECT max(seq) FROM events), trimmed_to)))",
            )
            .bind(up_to)
            .execute(&mut *tx)
            .await?;
            query("DELETE FROM events WHERE seq <= (SELECT trimmed_to FROM event_log)").execute(&mut *tx).await?;
            tx.commit().await
        };
        trim.await.map_err(|error| self.writer.explain(error))
    }
}

impl SqlStore {
    async fn trimmed_to(&self) -> Result<u64> {
        let number = self.first::<Number>(query_as("SELECT trimmed_to AS number FROM event_log")).await?;
        Ok(number.map_or(0, |number| number.0))
    }
}

/// Adds an event of `commit` at its place.
pub(super) fn insert(seq: u64, commit: &Commit, event: &NewEvent) -> Query {
    query("INSERT INTO events (seq, at, actor, application_id, kind) VALUES ($1, $2, $3, $4, $5)")
        .bind(Count(seq))
        .bind(Time(commit.at))
        .bind(Json(commit.actor))
        .bind(event.application_id)
        .bind(Json(&event.kind))
}

struct Number(u64);

impl FromRow<'_, SqliteRow> for Number {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        row.count("number").map(Self)
    }
}

impl FromRow<'_, SqliteRow> for Event {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            seq: EventSeq(row.count("seq")?),
            at: row.time("at")?,
            actor: row.json("actor")?,
            application_id: row.try_get("application_id")?,
            kind: row.json("kind")?,
        })
    }
}
