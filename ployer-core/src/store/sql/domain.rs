//! Domains in SQL.

use async_trait::async_trait;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};

use super::column::{Columns, Time};
use super::commit::{Guarded, Write, query};
use super::{SqlStore, query_as};
use crate::error::Result;
use crate::model::{ApplicationId, Domain, DomainId, DomainName, Version};
use crate::store::Domains;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, version, application_id, domain, is_primary, generated, ssl_active, created_at FROM domains ",
            $rest
        )
    };
}

#[async_trait]
impl Domains for SqlStore {
    async fn domains(&self, application: ApplicationId) -> Result<Vec<Domain>> {
        self.all(query_as(select!("WHERE application_id = $1 ORDER BY id")).bind(application)).await
    }

    async fn domain_named(&self, name: &DomainName) -> Result<Option<Domain>> {
        self.first(query_as(select!("WHERE domain = $1")).bind(name.clone())).await
    }
}

/// Adds or replaces a domain.
pub(super) fn write(row: &Domain, write: Write) -> Guarded {
    let sql = match write {
        Write::Insert => {
            "INSERT INTO domains (id, version, application_id, domain, is_primary, generated, ssl_active,
                 created_at)
             VALUES ($1, $2 + 1, $3, $4, $5, $6, $7, $8)"
        }
        Write::Update => {
            "UPDATE domains
             SET version = version + 1, application_id = $3, domain = $4, is_primary = $5, generated = $6,
                 ssl_active = $7, created_at = $8
             WHERE id = $1 AND version = $2"
        }
    };
    Guarded {
        statement: query(sql)
            .bind(row.id)
            .bind(row.version)
            .bind(row.application_id)
            .bind(&row.domain)
            .bind(row.is_primary)
            .bind(row.generated)
            .bind(row.ssl_active)
            .bind(Time(row.created_at)),
        present: query("SELECT 1 FROM domains WHERE id = $1").bind(row.id),
    }
}

/// Removes a domain.
pub(super) fn delete(id: DomainId, version: Version) -> Guarded {
    Guarded {
        statement: query("DELETE FROM domains WHERE id = $1 AND version = $2").bind(id).bind(version),
        present: query("SELECT 1 FROM domains WHERE id = $1").bind(id),
    }
}

impl FromRow<'_, SqliteRow> for Domain {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            version: row.try_get("version")?,
            application_id: row.try_get("application_id")?,
            domain: row.try_get("domain")?,
            is_primary: row.try_get("is_primary")?,
            generated: row.try_get("generated")?,
            ssl_active: row.try_get("ssl_active")?,
            created_at: row.time("created_at")?,
        })
    }
}
