//! The queue: which deployment begins, and what it replaces.
//!
//! One at a time. Newest wins among queued deployments of the branch head; a rollback overtakes everything that is
//! older and has not yet the intent; a stop or a deletion ends the queue. A named commit is never replaced.

use super::decision::Decision;
use super::state::{Operation, OperationKind, Outcome, Stage};
use crate::model::{
    Actor, Cancel, Deployment, DeploymentId, DeploymentKind, DeploymentStatus, Failure, Receipt, Release, ReleaseState,
    RollbackEnv, Step, Wanted as WantedState,
};
#[cfg(sim_bugs)]
use crate::planted::{Bug, has};

/// The queued deployments of `queue` that `newer` replaces.
pub(crate) fn replaced_by<'q>(newer: &Deployment, queue: impl Iterator<Item = &'q Deployment>) -> Vec<DeploymentId> {
    let replaces = |older: &Deployment| match (&newer.kind, &older.kind) {
        (DeploymentKind::Rollback { .. }, _) => true,
        #[cfg(sim_bugs)]
        (DeploymentKind::Deploy { .. }, DeploymentKind::Rollback { .. }) if has(Bug::NewestWinsKillsARollback) => true,
        (DeploymentKind::Deploy { commit: None, .. }, DeploymentKind::Deploy { commit: None, .. }) => true,
        (DeploymentKind::Deploy { .. }, DeploymentKind::Deploy { .. } | DeploymentKind::Rollback { .. }) => false,
    };
    queue
        .filter(|older| older.status == DeploymentStatus::Queued && older.id < newer.id && replaces(older))
        .map(|older| older.id)
        .collect()
}

impl Decision<'_> {
    /// Thins the queue, calls back what must not go on, and begins what comes next.
    pub(super) fn take_from_queue(&mut self) {
        self.thin_queue();
        self.call_back();
        if self.state.operation.is_some() || self.state.adopting {
            return;
        }
        match self.facts.application.wanted {
            WantedState::Deleting { .. } => self.begin(OperationKind::Delete),
            WantedState::Stopped => self.begin_stop(),
            WantedState::Running => match self.next_in_queue() {
                Some(id) => self.begin_deployment(id),
                None => self.begin_upkeep(),
            },
        }
    }

    fn thin_queue(&mut self) {
        let queued = self.queued();
        let why_all = match self.facts.application.wanted {
            WantedState::Running => None,
            WantedState::Stopped => Some("the application was stopped"),
            WantedState::Deleting { .. } => Some("the application is being deleted"),
        };
        for id in &queued {
            if let Some(reason) = why_all {
                self.cancel_queued(*id, reason.to_owned());
            }
        }
        for id in queued.iter().rev() {
            let Some(newer) = self.facts.deployments.get(id) else { continue };
            for older in replaced_by(newer, self.facts.deployments.values()) {
                self.cancel_queued(older, format!("replaced by deployment {id}"));
            }
        }
    }

    fn queued(&self) -> Vec<DeploymentId> {
        let is_queued = |row: &&Deployment| row.status == DeploymentStatus::Queued;
        self.facts.deployments.values().filter(is_queued).map(|row| row.id).collect()
    }

    fn cancel_queued(&mut self, id: DeploymentId, reason: String) {
        let now = self.now;
        if self.row(id).is_none_or(|row| row.status != DeploymentStatus::Queued) {
            return;
        }
        self.set_row(id, |row| {
            row.status = DeploymentStatus::Cancelled;
            row.finished_at = Some(now);
            row.cancel.get_or_insert(Cancel { by: Actor::System, at: now, reason });
        });
        self.unpin(id);
    }

    /// Turns back the operation where a wish to cancel, a stop, a deletion or a rollback came before its intent.
    fn call_back(&mut self) {
        let Some(operation) = &self.state.operation else { return };
        let has_intent = self.state.has_intent();
        #[cfg(sim_bugs)]
        let has_intent = has_intent && !has(Bug::CancelAfterIntent);
        if operation.outcome.is_some() || has_intent {
            return;
        }
        let reason = match operation.kind {
            OperationKind::Deployment(id) => self.why_cancelled(id),
            OperationKind::Start | OperationKind::Restart { .. } | OperationKind::Scale => self.why_overtaken(None),
            OperationKind::Stop | OperationKind::Delete => None,
        };
        if let Some(reason) = reason {
            self.turn_back(Outcome::Cancelled { reason });
        }
    }

    fn why_cancelled(&self, id: DeploymentId) -> Option<String> {
        let wished = self.row(id).and_then(|row| row.cancel.as_ref()).map(|cancel| cancel.reason.clone());
        wished.or_else(|| self.why_overtaken(Some(id)))
    }

    fn why_overtaken(&self, by_newer_than: Option<DeploymentId>) -> Option<String> {
        match self.facts.application.wanted {
            WantedState::Stopped => return Some("the application was stopped".to_owned()),
            WantedState::Deleting { .. } => return Some("the application is being deleted".to_owned()),
            WantedState::Running => {}
        }
        let overtakes = |row: &&Deployment| {
            row.status == DeploymentStatus::Queued
                && matches!(row.kind, DeploymentKind::Rollback { .. })
                && by_newer_than.is_none_or(|id| row.id > id)
        };
        let rollback = self.facts.deployments.values().find(overtakes)?;
        Some(format!("overtaken by rollback {}", rollback.id))
    }

    fn next_in_queue(&self) -> Option<DeploymentId> {
        let waits = |id: &DeploymentId| self.row(*id).is_some_and(|row| row.status == DeploymentStatus::Queued);
        let queued: Vec<DeploymentId> = self.queued().into_iter().filter(waits).collect();
        let is_rollback =
            |id: &&DeploymentId| self.row(**id).is_some_and(|row| matches!(row.kind, DeploymentKind::Rollback { .. }));
        queued.iter().find(is_rollback).or(queued.first()).copied()
    }

    /// Opens an operation at the search for addresses: where there are no jobs.
    pub(super) fn begin(&mut self, kind: OperationKind) {
        self.state.operation = Some(Operation {
            kind,
            stage: Stage::Addresses,
            entered_at: self.now,
            epoch: self.ground.epoch,
            crashes: 0,
            release: self.state.active,
            spares: Vec::new(),
            receipt: Receipt::default(),
            traffic_before: None,
            outcome: None,
        });
        self.state.searches += 1;
    }

    fn begin_deployment(&mut self, id: DeploymentId) {
        let Some(kind) = self.row(id).map(|row| row.kind.clone()) else { return };
        self.begin(OperationKind::Deployment(id));
        match kind {
            DeploymentKind::Deploy { .. } => {
                self.state.checkouts.insert(id);
                self.begin_checkout();
            }
            DeploymentKind::Rollback { release, env } => self.begin_rollback(id, release, env),
        }
    }

    fn begin_checkout(&mut self) {
        self.enter(Stage::Checkout { attempt: 1 }, DeploymentStatus::Cloning, Step::Checkout);
        if self.facts.application.git_url.is_none() {
            let hint = Some("set its `git_url`".to_owned());
            let cause = "the application has no repository".to_owned();
            self.turn_back(Outcome::Failed(Failure { step: Step::Checkout, cause, output: Vec::new(), hint }));
        }
    }

    fn begin_rollback(&mut self, id: DeploymentId, target: crate::model::ReleaseId, env: RollbackEnv) {
        self.enter(Stage::Addresses, DeploymentStatus::Deploying, Step::Start);
        let Some(release) = self.release(target).filter(|release| is_whole(release)) else {
            let hint = Some("deploy its commit again".to_owned());
            let cause = format!("the artifact of release {target} is gone");
            return self.turn_back(Outcome::Failed(Failure { step: Step::Start, cause, output: Vec::new(), hint }));
        };
        let activated = match env {
            RollbackEnv::Release => target,
            RollbackEnv::Current => self.copy_with_present_env(id, release),
        };
        if let Some(operation) = &mut self.state.operation {
            operation.release = Some(activated);
        }
        self.set_row(id, |row| row.release = Some(activated));
    }

    fn copy_with_present_env(&mut self, id: DeploymentId, of: &Release) -> crate::model::ReleaseId {
        let mut release = of.clone();
        release.id = id.into();
        release.version = crate::model::Version::NEW;
        release.application_name = self.facts.application.name.clone();
        release.env = self.facts.env.clone();
        release.state = ReleaseState::Made;
        release.pinned_by = None;
        release.activated_at = None;
        release.created_at = self.now;
        self.change(crate::model::Change::Insert(release.clone().into()));
        release.id
    }
}

fn is_whole(release: &Release) -> bool {
    match release.state {
        ReleaseState::Made | ReleaseState::Ran | ReleaseState::Discarded => true,
        ReleaseState::Collecting | ReleaseState::Collected => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::model::{BuildCache, CommitSha, ServerId};

    fn queued(kind: DeploymentKind) -> Deployment {
        let clock = SystemClock;
        let application = (crate::model::ApplicationId::new(&clock), &"shop".parse().unwrap(), ServerId::new(&clock));
        Deployment::queued(DeploymentId::new(&clock), application, Actor::System, kind, clock.now())
    }

    fn head() -> DeploymentKind {
        DeploymentKind::Deploy { commit: None, cache: BuildCache::Use }
    }

    fn commit() -> DeploymentKind {
        let sha: CommitSha = "a".repeat(40).parse().unwrap();
        DeploymentKind::Deploy { commit: Some(sha), cache: BuildCache::Use }
    }

    fn rollback() -> DeploymentKind {
        let release = DeploymentId::new(&SystemClock).into();
        DeploymentKind::Rollback { release, env: RollbackEnv::Release }
    }

    #[test]
    fn newest_wins_among_deployments_of_the_branch_head() {
        let queue = [queued(head()), queued(commit()), queued(rollback()), queued(head())];

        assert_eq!(replaced_by(&queue[3], queue.iter()), [queue[0].id]);
    }

    #[test]
    fn a_rollback_replaces_everything_older_and_nothing_newer() {
        let queue = [queued(head()), queued(commit()), queued(rollback()), queued(head())];

        assert_eq!(replaced_by(&queue[2], queue.iter()), [queue[0].id, queue[1].id]);
    }

    #[test]
    fn what_is_under_way_is_not_replaced_in_the_queue() {
        let mut older = queued(head());
        older.status = DeploymentStatus::Building;
        let newer = queued(head());

        assert!(replaced_by(&newer, [&older].into_iter()).is_empty());
    }
}
