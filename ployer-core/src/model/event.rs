//! Events: what happened, in order, without gaps. An event and the change it tells of are one commit.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::actor::Actor;
use super::deployment::{DeploymentStatus, Step};
use super::id::{ApplicationId, DeploymentId, ReleaseId};
use super::name::{DomainName, EnvKey, ProcessName};
use super::workload::{Exit, ReplicaName};

/// The place of an event in the log: rises by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventSeq(pub u64);

impl fmt::Display for EventSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// Its place in the log.
    pub seq: EventSeq,
    /// When it was stored.
    pub at: Timestamp,
    /// On whose behalf.
    #[serde(flatten)]
    pub actor: Actor,
    /// The application it is about.
    pub application_id: Option<ApplicationId>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

impl Event {
    /// An event at its place in the log.
    pub fn new(seq: EventSeq, at: Timestamp, actor: Actor, event: NewEvent) -> Self {
        Self { seq, at, actor, application_id: event.application_id, kind: event.kind }
    }
}

/// Something that happens with a commit; the store gives it its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The application it is about.
    pub application_id: Option<ApplicationId>,
    /// What happens.
    pub kind: EventKind,
}

impl NewEvent {
    /// An event about an application.
    pub fn of(application: ApplicationId, kind: EventKind) -> Self {
        Self { application_id: Some(application), kind }
    }

    /// An event about the installation.
    pub fn global(kind: EventKind) -> Self {
        Self { application_id: None, kind }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// An application was made.
    ApplicationCreated,
    /// Settings of an application were changed: which fields.
    ApplicationUpdated {
        /// Their names.
        fields: Vec<String>,
    },
    /// A user asked for a stop, a start, a restart, other replica counts or the deletion.
    ApplicationRequested {
        /// What was asked for: `start`, `stop`, `restart`, `scale`, `delete`.
        action: String,
    },
    /// The deletion has ended; its name is free.
    ApplicationDeleted,
    /// A deployment has a new status.
    DeploymentStatus {
        /// Which deployment.
        deployment_id: DeploymentId,
        /// The status.
        status: DeploymentStatus,
        /// What a person should know.
        message: Option<String>,
    },
    /// A deployment came to a step.
    DeploymentStep {
        /// Which deployment.
        deployment_id: DeploymentId,
        /// The step.
        step: Step,
    },
    /// A wish to cancel was stored.
    CancelRequested {
        /// Of which deployment.
        deployment_id: DeploymentId,
        /// Why.
        reason: String,
    },
    /// A replica is ready.
    ReplicaReady {
        /// Which one.
        replica: ReplicaName,
        /// Of which process type.
        process: ProcessName,
    },
    /// A replica ended without being told to.
    ReplicaExited {
        /// Which one.
        replica: ReplicaName,
        /// Of which process type.
        process: ProcessName,
        /// How.
        exit: Exit,
    },
    /// The application exits too often, or has stopped doing so.
    Degraded {
        /// Whether it does.
        degraded: bool,
    },
    /// The route of the application was confirmed.
    RouteConfirmed {
        /// What it names: replicas, a static release, nothing.
        target: String,
    },
    /// A release has ended serving and its replicas are gone.
    ReleaseRetired {
        /// Which one.
        release_id: ReleaseId,
    },
    /// A release's artifact was removed.
    ReleaseCollected {
        /// Which one.
        release_id: ReleaseId,
    },
    /// A rollout without a deployment (start, restart, scale) was turned back.
    RolloutFailed {
        /// Why.
        cause: String,
    },
    /// An object carries our mark but is not in the store: reported, never touched.
    UnknownWorkload {
        /// Its name.
        name: ReplicaName,
    },
    /// A domain was added.
    DomainAdded {
        /// Which one.
        domain: DomainName,
    },
    /// A domain was removed.
    DomainRemoved {
        /// Which one.
        domain: DomainName,
    },
    /// A domain became the primary one.
    DomainPrimary {
        /// Which one.
        domain: DomainName,
    },
    /// A variable was set; counts from the next deployment.
    VariableSet {
        /// Which one; never its value.
        key: EnvKey,
    },
    /// A variable was removed; counts from the next deployment.
    VariableRemoved {
        /// Which one.
        key: EnvKey,
    },
    /// Values of variables were read in clear.
    VariablesRevealed,
    /// The health check was set or removed.
    HealthCheckChanged,
    /// A user was added.
    UserCreated,
    /// A user's role or a membership was changed.
    RightsChanged,
    /// A server was added or changed.
    ServerChanged,
    /// An engine took the lease.
    EngineStarted {
        /// Its epoch.
        epoch: u64,
    },
    /// The engine gave the lease back.
    EngineStopped {
        /// Its epoch.
        epoch: u64,
    },
}
