//! Members in SQL.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::column::{Columns, Word};
use super::commit::{Guarded, Write, query};
use super::{SqlStore, query_as};
use crate::error::Result;
use crate::model::{ApplicationId, Member, UserId, Version};
use crate::store::Members;

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT application_id, user_id, version, role FROM members ", $rest)
    };
}

#[async_trait]
impl Members for SqlStore {
    async fn member(&self, application: ApplicationId, user: UserId) -> Result<Option<Member>> {
        self.first(query_as(select!("WHERE application_id = $1 AND user_id = $2")).bind(application).bind(user)).await
    }

    async fn members(&self, application: ApplicationId) -> Result<Vec<Member>> {
        self.all(query_as(select!("WHERE application_id = $1 ORDER BY user_id")).bind(application)).await
    }

    async fn memberships(&self, user: UserId) -> Result<Vec<Member>> {
        self.all(query_as(select!("WHERE user_id = $1 ORDER BY application_id")).bind(user)).await
    }
}

/// Adds or replaces a member.
pub(super) fn write(row: &Member, write: Write) -> Guarded {
    let sql = match write {
        Write::Insert => {
            "INSERT INTO members (application_id, user_id, version, role)
             VALUES ($1, $2, $3 + 1, $4)"
        }
        Write::Update => {
            "UPDATE members
             SET version = version + 1, role = $4
             WHERE application_id = $1 AND user_id = $2 AND version = $3"
        }
    };
    Guarded {
        statement: query(sql).bind(row.application_id).bind(row.user_id).bind(row.version).bind(Word(row.role)),
        present: query("SELECT 1 FROM members WHERE application_id = $1 AND user_id = $2")
            .bind(row.application_id)
            .bind(row.user_id),
    }
}

/// Removes a member.
pub(super) fn delete(application: ApplicationId, user: UserId, version: Version) -> Guarded {
    Guarded {
        statement: query("DELETE FROM members WHERE application_id = $1 AND user_id = $2 AND version = $3")
            .bind(application)
            .bind(user)
            .bind(version),
        present: query("SELECT 1 FROM members WHERE application_id = $1 AND user_id = $2").bind(application).bind(user),
    }
}

impl FromRow<'_, SqliteRow> for Member {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            application_id: row.try_get("application_id")?,
            user_id: row.try_get("user_id")?,
            version: row.try_get("version")?,
            role: row.word("role")?,
        })
    }
}
