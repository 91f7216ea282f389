//! Users in SQL.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::column::{Columns, Time, Word};
use super::commit::{Guarded, Write, query};
use super::{SqlStore, query_as};
use crate::error::Result;
use crate::model::{Email, User, UserId};
use crate::store::Users;

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, version, email, name, role, created_at, updated_at FROM users ", $rest)
    };
}

#[async_trait]
impl Users for SqlStore {
    async fn user(&self, id: UserId) -> Result<Option<User>> {
        self.first(query_as(select!("WHERE id = $1")).bind(id)).await
    }

    async fn user_with_email(&self, email: &Email) -> Result<Option<User>> {
        self.first(query_as(select!("WHERE email = $1")).bind(email.clone())).await
    }

    async fn users(&self) -> Result<Vec<User>> {
        self.all(query_as(select!("ORDER BY id"))).await
    }
}

/// Adds or replaces a user.
pub(super) fn write(row: &User, write: Write) -> Guarded {
    let sql = match write {
        Write::Insert => {
            "INSERT INTO users (id, version, email, name, role, created_at, updated_at)
             VALUES ($1, $2 + 1, $3, $4, $5, $6, $7)"
        }
        Write::Update => {
            "UPDATE users
             SET version = version + 1, email = $3, name = $4, role = $5, created_at = $6, updated_at = $7
             WHERE id = $1 AND version = $2"
        }
    };
    Guarded {
        statement: query(sql)
            .bind(row.id)
            .bind(row.version)
            .bind(&row.email)
            .bind(&row.name)
            .bind(Word(row.role))
            .bind(Time(row.created_at))
            .bind(Time(row.updated_at)),
        present: query("SELECT 1 FROM users WHERE id = $1").bind(row.id),
    }
}

impl FromRow<'_, SqliteRow> for User {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            version: row.try_get("version")?,
            email: row.try_get("email")?,
            name: row.try_get("name")?,
            role: row.word("role")?,
            created_at: row.time("created_at")?,
            updated_at: row.time("updated_at")?,
        })
    }
}
