//! The memory store: everything in ordered maps, for tests, simulations and programs that keep nothing.
//!
//! It has no clock, no randomness and no hash maps, so the same commits give the same answers in the same order. A
//! commit takes effect within the call, before its first `await`; nothing survives the last handle.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use self::log::Output;
use self::table::Tables;
use super::{
    Applications, Commit, Deployments, Domains, EnvVars, Events, HealthChecks, LogStore, Members, Releases, Secrets,
    Servers, Store, Users, Volumes, gone,
};
use crate::error::Result;
use crate::model::{
    AppName, Application, ApplicationId, Deployment, DeploymentId, Domain, DomainName, Email, EnvVar, Event, EventSeq,
    HealthCheck, Installation, Lease, LogLine, LogPage, Machine, Member, Release, ReleaseId, SealedSecret,
    SecretVersion, Server, ServerId, User, UserId, Volume,
};

mod commit;
mod log;
mod table;

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tables: Tables,
    events: EventLog,
    logs: BTreeMap<DeploymentId, Output>,
}

#[derive(Debug, Default)]
struct EventLog {
    /// The number of the last event that is no longer kept.
    trimmed: u64,
    kept: VecDeque<Event>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A commit either replaces the tables or leaves them, so a panic elsewhere cannot have broken them.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn commit(&mut self, commit: Commit) -> Result<EventSeq> {
        if let Some(epoch) = commit.epoch {
            self.tables.check_epoch(epoch)?;
        }
        let mut next = self.tables.clone();
        for change in &commit.changes {
            next.apply(change)?;
        }
        for gone in self.tables.deployments.iter().filter(|old| next.deployments.get(&old.id).is_none()) {
            self.logs.remove(&gone.id);
        }
        self.tables = next;
        Ok(self.events.append(commit))
    }
}

impl EventLog {
    fn last(&self) -> EventSeq {
        EventSeq(self.trimmed + self.kept.len() as u64)
    }

    fn append(&mut self, commit: Commit) -> EventSeq {
        for event in commit.events {
            let seq = EventSeq(self.last().0 + 1);
            self.kept.push_back(Event::new(seq, commit.at, commit.actor, event));
        }
        self.last()
    }

    fn after(&self, after: EventSeq, limit: usize) -> Result<Vec<Event>> {
        let skip = after.0.checked_sub(self.trimmed).ok_or_else(|| gone(after, EventSeq(self.trimmed + 1)))?;
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        Ok(self.kept.iter().skip(skip).take(limit).cloned().collect())
    }

    fn trim(&mut self, up_to: EventSeq) {
        let count = up_to.0.saturating_sub(self.trimmed).min(self.kept.len() as u64);
        self.kept.drain(..usize::try_from(count).unwrap_or(usize::MAX));
        self.trimmed += count;
    }
}

fn some<R: Clone>(record: Option<&R>) -> Result<Option<R>> {
    Ok(record.cloned())
}

fn all<'a, R: Clone + 'a>(records: impl Iterator<Item = &'a R>) -> Result<Vec<R>> {
    Ok(records.cloned().collect())
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, commit: Commit) -> Result<EventSeq> {
        self.state().commit(commit)
    }

    async fn installation(&self) -> Result<Option<Installation>> {
        some(self.state().tables.installations.get(&()))
    }

    async fn lease(&self) -> Result<Option<Lease>> {
        some(self.state().tables.leases.get(&()))
    }
}

#[async_trait]
impl Applications for MemoryStore {
    async fn application(&self, id: ApplicationId) -> Result<Option<Application>> {
        some(self.state().tables.applications.get(&id))
    }

    async fn application_named(&self, name: &AppName) -> Result<Option<Application>> {
        some(self.state().tables.applications.iter().find(|application| application.name == *name))
    }

    async fn applications(&self) -> Result<Vec<Application>> {
        all(self.state().tables.applications.iter())
    }

    async fn machine(&self, application: ApplicationId) -> Result<Option<Machine>> {
        some(self.state().tables.machines.get(&application))
    }

    async fn machines(&self) -> Result<Vec<Machine>> {
        all(self.state().tables.machines.iter())
    }
}

#[async_trait]
impl Deployments for MemoryStore {
    async fn deployment(&self, id: DeploymentId) -> Result<Option<Deployment>> {
        some(self.state().tables.deployments.get(&id))
    }

    async fn deployments(&self, application: Option<ApplicationId>, limit: u32) -> Result<Vec<Deployment>> {
        let wanted = |row: &&Deployment| application.is_none_or(|id| row.application_id == id);
        all(self.state().tables.deployments.iter().rev().filter(wanted).take(limit as usize))
    }

    async fn unfinished_deployments(&self, application: ApplicationId) -> Result<Vec<Deployment>> {
        let wanted = |row: &&Deployment| row.application_id == application && !row.status.is_final();
        all(self.state().tables.deployments.iter().filter(wanted))
    }
}

#[async_trait]
impl Releases for MemoryStore {
    async fn release(&self, id: ReleaseId) -> Result<Option<Release>> {
        some(self.state().tables.releases.get(&id))
    }

    async fn releases(&self, application: ApplicationId) -> Result<Vec<Release>> {
        all(self.state().tables.releases.iter().filter(|row| row.application_id == application))
    }
}

#[async_trait]
impl Servers for MemoryStore {
    async fn server(&self, id: ServerId) -> Result<Option<Server>> {
        some(self.state().tables.servers.get(&id))
    }

    async fn servers(&self) -> Result<Vec<Server>> {
        all(self.state().tables.servers.iter())
    }
}

#[async_trait]
impl Domains for MemoryStore {
    async fn domains(&self, application: ApplicationId) -> Result<Vec<Domain>> {
        all(self.state().tables.domains.iter().filter(|row| row.application_id == application))
    }

    async fn domain_named(&self, name: &DomainName) -> Result<Option<Domain>> {
        some(self.state().tables.domains.iter().find(|row| row.domain == *name))
    }
}

#[async_trait]
impl EnvVars for MemoryStore {
    async fn env_vars(&self, application: ApplicationId) -> Result<Vec<EnvVar>> {
        all(self.state().tables.env_vars.iter().filter(|row| row.application_id == application))
    }
}

#[async_trait]
impl HealthChecks for MemoryStore {
    async fn health_check(&self, application: ApplicationId) -> Result<Option<HealthCheck>> {
        some(self.state().tables.health_checks.iter().find(|row| row.application_id == application))
    }
}

#[async_trait]
impl Volumes for MemoryStore {
    async fn volumes(&self, application: ApplicationId) -> Result<Vec<Volume>> {
        all(self.state().tables.volumes.iter().filter(|row| row.application_id == application))
    }

    async fn detached_volumes(&self) -> Result<Vec<Volume>> {
        all(self.state().tables.volumes.iter().filter(|row| row.detached_from.is_some()))
    }
}

#[async_trait]
impl Users for MemoryStore {
    async fn user(&self, id: UserId) -> Result<Option<User>> {
        some(self.state().tables.users.get(&id))
    }

    async fn user_with_email(&self, email: &Email) -> Result<Option<User>> {
        some(self.state().tables.users.iter().find(|user| user.email == *email))
    }

    async fn users(&self) -> Result<Vec<User>> {
        all(self.state().tables.users.iter())
    }
}

#[async_trait]
impl Members for MemoryStore {
    async fn member(&self, application: ApplicationId, user: UserId) -> Result<Option<Member>> {
        some(self.state().tables.members.get(&(application, user)))
    }

    async fn members(&self, application: ApplicationId) -> Result<Vec<Member>> {
        all(self.state().tables.members.iter().filter(|row| row.application_id == application))
    }

    async fn memberships(&self, user: UserId) -> Result<Vec<Member>> {
        all(self.state().tables.members.iter().filter(|row| row.user_id == user))
    }
}

#[async_trait]
impl Secrets for MemoryStore {
    async fn sealed_secret(&self, version: SecretVersion) -> Result<Option<SealedSecret>> {
        some(self.state().tables.secrets.get(&version))
    }
}

#[async_trait]
impl Events for MemoryStore {
    async fn events(&self, after: EventSeq, limit: u32) -> Result<Vec<Event>> {
        self.state().events.after(after, limit as usize)
    }

    async fn last_event(&self) -> Result<EventSeq> {
        Ok(self.state().events.last())
    }

    async fn trim_events(&self, up_to: EventSeq) -> Result<()> {
        self.state().events.trim(up_to);
        Ok(())
    }
}

#[async_trait]
impl LogStore for MemoryStore {
    async fn append_log(&self, deployment: DeploymentId, lines: &[LogLine]) -> Result<()> {
        self.state().logs.entry(deployment).or_default().append(lines);
        Ok(())
    }

    async fn log(&self, deployment: DeploymentId, after: u64, limit: u32) -> Result<LogPage> {
        Ok(self.state().logs.get(&deployment).map(|log| log.page(after, limit as usize)).unwrap_or_default())
    }

    async fn log_tail(&self, deployment: DeploymentId, limit: u32) -> Result<Vec<LogLine>> {
        Ok(self.state().logs.get(&deployment).map(|log| log.tail(limit as usize)).unwrap_or_default())
    }

    async fn leave_out_log(&self, deployment: DeploymentId, from: u64, to: u64) -> Result<()> {
        self.state().logs.entry(deployment).or_default().leave_out(from, to);
        Ok(())
    }

    async fn remove_log(&self, deployment: DeploymentId) -> Result<()> {
        self.state().logs.remove(&deployment);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::store::StoreHarness;

    struct Memory(Arc<MemoryStore>);

    #[async_trait]
    impl StoreHarness for Memory {
        async fn fresh() -> Self {
            Self(Arc::new(MemoryStore::new()))
        }

        fn store(&self) -> Arc<dyn Store> {
            self.0.clone()
        }

        async fn reopen(self) -> Self {
            self
        }

        async fn second_handle(&self) -> Arc<dyn Store> {
            self.0.clone()
        }
    }

    crate::testing::store_suite!(Memory);
}
