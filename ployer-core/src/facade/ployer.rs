//! `Ployer`: the handle of the library, bound to an actor.
//!
//! It is cheap to clone and has no state of its own beside what all clones share. Here is the one way in which the
//! facade writes: decide on what is stored, commit, and decide again where somebody else was faster.

use std::path::PathBuf;
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
    /// Where the operating system keeps a second engine away; `None` where the store is not a file of ours.
    pub(super) engine_lock: Option<PathBuf>,
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
    pub(super) async fn change<T, F>(&self, decide: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<(Commit, T)>>,
    {
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
        self.shared.parts.tell(seq);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::facade::Rollback;
    use crate::facade::stand::Stand;
    use crate::model::{ApplicationId, EventKind, NewApplication, NewEvent, UpdateApplication};
    use crate::store::Applications as _;

    #[tokio::test]
    async fn every_call_of_the_facade_may_be_awaited_in_a_task() {
        fn in_a_task(_: impl Future + Send + 'static) {}
        let ployer = Stand::new().await.ployer;
        let id = ApplicationId::from(ployer.instance().as_uuid());

        macro_rules! each {
            ($(|$p:ident| $call:expr),* $(,)?) => {$(
                let $p = ployer.clone();
                in_a_task(async move { Ok::<_, Error>($call.await.is_ok()) });
            )*};
        }
        each![
            |p| p.applications().create(NewApplication::new("a".parse()?)),
            |p| p.applications().update(id, UpdateApplication::default()),
            |p| p.applications().restart(id),
            |p| p.deployments().start(id).await?.wait(),
            |p| p.deployments().rollback(id, Rollback::default()),
            |p| p.env().set(id, "A".parse()?, "value"),
            |p| p.domains().add(id, "shop.example".parse()?),
            |p| p.run(std::future::pending()),
        ];
    }

    #[tokio::test]
    async fn a_change_that_lost_is_decided_anew_on_what_is_stored_now() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let (ployer, stand, id) = (&stand.ployer, &stand, shop.id);
        let tries = std::cell::Cell::new(0);

        ployer
            .change(|| {
                tries.set(tries.get() + 1);
                let first = tries.get() == 1;
                async move {
                    let mine = stand.application_row(id).await;
                    if first {
                        let other = UpdateApplication { port: Some(1), ..UpdateApplication::default() };
                        ployer.applications().update(id, other).await?;
                    }
                    Ok((ployer.rewrite(mine, EventKind::ApplicationCreated), ()))
                }
            })
            .await
            .unwrap();

        assert_eq!((tries.get(), stand.application_row(id).await.port), (2, Some(1)));
    }

    #[tokio::test]
    async fn a_change_that_loses_for_ever_ends_in_a_conflict() {
        let stand = Stand::new().await;
        let stale = stand.application("shop").await;
        stand.ployer.applications().stop(stale.id).await.unwrap();
        let (ployer, stale) = (&stand.ployer, &stale);

        let lost: Result<()> = ployer
            .change(|| async move { Ok((ployer.rewrite(stale.clone(), EventKind::ApplicationCreated), ())) })
            .await;

        assert_eq!(lost.map_err(|error| Error::kind(&error)), Err(ErrorKind::Conflict));
        assert_eq!(stand.store.application(stale.id).await.unwrap().unwrap().version.0, 2);
    }

    #[tokio::test]
    async fn every_commit_names_the_actor_of_its_handle() {
        use crate::model::{EventSeq, Role};
        use crate::store::Events as _;
        let stand = Stand::new().await;
        let (id, user) = stand.user("ann@host.example", Role::User).await;

        user.applications().create(NewApplication::new("mine".parse().unwrap())).await.unwrap();

        let last = stand.store.events(EventSeq(0), 100).await.unwrap().pop().unwrap();
        assert_eq!(last.actor, Actor::User { user: id });
        assert_eq!(
            NewEvent { application_id: last.application_id, kind: last.kind }.kind,
            EventKind::ApplicationCreated
        );
    }
}
