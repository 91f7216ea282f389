//! The recovery: what an engine does with what the one before it left open.
//!
//! There is no second path: each row of the table puts the state where the daily path takes it up. Deadlines begin
//! anew; a checkout, build, start or gate that two crashes left open fails, so that a deployment that kills its
//! engine does not do so for ever; an engine that stopped in good order is no crash.

use super::decision::Decision;
use super::state::{Desired, Mode, Outcome, Rollout, Stage, State, Wanted, WantedRoute};
use crate::model::{Failure, Machine, ReplicaState, Step};
#[cfg(sim_bugs)]
use crate::planted::{Bug, has};

impl State {
    /// The state that a machine's row holds; of an unknown form: the active release, to be taken over as it runs.
    pub(crate) fn from_machine(machine: &Machine) -> Self {
        let known = machine.journal_version == super::state::JOURNAL_VERSION;
        let parsed = known.then(|| serde_json::from_str(&machine.journal).ok()).flatten();
        parsed.unwrap_or_else(|| Self { active: machine.active, adopting: true, ..Self::default() })
    }
}

impl Decision<'_> {
    /// Takes over what an earlier engine left.
    pub(super) fn recover(&mut self) {
        let was_parked = std::mem::take(&mut self.state.parked);
        if self.state.epoch != self.ground.epoch {
            self.state.epoch = self.ground.epoch;
            self.take_up(was_parked);
        }
        if self.state.adopting {
            self.adopt();
        }
    }

    fn take_up(&mut self, was_parked: bool) {
        let now = self.now;
        let crashes_max = self.ground.settings.engine.crashes_max;
        let Some(operation) = &mut self.state.operation else { return };
        operation.epoch = self.ground.epoch;
        operation.entered_at = now;
        operation.crashes += u32::from(!was_parked);
        let too_many = operation.crashes >= crashes_max;
        #[cfg(sim_bugs)]
        let too_many = too_many && !has(Bug::ResumeWithoutLimit);
        let step = match &mut operation.stage {
            Stage::Checkout { attempt } | Stage::BuildSlot { attempt } | Stage::Build { attempt } => {
                let attempt = *attempt + 1;
                operation.stage = Stage::Checkout { attempt };
                Some(Step::Build)
            }
            Stage::ReleaseCommand { attach } => {
                *attach = true;
                None
            }
            Stage::Addresses => {
                self.state.searches += 1;
                None
            }
            Stage::Rollout(rollout) => open_step(rollout),
            Stage::Discard | Stage::Forget => None,
        };
        if let Some(step) = step.filter(|_| too_many) {
            let cause = format!("the engine ended unexpectedly {crashes_max} times during this deployment");
            self.turn_back(Outcome::Failed(Failure::new(step, cause)));
        }
    }

    /// Takes over what runs of the active release; everything else of the journal that could not be read is undone.
    fn adopt(&mut self) {
        let Some(replicas) = &self.seen.replicas else { return };
        let active = self.state.active;
        let ours = replicas.values().filter(|seen| Some(seen.owner.release) == active);
        let rest = ours.filter(|seen| seen.state == ReplicaState::Running).map(|seen| {
            let wanted = Wanted {
                release: seen.owner.release,
                process: seen.owner.process.clone(),
                index: seen.owner.index,
                address: seen.address,
                mode: Mode::Run,
                passed: true,
            };
            (seen.name.clone(), wanted)
        });
        let mut desired = Desired { replicas: rest.collect(), route: WantedRoute::Nowhere };
        let is_static = active.and_then(|active| self.release(active)).is_some_and(|r| r.spec.static_root.is_some());
        desired.route = match (is_static, active, desired.web()) {
            (true, Some(active), _) => WantedRoute::Static(active),
            (_, _, web) if web.is_empty() => WantedRoute::Nowhere,
            (_, _, web) => WantedRoute::Replicas(web),
        };
        for wanted in desired.replicas.values() {
            let indexes = self.state.next_index.entry(wanted.release).or_default();
            let next = indexes.entry(wanted.process.clone()).or_insert(1);
            *next = (*next).max(wanted.index + 1);
        }
        self.state.rest = desired;
        self.state.restarts_done = self.facts.application.restarts_wanted;
        self.state.domain_of = Some(self.facts.application.name.clone());
        self.state.adopting = false;
        self.fail_unreadable();
    }

    fn fail_unreadable(&mut self) {
        let now = self.now;
        let open: Vec<_> =
            self.facts.deployments.values().filter(|row| row.status.is_under_way()).map(|row| row.id).collect();
        for id in open {
            self.set_row(id, |row| {
                row.status = crate::model::DeploymentStatus::Failed;
                row.finished_at = Some(now);
                row.failure = Some(Failure::new(row.step, "its journal was written by another version of Ployer"));
            });
        }
    }
}

/// The step that a crash counts against; none once the route may have gone over, and none on the way back.
fn open_step(rollout: &Rollout) -> Option<Step> {
    let step = rollout.phase().step;
    (!rollout.back && step != Step::Switch).then_some(step)
}
