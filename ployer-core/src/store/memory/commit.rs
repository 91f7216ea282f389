//! The commit of the memory store: each change is checked against the tables as the changes before it left them.

use super::table::{Row, Table, Tables};
use crate::error::{Error, Resource, Result};
use crate::model::{
    Application, ApplicationId, Change, Deployment, Domain, HealthCheck, Key, Record, Reference, SecretScope, Server,
    User, Version,
};

impl Tables {
    /// Refuses a commit of an engine that no longer holds the lease.
    pub(super) fn check_epoch(&self, epoch: u64) -> Result<()> {
        match self.leases.get(&()) {
            Some(lease) if lease.epoch == epoch => Ok(()),
            Some(lease) => Err(Error::conflict(format!(
                "the engine of epoch {epoch} has lost its lease to `{}` of epoch {}",
                lease.holder, lease.epoch
            ))),
            None => Err(Error::conflict(format!("the engine of epoch {epoch} holds no lease"))),
        }
    }

    /// Makes one change, or says why it is refused. After a refusal the tables are of no use any more.
    pub(super) fn apply(&mut self, change: &Change) -> Result<()> {
        match change {
            Change::Update(Record::Secret(_)) => Err(Error::invalid("secret", "a version of a value never changes")),
            Change::Insert(record) | Change::Update(record) => {
                self.write(record, matches!(change, Change::Insert(_)))?;
                self.check_unique(record)?;
                self.check_references(record)
            }
            Change::Delete(key, version) => self.delete(key, *version),
        }
    }

    fn check_references(&self, record: &Record) -> Result<()> {
        let stored = |reference: &Reference| match reference {
            Reference::Application(id) => self.applications.get(id).is_some(),
            Reference::Server(id) => self.servers.get(id).is_some(),
            Reference::User(id) => self.users.get(id).is_some(),
        };
        match record.references().into_iter().find(|reference| !stored(reference)) {
            Some(reference) => Err(reference.missing()),
            None => Ok(()),
        }
    }

    fn check_unique(&self, record: &Record) -> Result<()> {
        match record {
            Record::Application(new) => self.check_application(new),
            Record::Server(new) => self.check_server(new),
            Record::Domain(new) => self.check_domain(new),
            Record::User(new) => self.check_user(new),
            Record::HealthCheck(new) => self.check_health_check(new),
            Record::Deployment(new) => self.check_under_way(new),
            _ => Ok(()),
        }
    }

    fn check_application(&self, new: &Application) -> Result<()> {
        let taken = self.applications.iter().any(|other| other.name == new.name && other.id != new.id);
        free(!taken, Resource::Application, &new.name)
    }

    fn check_server(&self, new: &Server) -> Result<()> {
        let taken = self.servers.iter().any(|other| other.name == new.name && other.id != new.id);
        free(!taken, Resource::Server, &new.name)
    }

    fn check_user(&self, new: &User) -> Result<()> {
        let taken = self.users.iter().any(|other| other.email == new.email && other.id != new.id);
        free(!taken, Resource::User, &new.email)
    }

    fn check_health_check(&self, new: &HealthCheck) -> Result<()> {
        let taken =
            self.health_checks.iter().any(|other| other.application_id == new.application_id && other.id != new.id);
        free(!taken, Resource::HealthCheck, new.application_id)
    }

    fn check_domain(&self, new: &Domain) -> Result<()> {
        let others = || self.domains.iter().filter(|other| other.id != new.id);
        free(!others().any(|other| other.domain == new.domain), Resource::Domain, &new.domain)?;
        let second_primary = |other: &Domain| other.application_id == new.application_id && other.is_primary;
        match others().find(|other| new.is_primary && second_primary(other)) {
            Some(other) => Err(Error::conflict(format!("domain `{}` is the primary one already", other.domain))),
            None => Ok(()),
        }
    }

    fn check_under_way(&self, new: &Deployment) -> Result<()> {
        let blocks = |other: &&Deployment| {
            other.application_id == new.application_id && other.id != new.id && other.status.is_under_way()
        };
        match self.deployments.iter().find(blocks) {
            Some(other) if new.status.is_under_way() => {
                Err(Error::conflict(format!("deployment `{}` of the same application is under way", other.id)))
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, record: &Record, new: bool) -> Result<()> {
        let result = match record {
            Record::Application(row) => self.applications.write(row, new),
            Record::Deployment(row) => self.deployments.write(row, new),
            Record::Release(row) => self.releases.write(row, new),
            Record::Machine(row) => self.machines.write(row, new),
            Record::Server(row) => self.servers.write(row, new),
            Record::Domain(row) => self.domains.write(row, new),
            Record::EnvVar(row) => self.env_vars.write(row, new),
            Record::HealthCheck(row) => self.health_checks.write(row, new),
            Record::Volume(row) => self.volumes.write(row, new),
            Record::User(row) => self.users.write(row, new),
            Record::Member(row) => self.members.write(row, new),
            Record::Secret(row) => self.secrets.write(row, new),
            Record::Lease(row) => self.leases.write(row, new),
            Record::Installation(row) => self.installations.write(row, new),
        };
        result.map_err(|refusal| refusal.of(record.resource(), &record.id()))
    }

    fn delete(&mut self, key: &Key, version: Version) -> Result<()> {
        let result = match key {
            Key::Application(id) => self.delete_application(*id, version),
            Key::Domain(id) => self.domains.delete(id, version),
            Key::EnvVar(application, key) => self.env_vars.delete(&(*application, key.clone()), version),
            Key::HealthCheck(id) => self.health_checks.delete(id, version),
            Key::Volume(application, name) => self.volumes.delete(&(*application, name.clone()), version),
            Key::Member(application, user) => self.members.delete(&(*application, *user), version),
            Key::Secret(id) => self.secrets.delete(id, version),
        };
        result.map_err(|refusal| refusal.of(key.resource(), &key.id()))
    }

    /// Removes an application with everything that belongs to it; its volumes stay and say whose they were.
    fn delete_application(&mut self, id: ApplicationId, version: Version) -> Result<(), Refusal> {
        let name = self.applications.get(&id).map(|application| application.name.clone());
        self.applications.delete(&id, version)?;
        self.deployments.retain(|row| row.application_id != id);
        self.releases.retain(|row| row.application_id != id);
        self.machines.retain(|row| row.application_id != id);
        self.domains.retain(|row| row.application_id != id);
        self.env_vars.retain(|row| row.application_id != id);
        self.health_checks.retain(|row| row.application_id != id);
        self.members.retain(|row| row.application_id != id);
        self.secrets.retain(|row| row.scope != SecretScope::Application(id));
        let left: Vec<_> = self.volumes.iter().filter(|volume| volume.application_id == id).cloned().collect();
        for mut volume in left {
            volume.detached_from.clone_from(&name);
            self.volumes.put(&volume, volume.version.next());
        }
        Ok(())
    }
}

/// Why a table refuses a change.
enum Refusal {
    Present,
    Absent,
    Past,
    NotNew,
}

impl Refusal {
    fn of(self, resource: Resource, id: &str) -> Error {
        match self {
            Self::Present => Error::already_exists(resource, id),
            Self::Absent => Error::not_found(resource, id),
            Self::Past => Error::lost(resource, id),
            Self::NotNew => Error::invalid("version", "a new record has none yet"),
        }
    }
}

impl<R: Row> Table<R> {
    fn write(&mut self, record: &R, new: bool) -> Result<(), Refusal> {
        match self.get(&record.key()) {
            _ if new && record.version() != Version::NEW => return Err(Refusal::NotNew),
            Some(_) if new => return Err(Refusal::Present),
            None if !new => return Err(Refusal::Absent),
            Some(stored) if stored.version() != record.version() => return Err(Refusal::Past),
            _ => {}
        }
        self.put(record, record.version().next());
        Ok(())
    }

    fn delete(&mut self, key: &R::Key, version: Version) -> Result<(), Refusal> {
        match self.get(key) {
            None => Err(Refusal::Absent),
            Some(stored) if stored.version() != version => Err(Refusal::Past),
            Some(_) => {
                self.remove(key);
                Ok(())
            }
        }
    }
}

fn free(free: bool, resource: Resource, name: impl std::fmt::Display) -> Result<()> {
    if free { Ok(()) } else { Err(Error::already_exists(resource, name)) }
}
