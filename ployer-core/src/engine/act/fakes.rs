//! A small world for the tests of this room: every trait an engine calls, over one set of maps.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

use super::context::{Context, Tasks};
use super::engine::EngineParts;
use super::lease::HeldLease;
use super::picture::Picture;
use super::scope::Scope;
use crate::clock::Clock;
use crate::config::{AddressRange, Settings};
use crate::error::{Error, ErrorKind, Resource, Result};
use crate::model::{
    Actor, Answer, AnsweredBy, Application, ApplicationId, Artifact, Ask, BuildStrategy, Command, CommitInfo,
    DeploymentId, EventSeq, Exit, InFlight, InstanceId, OutputLine, OutputStream, Replica, ReplicaName, ReplicaSeen,
    ReplicaState, Revision, RouteTable, RuntimeEvent, RuntimeKind, Secret, SecretScope, SecretVersion, Server,
    ServerId, Stats, Target, Traffic, Upstream, Vantage, Version, Wanted, Workload,
};
use crate::probe::{Check, Probe, Verdict};
use crate::proxy::Proxy;
use crate::runtime::{
    ArtifactName, BuildRequest, Builder, Capabilities, ContainerRuntime, ExecOutput, LogQuery, LogSink,
};
use crate::secrets::SecretStore;
use crate::servers::{ServerHandle, Servers};
use crate::source::{Checkout, CheckoutRequest, Progress, Source};
use crate::store::memory::MemoryStore;
use crate::store::{Commit, Store};

/// Time as tokio's timers have it, and ids that count.
#[derive(Debug)]
pub(super) struct TestClock {
    began: Instant,
    ids: AtomicU64,
}

impl TestClock {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), ids: AtomicU64::new(1) }
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::constant(1_800_000_000, 0) + self.began.elapsed()
    }

    fn new_id(&self) -> Uuid {
        Uuid::from_u128(0x7000 << 64 | 0x8 << 60 | u128::from(self.ids.fetch_add(1, Ordering::SeqCst)))
    }

    fn random(&self, bytes: &mut [u8]) -> Result<()> {
        bytes.fill(7);
        Ok(())
    }
}

/// What there is outside the store.
#[derive(Debug, Default)]
pub(super) struct Things {
    pub(super) replicas: BTreeMap<ReplicaName, ReplicaSeen>,
    pub(super) output: BTreeMap<ReplicaName, Vec<String>>,
    pub(super) exits: BTreeMap<ReplicaName, Exit>,
    pub(super) table: RouteTable,
    pub(super) traffic: Traffic,
    pub(super) in_flight: BTreeMap<ReplicaName, InFlight>,
    pub(super) artifacts: Vec<Artifact>,
    pub(super) secrets: BTreeMap<SecretVersion, Secret>,
    pub(super) checkout: Option<PathBuf>,
    /// What the probe says; `None`: that it is ready.
    pub(super) not_ready: Option<String>,
    /// Every call that changes something, in order.
    pub(super) calls: Vec<String>,
    /// The next calls that fail, by their name.
    pub(super) troubles: Vec<(&'static str, ErrorKind)>,
    /// How long calls take, by their name.
    pub(super) delays: BTreeMap<&'static str, Duration>,
}

/// The world: it runs, builds, routes, fetches, probes and keeps secrets.
#[derive(Debug, Default)]
pub(super) struct World(Mutex<Things>);

impl World {
    pub(super) fn things(&self) -> MutexGuard<'_, Things> {
        self.0.lock().unwrap()
    }

    /// The calls that changed something, in order.
    pub(super) fn calls(&self) -> Vec<String> {
        self.things().calls.clone()
    }

    /// Has the next call of that name fail.
    pub(super) fn fail_next(&self, call: &'static str, kind: ErrorKind) {
        self.things().troubles.push((call, kind));
    }

    async fn call(&self, call: &'static str, of: impl std::fmt::Display) -> Result<()> {
        let delay = self.things().delays.get(call).copied();
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        let mut things = self.things();
        things.calls.push(format!("{call} {of}"));
        match things.troubles.iter().position(|(troubled, _)| *troubled == call) {
            Some(at) => {
                let (_, kind) = things.troubles.remove(at);
                Err(Error::new(kind, format!("{call} is in trouble")))
            }
            None => Ok(()),
        }
    }
}

#[async_trait]
impl ContainerRuntime for World {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(RuntimeKind::Custom)
    }

    async fn run(&self, workload: &Workload, name: &ReplicaName) -> Result<Exit> {
        self.call("run", name).await?;
        let mut things = self.things();
        let exit = things.exits.get(name).copied().unwrap_or(Exit::Code(0));
        things.replicas.entry(name.clone()).or_insert_with(|| seen(name, workload, 1, ReplicaState::Exited(exit)));
        Ok(exit)
    }

    async fn start(&self, workload: &Workload, replica: &Replica) -> Result<()> {
        self.call("start", &replica.name).await?;
        let mut running = seen(&replica.name, workload, replica.index, ReplicaState::Running);
        running.address = replica.address;
        self.things().replicas.insert(replica.name.clone(), running);
        Ok(())
    }

    async fn keep_running(&self, name: &ReplicaName) -> Result<()> {
        self.call("keep_running", name).await?;
        if let Some(replica) = self.things().replicas.get_mut(name) {
            replica.keeps_running = true;
        }
        Ok(())
    }

    async fn stop(&self, name: &ReplicaName, _grace: Duration) -> Result<()> {
        self.call("stop", name).await?;
        if let Some(replica) = self.things().replicas.get_mut(name) {
            replica.state = ReplicaState::Stopped;
        }
        Ok(())
    }

    async fn remove(&self, name: &ReplicaName) -> Result<()> {
        self.call("remove", name).await?;
        self.things().replicas.remove(name);
        Ok(())
    }

    async fn list(&self, _instance: InstanceId) -> Result<Vec<ReplicaSeen>> {
        let delay = self.things().delays.get("list").copied();
        let listing = self.things().replicas.values().cloned().collect();
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
        Ok(listing)
    }

    async fn listens(&self, _name: &ReplicaName) -> Result<bool> {
        Ok(true)
    }

    async fn free_addresses(
        &self,
        range: &AddressRange,
        taken: &[SocketAddr],
        count: usize,
    ) -> Result<Vec<SocketAddr>> {
        let all = range.ports.clone().map(|port| SocketAddr::new(range.host, port));
        tokio::task::yield_now().await;
        Ok(all.filter(|address| !taken.contains(address)).take(count).collect())
    }

    async fn logs(&self, name: &ReplicaName, _query: &LogQuery) -> Result<BoxStream<'static, Result<OutputLine>>> {
        let lines = self.things().output.get(name).cloned().unwrap_or_default();
        let replica = name.clone();
        let line =
            move |text| Ok(OutputLine { replica: replica.clone(), stream: OutputStream::Stdout, at: None, text });
        Ok(futures_util::stream::iter(lines.into_iter().map(line)).boxed())
    }

    async fn stats(&self, _name: &ReplicaName) -> Result<Stats> {
        Err(Error::unsupported("stats"))
    }

    async fn exec(&self, _name: &ReplicaName, _command: &Command, _input: Option<Secret>) -> Result<ExecOutput> {
        Err(Error::unsupported("exec"))
    }

    async fn events(&self, _instance: InstanceId) -> Result<BoxStream<'static, RuntimeEvent>> {
        Ok(futures_util::stream::pending().boxed())
    }
}

#[async_trait]
impl Builder for World {
    async fn build(&self, request: &BuildRequest, log: &dyn LogSink) -> Result<Artifact> {
        log.line("building");
        self.call("build", &request.artifact).await?;
        let artifact = Artifact::Directory { path: format!("/artifacts/{}", request.artifact).into() };
        self.things().artifacts.push(artifact.clone());
        Ok(artifact)
    }

    async fn reuse(&self, _artifact: &Artifact, name: &ArtifactName, _instance: InstanceId) -> Result<Artifact> {
        self.call("reuse", name).await?;
        let artifact = Artifact::Directory { path: format!("/artifacts/{name}").into() };
        self.things().artifacts.push(artifact.clone());
        Ok(artifact)
    }

    async fn exists(&self, artifact: &Artifact) -> Result<bool> {
        Ok(self.things().artifacts.contains(artifact))
    }

    async fn remove(&self, name: &ArtifactName) -> Result<()> {
        self.call("remove_artifact", name).await?;
        let gone = Artifact::Directory { path: format!("/artifacts/{name}").into() };
        self.things().artifacts.retain(|artifact| *artifact != gone);
        Ok(())
    }
}

#[async_trait]
impl Proxy for World {
    async fn apply(&self, table: &RouteTable, expected: Revision) -> Result<Revision> {
        self.call("apply", table.revision).await?;
        let mut things = self.things();
        if things.table.revision != expected || table.revision.epoch < expected.epoch {
            return Err(Error::conflict("the table is another one"));
        }
        things.table = table.clone();
        Ok(table.revision)
    }

    async fn routes(&self) -> Result<RouteTable> {
        Ok(self.things().table.clone())
    }

    async fn in_flight(&self, upstream: &Upstream) -> Result<InFlight> {
        Ok(self.things().in_flight.get(&upstream.replica).copied().unwrap_or_default())
    }

    async fn traffic(&self, _application: ApplicationId) -> Result<Option<Traffic>> {
        Ok(Some(self.things().traffic))
    }

    async fn ask(&self, ask: &Ask) -> Result<Answer> {
        self.call("ask", &ask.host).await?;
        let things = self.things();
        let route = things.table.routes.values().find(|route| route.hosts.contains(&ask.host));
        let by = match route.map(|route| &route.target) {
            Some(Target::Static { release, .. }) => AnsweredBy::Static(*release),
            Some(Target::Upstreams(upstreams)) => {
                let wanted = ask.wanted.clone().or_else(|| upstreams.first().cloned());
                wanted.map_or(AnsweredBy::Proxy, |upstream| AnsweredBy::Replica(upstream.replica))
            }
            _ => AnsweredBy::Proxy,
        };
        Ok(Answer { status: 200, by })
    }

    fn vantage(&self) -> Vantage {
        Vantage::Host
    }
}

#[async_trait]
impl Source for World {
    async fn checkout(&self, request: &CheckoutRequest, progress: &dyn Progress) -> Result<Checkout> {
        progress.line("fetching");
        self.call("checkout", request.deployment).await?;
        let directory = self.things().checkout.clone().unwrap_or_default();
        let commit =
            CommitInfo { sha: None, message: "A change".to_owned(), author: "Ada".to_owned(), tree: "t1".to_owned() };
        Ok(Checkout { directory, commit })
    }

    async fn discard(&self, deployment: DeploymentId) -> Result<()> {
        self.call("discard", deployment).await
    }

    async fn forget(&self, application: ApplicationId) -> Result<()> {
        self.call("forget", application).await
    }
}

#[async_trait]
impl Probe for World {
    async fn probe(&self, _runtime: &dyn ContainerRuntime, _replica: &Replica, _check: &Check) -> Result<Verdict> {
        Ok(self.things().not_ready.clone().map_or(Verdict::Ready, Verdict::NotReady))
    }
}

#[async_trait]
impl SecretStore for World {
    async fn put(&self, _scope: SecretScope, _key: &str, value: &Secret) -> Result<SecretVersion> {
        let mut things = self.things();
        let version = SecretVersion::from(Uuid::from_u128(things.secrets.len() as u128 + 1));
        things.secrets.insert(version, value.clone());
        Ok(version)
    }

    async fn get(&self, version: SecretVersion) -> Result<Secret> {
        self.things().secrets.get(&version).cloned().ok_or_else(|| Error::not_found(Resource::Secret, version))
    }

    async fn purge(&self, version: SecretVersion) -> Result<()> {
        self.call("purge", version).await?;
        self.things().secrets.remove(&version);
        Ok(())
    }
}

/// The one machine, whichever row is asked for.
#[derive(Debug)]
struct Machine(Arc<World>);

#[async_trait]
impl Servers for Machine {
    async fn connect(&self, _server: &Server) -> Result<ServerHandle> {
        let world = &self.0;
        let (runtime, builder, proxy) = (Arc::clone(world) as _, Arc::clone(world) as _, Arc::clone(world) as _);
        Ok(ServerHandle { runtime, builder, proxy })
    }
}

/// A store with one server and one application, and the world around it.
pub(super) struct Stand {
    pub(super) world: Arc<World>,
    pub(super) store: Arc<MemoryStore>,
    pub(super) parts: EngineParts,
    pub(super) server: ServerId,
    pub(super) application: Application,
    pub(super) source: TempDir,
}

impl Stand {
    pub(super) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(super) async fn with(settings: Settings) -> Self {
        let world = Arc::new(World::default());
        let store = Arc::new(MemoryStore::new());
        let clock: Arc<dyn Clock> = Arc::new(TestClock::new());
        let parts = EngineParts {
            store: store.clone(),
            secrets: world.clone(),
            servers: Arc::new(Machine(world.clone())),
            source: world.clone(),
            probe: world.clone(),
            instance: InstanceId::new(clock.as_ref()),
            clock: clock.clone(),
            settings: Arc::new(settings),
            holder: "test".to_owned(),
            alone: false,
            news: watch::Sender::new(EventSeq::default()),
        };
        let now = clock.now();
        let server = ServerId::new(clock.as_ref());
        let row = Server::local(server, "local".parse().unwrap(), RuntimeKind::Custom, now);
        store.commit(Commit::new(Actor::System, now).insert(row)).await.unwrap();
        let source = tempfile::tempdir().unwrap();
        world.things().checkout = Some(source.path().to_owned());
        let shop = application(server, clock.as_ref(), "shop");
        let mut stand = Self { world, store, parts, server, application: shop, source };
        stand.write("index.html", "hello");
        stand.application = stand.insert("shop").await;
        stand
    }

    /// Puts a file into the source that is checked out.
    pub(super) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.source.path().join(name), content).unwrap();
    }

    /// Stores another application.
    pub(super) async fn insert(&self, name: &str) -> Application {
        let row = application(self.server, self.parts.clock.as_ref(), name);
        let commit = Commit::new(Actor::System, self.parts.clock.now()).insert(row.clone());
        self.store.commit(commit).await.unwrap();
        Application { version: Version::NEW.next(), ..row }
    }

    /// A scope of the application, without an actor. Dropping the tasks ends what works for it.
    pub(super) async fn scope(&self) -> (Scope, Tasks) {
        let parts = Arc::new(self.parts.clone());
        let lease = Arc::new(HeldLease::take(Arc::clone(&parts)).await.unwrap());
        let tasks = Tasks::default();
        let context = Arc::new(Context::new(parts, lease, &tasks));
        let reach = context.reach(self.server).await.unwrap();
        let scope = Scope { context, reach, picture: Arc::new(Picture::default()), application: self.application.id };
        scope.reach.observer.watch(scope.application, Arc::clone(&scope.picture));
        scope.reach.routes.watch(scope.application, Arc::clone(&scope.picture));
        (scope, tasks)
    }
}

fn application(server: ServerId, clock: &dyn Clock, name: &str) -> Application {
    let now = clock.now();
    Application {
        id: ApplicationId::new(clock),
        version: Version::NEW,
        name: name.parse().unwrap(),
        server_id: server,
        owner: None,
        git_url: Some("https://example.com/shop.git".parse().unwrap()),
        git_branch: None,
        base_directory: None,
        build_strategy: BuildStrategy::Auto,
        dockerfile_path: None,
        port: None,
        auto_deploy: false,
        auto_deploy_paused: false,
        rollout: None,
        replicas: BTreeMap::new(),
        wanted: Wanted::Running,
        restarts_wanted: 0,
        allow_process_runtime: true,
        created_at: now,
        updated_at: now,
    }
}

fn seen(name: &ReplicaName, workload: &Workload, index: u32, state: ReplicaState) -> ReplicaSeen {
    let owner = workload.owner(index);
    ReplicaSeen { name: name.clone(), owner, state, address: None, restarts: 0, keeps_running: false }
}

/// A replica of the application as a runtime would list it.
pub(super) fn replica(stand: &Stand, name: &str, state: ReplicaState) -> ReplicaSeen {
    let owner = crate::model::Owner {
        instance: stand.parts.instance,
        application: stand.application.id,
        release: Uuid::from_u128(77).into(),
        process: "web".parse().unwrap(),
        index: 1,
    };
    ReplicaSeen { name: name.parse().unwrap(), owner, state, address: None, restarts: 0, keeps_running: false }
}
