//! The converger: what should be there against what is seen, and the effects that close the difference.
//!
//! It is the daily path and the way back after a crash alike. Only objects are removed whose release the store knows
//! and that nothing wants any more (invariant 5); an object of ours that the store does not know is reported and left
//! alone.

use std::collections::BTreeSet;

use super::action::{Action, Gate};
use super::decision::Decision;
use super::route::resolve;
use super::seen::Slot;
use super::state::{Desired, Mode, Stage, Until, Wanted, WantedRoute};
use crate::model::{EventKind, ReplicaName, ReplicaSeen, ReplicaState};
#[cfg(sim_bugs)]
use crate::planted::{Bug, has};

impl Decision<'_> {
    /// Names every effect that closes the difference between what should be there and what is seen.
    pub(super) fn converge(&mut self) {
        if self.state.adopting {
            return;
        }
        let desired = self.state.desired();
        self.name_route();
        self.watch_draining();
        self.confirm(&desired);
        self.name_discard();
        if self.seen.replicas.is_none() {
            return;
        }
        self.hold_start_slot();
        for (name, wanted) in &desired.replicas {
            self.converge_replica(name, wanted);
        }
        self.remove_unwanted(&desired);
    }

    fn converge_replica(&mut self, name: &ReplicaName, wanted: &Wanted) {
        let state = self.seen.replica(name).map(|seen| (seen.state.clone(), seen.keeps_running));
        match (wanted.mode, state) {
            (Mode::Run, None | Some((ReplicaState::Stopped, _))) => self.start(name, wanted),
            (Mode::Run, Some((ReplicaState::Running, keeps))) => self.watch_running(name, wanted, keeps),
            (Mode::Run, Some((ReplicaState::Exited(_), false))) if wanted.passed => self.start(name, wanted),
            (Mode::Kept, Some((ReplicaState::Running, _) | (ReplicaState::Exited(_), true))) => self.stop(name),
            // The runtime brings back what it keeps; one that ended before the gate fails it; what is kept has ended.
            (Mode::Run, Some((ReplicaState::Exited(_), _))) => {}
            (Mode::Kept, None | Some((ReplicaState::Stopped | ReplicaState::Exited(_), _))) => {}
        }
    }

    /// A start waits for its slot, unless it only brings back what has run already.
    fn start(&mut self, name: &ReplicaName, wanted: &Wanted) {
        if wanted.passed || self.seen.slots.contains_key(&Slot::Start) {
            self.act(Action::Start { name: name.clone(), wanted: wanted.clone() });
        }
    }

    fn stop(&mut self, name: &ReplicaName) {
        self.act(Action::Stop { name: name.clone(), grace: self.deadlines().grace });
    }

    fn watch_running(&mut self, name: &ReplicaName, wanted: &Wanted, keeps: bool) {
        if wanted.passed && !keeps {
            self.act(Action::KeepRunning { name: name.clone() });
        }
        let in_doubt = self.seen.readiness.get(name).is_some_and(|readiness| readiness.ready_at.is_none());
        if (in_doubt || self.is_gated(name)) && !self.seen.is_ready(name) {
            let gate = self.gate(wanted);
            self.act(Action::Probe { name: name.clone(), wanted: wanted.clone(), gate });
        }
    }

    fn is_gated(&self, name: &ReplicaName) -> bool {
        match self.until() {
            Some(Until::Ready(names) | Until::Started(names)) => names.contains(name),
            Some(_) | None => false,
        }
    }

    fn until(&self) -> Option<&Until> {
        match self.state.operation.as_ref().map(|operation| &operation.stage) {
            Some(Stage::Rollout(rollout)) => Some(&rollout.phase().until),
            Some(_) | None => None,
        }
    }

    /// How a replica shows that it is ready: the health check, else the release's path, else a listener of its own.
    fn gate(&self, wanted: &Wanted) -> Gate {
        if wanted.address.is_none() {
            return Gate::Steady { lasting: self.ground.settings.engine.portless_ready };
        }
        if let Some(health) = &self.facts.health {
            let timeout = std::time::Duration::from_secs(health.timeout_seconds.into());
            return Gate::Http { path: health.path.clone(), timeout, threshold: health.healthy_threshold };
        }
        match self.release(wanted.release).and_then(|release| release.spec.health_path.clone()) {
            Some(path) => Gate::Http { path, timeout: self.ground.settings.engine.gate_answer, threshold: 1 },
            None => Gate::Listening,
        }
    }

    fn hold_start_slot(&mut self) {
        if matches!(self.until(), Some(Until::Started(_))) {
            self.act(Action::HoldSlot(Slot::Start));
        }
    }

    /// The replicas whose requests are being waited for in this phase.
    pub(super) fn draining_in_phase(&self) -> BTreeSet<ReplicaName> {
        match self.until() {
            Some(Until::Drained { replicas, .. }) => replicas.clone(),
            Some(_) | None => BTreeSet::new(),
        }
    }

    /// Asks through the proxy, once the route is what the switch wants.
    fn confirm(&mut self, desired: &Desired) {
        let Some(Until::Routed(names)) = self.until().cloned() else { return };
        let resolved = resolve(self.facts, self.seen, &self.state, self.ground, &desired.route);
        if resolved.is_none() || self.seen.route.as_ref().is_none_or(|seen| seen.route != resolved) {
            return;
        }
        match &desired.route {
            WantedRoute::Static(release) if self.seen.answered_static != Some(*release) => {
                self.act(Action::Ask { upstream: None });
            }
            WantedRoute::Replicas(_) => {
                let silent = names.iter().filter(|name| !self.seen.answered.contains(*name));
                let upstreams: Vec<_> = silent.filter_map(|name| desired.replicas.get(name)?.upstream(name)).collect();
                for upstream in upstreams {
                    self.act(Action::Ask { upstream: Some(upstream) });
                }
            }
            WantedRoute::Static(_)
            | WantedRoute::Nowhere
            | WantedRoute::Hold { .. }
            | WantedRoute::Unavailable { .. } => {}
        }
    }

    /// Removes the checkouts of deployments that no longer need them, also of those that have ended meanwhile.
    fn name_discard(&mut self) {
        let user = self.state.operation.as_ref().filter(|operation| operation.stage.needs_checkout());
        let user = user.and_then(|operation| operation.kind.deployment());
        for deployment in self.state.checkouts.clone() {
            if self.seen.discarded.contains(&deployment) {
                self.state.checkouts.remove(&deployment);
            } else if Some(deployment) != user {
                self.act(Action::Discard { deployment, artifact: false });
            }
        }
    }

    fn remove_unwanted(&mut self, desired: &Desired) {
        let Some(replicas) = &self.seen.replicas else { return };
        for (name, seen) in replicas {
            if desired.replicas.contains_key(name) || self.is_wanted_one_off(seen) {
                continue;
            }
            if !self.facts.releases.contains_key(&seen.owner.release) {
                #[cfg(sim_bugs)]
                if has(Bug::ReapTheUnknown) {
                    self.stop(name);
                }
                self.report_unknown(name);
                continue;
            }
            match seen.state {
                ReplicaState::Running => self.stop(name),
                ReplicaState::Exited(_) if seen.keeps_running => self.stop(name),
                ReplicaState::Exited(_) | ReplicaState::Stopped => self.act(Action::Remove { name: name.clone() }),
            }
        }
    }

    fn is_wanted_one_off(&self, seen: &ReplicaSeen) -> bool {
        let Some(operation) = &self.state.operation else { return false };
        let at_command = matches!(operation.stage, Stage::ReleaseCommand { .. });
        at_command && operation.release == Some(seen.owner.release) && seen.owner.process.as_str() == RELEASE_COMMAND
    }

    /// Whether something that the release command of `release` left is still there.
    pub(super) fn has_one_off(&self, release: crate::model::ReleaseId) -> bool {
        let is_left =
            |seen: &ReplicaSeen| seen.owner.release == release && seen.owner.process.as_str() == RELEASE_COMMAND;
        let in_doubt = |name: &ReplicaName| {
            self.release(release)
                .is_some_and(|row| *name == ReplicaName::release_command(&row.application_name, row.id))
        };
        self.seen.busy.iter().any(in_doubt)
            || self.seen.replicas.as_ref().is_none_or(|replicas| replicas.values().any(is_left))
    }

    fn report_unknown(&mut self, name: &ReplicaName) {
        if self.state.unknown.insert(name.clone()) {
            self.event(EventKind::UnknownWorkload { name: name.clone() });
        }
    }
}

/// The process type that a release command's owner names.
pub(crate) const RELEASE_COMMAND: &str = "release-command";
