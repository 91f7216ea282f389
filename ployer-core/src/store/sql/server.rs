//! Servers in SQL.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::column::{Columns, Time, Word};
use super::commit::{Guarded, Write, query};
use super::{SqlStore, query_as};
use crate::error::Result;
use crate::model::{Server, ServerId};
use crate::store::Servers;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, version, name, host, port, username, is_local, runtime, status, last_seen_at, created_at, ",
            "updated_at FROM servers ",
            $rest
        )
    };
}

#[async_trait]
impl Servers for SqlStore {
    async fn server(&self, id: ServerId) -> Result<Option<Server>> {
        self.first(query_as(select!("WHERE id = $1")).bind(id)).await
    }

    async fn servers(&self) -> Result<Vec<Server>> {
        self.all(query_as(select!("ORDER BY id"))).await
    }
}

/// Adds or replaces a server.
pub(super) fn write(row: &Server, write: Write) -> Guarded {
    let sql = match write {
        Write::Insert => {
            "INSERT INTO servers (id, version, name, host, port, username, is_local, runtime, status,
                 last_seen_at, created_at, updated_at)
             VALUES ($1, $2 + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
        }
        Write::Update => {
            "UPDATE servers
             SET version = version + 1, name = $3, host = $4, port = $5, username = $6, is_local = $7,
                 runtime = $8, status = $9, last_seen_at = $10, created_at = $11, updated_at = $12
             WHERE id = $1 AND version = $2"
        }
    };
    Guarded {
        statement: query(sql)
            .bind(row.id)
            .bind(row.version)
            .bind(&row.name)
            .bind(&row.host)
            .bind(row.port)
            .bind(&row.username)
            .bind(row.is_local)
            .bind(Word(row.runtime))
            .bind(Word(row.status))
            .bind(row.last_seen_at.map(Time))
            .bind(Time(row.created_at))
            .bind(Time(row.updated_at)),
        present: query("SELECT 1 FROM servers WHERE id = $1").bind(row.id),
    }
}

impl FromRow<'_, SqliteRow> for Server {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            version: row.try_get("version")?,
            name: row.try_get("name")?,
            host: row.try_get("host")?,
            port: row.try_get("port")?,
            username: row.try_get("username")?,
            is_local: row.try_get("is_local")?,
            runtime: row.word("runtime")?,
            status: row.word("status")?,
            last_seen_at: row.time_if_any("last_seen_at")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }
}
