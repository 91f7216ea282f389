//! The scope: what every effect of one application reaches, and which function performs which action.

use std::future::pending;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::context::Context;
use super::effects::Perform;
use super::picture::Picture;
use super::reach::Reach;
use super::{ask, build, checkout, clear, gate, release_command, workloads};
use crate::config::Deadlines;
use crate::engine::decide::action::Action;
use crate::engine::decide::seen::{Job, JobEnd};
use crate::error::{Error, ErrorKind, Resource, Result};
use crate::model::{Application, ApplicationId, Deployment, DeploymentId, Release, ReleaseId, Route};

/// What every effect of one application reaches.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) context: Arc<Context>,
    pub(super) reach: Arc<Reach>,
    pub(super) picture: Arc<Picture>,
    pub(super) application: ApplicationId,
}

impl Perform for Scope {
    fn perform(&self, action: &Action) -> BoxFuture<'static, Result<()>> {
        let (scope, action) = (self.clone(), action.clone());
        Box::pin(async move { scope.act(action).await })
    }
}

impl Scope {
    async fn act(&self, action: Action) -> Result<()> {
        match action {
            Action::Checkout { job, commit } => checkout::perform(self, job, commit).await,
            Action::Build { job, cache } => build::perform(self, job, cache).await,
            Action::ReleaseCommand { job, release, attach } => {
                release_command::perform(self, job, release, attach).await
            }
            Action::HoldSlot(slot) => {
                self.reach.slots.hold(slot, &self.picture, self.context.parts.clock.as_ref()).await
            }
            Action::FindAddresses { attempt, count } => self.find_addresses(attempt, count).await,
            Action::Start { name, wanted } => workloads::start(self, &name, &wanted).await,
            Action::KeepRunning { name } => workloads::keep_running(self, &name).await,
            Action::Stop { name, grace } => workloads::stop(self, &name, grace).await,
            Action::Remove { name } => workloads::remove(self, &name).await,
            Action::Probe { name, wanted, gate } => gate::probe(self, &name, &wanted, &gate).await,
            Action::Route { route } => self.want_route(route).await,
            Action::Ask { upstream } => ask::ask(self, upstream).await,
            Action::WatchInFlight { upstreams } => ask::watch_in_flight(self, &upstreams).await,
            Action::Discard { deployment, artifact } => clear::discard(self, deployment, artifact).await,
            Action::Collect { release, shared, secrets } => clear::collect(self, release, shared, &secrets).await,
            Action::Forget { volumes } => clear::forget(self, volumes).await,
        }
    }

    async fn find_addresses(&self, attempt: u32, count: usize) -> Result<()> {
        let range = &self.context.parts.settings.engine.addresses;
        let runtime = self.reach.runtime.as_ref();
        let found = match self.context.addresses.find(self.application, runtime, range, count).await {
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => return Err(error),
            found => found.map_err(|error| error.chain()),
        };
        self.picture.update(|seen| seen.addresses = Some((attempt, found)));
        Ok(())
    }

    /// The writer keeps what it was told, so there is nothing more to do while it is named.
    async fn want_route(&self, route: Option<Route>) -> Result<()> {
        self.reach.routes.want(self.application, route);
        self.context.has_said(self.application);
        pending().await
    }

    /// Takes the end of a job into the picture.
    pub(super) fn end(&self, job: Job, end: JobEnd) {
        self.picture.update(|seen| seen.jobs.insert(job, end));
    }

    pub(super) fn deadlines(&self) -> &Deadlines {
        &self.context.ground.settings.deadlines
    }

    pub(super) async fn application(&self) -> Result<Application> {
        let row = self.context.parts.store.application(self.application).await?;
        row.ok_or_else(|| Error::not_found(Resource::Application, self.application))
    }

    pub(super) async fn deployment(&self, id: DeploymentId) -> Result<Deployment> {
        let row = self.context.parts.store.deployment(id).await?;
        row.ok_or_else(|| Error::not_found(Resource::Deployment, id))
    }

    pub(super) async fn release(&self, id: ReleaseId) -> Result<Release> {
        let row = self.context.parts.store.release(id).await?;
        row.ok_or_else(|| Error::not_found(Resource::Release, id))
    }
}
