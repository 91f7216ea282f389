//! Deployments: started, rolled back, cancelled, looked at and followed.
//!
//! A start stores a queued row and answers; it is durable then. Which queued one begins is the engine's to say.
//! A cancel is a stored wish, and the intent to switch is a write of the same row: one of the two loses.

use futures_util::stream::BoxStream;
use serde::Deserialize;

use super::{DeploymentHandle, Ployer, log};
use crate::access::Action;
use crate::error::{Error, ErrorKind, Resource, Result};
use crate::model::{
    Actor, Application, ApplicationId, Cancel, Deployment, DeploymentId, DeploymentKind, DeploymentStatus, EventKind,
    LogLine, LogPage, NewEvent, Release, ReleaseId, ReleaseState, RollbackEnv, StartDeployment, Step, Version, Wanted,
};
use crate::store::Commit;

/// Deployments: each one way to a release that serves. See [`Ployer::deployments`].
#[derive(Clone, Copy, Debug)]
pub struct Deployments<'a>(pub(super) &'a Ployer);

/// How to roll back. `Default` returns to the release that was active before, with the environment it had.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Rollback {
    /// The release to return to; `None`: the one that was active before the present one.
    pub release: Option<ReleaseId>,
    /// With which environment.
    pub env: RollbackEnv,
}

impl Deployments<'_> {
    /// Deploys the head of the application's branch. The deployment is stored when this returns; a stopped
    /// application is started by it.
    ///
    /// # Errors
    ///
    /// `NotFound` if the application does not exist, `Conflict` if it has no source, `Exhausted` if its queue is
    /// full.
    pub async fn start(&self, application: ApplicationId) -> Result<DeploymentHandle> {
        self.start_with(application, StartDeployment::default()).await
    }

    /// Deploys as `how` says.
    ///
    /// # Errors
    ///
    /// Those of [`Deployments::start`].
    pub async fn start_with(&self, application: ApplicationId, how: StartDeployment) -> Result<DeploymentHandle> {
        let (ployer, how) = (self.0, &how);
        let id = DeploymentId::new(ployer.clock());
        let deployment = ployer
            .change(|| async move {
                let application = ployer.application(application, Action::Deploy).await?;
                self.check_start(&application).await?;
                let kind = DeploymentKind::Deploy { commit: how.commit.clone(), cache: how.cache };
                // A push does not end the pause that a rollback made; a person does.
                let paused = application.auto_deploy_paused && matches!(ployer.actor(), Actor::Webhook { .. });
                Ok(self.enqueue(id, application, kind, paused))
            })
            .await?;
        Ok(DeploymentHandle::new(ployer.clone(), deployment))
    }

    /// Returns to an earlier release: needs no build, overtakes what is queued, and pauses deployments by push
    /// until the next manual one.
    ///
    /// # Errors
    ///
    /// `NotFound` if the application has no such release, `Conflict` if it never ran, its artifact is gone or it
    /// serves already, `Exhausted` if the queue is full.
    pub async fn rollback(&self, application: ApplicationId, how: Rollback) -> Result<DeploymentHandle> {
        let (ployer, how) = (self.0, &how);
        let id = DeploymentId::new(ployer.clock());
        let deployment = ployer
            .change(|| async move {
                let application = ployer.application(application, Action::Deploy).await?;
                let server = ployer.server_of(&application).await?;
                ployer.check_processes(&application, &server).await?;
                self.check_queue(&application).await?;
                let mut release = self.rollback_target(&application, how).await?;
                release.pinned_by = Some(id);
                let kind = DeploymentKind::Rollback { release: release.id, env: how.env };
                let (commit, deployment) = self.enqueue(id, application, kind, true);
                Ok((commit.update(release), deployment))
            })
            .await?;
        Ok(DeploymentHandle::new(ployer.clone(), deployment))
    }

    /// Wishes that a deployment ends without a switch. The version before goes on serving. A second wish changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// `Conflict` if it has ended, or its switch has begun: from there it goes forward.
    pub async fn cancel(&self, id: DeploymentId) -> Result<()> {
        let ployer = self.0;
        ployer
            .change(|| async move {
                let (deployment, _) = ployer.deployment(id, Action::Deploy).await?;
                let commit = match cancellable(&deployment)? {
                    Cancellable::Asked => ployer.draft(),
                    Cancellable::Waiting => self.cancel_queued(deployment).await?,
                    Cancellable::UnderWay => self.ask_to_cancel(deployment),
                };
                Ok((commit, ()))
            })
            .await
    }

    /// The deployment of that id.
    ///
    /// # Errors
    ///
    /// `NotFound` if it does not exist.
    pub async fn get(&self, id: DeploymentId) -> Result<Deployment> {
        Ok(self.0.deployment(id, Action::See).await?.0)
    }

    /// A handle to the deployment of that id, to wait for its end.
    ///
    /// # Errors
    ///
    /// `NotFound` if it does not exist.
    pub async fn handle(&self, id: DeploymentId) -> Result<DeploymentHandle> {
        Ok(DeploymentHandle::new(self.0.clone(), self.get(id).await?))
    }

    /// The newest deployments of an application, newest first, `limit` at most.
    ///
    /// # Errors
    ///
    /// `NotFound` if the application does not exist.
    pub async fn list(&self, application: ApplicationId, limit: u32) -> Result<Vec<Deployment>> {
        self.0.application(application, Action::See).await?;
        self.0.store().deployments(Some(application), limit).await
    }

    /// The lines of a deployment's output after line `after` (0: from the first), `limit` at most.
    ///
    /// # Errors
    ///
    /// `NotFound` if it does not exist.
    pub async fn log(&self, id: DeploymentId, after: u64, limit: u32) -> Result<LogPage> {
        self.0.deployment(id, Action::See).await?;
        self.0.store().log(id, after, limit).await
    }

    /// The lines of a deployment's output after line `after`, and new ones until the deployment has ended: each
    /// once, in order. The stream ends early with an error where the right to see it is lost.
    pub fn follow(&self, id: DeploymentId, after: u64) -> BoxStream<'static, Result<LogLine>> {
        log::follow(self.0.clone(), id, after)
    }

    async fn check_start(&self, application: &Application) -> Result<()> {
        if application.git_url.is_none() {
            return Err(Error::conflict(format!("application `{}` has no source", application.name))
                .with_hint("set its `git_url` first"));
        }
        let server = self.0.server_of(application).await?;
        self.0.check_strategy(application.build_strategy, &server).await?;
        self.0.check_processes(application, &server).await?;
        self.check_queue(application).await
    }

    async fn check_queue(&self, application: &Application) -> Result<()> {
        let most = self.0.settings().engine.queue_max;
        if self.0.store().unfinished_deployments(application.id).await?.len() >= most {
            let message = format!("{most} deployments of application `{}` are waiting already", application.name);
            return Err(Error::new(ErrorKind::Exhausted, message).with_hint("cancel some, or wait for them"));
        }
        Ok(())
    }

    /// A queued row, its event, and the application made to run.
    fn enqueue(
        &self,
        id: DeploymentId,
        mut application: Application,
        kind: DeploymentKind,
        paused: bool,
    ) -> (Commit, Deployment) {
        let ployer = self.0;
        let whose = (application.id, &application.name, application.server_id);
        let mut deployment = Deployment::queued(id, whose, ployer.actor(), kind, ployer.now());
        let event = NewEvent::of(application.id, status_event(&deployment, None));
        let mut commit = ployer.draft().insert(deployment.clone()).event(event);
        if application.wanted != Wanted::Running || application.auto_deploy_paused != paused {
            application.wanted = Wanted::Running;
            application.auto_deploy_paused = paused;
            application.updated_at = ployer.now();
            commit = commit.update(application);
        }
        deployment.version = Version::NEW.next();
        (commit, deployment)
    }

    async fn rollback_target(&self, application: &Application, how: &Rollback) -> Result<Release> {
        let active = self.0.store().machine(application.id).await?.and_then(|machine| machine.active);
        let release = match how.release {
            Some(id) => self.0.store().release(id).await?.filter(|release| release.application_id == application.id),
            None => previous(self.0.store().releases(application.id).await?, active),
        };
        let release = release.ok_or_else(|| match how.release {
            Some(id) => Error::not_found(Resource::Release, id),
            None => Error::conflict(format!("application `{}` has no earlier release", application.name))
                .with_hint("deploy the commit that you want instead"),
        })?;
        let serves = active == Some(release.id) && application.wanted == Wanted::Running;
        if serves && how.env == RollbackEnv::Release {
            return Err(Error::conflict(format!("release `{}` is the active one already", release.id))
                .with_hint("restart the application, or roll back with today's environment"));
        }
        self.check_artifact(application, &release).await?;
        Ok(release)
    }

    async fn check_artifact(&self, application: &Application, release: &Release) -> Result<()> {
        let again = match &release.commit {
            Some(commit) => format!("deploy its commit {commit} again"),
            None => "deploy its source again".to_owned(),
        };
        let refuse =
            |reason: &str| Err(Error::conflict(format!("release `{}` {reason}", release.id)).with_hint(again.clone()));
        match release.state {
            ReleaseState::Ran => {}
            ReleaseState::Made | ReleaseState::Discarded => return refuse("never served"),
            ReleaseState::Collecting | ReleaseState::Collected => return refuse("is no longer kept"),
        }
        let server = self.0.server_of(application).await?;
        let handle = self.0.shared.parts.servers.connect(&server).await?;
        match handle.builder.exists(&release.artifact).await? {
            true => Ok(()),
            false => refuse("has lost its artifact"),
        }
    }

    async fn cancel_queued(&self, mut deployment: Deployment) -> Result<Commit> {
        let ployer = self.0;
        let reason = "cancelled while it was queued".to_owned();
        deployment.status = DeploymentStatus::Cancelled;
        deployment.finished_at = Some(ployer.now());
        deployment.cancel = Some(Cancel { by: ployer.actor(), at: ployer.now(), reason: reason.clone() });
        let event = NewEvent::of(deployment.application_id, status_event(&deployment, Some(reason)));
        let pinned = match &deployment.kind {
            DeploymentKind::Rollback { release, .. } => ployer.store().release(*release).await?,
            DeploymentKind::Deploy { .. } => None,
        };
        let mut commit = ployer.draft();
        if let Some(mut release) = pinned.filter(|release| release.pinned_by == Some(deployment.id)) {
            release.pinned_by = None;
            commit = commit.update(release);
        }
        Ok(commit.update(deployment).event(event))
    }

    fn ask_to_cancel(&self, mut deployment: Deployment) -> Commit {
        let ployer = self.0;
        let reason = "a user asked for it".to_owned();
        deployment.cancel = Some(Cancel { by: ployer.actor(), at: ployer.now(), reason: reason.clone() });
        let kind = EventKind::CancelRequested { deployment_id: deployment.id, reason };
        let event = NewEvent::of(deployment.application_id, kind);
        ployer.draft().update(deployment).event(event)
    }
}

enum Cancellable {
    Waiting,
    UnderWay,
    Asked,
}

fn cancellable(deployment: &Deployment) -> Result<Cancellable> {
    match deployment.status {
        DeploymentStatus::Running | DeploymentStatus::Failed | DeploymentStatus::Cancelled => {
            Err(Error::conflict(format!("deployment `{}` has ended: {}", deployment.id, deployment.status))
                .with_hint("there is nothing left to cancel; roll back to return to an earlier release"))
        }
        DeploymentStatus::Queued => Ok(Cancellable::Waiting),
        _ if deployment.step >= Step::Switch => {
            Err(Error::conflict(format!("deployment `{}` has begun its switch", deployment.id))
                .with_hint("wait for its end, then roll back"))
        }
        _ if deployment.cancel.is_some() => Ok(Cancellable::Asked),
        DeploymentStatus::Cloning | DeploymentStatus::Building | DeploymentStatus::Deploying => {
            Ok(Cancellable::UnderWay)
        }
    }
}

fn status_event(deployment: &Deployment, message: Option<String>) -> EventKind {
    EventKind::DeploymentStatus { deployment_id: deployment.id, status: deployment.status, message }
}

/// The release that was active last before `active`.
fn previous(releases: Vec<Release>, active: Option<ReleaseId>) -> Option<Release> {
    let present = releases.iter().find(|release| Some(release.id) == active).and_then(|release| release.activated_at);
    let before = |release: &Release| present.is_none_or(|present| release.activated_at.is_some_and(|at| at < present));
    releases
        .into_iter()
        .filter(|release| Some(release.id) != active && release.state == ReleaseState::Ran && before(release))
        .max_by_key(|release| release.activated_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facade::stand::Stand;
    use crate::model::{BuildStrategy, NewApplication, Role, UpdateApplication};

    fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
        result.unwrap_err().kind()
    }

    #[tokio::test]
    async fn a_start_is_stored_and_told_of_when_it_returns() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;

        let handle = stand.ployer.deployments().start(shop.id).await.unwrap();

        let stored = stand.deployment_row(handle.id()).await;
        assert_eq!(&stored, handle.deployment());
        assert_eq!(stored.status, DeploymentStatus::Queued);
        assert_eq!(stored.image_tag, format!("ployer-shop:{}", stored.id));
        assert_eq!(stand.events().await.last(), Some(&status_event(&stored, None)));
    }

    #[tokio::test]
    async fn what_cannot_be_deployed_is_refused_before_it_is_queued() {
        let stand = Stand::new().await;
        let empty = NewApplication::new("empty".parse().unwrap());
        let empty = stand.ployer.applications().create(empty).await.unwrap();
        let missing = ApplicationId::from(empty.server_id.as_uuid());

        assert_eq!(kind(stand.ployer.deployments().start(empty.id).await), ErrorKind::Conflict);
        assert_eq!(kind(stand.ployer.deployments().start(missing).await), ErrorKind::NotFound);

        assert!(stand.ployer.deployments().list(empty.id, 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_queue_that_is_full_says_so() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        for _ in 0..stand.ployer.settings().engine.queue_max {
            stand.ployer.deployments().start(shop.id).await.unwrap();
        }

        let one_more = stand.ployer.deployments().start(shop.id).await;

        assert_eq!(kind(one_more), ErrorKind::Exhausted);
    }

    #[tokio::test]
    async fn deploying_a_stopped_application_makes_it_run_in_the_same_commit() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        stand.ployer.applications().stop(shop.id).await.unwrap();
        let events = stand.events().await.len();

        stand.ployer.deployments().start(shop.id).await.unwrap();

        assert_eq!(stand.application_row(shop.id).await.wanted, Wanted::Running);
        assert_eq!(stand.events().await.len(), events + 1);
    }

    #[tokio::test]
    async fn a_queued_deployment_is_cancelled_at_once_and_only_once() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let handle = stand.ployer.deployments().start(shop.id).await.unwrap();

        handle.cancel().await.unwrap();

        let row = stand.deployment_row(handle.id()).await;
        assert_eq!(row.status, DeploymentStatus::Cancelled);
        assert!(row.finished_at.is_some() && row.cancel.is_some());
        assert_eq!(kind(handle.cancel().await), ErrorKind::Conflict);
        assert_eq!(kind(handle.wait().await), ErrorKind::Failed);
    }

    #[tokio::test]
    async fn a_deployment_under_way_keeps_its_status_until_its_cancel_was_seen() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let handle = stand.ployer.deployments().start(shop.id).await.unwrap();
        stand
            .engine_writes(handle.id(), |row| (row.status, row.step) = (DeploymentStatus::Building, Step::Build))
            .await;

        handle.cancel().await.unwrap();
        handle.cancel().await.unwrap();

        let row = stand.deployment_row(handle.id()).await;
        assert_eq!((row.status, row.cancel.is_some()), (DeploymentStatus::Building, true));
        let asked = |event: &EventKind| matches!(event, EventKind::CancelRequested { .. });
        assert_eq!(stand.events().await.iter().filter(|event| asked(event)).count(), 1);
    }

    #[tokio::test]
    async fn after_the_intent_there_is_no_cancel() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let handle = stand.ployer.deployments().start(shop.id).await.unwrap();
        stand
            .engine_writes(handle.id(), |row| (row.status, row.step) = (DeploymentStatus::Deploying, Step::Switch))
            .await;

        let refused = handle.cancel().await;

        assert_eq!(kind(refused), ErrorKind::Conflict);
        assert_eq!(stand.deployment_row(handle.id()).await.cancel, None);
    }

    #[tokio::test]
    async fn a_rollback_pins_its_release_and_pauses_pushes_until_the_next_manual_start() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let first = stand.deployed(&shop).await;
        stand.deployed(&shop).await;
        let webhook = stand.ployer.acting_as(Actor::Webhook { application: shop.id });

        let handle = stand.ployer.deployments().rollback(shop.id, Rollback::default()).await.unwrap();

        let pinned = stand.ployer.releases().get(first).await.unwrap().pinned_by;
        assert_eq!(handle.deployment().kind, DeploymentKind::Rollback { release: first, env: RollbackEnv::Release });
        assert_eq!(pinned, Some(handle.id()));
        let paused = async || stand.application_row(shop.id).await.auto_deploy_paused;
        webhook.deployments().start(shop.id).await.unwrap();
        assert!(paused().await, "a push does not end the pause");
        stand.ployer.deployments().start(shop.id).await.unwrap();
        assert!(!paused().await, "a person does");
    }

    #[tokio::test]
    async fn cancelling_a_queued_rollback_lets_its_release_go() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let first = stand.deployed(&shop).await;
        stand.deployed(&shop).await;
        let handle = stand.ployer.deployments().rollback(shop.id, Rollback::default()).await.unwrap();

        handle.cancel().await.unwrap();

        assert_eq!(stand.ployer.releases().get(first).await.unwrap().pinned_by, None);
    }

    #[tokio::test]
    async fn a_rollback_that_cannot_be_says_what_to_do() {
        let stand = Stand::new().await;
        let (shop, other) = (stand.application("shop").await, stand.application("other").await);
        let deployments = stand.ployer.deployments();
        let to = |release| Rollback { release: Some(release), ..Rollback::default() };
        assert_eq!(kind(deployments.rollback(shop.id, Rollback::default()).await), ErrorKind::Conflict);
        let first = stand.deployed(&shop).await;
        let foreign = stand.deployed(&other).await;

        let active = deployments.rollback(shop.id, to(first)).await.unwrap_err();
        let missing = deployments.rollback(shop.id, to(foreign)).await.unwrap_err();
        stand.deployed(&shop).await;
        stand.still.lose_artifacts();
        let gone = deployments.rollback(shop.id, to(first)).await.unwrap_err();

        assert_eq!((active.kind(), active.hint().is_some()), (ErrorKind::Conflict, true));
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        assert_eq!((gone.kind(), gone.hint()), (ErrorKind::Conflict, Some("deploy its source again")));
        assert_eq!(stand.ployer.releases().get(first).await.unwrap().pinned_by, None);
    }

    #[tokio::test]
    async fn plain_processes_beside_those_of_other_users_need_the_administrators_word() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let server = stand.local_process_server().await;
        let (_, user) = stand.user("ann@host.example", Role::User).await;
        let theirs = NewApplication { git_url: shop.git_url.clone(), ..NewApplication::new("theirs".parse().unwrap()) };
        let theirs = NewApplication { server_id: Some(server), ..theirs };
        let theirs = user.applications().create(theirs).await.unwrap();
        assert!(user.deployments().start(theirs.id).await.is_ok(), "there is nobody else");
        stand.user("bob@host.example", Role::User).await;

        let refused = user.deployments().start(theirs.id).await;

        assert_eq!(kind(refused), ErrorKind::Forbidden);
        let allow = UpdateApplication { allow_process_runtime: Some(true), ..UpdateApplication::default() };
        stand.ployer.applications().update(theirs.id, allow).await.unwrap();
        assert!(user.deployments().start(theirs.id).await.is_ok());
        let docker =
            UpdateApplication { build_strategy: Some(BuildStrategy::Dockerfile), ..UpdateApplication::default() };
        assert_eq!(kind(user.applications().update(theirs.id, docker).await), ErrorKind::Invalid);
    }
}
