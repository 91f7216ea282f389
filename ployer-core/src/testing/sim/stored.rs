//! Stored: what the commits of a history have made of the rows that the invariants speak of.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use crate::engine::decide::state::{Stage, State};
use crate::model::{
    Application, ApplicationId, Change, Deployment, DeploymentId, Key, Lease, Record, Release, ReleaseId, ReplicaName,
};
use crate::store::Commit;

/// The rows that the invariants speak of, as they are stored.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) applications: BTreeMap<ApplicationId, Application>,
    pub(super) deployments: BTreeMap<DeploymentId, Deployment>,
    pub(super) releases: BTreeMap<ReleaseId, Release>,
    pub(super) states: BTreeMap<ApplicationId, State>,
    pub(super) lease: Option<Lease>,
}

impl Stored {
    /// Takes in a commit that was stored.
    pub(super) fn take_in(&mut self, commit: &Commit) {
        for change in &commit.changes {
            match change {
                Change::Insert(record) | Change::Update(record) => self.put(record),
                Change::Delete(Key::Application(id), _) => self.forget(*id),
                Change::Delete(..) => {}
            }
        }
    }

    fn put(&mut self, record: &Record) {
        match record {
            Record::Application(row) => drop(self.applications.insert(row.id, row.clone())),
            Record::Deployment(row) => drop(self.deployments.insert(row.id, row.clone())),
            Record::Release(row) => drop(self.releases.insert(row.id, row.clone())),
            Record::Machine(row) => drop(self.states.insert(row.application_id, State::from_machine(row))),
            Record::Lease(row) => self.lease = Some(row.clone()),
            _ => {}
        }
    }

    fn forget(&mut self, id: ApplicationId) {
        self.applications.remove(&id);
        self.states.remove(&id);
        self.deployments.retain(|_, row| row.application_id != id);
        self.releases.retain(|_, row| row.application_id != id);
    }

    /// The deployments of an application that have not ended, oldest first.
    pub(super) fn unfinished(&self, id: ApplicationId) -> impl Iterator<Item = &Deployment> {
        self.deployments.values().filter(move |row| row.application_id == id && !row.status.is_final())
    }

    /// Which application and replica an address is given to, by what is stored.
    pub(super) fn owners_of(&self, address: SocketAddr) -> BTreeSet<&ReplicaName> {
        self.states.values().flat_map(replicas).filter(|(_, at)| *at == Some(address)).map(|(name, _)| name).collect()
    }
}

/// Every replica that a state names, with its address.
pub(super) fn replicas(state: &State) -> impl Iterator<Item = (&ReplicaName, Option<SocketAddr>)> {
    let rollout = match state.operation.as_ref().map(|operation| &operation.stage) {
        Some(Stage::Rollout(rollout)) => Some(rollout),
        Some(_) | None => None,
    };
    let phases = rollout.into_iter().flat_map(|rollout| {
        let phases = rollout.phases.iter().flat_map(|phase| &phase.desired.replicas);
        phases.chain(&rollout.before.replicas).chain(&rollout.after.replicas)
    });
    let retiring = state.retiring.iter().flat_map(|retirement| &retirement.replicas);
    phases.chain(retiring).chain(&state.rest.replicas).map(|(name, wanted)| (name, wanted.address))
}

/// A commit as the trace tells it.
pub(super) struct Told<'a>(pub(super) &'a Commit);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.0.changes {
            match change {
                Change::Insert(record) => write!(f, "+{} {} ", record.resource(), record.id())?,
                Change::Update(record) => write!(f, "~{} {} ", record.resource(), record.id())?,
                Change::Delete(key, _) => write!(f, "-{} {} ", key.resource(), key.id())?,
            }
            match change {
                Change::Insert(Record::Deployment(row)) | Change::Update(Record::Deployment(row)) => {
                    write!(f, "({}, {}) ", row.status, row.step)?;
                }
                Change::Insert(Record::Machine(row)) | Change::Update(Record::Machine(row)) => {
                    tell_state(f, &State::from_machine(row))?;
                }
                Change::Insert(Record::Lease(row)) | Change::Update(Record::Lease(row)) => {
                    write!(f, "(epoch {}) ", row.epoch)?;
                }
                _ => {}
            }
        }
        write!(f, "and {} events", self.0.events.len())
    }
}

fn tell_state(f: &mut fmt::Formatter<'_>, state: &State) -> fmt::Result {
    let at = match state.operation.as_ref().map(|operation| &operation.stage) {
        Some(Stage::Rollout(rollout)) => {
            let way = if rollout.back { "back" } else { "on" };
            format!("{way} {}/{} {:?}", rollout.at + 1, rollout.phases.len(), rollout.phase().until)
        }
        Some(stage) => format!("{stage:?}"),
        None => "rest".to_owned(),
    };
    write!(f, "({at}; {} retiring) ", state.retiring.len())
}
