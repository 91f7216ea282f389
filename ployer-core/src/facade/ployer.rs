//! `Ployer`: the handle of the library, bound to an actor.
//!
//! It is cheap to clone and has no state of its own beside what all clones share. Here is the one way in which the
//! facade writes: decide on what is stored, commit, and decide again where somebody else was faster.

use std::sync::Arc;

use jiff::Timestamp;

use super::builder::PloyerBuilder;
use super::local::Local;
use super::run::Running;
use super::{
    Applications, Deployments, Domains, EnvVars, Events, HealthChecks, Members, Releases, Servers, Users, Volumes,
};
use crate::clock::Clock;
use crate::config::Settings;
use crate::engine::EngineParts;
use crate::error::{ErrorKind, Result};
use crate::model::{Actor, InstanceId, ServerId};
use crate::store::{Commit, Store};

/// How often a change is decided anew because somebody else was faster.
const ATTEMPTS: usize = 16;

/// The handle of the library.
///
/// The one that [`PloyerBuilder::build`] answers acts as the system and may do everything;
/// [`Ployer::acting_as`] gives one that may do what an actor may.
#[derive(Clone, Debug)]
pub struct Ployer {
    pub(super) shared: Arc<Shared>,
    actor: Actor,
}

/// What all handles of one installation in this process share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) parts: EngineParts,
    /// The row of this machine for the runtime of this handle.
    pub(super) server: ServerId,
    /// This machine as a server, unless the embedding program brings servers of its own.
    pub(super) local: Option<Arc<Local>>,
    /// Whether an engine of this process runs.
    pub(super) running: Running,
}

impl Ployer {
    /// Begins a handle: everything has a default but the data directory.
    pub fn builder() -> PloyerBuilder {
        PloyerBuilder::default()
    }

    pub(super) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), actor: Actor::System }
    }

    /// The same installation for `actor`, who may do only what their rights allow at the time of each call.
    #[must_use]
    pub fn acting_as(&self, actor: Actor) -> Self {
        Self { shared: Arc::clone(&self.shared), actor }
    }

    /// On whose behalf this handle acts.
    pub fn actor(&self) -> Actor {
        self.actor
    }

    /// The identity of the installation: the owner of everything that it starts.
    pub fn instance(&self) -> InstanceId {
        self.shared.parts.instance
    }

    /// The settings it was built with.
    pub fn settings(&self) -> &Settings {
        &self.shared.parts.settings
    }

    /// Applications: what is deployed.
    pub fn applications(&self) -> Applications<'_> {
        Applications(self)
    }

    /// Deployments: start, roll back, cancel, wait, read the output.
    pub fn deployments(&self) -> Deployments<'_> {
        Deployments(self)
    }

    /// Releases: what deployments made.
    pub fn releases(&self) -> Releases<'_> {
        Releases(self)
    }

    /// Variables of applications.
    pub fn env(&self) -> EnvVars<'_> {
        EnvVars(self)
    }

    /// Domains of applications.
    pub fn domains(&self) -> Domains<'_> {
        Domains(self)
    }

    /// Health checks of applications.
    pub fn health_checks(&self) -> HealthChecks<'_> {
        HealthChecks(self)
    }

    /// Servers: where workloads run.
    pub fn servers(&self) -> Servers<'_> {
        Servers(self)
    }

    /// Persistent directories of applications.
    pub fn volumes(&self) -> Volumes<'_> {
        Volumes(self)
    }

    /// Users of the installation.
    pub fn users(&self) -> Users<'_> {
        Users(self)
    }

    /// Members: users with whom an application is shared.
    pub fn members(&self) -> Members<'_> {
        Members(self)
    }

    /// Events: what happened.
    pub fn events(&self) -> Events<'_> {
        Events(self)
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.shared.parts.store
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.shared.parts.clock
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock().now()
    }

    /// A commit on behalf of this handle's actor.
    pub(super) fn draft(&self) -> Commit {
        Commit::new(self.actor, self.now())
    }

    /// Stores what `decide` decides on what is stored. Where somebody else was faster it decides again: so it must
    /// read within, and have no effect but its answer. An empty commit is not stored.
    pub(super) async fn change<T>(&self, decide: impl AsyncFn() -> Result<(Commit, T)>) -> Result<T> {
        let mut left = ATTEMPTS;
        loop {
            let (commit, outcome) = decide().await?;
            if commit.changes.is_empty() && commit.events.is_empty() {
                return Ok(outcome);
            }
            left -= 1;
            match self.commit(commit).await {
                Err(error) if error.kind() == ErrorKind::Conflict && left > 0 => {}
                result => return result.map(|()| outcome),
            }
        }
    }

    async fn commit(&self, commit: Commit) -> Result<()> {
        let seq = self.store().commit(commit).await?;
        self.shared.parts.news.send_replace(seq);
        Ok(())
    }
}
