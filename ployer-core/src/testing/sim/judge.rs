//! The judge: what the invariants remember of a history, and the first breach of one.
//!
//! The checks themselves stand in `invariants`, by number.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::stored::{Stored, replicas};
use super::world::{EngineNumber, World};
use crate::config::Settings;
use crate::engine::decide::state::{OperationKind, Stage, State, WantedRoute};
use crate::model::{ApplicationId, DeploymentId, InstanceId, ReleaseId, ReplicaName, Revision, Wanted};

/// A breach of an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which invariant.
    pub invariant: u8,
    /// What happened.
    pub what: String,
}

/// What the invariants remember of a history.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) breach: Option<Breach>,
    pub(super) stored: Stored,
    pub(super) settings: Settings,
    /// The installation whose objects the engine may touch.
    pub(super) instance: Option<InstanceId>,
    pub(super) epochs: BTreeMap<EngineNumber, u64>,
    /// Replicas that have answered through the proxy while the route named them.
    pub(super) answered: BTreeSet<ReplicaName>,
    pub(super) answered_static: BTreeSet<ReleaseId>,
    /// Replicas that a route has named.
    pub(super) served: BTreeSet<ReplicaName>,
    /// Replicas that have listened.
    pub(super) listened: BTreeSet<ReplicaName>,
    /// When a replica ended without being told to.
    pub(super) deaths: BTreeMap<ReplicaName, Duration>,
    /// When a replica that had ended by itself listened again.
    pub(super) revived: BTreeMap<ReplicaName, Duration>,
    /// The newest table that was read back.
    pub(super) read_back: Revision,
    /// The newest table in which the route of an application changed.
    pub(super) route_changed: BTreeMap<ApplicationId, Revision>,
    pub(super) command_runs: BTreeMap<ReleaseId, u32>,
    pub(super) intended: BTreeSet<DeploymentId>,
    /// By deployment, and whether it was past its build.
    pub(super) crashes: BTreeMap<(DeploymentId, bool), u32>,
    pub(super) acted: BTreeSet<DeploymentId>,
    /// Since when something could serve that the route does not name.
    pub(super) idle_since: BTreeMap<ApplicationId, Duration>,
    /// Until when something went wrong that the engine needs time to mend.
    pub(super) trouble_until: Duration,
    pub(super) jumped_at: Option<Duration>,
    pub(super) many_retired_at: Option<Duration>,
    /// Requests that nobody answered, through no fault of Ployer.
    pub(super) excused: u64,
    /// Requests that outlasted their hold.
    pub(super) outlasted: u64,
}

impl Judge {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            breach: None,
            stored: Stored::default(),
            settings,
            instance: None,
            epochs: BTreeMap::new(),
            answered: BTreeSet::new(),
            answered_static: BTreeSet::new(),
            served: BTreeSet::new(),
            listened: BTreeSet::new(),
            deaths: BTreeMap::new(),
            revived: BTreeMap::new(),
            read_back: Revision::default(),
            route_changed: BTreeMap::new(),
            command_runs: BTreeMap::new(),
            intended: BTreeSet::new(),
            crashes: BTreeMap::new(),
            acted: BTreeSet::new(),
            idle_since: BTreeMap::new(),
            trouble_until: Duration::ZERO,
            jumped_at: None,
            many_retired_at: None,
            excused: 0,
            outlasted: 0,
        }
    }

    /// How long the engine may take to see and mend what happened: two ticks, and a little for the mending.
    pub(super) fn patience(&self) -> Duration {
        self.settings.engine.tick_idle * 2 + Duration::from_secs(5)
    }

    pub(super) fn state_with(&self, name: &ReplicaName) -> Option<(ApplicationId, &State)> {
        let found = self.stored.states.iter().find(|(_, state)| replicas(state).any(|(other, _)| other == name));
        found.map(|(id, state)| (*id, state))
    }

    /// Whether a stop or a scale to nothing is under way, which ends before a later wish is taken up.
    pub(super) fn is_ending(&self, application: ApplicationId) -> bool {
        let operation = self.stored.states.get(&application).and_then(|state| state.operation.as_ref());
        let kind = operation.map(|operation| operation.kind);
        matches!(kind, Some(OperationKind::Stop | OperationKind::Delete | OperationKind::Scale))
            && matches!(operation.map(|operation| &operation.stage), Some(Stage::Rollout(rollout))
                if matches!(rollout.after.route, WantedRoute::Unavailable { .. }))
    }

    /// Whether a user asked that nothing of this application serves.
    pub(super) fn may_end(&self, application: ApplicationId) -> bool {
        let Some(row) = self.stored.applications.get(&application) else { return true };
        row.wanted != Wanted::Running || row.replicas.iter().any(|(process, count)| process.is_web() && *count == 0)
    }
}

impl World {
    /// Notes the first breach: the history ends with it.
    pub(super) fn breach(&mut self, invariant: u8, what: impl Into<String>) {
        if self.judge.breach.is_none() {
            let what = what.into();
            self.note(format_args!("!! breach of invariant {invariant}: {what}"));
            self.judge.breach = Some(Breach { invariant, what });
        }
    }

    /// Something goes wrong until then, and the engine needs time to mend it.
    pub(super) fn trouble(&mut self, lasting: Duration) {
        self.judge.trouble_until = self.judge.trouble_until.max(self.now + lasting);
    }

    /// Whether something that began at `since` has lasted longer than an engine needs that nothing hinders.
    pub(super) fn is_overdue(&self, since: Duration) -> bool {
        let engine_runs =
            self.engines.iter().any(|(number, life)| !life.dead && self.judge.epochs.contains_key(number));
        engine_runs && self.now > since.max(self.judge.trouble_until) + self.judge.patience()
    }
}
