//! The stand of the facade's tests: an installation over the memory store, where nothing runs and nobody works.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use super::{NewUser, Ployer};
use crate::clock::{Clock, SystemClock};
use crate::config::{AddressRange, Settings};
use crate::error::{Error, Resource, Result};
use crate::model::*;
use crate::probe::{Check, Probe, Verdict};
use crate::proxy::Proxy;
use crate::runtime::{
    ArtifactName, BuildRequest, Builder, Capabilities, ContainerRuntime, ExecOutput, LogQuery, LogSink,
};
use crate::secrets::SecretStore;
use crate::servers::{ServerHandle, Servers};
use crate::source::{Checkout, CheckoutRequest, Progress, Source};
use crate::store::memory::MemoryStore;
use crate::store::{Applications as _, Commit, Deployments as _, Events as _, Store};

/// An installation and what a test does behind its back.
pub(super) struct Stand {
    pub(super) ployer: Ployer,
    pub(super) store: Arc<MemoryStore>,
    pub(super) still: Arc<Still>,
}

/// A place where nothing moves: every part that an installation needs, none of which does anything.
#[derive(Debug, Default)]
pub(super) struct Still {
    artifacts_gone: AtomicBool,
    values: Mutex<BTreeMap<SecretVersion, Secret>>,
}

impl Stand {
    pub(super) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(super) async fn with(settings: Settings) -> Self {
        let (store, still) = (Arc::new(MemoryStore::new()), Arc::new(Still::default()));
        let builder = Ployer::builder().settings(settings).store(store.clone()).secrets(still.clone());
        let builder = builder.servers(still.clone()).source(still.clone()).probe(still.clone());
        Self { ployer: builder.build().await.unwrap(), store, still }
    }

    /// An application with a source.
    pub(super) async fn application(&self, name: &str) -> Application {
        let url = Some("https://host.example/repo".parse().unwrap());
        let new = NewApplication { git_url: url, ..NewApplication::new(name.parse().unwrap()) };
        self.ployer.applications().create(new).await.unwrap()
    }

    pub(super) async fn user(&self, email: &str, role: Role) -> (UserId, Ployer) {
        let new = NewUser { role, ..NewUser::new(email.parse().unwrap()) };
        let user = self.ployer.users().create(new).await.unwrap();
        (user.id, self.ployer.acting_as(Actor::User { user: user.id }))
    }

    /// What the engine would have left of a deployment that went well.
    pub(super) async fn deployed(&self, application: &Application) -> ReleaseId {
        let handle = self.ployer.deployments().start(application.id).await.unwrap();
        let mut deployment = self.store.deployment(handle.id()).await.unwrap().unwrap();
        deployment.status = DeploymentStatus::Running;
        deployment.step = Step::Done;
        deployment.release = Some(handle.id().into());
        let now = SystemClock.now();
        let mut release =
            Release::new(deployment.id, application.id, application.name.clone(), built(deployment.id), now);
        (release.state, release.activated_at) = (ReleaseState::Ran, Some(now));
        let id = release.id;
        self.commit(|commit| commit.update(deployment).insert(release)).await;
        self.activate(application.id, Some(id)).await;
        id
    }

    /// Makes a release the one that serves, or none.
    pub(super) async fn activate(&self, application: ApplicationId, active: Option<ReleaseId>) {
        let old = self.store.machine(application).await.unwrap();
        let machine = Machine {
            application_id: application,
            version: old.as_ref().map_or(Version::NEW, |old| old.version),
            active,
            degraded: false,
            serving: active.is_some(),
            journal_version: 1,
            journal: "{}".to_owned(),
        };
        self.commit(|commit| if old.is_some() { commit.update(machine) } else { commit.insert(machine) }).await;
    }

    /// Changes the row of a deployment as the engine would.
    pub(super) async fn engine_writes(&self, id: DeploymentId, change: impl FnOnce(&mut Deployment)) {
        let mut deployment = self.store.deployment(id).await.unwrap().unwrap();
        change(&mut deployment);
        self.commit(|commit| commit.update(deployment)).await;
    }

    pub(super) async fn commit(&self, fill: impl FnOnce(Commit) -> Commit) {
        let seq = self.store.commit(fill(Commit::new(Actor::System, SystemClock.now()))).await.unwrap();
        self.ployer.shared.parts.news.send_replace(seq);
    }

    /// A row of this machine for plain processes, whatever runs here.
    pub(super) async fn local_process_server(&self) -> ServerId {
        let name = "processes".parse().unwrap();
        let server = Server::local(ServerId::new(&SystemClock), name, RuntimeKind::Process, SystemClock.now());
        let id = server.id;
        self.commit(|commit| commit.insert(server)).await;
        id
    }

    pub(super) async fn application_row(&self, id: ApplicationId) -> Application {
        self.store.application(id).await.unwrap().unwrap()
    }

    pub(super) async fn deployment_row(&self, id: DeploymentId) -> Deployment {
        self.store.deployment(id).await.unwrap().unwrap()
    }

    pub(super) async fn events(&self) -> Vec<EventKind> {
        let events = self.store.events(EventSeq(0), 10_000).await.unwrap();
        events.into_iter().map(|event| event.kind).collect()
    }
}

impl Still {
    pub(super) fn lose_artifacts(&self) {
        self.artifacts_gone.store(true, Ordering::SeqCst);
    }

    pub(super) fn values(&self) -> usize {
        self.values.lock().unwrap().len()
    }
}

fn built(deployment: DeploymentId) -> Built {
    let web = ProcessSpec::new(ProcessName::web(), None);
    Built {
        artifact: Artifact::Directory { path: PathBuf::from(format!("/releases/{deployment}")) },
        spec: ReleaseSpec { processes: vec![web], ..ReleaseSpec::default() },
        reuse_key: deployment.to_string(),
        reused_from: None,
    }
}

fn away<T>(what: &str) -> Result<T> {
    Err(Error::unavailable(what))
}

#[async_trait]
impl Servers for Still {
    async fn connect(&self, _: &Server) -> Result<ServerHandle> {
        let gone = AtomicBool::new(self.artifacts_gone.load(Ordering::SeqCst));
        let still = Arc::new(Still { artifacts_gone: gone, ..Still::default() });
        Ok(ServerHandle { runtime: still.clone(), builder: still.clone(), proxy: still })
    }
}

#[async_trait]
impl Builder for Still {
    async fn build(&self, _: &BuildRequest, _: &dyn LogSink) -> Result<Artifact> {
        away("the builder")
    }
    async fn reuse(&self, _: &Artifact, _: &ArtifactName, _: InstanceId) -> Result<Artifact> {
        away("the builder")
    }
    async fn exists(&self, _: &Artifact) -> Result<bool> {
        Ok(!self.artifacts_gone.load(Ordering::SeqCst))
    }
    async fn remove(&self, _: &ArtifactName) -> Result<()> {
        away("the builder")
    }
}

#[async_trait]
impl ContainerRuntime for Still {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(RuntimeKind::Custom)
    }
    async fn run(&self, _: &Workload, _: &ReplicaName) -> Result<Exit> {
        away("the runtime")
    }
    async fn start(&self, _: &Workload, _: &Replica) -> Result<()> {
        away("the runtime")
    }
    async fn keep_running(&self, _: &ReplicaName) -> Result<()> {
        away("the runtime")
    }
    async fn stop(&self, _: &ReplicaName, _: Duration) -> Result<()> {
        away("the runtime")
    }
    async fn remove(&self, _: &ReplicaName) -> Result<()> {
        away("the runtime")
    }
    async fn list(&self, _: InstanceId) -> Result<Vec<ReplicaSeen>> {
        Ok(Vec::new())
    }
    async fn listens(&self, _: &ReplicaName) -> Result<bool> {
        away("the runtime")
    }
    async fn free_addresses(&self, _: &AddressRange, _: &[SocketAddr], _: usize) -> Result<Vec<SocketAddr>> {
        away("the runtime")
    }
    async fn logs(&self, _: &ReplicaName, _: &LogQuery) -> Result<BoxStream<'static, Result<OutputLine>>> {
        away("the runtime")
    }
    async fn stats(&self, _: &ReplicaName) -> Result<Stats> {
        away("the runtime")
    }
    async fn exec(&self, _: &ReplicaName, _: &Command, _: Option<Secret>) -> Result<ExecOutput> {
        away("the runtime")
    }
    async fn events(&self, _: InstanceId) -> Result<BoxStream<'static, RuntimeEvent>> {
        away("the runtime")
    }
}

#[async_trait]
impl Proxy for Still {
    async fn apply(&self, table: &RouteTable, _: Revision) -> Result<Revision> {
        Ok(table.revision)
    }
    async fn routes(&self) -> Result<RouteTable> {
        Ok(RouteTable::default())
    }
    async fn in_flight(&self, _: &Upstream) -> Result<InFlight> {
        Ok(InFlight::default())
    }
    async fn traffic(&self, _: ApplicationId) -> Result<Option<Traffic>> {
        Ok(None)
    }
    async fn ask(&self, _: &Ask) -> Result<Answer> {
        away("the proxy")
    }
    fn vantage(&self) -> Vantage {
        Vantage::Remote
    }
}

#[async_trait]
impl Source for Still {
    async fn checkout(&self, _: &CheckoutRequest, _: &dyn Progress) -> Result<Checkout> {
        away("the repository")
    }
    async fn discard(&self, _: DeploymentId) -> Result<()> {
        Ok(())
    }
    async fn forget(&self, _: ApplicationId) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Probe for Still {
    async fn probe(&self, _: &dyn ContainerRuntime, _: &Replica, _: &Check) -> Result<Verdict> {
        Ok(Verdict::NotReady("nothing runs here".to_owned()))
    }
}

#[async_trait]
impl SecretStore for Still {
    async fn put(&self, _: SecretScope, _: &str, value: &Secret) -> Result<SecretVersion> {
        let version = SecretVersion::new(&SystemClock);
        self.values.lock().unwrap().insert(version, value.clone());
        Ok(version)
    }
    async fn get(&self, version: SecretVersion) -> Result<Secret> {
        let value = self.values.lock().unwrap().get(&version).cloned();
        value.ok_or_else(|| Error::not_found(Resource::Secret, version))
    }
    async fn purge(&self, version: SecretVersion) -> Result<()> {
        self.values.lock().unwrap().remove(&version);
        Ok(())
    }
}
