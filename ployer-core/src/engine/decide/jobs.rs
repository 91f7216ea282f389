//! The jobs: checkout, build and release command, each journaled by its attempt before it begins.
//!
//! A result is taken only for the attempt that is journaled, so a late one of an earlier engine changes nothing.
//! The release command runs at most once per deployment: see [`Stage::ReleaseCommand`].

use std::time::Duration;

use super::action::Action;
use super::decision::Decision;
use super::seen::{Job, JobEnd, JobKind, Slot};
use super::state::{OperationKind, Outcome, Stage};
use crate::model::{
    BuildCache, Built, Change, CommitInfo, CommitSha, DeploymentId, DeploymentKind, DeploymentStatus, Failure, Release,
    Step, Version, Volume,
};

impl Decision<'_> {
    /// Takes the operation on, while it is at a job.
    pub(super) fn advance_jobs(&mut self) {
        let Some(operation) = &self.state.operation else { return };
        let OperationKind::Deployment(id) = operation.kind else { return };
        match operation.stage {
            Stage::Checkout { attempt } => self.advance_checkout(id, attempt),
            Stage::BuildSlot { attempt } => self.advance_build_slot(attempt),
            Stage::Build { attempt } => self.advance_build(id, attempt),
            Stage::ReleaseCommand { attach } => self.advance_release_command(id, attach),
            Stage::Discard => self.advance_discard(id),
            Stage::Addresses | Stage::Rollout(_) | Stage::Forget => {}
        }
    }

    fn advance_checkout(&mut self, deployment: DeploymentId, attempt: u32) {
        let job = Job { deployment, kind: JobKind::Checkout, attempt };
        match self.seen.jobs.get(&job) {
            Some(JobEnd::CheckedOut { commit, .. }) => self.checked_out(job, commit.clone()),
            Some(end) => self.fail_job(Step::Checkout, end),
            None if self.is_late(self.deadlines().checkout) => {
                self.fail_late(Step::Checkout, self.deadlines().checkout)
            }
            None => self.act(Action::Checkout { job, commit: self.wished(deployment).0 }),
        }
    }

    fn checked_out(&mut self, job: Job, commit: CommitInfo) {
        if let Some(operation) = &mut self.state.operation {
            operation.receipt.commit = Some(commit.clone());
        }
        let now = self.now;
        self.enter(Stage::BuildSlot { attempt: job.attempt }, DeploymentStatus::Building, Step::Build);
        self.set_row(job.deployment, |row| {
            row.commit = Some(commit);
            row.build_started_at.get_or_insert(now);
        });
    }

    fn advance_build_slot(&mut self, attempt: u32) {
        self.act(Action::HoldSlot(Slot::Build));
        if self.seen.slots.contains_key(&Slot::Build) {
            self.enter(Stage::Build { attempt }, DeploymentStatus::Building, Step::Build);
        }
    }

    fn advance_build(&mut self, deployment: DeploymentId, attempt: u32) {
        let job = Job { deployment, kind: JobKind::Build, attempt };
        match self.seen.jobs.get(&job) {
            Some(JobEnd::Built(built)) => self.built(deployment, built.as_ref().clone()),
            Some(end) => self.fail_job(Step::Build, end),
            None if self.is_late(self.deadlines().build) => self.fail_late(Step::Build, self.deadlines().build),
            None => {
                self.act(Action::HoldSlot(Slot::Build));
                self.act(Action::Build { job, cache: self.wished(deployment).1 });
            }
        }
    }

    /// What a source asks for has the bound that a person has too.
    fn too_many(&self, built: &Built) -> Option<Failure> {
        let most = self.ground.settings.engine.replicas_max;
        let process = built.spec.processes.iter().find(|process| process.replicas > most)?;
        let mut failure =
            Failure::new(Step::Build, format!("`{}` asks for {} replicas", process.name, process.replicas));
        failure.hint = Some(format!("ask for {most} at most"));
        Some(failure)
    }

    fn built(&mut self, deployment: DeploymentId, built: Built) {
        if let Some(failure) = self.too_many(&built) {
            return self.turn_back(Outcome::Failed(failure));
        }
        let reused_from = built.reused_from;
        let application = &self.facts.application;
        let mut release = Release::new(deployment, application.id, application.name.clone(), built, self.now);
        release.env = self.facts.env.clone();
        release.commit = self.row(deployment).and_then(|row| row.commit.as_ref()?.sha.clone());
        if let Some(rollout) = application.rollout {
            release.spec.rollout = rollout;
        }
        if let Some(operation) = &mut self.state.operation {
            operation.release = Some(release.id);
            operation.crashes = 0;
            operation.receipt.artifact = Some(describe(&release));
            operation.receipt.reused_from = reused_from;
        }
        for mount in &release.spec.volumes {
            if !self.facts.volumes.contains_key(&mount.name) {
                self.change(Change::Insert(self.new_volume(mount.name.clone()).into()));
            }
        }
        let id = release.id;
        let has_command = release.spec.release_command.is_some();
        self.change(Change::Insert(release.into()));
        self.set_row(deployment, |row| row.release = Some(id));
        if has_command {
            self.enter(Stage::ReleaseCommand { attach: false }, DeploymentStatus::Deploying, Step::ReleaseCommand);
        } else {
            self.enter(Stage::Addresses, DeploymentStatus::Deploying, Step::Start);
        }
    }

    fn new_volume(&self, name: crate::model::VolumeName) -> Volume {
        let application_id = self.facts.application.id;
        Volume { application_id, name, version: Version::NEW, detached_from: None, created_at: self.now }
    }

    fn advance_release_command(&mut self, deployment: DeploymentId, attach: bool) {
        let Some(release) = self.state.operation.as_ref().and_then(|operation| operation.release) else { return };
        let job = Job { deployment, kind: JobKind::ReleaseCommand, attempt: 1 };
        let lasting = self.deadlines().release_command;
        match self.seen.jobs.get(&job) {
            Some(JobEnd::Exited { exit, .. }) if exit.is_success() => {
                self.enter(Stage::Addresses, DeploymentStatus::Deploying, Step::Start);
            }
            Some(end) => self.fail_job(Step::ReleaseCommand, end),
            None if self.is_late(lasting) => self.fail_late(Step::ReleaseCommand, lasting),
            None => self.act(Action::ReleaseCommand { job, release, attach }),
        }
    }

    fn advance_discard(&mut self, deployment: DeploymentId) {
        let release = self.state.operation.as_ref().and_then(|operation| operation.release);
        let built = release.filter(|release| *release == deployment.into());
        if !self.seen.discarded.contains(&deployment) {
            self.act(Action::Discard { deployment, artifact: built.is_none() });
        } else if built.is_none_or(|release| !self.has_one_off(release)) {
            self.close_turned_back();
        }
    }

    fn is_late(&mut self, lasting: Duration) -> bool {
        let entered_at = self.state.operation.as_ref().map(|operation| operation.entered_at);
        entered_at.is_some_and(|at| self.has_passed(at, lasting))
    }

    fn fail_late(&mut self, step: Step, lasting: Duration) {
        let cause = format!("the {step} took longer than {} s", lasting.as_secs());
        self.turn_back(Outcome::Failed(Failure::new(step, cause)));
    }

    fn fail_job(&mut self, step: Step, end: &JobEnd) {
        let mut failure = Failure::new(step, "it ended in a way that does not fit it");
        match end {
            JobEnd::Failed { cause, output, hint } => {
                failure.cause.clone_from(cause);
                failure.output.clone_from(output);
                failure.hint.clone_from(hint);
            }
            JobEnd::Exited { exit, output } => {
                failure.cause = format!("the release command ended with {exit}");
                failure.output.clone_from(output);
            }
            JobEnd::Lost => {
                failure.cause = "the release command was interrupted, and whether it ran is not known".to_owned();
                failure.hint = Some("check what it does, then deploy again: it is never run twice".to_owned());
            }
            JobEnd::CheckedOut { .. } | JobEnd::Built(_) => {}
        }
        self.turn_back(Outcome::Failed(failure));
    }

    fn wished(&self, deployment: DeploymentId) -> (Option<CommitSha>, BuildCache) {
        match self.row(deployment).map(|row| &row.kind) {
            Some(DeploymentKind::Deploy { commit, cache }) => (commit.clone(), *cache),
            Some(DeploymentKind::Rollback { .. }) | None => (None, BuildCache::Use),
        }
    }
}

fn describe(release: &Release) -> String {
    match &release.artifact {
        crate::model::Artifact::Image { reference, digest } => format!("{reference}@{digest}"),
        crate::model::Artifact::Directory { path } => path.display().to_string(),
    }
}
