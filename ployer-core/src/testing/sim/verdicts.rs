//! Verdicts on commits: what an engine says happened, against what has happened.

use super::invariants::running_replicas;
use super::stored::replicas;
use super::world::{EngineNumber, World};
use crate::engine::decide::state::Stage;
use crate::model::{
    ApplicationId, Change, Deployment, DeploymentId, DeploymentKind, DeploymentStatus, Record, ReleaseId, ReleaseState,
    Step, Wanted,
};
use crate::store::Commit;

impl World {
    /// A commit was stored: it is taken in, and judged.
    pub(super) fn committed(&mut self, engine: EngineNumber, commit: &Commit) {
        if engine != EngineNumber::default() {
            self.judge_fence(engine, commit);
        }
        let before: Vec<_> = changed_deployments(commit)
            .map(|row| (row.id, self.judge.stored.deployments.get(&row.id).cloned()))
            .collect();
        self.judge.stored.take_in(commit);
        for (id, before) in before {
            self.judge_deployment(engine, id, before.as_ref());
        }
        for change in &commit.changes {
            if let Change::Update(Record::Release(row)) = change
                && row.state == ReleaseState::Collecting
                && row.pinned_by.is_some()
            {
                self.breach(5, format!("{} is to be collected, and a rollback has pinned it", row.id));
            }
            if let Change::Insert(Record::Machine(row)) | Change::Update(Record::Machine(row)) = change {
                self.judge_machine(row.application_id);
            }
        }
    }

    /// 3: every write of an engine carries its epoch.
    fn judge_fence(&mut self, engine: EngineNumber, commit: &Commit) {
        for change in &commit.changes {
            match change {
                Change::Insert(Record::Lease(row)) | Change::Update(Record::Lease(row)) => {
                    self.judge.epochs.insert(engine, row.epoch);
                    return;
                }
                Change::Insert(Record::Installation(_)) | Change::Update(Record::Installation(_)) => return,
                _ => {}
            }
        }
        if commit.epoch.is_none() || commit.epoch != self.judge.epochs.get(&engine).copied() {
            self.breach(3, format!("engine {} commits without its epoch", engine.0));
        }
    }

    fn judge_machine(&mut self, application: ApplicationId) {
        let Some(state) = self.judge.stored.states.get(&application) else { return };
        if state.retiring.len() > self.judge.settings.engine.retiring_max {
            self.judge.many_retired_at = Some(self.now);
        }
        let double = replicas(state).find_map(|(name, address)| {
            let owners = self.judge.stored.owners_of(address?);
            owners.into_iter().find(|owner| *owner != name).map(|owner| format!("{name} and {owner}"))
        });
        if let Some(double) = double {
            self.breach(6, format!("one address is given to {double}"));
        }
        let under_way: Vec<_> = self
            .judge
            .stored
            .unfinished(application)
            .filter(|row| row.status.is_under_way())
            .map(|row| row.id)
            .collect();
        if under_way.len() > 1 {
            self.breach(3, format!("two deployments act at once: {under_way:?}"));
        }
    }

    fn judge_deployment(&mut self, engine: EngineNumber, id: DeploymentId, before: Option<&Deployment>) {
        let Some(row) = self.judge.stored.deployments.get(&id).cloned() else { return };
        if row.step == Step::Switch {
            self.judge.intended.insert(id);
        }
        if before.is_some_and(|before| before.status == row.status) {
            return;
        }
        match row.status {
            DeploymentStatus::Running => self.judge_running(&row),
            DeploymentStatus::Failed => self.judge_undone(&row),
            DeploymentStatus::Cancelled => {
                self.judge_cancelled(&row, before, engine == EngineNumber::default());
                self.judge_undone(&row);
            }
            DeploymentStatus::Queued
            | DeploymentStatus::Cloning
            | DeploymentStatus::Building
            | DeploymentStatus::Deploying => {}
        }
    }

    /// 4: `running` is said only after every replica has answered through the proxy, by the route as it was read back.
    fn judge_running(&mut self, row: &Deployment) {
        let Some(release) = row.release else {
            return self.breach(4, format!("{} runs without a release", row.id));
        };
        let changed = self.judge.route_changed.get(&row.application_id).copied().unwrap_or_default();
        if self.judge.read_back < changed {
            self.breach(4, format!("{} is said to run before its route was read back", row.id));
        }
        let Some(state) = self.judge.stored.states.get(&row.application_id) else { return };
        let web = state.rest.replicas.iter().filter(|(_, wanted)| wanted.release == release && wanted.process.is_web());
        let silent = web.map(|(name, _)| name).find(|name| !self.judge.answered.contains(*name)).cloned();
        if let Some(name) = silent {
            self.breach(4, format!("{} is said to run before {name} has answered through the proxy", row.id));
        }
    }

    /// 4: an end is said only after what the deployment made is gone.
    fn judge_undone(&mut self, row: &Deployment) {
        let own = ReleaseId::from(row.id);
        let state = self.judge.stored.states.get(&row.application_id);
        let stays = state.is_some_and(|state| state.retiring.iter().any(|retirement| retirement.release == own));
        let left = running_replicas(self, own);
        if let Some(name) = left.filter(|_| !stays) {
            self.breach(4, format!("{} is said to have ended, and {name} still runs", row.id));
        }
    }

    /// 3: a cancel after the intent; newest-wins where it does not hold.
    fn judge_cancelled(&mut self, row: &Deployment, before: Option<&Deployment>, by_user: bool) {
        if self.judge.intended.contains(&row.id) {
            self.breach(3, format!("{} is cancelled after its intent", row.id));
        }
        let wished = by_user || before.is_some_and(|before| before.cancel.is_some());
        let wanted = self.judge.stored.applications.get(&row.application_id).map(|application| application.wanted);
        let is_kept = match &row.kind {
            DeploymentKind::Rollback { .. } => true,
            DeploymentKind::Deploy { commit, .. } => commit.is_some(),
        };
        let later_rollback = self.judge.stored.deployments.values().any(|other| {
            let newer = other.application_id == row.application_id && other.id > row.id;
            newer && matches!(other.kind, DeploymentKind::Rollback { .. })
        });
        if is_kept && !wished && wanted == Some(Wanted::Running) && !later_rollback {
            self.breach(3, format!("{}, a rollback or a named commit, is replaced by a newer deployment", row.id));
        }
    }

    /// The engine was killed: what it has begun and left open counts.
    pub(super) fn count_crash(&mut self) {
        let acted = std::mem::take(&mut self.judge.acted);
        for state in self.judge.stored.states.values() {
            let Some(operation) = state.operation.as_ref().filter(|_| !state.parked) else { continue };
            let Some(deployment) = operation.kind.deployment() else { continue };
            if acted.contains(&deployment) && !super::invariants::is_past_the_gate(operation) {
                let is_built = matches!(operation.stage, Stage::Rollout(_));
                *self.judge.crashes.entry((deployment, is_built)).or_default() += 1;
            }
        }
    }
}

fn changed_deployments(commit: &Commit) -> impl Iterator<Item = &Deployment> {
    commit.changes.iter().filter_map(|change| match change {
        Change::Insert(Record::Deployment(row)) | Change::Update(Record::Deployment(row)) => Some(row),
        _ => None,
    })
}
