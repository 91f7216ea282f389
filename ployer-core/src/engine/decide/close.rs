//! The end of an operation: `running`, `failed` or `cancelled`, with everything that stands or falls with the word.
//!
//! Status, release, domain row, retirement and events are one commit (invariant 4: a status is reported only after
//! what it says was observed).

use super::decision::Decision;
use super::state::{Operation, OperationKind, Outcome, RetireStage, Retirement, Rollout, Stage};
use crate::model::{
    Change, DeploymentId, DeploymentStatus, Domain, DomainId, EventKind, ReleaseState, Step, StepTimes, Traffic,
};

impl Decision<'_> {
    /// The last phase was seen: what the rollout brought in is what the application has now.
    pub(super) fn close_done(&mut self, rollout: Rollout) {
        let Some(operation) = self.state.operation.take() else { return };
        let before = self.state.active;
        let before_deployment = self.state.active_deployment;
        let target = rollout.after.route.describe();
        self.retire_old(&rollout, operation.kind);
        self.state.rest = rollout.after;
        self.event(EventKind::RouteConfirmed { target });
        match operation.kind {
            OperationKind::Deployment(id) => {
                self.state.active = operation.release;
                self.state.active_deployment = Some(id);
                self.state.gave_up_at = None;
                self.state.exits.clear();
                self.supersede(before_deployment, id);
                self.activate(id, &operation);
                self.report_running(id, &operation);
                if before != self.state.active && self.state.retiring.iter().all(|r| r.deployment != before_deployment)
                {
                    self.retire_without_replicas(before_deployment);
                }
            }
            OperationKind::Restart { wish } => self.state.restarts_done = wish,
            OperationKind::Start | OperationKind::Scale | OperationKind::Stop => {}
            OperationKind::Delete => {
                self.state.operation = Some(Operation { stage: Stage::Forget, entered_at: self.now, ..operation });
            }
        }
    }

    fn retire_old(&mut self, rollout: &Rollout, kind: OperationKind) {
        let Some(last) = rollout.phases.last() else { return };
        let is_old = |name: &&crate::model::ReplicaName| !rollout.after.replicas.contains_key(*name);
        let old: std::collections::BTreeMap<_, _> = last
            .desired
            .replicas
            .iter()
            .filter(|(name, _)| is_old(name))
            .map(|(name, wanted)| (name.clone(), wanted.clone()))
            .collect();
        let Some(release) = old.values().next().map(|wanted| wanted.release) else { return };
        let deployment = kind.deployment().and(self.state.active_deployment);
        let stage = RetireStage::Drain;
        self.state.retiring.push(Retirement { release, replicas: old, stage, began_at: self.now, deployment });
    }

    /// A static release has no replicas: it has retired as soon as the route names another.
    fn retire_without_replicas(&mut self, deployment: Option<DeploymentId>) {
        let now = self.now;
        if let Some(id) = deployment {
            self.set_row(id, |row| row.retired_at = Some(now));
        }
    }

    fn supersede(&mut self, before: Option<DeploymentId>, by: DeploymentId) {
        if let Some(before) = before {
            self.set_row(before, |row| row.superseded_by = Some(by));
        }
    }

    fn activate(&mut self, deployment: DeploymentId, operation: &Operation) {
        let now = self.now;
        if let Some(release) = operation.release {
            self.set_release(release, |release| {
                release.state = ReleaseState::Ran;
                release.activated_at = Some(now);
            });
        }
        self.unpin(deployment);
        self.keep_generated_domain(deployment);
    }

    /// Lets go of the release that a rollback had pinned.
    pub(super) fn unpin(&mut self, deployment: DeploymentId) {
        let pinned = self.facts.releases.values().find(|release| release.pinned_by == Some(deployment));
        if let Some(id) = pinned.map(|release| release.id) {
            self.set_release(id, |release| release.pinned_by = None);
        }
    }

    fn keep_generated_domain(&mut self, deployment: DeploymentId) {
        let application = &self.facts.application;
        let Some(name) = self.generated_domain() else { return };
        self.state.domain_of = Some(application.name.clone());
        let mut domain = Domain::new(DomainId::from(deployment.as_uuid()), application.id, name.clone(), self.now);
        domain.generated = true;
        domain.is_primary = self.facts.domains.is_empty();
        self.change(Change::Insert(domain.into()));
        self.event(EventKind::DomainAdded { domain: name });
    }

    fn report_running(&mut self, id: DeploymentId, operation: &Operation) {
        let now = self.now;
        let mut receipt = operation.receipt.clone();
        end_steps(&mut receipt.steps, now);
        receipt.revision = self.seen.route.as_ref().map(|route| route.revision.to_string());
        let names = self.seen.answered.iter().map(ToString::to_string);
        receipt.answered_by = names.chain(self.seen.answered_static.map(|release| release.to_string())).collect();
        receipt.traffic = difference(operation.traffic_before, self.seen.traffic);
        let release = operation.release;
        self.set_row(id, |row| {
            row.status = DeploymentStatus::Running;
            row.step = Step::Done;
            row.release = release;
            row.routed_at = Some(now);
            row.finished_at = Some(now);
            row.receipt = Some(receipt);
        });
    }

    /// The way back has ended: what the application had before is what it has.
    pub(super) fn close_turned_back(&mut self) {
        let Some(operation) = self.state.operation.take() else { return };
        if let Stage::Rollout(rollout) = &operation.stage {
            self.rest_addresses_of(rollout);
        }
        match operation.kind {
            OperationKind::Deployment(id) => self.report_turned_back(id, &operation),
            OperationKind::Restart { wish } => {
                self.state.restarts_done = wish;
                self.give_up(&operation);
            }
            OperationKind::Start | OperationKind::Scale => self.give_up(&operation),
            OperationKind::Stop | OperationKind::Delete => {}
        }
    }

    /// A route may have named the new replicas that are gone now.
    fn rest_addresses_of(&mut self, rollout: &Rollout) {
        let gone = rollout.phases.iter().flat_map(|phase| &phase.desired.replicas);
        let gone = gone.filter(|(name, _)| rollout.new.contains(*name) && !rollout.before.replicas.contains_key(*name));
        let addresses: Vec<_> = gone.filter_map(|(_, wanted)| wanted.address).collect();
        self.rest(addresses);
    }

    fn give_up(&mut self, operation: &Operation) {
        if let Some(Outcome::Failed(failure)) = &operation.outcome {
            self.state.gave_up_at = Some(self.facts.application.version.0);
            self.event(EventKind::RolloutFailed { cause: failure.cause.clone() });
        }
    }

    fn report_turned_back(&mut self, id: DeploymentId, operation: &Operation) {
        let now = self.now;
        let mut receipt = operation.receipt.clone();
        end_steps(&mut receipt.steps, now);
        if let Some(own) = self.release(id.into()).filter(|release| release.state == ReleaseState::Made) {
            self.set_release(own.id, |release| release.state = ReleaseState::Discarded);
        }
        self.unpin(id);
        let outcome = operation.outcome.clone();
        self.set_row(id, |row| {
            row.finished_at = Some(now);
            row.receipt = Some(receipt);
            match outcome {
                Some(Outcome::Failed(failure)) => {
                    row.status = DeploymentStatus::Failed;
                    row.step = failure.step;
                    row.failure = Some(failure);
                }
                Some(Outcome::Cancelled { reason }) => {
                    row.status = DeploymentStatus::Cancelled;
                    let by = crate::model::Actor::System;
                    row.cancel.get_or_insert(crate::model::Cancel { by, at: now, reason });
                }
                None => row.status = DeploymentStatus::Failed,
            }
        });
    }
}

fn end_steps(steps: &mut [StepTimes], now: jiff::Timestamp) {
    if let Some(last) = steps.last_mut() {
        last.ended_at = now;
    }
}

fn difference(before: Option<Traffic>, after: Option<Traffic>) -> Option<Traffic> {
    let (before, after) = (before.unwrap_or_default(), after?);
    Some(Traffic {
        served: after.served.saturating_sub(before.served),
        held: after.held.saturating_sub(before.held),
        failed: after.failed.saturating_sub(before.failed),
    })
}
