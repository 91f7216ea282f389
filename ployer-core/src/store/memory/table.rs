//! The tables: records by key, shared with the commits that are being tried until one of them writes.
//!
//! A clone of all tables costs a few reference counts, and a write copies the one table that it touches. So a commit
//! works on a clone and puts it in place when everything went well: whole or not at all, without an undo.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{
    Application, ApplicationId, Deployment, DeploymentId, Domain, DomainId, EnvKey, EnvVar, HealthCheck, HealthCheckId,
    Installation, Lease, Machine, Member, Release, ReleaseId, SealedSecret, SecretVersion, Server, ServerId, User,
    UserId, Version, Volume, VolumeName,
};

/// Everything stored but events and build output, which only grow.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables {
    pub(super) applications: Table<Application>,
    pub(super) deployments: Table<Deployment>,
    pub(super) releases: Table<Release>,
    pub(super) machines: Table<Machine>,
    pub(super) servers: Table<Server>,
    pub(super) domains: Table<Domain>,
    pub(super) env_vars: Table<EnvVar>,
    pub(super) health_checks: Table<HealthCheck>,
    pub(super) volumes: Table<Volume>,
    pub(super) users: Table<User>,
    pub(super) members: Table<Member>,
    pub(super) secrets: Table<SealedSecret>,
    pub(super) leases: Table<Lease>,
    pub(super) installations: Table<Installation>,
}

/// A record and what a table needs to know of it.
pub(super) trait Row: Clone {
    /// What names it in its table; `()` where there is one row.
    type Key: Ord + Clone;

    fn key(&self) -> Self::Key;
    fn version(&self) -> Version;
    fn at_version(&self, version: Version) -> Self;
}

macro_rules! rows {
    ($($row:ident by $key:ty: |$this:ident| $of:expr;)+) => {$(
        impl Row for $row {
            type Key = $key;

            fn key(&self) -> $key {
                let $this = self;
                $of
            }

            fn version(&self) -> Version {
                self.version
            }

            fn at_version(&self, version: Version) -> Self {
                Self { version, ..self.clone() }
            }
        }
    )+};
}

rows! {
    Application by ApplicationId: |row| row.id;
    Deployment by DeploymentId: |row| row.id;
    Release by ReleaseId: |row| row.id;
    Machine by ApplicationId: |row| row.application_id;
    Server by ServerId: |row| row.id;
    Domain by DomainId: |row| row.id;
    EnvVar by (ApplicationId, EnvKey): |row| (row.application_id, row.key.clone());
    HealthCheck by HealthCheckId: |row| row.id;
    Volume by (ApplicationId, VolumeName): |row| (row.application_id, row.name.clone());
    User by UserId: |row| row.id;
    Member by (ApplicationId, UserId): |row| (row.application_id, row.user_id);
    SealedSecret by SecretVersion: |row| row.id;
    Lease by (): |_row| ();
    Installation by (): |_row| ();
}

/// The records of one kind, in the order of their keys.
#[derive(Clone, Debug)]
pub(super) struct Table<R: Row>(Arc<BTreeMap<R::Key, Arc<R>>>);

impl<R: Row> Default for Table<R> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<R: Row> Table<R> {
    pub(super) fn get(&self, key: &R::Key) -> Option<&R> {
        self.0.get(key).map(Arc::as_ref)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &R> {
        self.0.values().map(Arc::as_ref)
    }

    /// Stores a record at `version`, in place of one of the same key.
    pub(super) fn put(&mut self, record: &R, version: Version) {
        Arc::make_mut(&mut self.0).insert(record.key(), Arc::new(record.at_version(version)));
    }

    pub(super) fn remove(&mut self, key: &R::Key) {
        Arc::make_mut(&mut self.0).remove(key);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&R) -> bool) {
        if self.iter().any(|record| !keep(record)) {
            Arc::make_mut(&mut self.0).retain(|_, record| keep(record));
        }
    }
}
