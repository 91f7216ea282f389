//! The state of one application's machine: what it should have now, and what is under way to change that.
//!
//! It is stored as one JSON document before anything acts on it, so a crash at any line finds here what was meant.
//! Values only: what follows from them stands in the files beside this one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{
    AppName, DeploymentId, Failure, ProcessName, Receipt, ReleaseId, Replica, ReplicaName, Step, Traffic, Upstream,
};

/// The version of the form in which a state is stored.
pub(crate) const JOURNAL_VERSION: u32 = 1;

/// What an application should have now, and what is under way to change that.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The engine that wrote it.
    pub(crate) epoch: u64,
    /// Set by an engine that stopped in good order: what it left open does not count as a crash.
    pub(crate) parked: bool,
    /// Set where the journal was of an unknown form: what runs of the active release is to be taken over first.
    pub(crate) adopting: bool,
    /// The release that serves, or would if the application were not stopped.
    pub(crate) active: Option<ReleaseId>,
    /// The deployment that made it serve.
    pub(crate) active_deployment: Option<DeploymentId>,
    /// What the application should have while no operation says otherwise.
    pub(crate) rest: Desired,
    /// What is under way.
    pub(crate) operation: Option<Operation>,
    /// Releases whose replicas are on their way out, oldest first.
    pub(crate) retiring: Vec<Retirement>,
    /// The next index of a process type of a release: rises, and is never used again.
    pub(crate) next_index: BTreeMap<ReleaseId, BTreeMap<ProcessName, u32>>,
    /// Addresses that must not be given out again before the time beside them.
    pub(crate) resting: BTreeMap<SocketAddr, Timestamp>,
    /// When replicas of the active release exited without being told to, within the window that counts.
    pub(crate) exits: Vec<Timestamp>,
    /// Restarts by the runtime that were counted already.
    pub(crate) restarts_counted: BTreeMap<ReplicaName, u32>,
    /// Whether replicas exit too often.
    pub(crate) degraded: bool,
    /// The wish for a restart that was fulfilled last.
    pub(crate) restarts_done: u64,
    /// How long the replicas of a release took from started to ready, when that was last measured.
    pub(crate) start_measured: BTreeMap<ReleaseId, Duration>,
    /// A start or scale of this application row's version failed: not tried again before it changes.
    pub(crate) gave_up_at: Option<u64>,
    /// The name that a domain was last generated for: one that a user removed does not come back.
    pub(crate) domain_of: Option<AppName>,
    /// Searches for addresses so far.
    pub(crate) searches: u32,
    /// Deployments whose checkout may still be there.
    #[serde(default)]
    pub(crate) checkouts: BTreeSet<DeploymentId>,
    /// Objects with our mark that the store does not know, and that were reported.
    pub(crate) unknown: BTreeSet<ReplicaName>,
}

/// Which replicas an application should have and where its route points.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Desired {
    /// The replicas; what is not here should be gone.
    pub(crate) replicas: BTreeMap<ReplicaName, Wanted>,
    /// The route.
    pub(crate) route: WantedRoute,
}

/// A replica that should be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// Of which release.
    pub(crate) release: ReleaseId,
    /// Of which process type.
    pub(crate) process: ProcessName,
    /// Which one.
    pub(crate) index: u32,
    /// Where it listens; `None` for a process type without a port.
    pub(crate) address: Option<SocketAddr>,
    /// Whether it runs.
    pub(crate) mode: Mode,
    /// Whether it has passed a gate, so that the runtime starts it again when it dies.
    pub(crate) passed: bool,
}

/// Whether a replica that should be there runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// It runs.
    Run,
    /// It has stopped and is kept: a rollout may return to it.
    Kept,
}

/// Where the route of an application should point.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WantedRoute {
    /// There is none: nothing was deployed yet, or the application has no `web`.
    #[default]
    Nowhere,
    /// To these replicas, as far as they are alive.
    Replicas(BTreeSet<ReplicaName>),
    /// To the files of a static release.
    Static(ReleaseId),
    /// Requests wait.
    Hold {
        /// When the hold ends.
        until: Timestamp,
    },
    /// A page that says why nothing serves.
    Unavailable {
        /// What it says.
        reason: String,
    },
}

/// What is under way: a deployment, or a change of what runs without one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Operation {
    /// What it is.
    pub(crate) kind: OperationKind,
    /// How far it is.
    pub(crate) stage: Stage,
    /// When the stage, or the phase of its rollout, began.
    pub(crate) entered_at: Timestamp,
    /// The engine under which it was begun or taken up again.
    pub(crate) epoch: u64,
    /// Crashes of the engine while it was open.
    pub(crate) crashes: u32,
    /// The release that it brings in.
    pub(crate) release: Option<ReleaseId>,
    /// Addresses found free beyond those needed: each replaces one that turns out to be taken.
    pub(crate) spares: Vec<SocketAddr>,
    /// The facts gathered so far.
    pub(crate) receipt: Receipt,
    /// The proxy's counts at the intent, or once requests were held.
    pub(crate) traffic_before: Option<Traffic>,
    /// Why it is being turned back.
    pub(crate) outcome: Option<Outcome>,
}

/// What an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OperationKind {
    /// A deployment or a rollback.
    Deployment(DeploymentId),
    /// The active release starts, because the application should run and does not.
    Start,
    /// New replicas of the active release take over from the present ones.
    Restart {
        /// The wish that it fulfils.
        wish: u64,
    },
    /// Replicas of the active release come or go.
    Scale,
    /// Everything ends.
    Stop,
    /// Everything ends and is removed.
    Delete,
}

impl OperationKind {
    /// The deployment, where it is one.
    pub(crate) fn deployment(self) -> Option<DeploymentId> {
        match self {
            Self::Deployment(id) => Some(id),
            Self::Start | Self::Restart { .. } | Self::Scale | Self::Stop | Self::Delete => None,
        }
    }
}

/// How far an operation is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// The source is being fetched: the job of this attempt.
    Checkout {
        /// Counts the attempts.
        attempt: u32,
    },
    /// It waits for a build slot of the server.
    BuildSlot {
        /// Counts the attempts.
        attempt: u32,
    },
    /// It is being built: the job of this attempt.
    Build {
        /// Counts the attempts.
        attempt: u32,
    },
    /// The release command runs.
    ReleaseCommand {
        /// It was begun by an engine that has crashed: its record counts, and it is never run again.
        attach: bool,
    },
    /// Free addresses are being looked for.
    Addresses,
    /// A list of phases is being walked.
    Rollout(Rollout),
    /// What the jobs made is being removed, after a failure or a cancel before anything was started.
    Discard,
    /// Everything that is left of the application is being removed.
    Forget,
}

impl Stage {
    /// Whether it works on the checkout, or removes it itself.
    pub(super) fn needs_checkout(&self) -> bool {
        match self {
            Self::Checkout { .. } | Self::BuildSlot { .. } | Self::Build { .. } | Self::Discard => true,
            Self::ReleaseCommand { .. } | Self::Addresses | Self::Rollout(_) | Self::Forget => false,
        }
    }
}

/// A list of phases and the place in it. Nothing is chosen on the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rollout {
    /// The phases, at least one.
    pub(crate) phases: Vec<Phase>,
    /// The phase that is being pursued.
    pub(crate) at: usize,
    /// The replicas that it brings in.
    pub(crate) new: BTreeSet<ReplicaName>,
    /// What the application has at rest once the last phase is over.
    pub(crate) after: Desired,
    /// What it had before.
    pub(crate) before: Desired,
    /// When it is turned back at the latest, so that the replicas before are back when the hold ends.
    pub(crate) turn_back_at: Option<Timestamp>,
    /// Whether it is on the way back.
    pub(crate) back: bool,
}

impl Rollout {
    /// The phase that is being pursued.
    pub(crate) fn phase(&self) -> &Phase {
        &self.phases[self.at]
    }
}

/// What the application should have for a while, and what must be seen before the next phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Phase {
    /// What it should have.
    pub(crate) desired: Desired,
    /// What must be seen.
    pub(crate) until: Until,
    /// The step that a person is told of.
    pub(crate) step: Step,
    /// How long it may take; for a start, counted from the grant of its slot.
    pub(crate) timeout: Duration,
    /// What follows when it takes longer.
    pub(crate) late: Late,
}

/// What must be seen before the next phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Until {
    /// These run.
    Started(BTreeSet<ReplicaName>),
    /// These have passed the gate.
    Ready(BTreeSet<ReplicaName>),
    /// The route was read back, and each of these (or the static release) has answered through the proxy.
    Routed(BTreeSet<ReplicaName>),
    /// No request is under way on these.
    Drained {
        /// On which.
        replicas: BTreeSet<ReplicaName>,
        /// How long upgraded connections are waited for; zero: not at all.
        upgraded: Duration,
    },
    /// These have stopped.
    Stopped(BTreeSet<ReplicaName>),
    /// These are gone.
    Gone(BTreeSet<ReplicaName>),
}

/// What follows when a phase takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Late {
    /// The rollout is turned back.
    TurnBack,
    /// The next phase begins all the same.
    GoOn,
}

/// Why an operation is being turned back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It failed.
    Failed(Failure),
    /// It was cancelled.
    Cancelled {
        /// Why.
        reason: String,
    },
}

/// A release whose replicas are on their way out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Retirement {
    /// Which release.
    pub(crate) release: ReleaseId,
    /// Its replicas, with what each should do now.
    pub(crate) replicas: BTreeMap<ReplicaName, Wanted>,
    /// How far it is.
    pub(crate) stage: RetireStage,
    /// When the retirement began.
    pub(crate) began_at: Timestamp,
    /// The deployment that had made it serve; `None` where only some replicas of a release go.
    pub(crate) deployment: Option<DeploymentId>,
}

/// How far a retirement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RetireStage {
    /// Requests under way end. Until here it can be reversed.
    Drain,
    /// The replicas are told to end.
    Terminate,
    /// They are removed.
    Remove,
}

impl Wanted {
    /// The replica under its name, as a runtime is asked for it.
    pub(crate) fn replica(&self, name: &ReplicaName) -> Replica {
        Replica { name: name.clone(), index: self.index, address: self.address }
    }

    /// Where requests to it go; `None` for a process type without a port.
    pub(crate) fn upstream(&self, name: &ReplicaName) -> Option<Upstream> {
        self.address.map(|address| Upstream { replica: name.clone(), address })
    }
}

impl Desired {
    /// The names of its replicas of `web`.
    pub(crate) fn web(&self) -> BTreeSet<ReplicaName> {
        self.replicas.iter().filter(|(_, wanted)| wanted.process.is_web()).map(|(name, _)| name.clone()).collect()
    }
}

impl State {
    /// What the application should have now: the phase of the operation or the state of rest, and what retires.
    pub(crate) fn desired(&self) -> Desired {
        let mut desired = match self.operation.as_ref().map(|operation| &operation.stage) {
            Some(Stage::Rollout(rollout)) => rollout.phase().desired.clone(),
            Some(_) | None => self.rest.clone(),
        };
        for retirement in &self.retiring {
            if retirement.stage != RetireStage::Remove {
                desired.replicas.extend(retirement.replicas.clone());
            }
        }
        desired
    }

    /// Every address that this application uses or lets rest.
    pub(crate) fn addresses(&self) -> BTreeSet<SocketAddr> {
        let mut addresses: BTreeSet<SocketAddr> = self.resting.keys().copied().collect();
        let mut add = |desired: &BTreeMap<ReplicaName, Wanted>| {
            addresses.extend(desired.values().filter_map(|wanted| wanted.address));
        };
        add(&self.rest.replicas);
        for retirement in &self.retiring {
            add(&retirement.replicas);
        }
        if let Some(Operation { stage: Stage::Rollout(rollout), .. }) = &self.operation {
            add(&rollout.before.replicas);
            add(&rollout.after.replicas);
            for phase in &rollout.phases {
                add(&phase.desired.replicas);
            }
        }
        addresses.extend(self.operation.iter().flat_map(|operation| operation.spares.iter().copied()));
        addresses
    }

    /// The deployments, besides those that have not ended, whose rows a decision may change.
    pub(crate) fn deployments(&self) -> BTreeSet<DeploymentId> {
        let under_way = self.operation.as_ref().and_then(|operation| operation.kind.deployment());
        let retiring = self.retiring.iter().filter_map(|retirement| retirement.deployment);
        self.active_deployment.into_iter().chain(under_way).chain(retiring).collect()
    }

    /// Whether nothing is under way.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.operation.is_none() && self.retiring.is_empty()
    }
}
