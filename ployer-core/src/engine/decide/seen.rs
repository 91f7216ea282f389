//! What a decision rests on: the stored facts, and what was seen of the world since this engine began.
//!
//! Both are whole pictures, not news: a decision that is made again on the same picture is the same, and a piece of
//! news that was missed is only late.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::config::Settings;
use crate::model::{
    Application, Built, CommitInfo, Deployment, DeploymentId, Domain, EnvKey, Exit, HealthCheck, InFlight, Release,
    ReleaseId, ReplicaName, ReplicaSeen, Revision, Route, SecretVersion, Traffic, Version, VolumeName,
};

/// The stored rows of one application, read together before a decision.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Its row.
    pub(crate) application: Application,
    /// Its deployments that have not ended, oldest first, and those that `State::deployments` names.
    pub(crate) deployments: BTreeMap<DeploymentId, Deployment>,
    /// Its releases whose artifact is not gone.
    pub(crate) releases: BTreeMap<ReleaseId, Release>,
    /// Its domains.
    pub(crate) domains: Vec<Domain>,
    /// Its health check.
    pub(crate) health: Option<HealthCheck>,
    /// Its variables.
    pub(crate) env: BTreeMap<EnvKey, SecretVersion>,
    /// Its persistent directories that are stored already.
    pub(crate) volumes: BTreeMap<VolumeName, Version>,
    /// The row that has the name of its generated domain now, whoever's it is.
    pub(crate) subdomain: Option<Domain>,
}

/// What does not change while an engine runs.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    /// Deadlines, limits, defaults.
    pub(crate) settings: Settings,
    /// The epoch of this engine.
    pub(crate) epoch: u64,
}

/// What was seen of the world since this engine began. Nothing of it is stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The replicas and one-offs of this application; `None` before the first listing.
    pub(crate) replicas: Option<BTreeMap<ReplicaName, ReplicaSeen>>,
    /// Replicas with an effect under way, or one that ended after the listing began: nothing can be said of them.
    pub(crate) busy: BTreeSet<ReplicaName>,
    /// Starts that failed, until the replica is no longer wanted.
    pub(crate) start_failures: BTreeMap<ReplicaName, StartFailure>,
    /// What the gate found. A replica that was seen to exit begins anew, as not ready; one without an entry has not
    /// been seen to do anything but run.
    pub(crate) readiness: BTreeMap<ReplicaName, Readiness>,
    /// The last lines that replicas printed.
    pub(crate) output: BTreeMap<ReplicaName, Vec<String>>,
    /// The route as it was read back; `None` before that.
    pub(crate) route: Option<RouteSeen>,
    /// Whether the proxy may have another route by now, or soon: what is wanted has changed since it was read back.
    pub(crate) route_in_doubt: bool,
    /// Replicas that have answered through the proxy since the present route was read back.
    pub(crate) answered: BTreeSet<ReplicaName>,
    /// The static release that has.
    pub(crate) answered_static: Option<ReleaseId>,
    /// What is under way on upstreams that are being watched.
    pub(crate) in_flight: BTreeMap<ReplicaName, InFlight>,
    /// How jobs ended.
    pub(crate) jobs: BTreeMap<Job, JobEnd>,
    /// Slots that are held, and since when.
    pub(crate) slots: BTreeMap<Slot, Timestamp>,
    /// Addresses that were found free, for the search of that number.
    pub(crate) addresses: Option<(u32, Result<Vec<SocketAddr>, String>)>,
    /// Requests of the application, as the proxy last counted them.
    pub(crate) traffic: Option<Traffic>,
    /// Deployments whose checkout and half-made artifact were removed.
    pub(crate) discarded: BTreeSet<DeploymentId>,
    /// Releases whose artifact was removed.
    pub(crate) collected: BTreeSet<ReleaseId>,
    /// Whether everything outside the store was removed, for a deletion.
    pub(crate) forgotten: bool,
}

impl Seen {
    /// What the runtime says of a replica; `None` while nothing can be said, or when it is not there.
    pub(crate) fn replica(&self, name: &ReplicaName) -> Option<&ReplicaSeen> {
        self.replicas.as_ref()?.get(name)
    }

    /// Whether it is certain that the runtime has nothing under this name.
    pub(crate) fn is_gone(&self, name: &ReplicaName) -> bool {
        !self.busy.contains(name) && self.replicas.as_ref().is_some_and(|replicas| !replicas.contains_key(name))
    }

    /// Whether the gate was passed.
    pub(crate) fn is_ready(&self, name: &ReplicaName) -> bool {
        self.readiness.get(name).is_some_and(|readiness| readiness.ready_at.is_some())
    }
}

/// A start that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StartFailure {
    /// Whether its address was taken by something else.
    pub(crate) address_taken: bool,
    /// Why, with the hint where there is one.
    pub(crate) cause: String,
}

/// What the gate found of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// When it was first asked.
    pub(crate) asked_at: Timestamp,
    /// How often.
    pub(crate) attempts: u32,
    /// When it was ready.
    pub(crate) ready_at: Option<Timestamp>,
    /// Why it was not, when last asked.
    pub(crate) reason: Option<String>,
}

/// A route as it was read back from the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RouteSeen {
    /// The application's route; `None` where it has none.
    pub(crate) route: Option<Route>,
    /// Of the table.
    pub(crate) revision: Revision,
}

/// Names a job: a one-shot that is journaled by its attempt before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Job {
    /// Of which deployment.
    pub(crate) deployment: DeploymentId,
    /// Which one.
    pub(crate) kind: JobKind,
    /// Counts the attempts, over all engines.
    pub(crate) attempt: u32,
}

/// Which job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum JobKind {
    /// Fetches the source.
    Checkout,
    /// Builds.
    Build,
    /// Runs the release command.
    ReleaseCommand,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum JobEnd {
    /// The source is there.
    CheckedOut {
        /// What it is.
        commit: CommitInfo,
        /// Where it is.
        directory: PathBuf,
    },
    /// The artifact is there.
    Built(Box<Built>),
    /// The release command ended.
    Exited {
        /// How.
        exit: Exit,
        /// Its last lines.
        output: Vec<String>,
    },
    /// The release command of an engine that crashed left no record: it may have run.
    Lost,
    /// It failed.
    Failed {
        /// Why.
        cause: String,
        /// The last lines that it printed.
        output: Vec<String>,
        /// The next step for a person.
        hint: Option<String>,
    },
}

/// A place in a server's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    /// For a build.
    Build,
    /// For starting replicas.
    Start,
}
