//! Rest: what must hold once faults have ceased and time has passed.
//!
//! Desired is what is seen, nothing is left over, and what users wished last is what serves.

use std::collections::BTreeSet;

use super::replicas::Life;
use super::routing::named;
use super::world::{EngineNumber, World};
use crate::engine::decide::state::{Mode, State, WantedRoute};
use crate::model::{ApplicationId, DeploymentId, DeploymentStatus, ReleaseState, ReplicaName, Step, Target, Wanted};

impl World {
    /// Whether the newest deployment of an application is at that step or beyond.
    pub(super) fn is_at_step(&self, id: ApplicationId, step: Step) -> bool {
        let newest = self.judge.stored.deployments.values().rev().find(|row| row.application_id == id);
        newest.is_none_or(|row| row.step >= step || row.status.is_final())
    }

    /// Whether nothing of an application is under way, and everything that was wished has been taken up.
    pub(super) fn rests(&self, id: ApplicationId) -> bool {
        let stored = &self.judge.stored;
        let Some(row) = stored.applications.get(&id) else { return true };
        let idle = stored.states.get(&id).is_none_or(State::is_at_rest);
        let queue_is_empty = stored.unfinished(id).next().is_none();
        let deleting = matches!(row.wanted, Wanted::Deleting { .. });
        idle && queue_is_empty && !deleting && self.is_as_wished(id)
    }

    /// Whether the number of replicas, a stop or a restart that was wished is what the application has.
    fn is_as_wished(&self, id: ApplicationId) -> bool {
        let stored = &self.judge.stored;
        let (Some(row), Some(state)) = (stored.applications.get(&id), stored.states.get(&id)) else { return true };
        if row.wanted == Wanted::Stopped {
            return state.rest.replicas.is_empty();
        }
        let Some(release) = state.active.and_then(|active| stored.releases.get(&active)) else { return true };
        let gave_up = state.gave_up_at.is_some();
        let restarted = row.restarts_wanted <= state.restarts_done;
        let complete = release.spec.processes.iter().all(|process| {
            let wished = row.replicas.get(&process.name).copied().unwrap_or(process.replicas);
            let there = state.rest.replicas.values().filter(|wanted| wanted.process == process.name).count();
            u32::try_from(there).is_ok_and(|there| there == wished)
        });
        gave_up || restarted && complete
    }

    /// Whether nothing at all is under way.
    pub(super) fn is_at_rest(&self) -> bool {
        let engine_runs = self.engines.values().any(|life| !life.dead);
        engine_runs && self.orders.is_empty() && self.judge.stored.applications.keys().all(|id| self.rests(*id))
    }

    /// Everything rests: it is judged.
    pub(super) fn judge_rest(&mut self) {
        let all: Vec<_> = self.judge.stored.applications.keys().copied().collect();
        for id in all {
            if let Some(state) = self.judge.stored.states.get(&id).cloned() {
                self.judge_replicas(&state);
                self.judge_route(id, &state);
            }
            self.judge_newest(id);
        }
        self.judge_leftovers();
    }

    /// What should run does.
    fn judge_replicas(&mut self, state: &State) {
        for (name, wanted) in &state.rest.replicas {
            let Some(replica) = self.replicas.all.get(name) else {
                return self.breach(3, format!("{name} should be there and is not"));
            };
            let is_brought_back = replica.keep && replica.program.exits_after.is_some();
            let fits = match (wanted.mode, replica.state) {
                (Mode::Run, Life::Runs { ending, .. }) => !ending,
                (Mode::Run, Life::Ended(_)) => is_brought_back,
                (Mode::Kept, Life::Stopped | Life::Ended(_)) => true,
                (Mode::Run, Life::Stopped) | (Mode::Kept, Life::Runs { .. }) => false,
            };
            if !fits {
                return self.breach(
                    3,
                    format!("{name} should be {:?} and is {:?}", wanted.mode, self.replicas.all[name].state),
                );
            }
            if wanted.mode == Mode::Run && !self.replicas.all[name].keep {
                return self.breach(3, format!("{name} would not be started again if it died"));
            }
        }
    }

    /// The route leads where it should.
    fn judge_route(&mut self, id: ApplicationId, state: &State) {
        let route = self.routing.table.routes.get(&id).cloned();
        let target = route.as_ref().map(|route| &route.target);
        let fits = match &state.rest.route {
            WantedRoute::Nowhere => target.is_none(),
            WantedRoute::Static(release) => {
                matches!(target, Some(Target::Static { release: served, .. }) if served == release)
            }
            WantedRoute::Unavailable { .. } => matches!(target, Some(Target::Unavailable { .. })),
            WantedRoute::Hold { .. } => false,
            WantedRoute::Replicas(names) => {
                let ready: BTreeSet<_> = names.iter().filter(|name| self.answers(name)).collect();
                let served: BTreeSet<_> = route.iter().flat_map(named).map(|upstream| &upstream.replica).collect();
                ready == served || ready.len() < names.len() && served.is_subset(&names.iter().collect())
            }
        };
        if !fits {
            self.breach(1, format!("at rest the route is {target:?} and should be {:?}", state.rest.route));
        }
    }

    fn answers(&self, name: &ReplicaName) -> bool {
        self.replicas.all.get(name).is_some_and(|replica| replica.listens())
    }

    /// What came to serve last is what is active.
    fn judge_newest(&mut self, id: ApplicationId) {
        let stored = &self.judge.stored;
        let ran = stored
            .deployments
            .values()
            .filter(|row| row.application_id == id && row.status == DeploymentStatus::Running);
        let newest = ran.max_by_key(|row| (row.routed_at, row.id));
        let active = stored.states.get(&id).and_then(|state| state.active);
        let expected = newest.and_then(|row| row.release);
        // Which of two came last is told by the time of day: not to be trusted where that was set back.
        if expected != active && self.judge.jumped_at.is_none() {
            self.breach(3, format!("{expected:?} came to serve last, and {active:?} is active"));
        }
        let pinned = self.judge.stored.releases.values().find_map(|release| {
            let by = release.pinned_by?;
            let over = self.judge.stored.deployments.get(&by).is_some_and(|row| row.status.is_final());
            (release.application_id == id && over).then_some((release.id, by))
        });
        if let Some((release, by)) = pinned {
            self.breach(3, format!("{release} is still pinned by {by}, which has ended"));
        }
    }

    /// Nothing is left that nothing wants, and what is somebody else's is there.
    fn judge_leftovers(&mut self) {
        let wanted: BTreeSet<_> =
            self.judge.stored.states.values().flat_map(|state| state.desired().replicas.into_keys()).collect();
        let ours = |(name, replica): &(&ReplicaName, &super::replicas::SimReplica)| {
            Some(replica.owner.instance) == self.judge.instance && !self.replicas.foreign.contains(*name)
        };
        let orphan = self.replicas.all.iter().filter(ours).map(|(name, _)| name).find(|name| !wanted.contains(*name));
        if let Some(name) = orphan.cloned() {
            return self.breach(5, format!("{name} is left, and nothing wants it"));
        }
        if let Some(name) = self.replicas.foreign.iter().find(|name| !self.replicas.all.contains_key(*name)).cloned() {
            return self.breach(5, format!("{name} is gone, and it was not ours"));
        }
        if let Some(deployment) = self.workshop.checkouts.keys().next().copied() {
            return self.breach(5, format!("the checkout of {deployment} is left"));
        }
        let leaked = self.workshop.artifacts.keys().find(|path| !self.is_kept(path)).cloned();
        if let Some(path) = leaked {
            self.breach(5, format!("the artifact {} is left, and no release has it", path.display()));
        }
    }

    fn is_kept(&self, path: &std::path::Path) -> bool {
        self.judge.stored.releases.values().any(|release| {
            release.state != ReleaseState::Collected && super::workshop::place(&release.artifact) == path
        })
    }

    /// An engine has ended by itself: what it left open is no crash.
    pub(super) fn ends_in_good_order(&mut self, engine: EngineNumber) {
        let Some(life) = self.engines.get_mut(&engine).filter(|life| !life.dead) else { return };
        life.dead = true;
        self.replicas.engine_is_gone(engine);
        self.forget_rests();
        self.judge.acted = BTreeSet::<DeploymentId>::new();
        if self.routing.in_process && self.engines.values().all(|life| life.dead) {
            self.proxy_is_gone();
        }
    }
}
