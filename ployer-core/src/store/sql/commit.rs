//! The commit in SQL: one `BEGIN IMMEDIATE` transaction of a few guarded statements.
//!
//! Every change is a statement that meets one row or none; a row that it did not meet is either absent or at another
//! version, and only then is it asked which. What the schema forbids is told apart by the constraint that said so.

use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{FromRow, Row};

use super::column::Columns;
use super::error::{Constraint, Failure};
use super::{
    application, deployment, domain, env_var, event, health, installation, machine, member, query_as, release, secret,
    server, user, volume,
};
use crate::error::{Error, Resource};
use crate::model::{Change, EventSeq, Key, Record, Reference, Version};
use crate::store::Commit;

/// Takes the write lock at once: a transaction that begins by reading could not get it later without a new start.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";

/// A statement with its values.
pub(super) type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// A statement that is prepared once per connection.
pub(super) fn query(sql: &'static str) -> Query {
    sqlx::query(sql)
}

/// How a record is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    /// As a new row.
    Insert,
    /// Over the row of the record's version.
    Update,
}

/// A statement that changes one row at a known version.
pub(super) struct Guarded {
    /// Changes the row if it has that version.
    pub(super) statement: Query,
    /// Finds the row whatever its version.
    pub(super) present: Query,
}

/// Stores a commit within the transaction that `tx` is in, and answers the number of the newest event.
pub(super) async fn store(tx: &mut SqliteConnection, commit: &Commit) -> Result<EventSeq, Failure> {
    let head = Head::read(tx).await?;
    if let Some(epoch) = commit.epoch {
        head.check(epoch)?;
    }
    for change in &commit.changes {
        apply(tx, change).await?;
    }
    let mut last = head.last;
    for event in &commit.events {
        last += 1;
        event::insert(last, commit, event).execute(&mut *tx).await?;
    }
    Ok(EventSeq(last))
}

/// What a commit begins with: who holds the lease, and where the event log ends.
struct Head {
    lease: Option<(String, u64)>,
    last: u64,
}

impl Head {
    async fn read(tx: &mut SqliteConnection) -> sqlx::Result<Self> {
        let head = query_as(
            "SELECT coalesce((SELECT max(seq) FROM events), trimmed_to) AS last, holder, epoch
             FROM event_log LEFT JOIN lease USING (only)",
        );
        head.fetch_one(tx).await
    }

    fn check(&self, epoch: u64) -> Result<(), Error> {
        match &self.lease {
            Some((_, held)) if *held == epoch => Ok(()),
            Some((holder, held)) => Err(Error::conflict(format!(
                "the engine of epoch {epoch} has lost its lease to `{holder}` of epoch {held}"
            ))),
            None => Err(Error::conflict(format!("the engine of epoch {epoch} holds no lease"))),
        }
    }
}

impl FromRow<'_, SqliteRow> for Head {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        let lease = match row.try_get("holder")? {
            Some(holder) => Some((holder, row.count("epoch")?)),
            None => None,
        };
        Ok(Self { lease, last: row.count("last")? })
    }
}

async fn apply(tx: &mut SqliteConnection, change: &Change) -> Result<(), Failure> {
    match change {
        Change::Insert(record) if record.version() != Version::NEW => {
            Err(Error::invalid("version", "a new record has none yet").into())
        }
        Change::Insert(record) => write(tx, record, Write::Insert).await,
        Change::Update(record) => write(tx, record, Write::Update).await,
        Change::Delete(key, version) => delete(tx, key, *version).await,
    }
}

async fn write(tx: &mut SqliteConnection, record: &Record, write: Write) -> Result<(), Failure> {
    let guarded = match record {
        Record::Application(row) => application::write(row, write),
        Record::Deployment(row) => deployment::write(row, write),
        Record::Release(row) => release::write(row, write),
        Record::Machine(row) => machine::write(row, write),
        Record::Server(row) => server::write(row, write),
        Record::Domain(row) => domain::write(row, write),
        Record::EnvVar(row) => env_var::write(row, write),
        Record::HealthCheck(row) => health::write(row, write),
        Record::Volume(row) => volume::write(row, write),
        Record::User(row) => user::write(row, write),
        Record::Member(row) => member::write(row, write),
        Record::Lease(row) => installation::write_lease(row, write),
        Record::Installation(row) => installation::write(row, write),
        Record::Secret(row) if write == Write::Insert => secret::insert(row),
        Record::Secret(_) => return Err(Error::invalid("secret", "a version of a value never changes").into()),
    };
    match guarded.run(tx, record.resource(), || record.id()).await {
        Err(Failure::Database(error)) => Err(refusal(tx, record, error).await),
        done => done,
    }
}

async fn delete(tx: &mut SqliteConnection, key: &Key, version: Version) -> Result<(), Failure> {
    let guarded = match key {
        Key::Application(id) => {
            for before in application::before_delete(*id) {
                before.execute(&mut *tx).await?;
            }
            application::delete(*id, version)
        }
        Key::Domain(id) => domain::delete(*id, version),
        Key::EnvVar(application, name) => env_var::delete(*application, name, version),
        Key::HealthCheck(id) => health::delete(*id, version),
        Key::Volume(application, name) => volume::delete(*application, name, version),
        Key::Member(application, user) => member::delete(*application, *user, version),
        Key::Secret(id) => secret::delete(*id, version),
    };
    guarded.run(tx, key.resource(), || key.id()).await
}

impl Guarded {
    async fn run(
        self,
        tx: &mut SqliteConnection,
        resource: Resource,
        id: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if self.statement.execute(&mut *tx).await?.rows_affected() > 0 {
            return Ok(());
        }
        match self.present.fetch_optional(tx).await? {
            Some(_) => Err(Error::lost(resource, id()).into()),
            None => Err(Error::not_found(resource, id()).into()),
        }
    }
}

/// Says what a record ran into, where the schema forbade it.
async fn refusal(tx: &mut SqliteConnection, record: &Record, error: sqlx::Error) -> Failure {
    match Constraint::of(&error) {
        Some(Constraint::Unique(columns)) => taken(record, &columns).into(),
        Some(Constraint::ForeignKey) => match missing(tx, record).await {
            Ok(Some(reference)) => reference.missing().into(),
            Ok(None) => error.into(),
            Err(error) => error.into(),
        },
        None => error.into(),
    }
}

fn taken(record: &Record, columns: &str) -> Error {
    match (record, columns) {
        (Record::Application(row), "applications.name") => Error::already_exists(Resource::Application, &row.name),
        (Record::Server(row), "servers.name") => Error::already_exists(Resource::Server, &row.name),
        (Record::User(row), "users.email") => Error::already_exists(Resource::User, &row.email),
        (Record::Domain(row), "domains.domain") => Error::already_exists(Resource::Domain, &row.domain),
        (Record::Domain(row), "domains.application_id") => {
            Error::conflict(format!("application `{}` has a primary domain already", row.application_id))
        }
        (Record::Deployment(row), "deployments.application_id") => {
            Error::conflict(format!("another deployment of application `{}` is under way", row.application_id))
        }
        _ => Error::already_exists(record.resource(), record.id()),
    }
}

/// The first record that `record` refers to and that is not there.
async fn missing(tx: &mut SqliteConnection, record: &Record) -> sqlx::Result<Option<Reference>> {
    for reference in record.references() {
        let find = match reference {
            Reference::Application(id) => query("SELECT 1 FROM applications WHERE id = $1").bind(id),
            Reference::Server(id) => query("SELECT 1 FROM servers WHERE id = $1").bind(id),
            Reference::User(id) => query("SELECT 1 FROM users WHERE id = $1").bind(id),
        };
        if find.fetch_optional(&mut *tx).await?.is_none() {
            return Ok(Some(reference));
        }
    }
    Ok(None)
}
