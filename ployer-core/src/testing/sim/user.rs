//! The user of a history: what the facade commits, without the facade.
//!
//! Each wish is read, decided and committed again where somebody else was faster, as the facade does it.

use std::sync::Arc;

use tokio::sync::watch;

use super::store::SimStore;
use super::world::SimWorld;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Resource, Result};
use crate::model::{
    Actor, Application, ApplicationId, Cancel, Deployment, DeploymentId, DeploymentKind, DeploymentStatus, EventKind,
    EventSeq, NewApplication, NewEvent, ProcessName, ReleaseState, RollbackEnv, ServerId, Step, Wanted,
};
use crate::store::memory::MemoryStore;
use crate::store::{Applications, Commit, Deployments, Releases, Store};

/// How often a wish is tried again because somebody else was faster.
const TRIES: u32 = 100;

/// Somebody who deploys.
#[derive(Clone, Debug)]
pub(super) struct User {
    world: SimWorld,
    store: SimStore,
    server: ServerId,
    news: watch::Sender<EventSeq>,
}

impl User {
    pub(super) fn new(
        world: &SimWorld,
        memory: Arc<MemoryStore>,
        server: ServerId,
        news: watch::Sender<EventSeq>,
    ) -> Self {
        Self { world: world.clone(), store: SimStore::new(world.outside(), memory), server, news }
    }

    /// Makes an application.
    pub(super) async fn create(&self, new: NewApplication) -> Result<ApplicationId> {
        let id = ApplicationId::new(self.world.clock());
        let row = Application::new(id, new, self.server, None, self.world.clock().now());
        self.commit(self.draft().insert(row).event(NewEvent::of(id, EventKind::ApplicationCreated))).await?;
        Ok(id)
    }

    /// Deploys the head of the branch.
    pub(super) async fn deploy(&self, id: ApplicationId) -> Result<DeploymentId> {
        let kind = DeploymentKind::Deploy { commit: None, cache: crate::model::BuildCache::Use };
        self.enqueue(id, |_| Ok(kind.clone())).await
    }

    /// Deploys one commit.
    pub(super) async fn deploy_commit(&self, id: ApplicationId, sha: &str) -> Result<DeploymentId> {
        let kind = DeploymentKind::Deploy { commit: Some(sha.parse()?), cache: crate::model::BuildCache::Use };
        self.enqueue(id, |_| Ok(kind.clone())).await
    }

    /// Returns to the release that was active before the present one.
    pub(super) async fn roll_back(&self, id: ApplicationId, env: RollbackEnv) -> Result<DeploymentId> {
        let deployment = DeploymentId::new(self.world.clock());
        for _ in 0..TRIES {
            let active = self.store.machine(id).await?.and_then(|machine| machine.active);
            let releases = self.store.releases(id).await?;
            let earlier =
                |release: &&crate::model::Release| Some(release.id) != active && release.state == ReleaseState::Ran;
            let target = releases.iter().filter(earlier).max_by_key(|release| release.activated_at).cloned();
            let mut release = target.ok_or_else(|| Error::conflict("there is no earlier release"))?;
            release.pinned_by = Some(deployment);
            let kind = DeploymentKind::Rollback { release: release.id, env };
            let commit = self.queued(id, deployment, kind).await?.update(release);
            match self.commit(commit).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                answer => return answer.map(|()| deployment),
            }
        }
        Err(Error::conflict("somebody else was always faster"))
    }

    async fn enqueue(
        &self,
        id: ApplicationId,
        kind: impl Fn(&Application) -> Result<DeploymentKind>,
    ) -> Result<DeploymentId> {
        let deployment = DeploymentId::new(self.world.clock());
        for _ in 0..TRIES {
            let kind = kind(&self.application(id).await?)?;
            let commit = self.queued(id, deployment, kind).await?;
            match self.commit(commit).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                answer => return answer.map(|()| deployment),
            }
        }
        Err(Error::conflict("somebody else was always faster"))
    }

    async fn queued(&self, id: ApplicationId, deployment: DeploymentId, kind: DeploymentKind) -> Result<Commit> {
        let mut application = self.application(id).await?;
        let now = self.world.clock().now();
        let whose = (application.id, &application.name, application.server_id);
        let row = Deployment::queued(deployment, whose, Actor::System, kind, now);
        let status = DeploymentStatus::Queued;
        let event = EventKind::DeploymentStatus { deployment_id: deployment, status, message: None };
        let mut commit = self.draft().insert(row).event(NewEvent::of(id, event));
        if application.wanted != Wanted::Running {
            application.wanted = Wanted::Running;
            commit = commit.update(application);
        }
        Ok(commit)
    }

    /// Wishes that the newest deployment that has not ended is cancelled; `false` where it is too late.
    pub(super) async fn cancel(&self, id: ApplicationId) -> Result<bool> {
        for _ in 0..TRIES {
            let Some(mut row) = self.store.unfinished_deployments(id).await?.pop() else { return Ok(false) };
            if row.step >= Step::Switch || row.cancel.is_some() {
                return Ok(false);
            }
            let (at, reason) = (self.world.clock().now(), "a user asked for it".to_owned());
            row.cancel = Some(Cancel { by: Actor::System, at, reason: reason.clone() });
            let mut commit = self.draft();
            if row.status == DeploymentStatus::Queued {
                row.status = DeploymentStatus::Cancelled;
                row.finished_at = Some(at);
                commit = self.unpin(commit, &row).await?;
            }
            let event = NewEvent::of(id, EventKind::CancelRequested { deployment_id: row.id, reason });
            match self.commit(commit.update(row).event(event)).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                answer => return answer.map(|()| true),
            }
        }
        Err(Error::conflict("somebody else was always faster"))
    }

    async fn unpin(&self, commit: Commit, row: &Deployment) -> Result<Commit> {
        let DeploymentKind::Rollback { release, .. } = &row.kind else { return Ok(commit) };
        let pinned = self.store.release(*release).await?.filter(|release| release.pinned_by == Some(row.id));
        Ok(match pinned {
            Some(mut release) => {
                release.pinned_by = None;
                commit.update(release)
            }
            None => commit,
        })
    }

    /// Changes the row of an application.
    pub(super) async fn change(
        &self,
        id: ApplicationId,
        action: &str,
        change: impl Fn(&mut Application),
    ) -> Result<()> {
        for _ in 0..TRIES {
            let mut row = self.application(id).await?;
            change(&mut row);
            let event = EventKind::ApplicationRequested { action: action.to_owned() };
            match self.commit(self.draft().update(row).event(NewEvent::of(id, event))).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                answer => return answer,
            }
        }
        Err(Error::conflict("somebody else was always faster"))
    }

    /// Wishes so many replicas of a process type.
    pub(super) async fn scale(&self, id: ApplicationId, process: ProcessName, count: u32) -> Result<()> {
        self.change(id, "scale", |row| row.replicas.extend([(process.clone(), count)])).await
    }

    /// The application, unless it is gone or on its way out.
    pub(super) async fn application(&self, id: ApplicationId) -> Result<Application> {
        let row = self.store.application(id).await?;
        let there = row.filter(|row| !matches!(row.wanted, Wanted::Deleting { .. }));
        there.ok_or_else(|| Error::not_found(Resource::Application, id))
    }

    fn draft(&self) -> Commit {
        Commit::new(Actor::System, self.world.clock().now())
    }

    /// Commits, and wakes the engine, unless the user is in another process this time.
    pub(super) async fn commit(&self, commit: Commit) -> Result<()> {
        let seq = self.store.commit(commit).await?;
        if self.world.with(|world| world.random.chance(800)) {
            self.news.send_replace(seq);
        }
        Ok(())
    }
}
