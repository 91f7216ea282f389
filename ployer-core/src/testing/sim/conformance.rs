//! Conformance: the simulated runtime, proxy, source and store pass the suites of the real ones.

mod proxy;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::program::Program;
use super::runtime::SimRuntime;
use super::source::{SimBuilder, SimSource};
use super::store::SimStore;
use super::version::Effort;
use super::workshop::{Commit, File};
use super::world::SimWorld;
use crate::clock::Clock;
use crate::config::Settings;
use crate::model::{
    Artifact, BuildCache, Command, CommitSha, DeploymentId, Exit, GitUrl, InstanceId, Limits, OutputStream,
    ProcessName, ReleaseId, ReplicaName, Workload,
};
use crate::runtime::{ArtifactName, BuildRecipe, BuildRequest, Builder, ContainerRuntime};
use crate::source::Source;
use crate::store::Store;
use crate::store::memory::MemoryStore;
use crate::testing::runtime::{BuildProgram, Program as Wished, RuntimeHarness};
use crate::testing::source::SourceHarness;
use crate::testing::store::StoreHarness;
use crate::testing::{Content, Files, Push};

/// A world with its calendar, and what ends it.
struct Stage {
    world: SimWorld,
    calendar: JoinHandle<()>,
    _folder: TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = SimWorld::new(1, Settings::default(), folder.path().to_owned());
        let calendar = tokio::spawn(world.clone().keep_calendar());
        Self { world, calendar, _folder: folder }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.calendar.abort();
    }
}

struct Runtime {
    stage: Stage,
    runtime: Arc<SimRuntime>,
    builder: Arc<SimBuilder>,
}

impl Runtime {
    async fn on(stage: Stage) -> Self {
        let port = stage.world.outside();
        let (runtime, builder) = (Arc::new(SimRuntime(port.clone())), Arc::new(SimBuilder(port)));
        runtime.attach().await.unwrap();
        Self { stage, runtime, builder }
    }
}

/// An address that is a stranger's until this is dropped.
struct Stranger(SimWorld, SocketAddr);

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.with(|world| world.replicas.strangers.remove(&self.1));
    }
}

#[async_trait]
impl RuntimeHarness for Runtime {
    async fn fresh() -> Self {
        Self::on(Stage::new()).await
    }

    fn runtime(&self) -> Arc<dyn ContainerRuntime> {
        self.runtime.clone()
    }

    fn builder(&self) -> Arc<dyn Builder> {
        self.builder.clone()
    }

    async fn reopen(self) -> Self {
        self.runtime.detach().await.unwrap();
        Self::on(self.stage).await
    }

    async fn reopen_after_death_of(self, name: &ReplicaName) -> Self {
        self.runtime.detach().await.unwrap();
        self.stage.world.with(|world| world.dies(name));
        Self::on(self.stage).await
    }

    async fn workload(&self, instance: InstanceId, program: Wished) -> Workload {
        let release = ReleaseId::from(self.stage.world.clock().new_id());
        let path = std::path::PathBuf::from(format!("/sim/releases/{release}"));
        self.stage.world.with(|world| world.workshop.artifacts.insert(path.clone(), true));
        Workload {
            instance,
            application: Uuid::from_u128(1).into(),
            release,
            process: ProcessName::web(),
            artifact: Artifact::Directory { path },
            command: Some(simulated(&program).command()),
            env: std::collections::BTreeMap::new(),
            limits: Limits::default(),
            volumes: Vec::new(),
            port: None,
        }
    }

    async fn source(&self, instance: InstanceId, program: BuildProgram) -> BuildRequest {
        let words: &[&str] = match program {
            BuildProgram::Succeeds => &["sim-build", "20", "works", "one", "two", "three"],
            BuildProgram::Fails => &["sim-build", "20", "fails", "one"],
            BuildProgram::Hangs => &["sim-build", "100000000", "works", "one"],
        };
        let command = Command(words.iter().map(|word| (*word).to_owned()).collect());
        BuildRequest {
            instance,
            application: Uuid::from_u128(1).into(),
            artifact: ArtifactName {
                application: "shop".parse().unwrap(),
                deployment: DeploymentId::new(self.stage.world.clock()),
            },
            context: "/sim/context".into(),
            recipe: BuildRecipe::Directory { command: Some(command) },
            cache: BuildCache::Use,
            env: std::collections::BTreeMap::new(),
        }
    }

    fn instance(&self) -> InstanceId {
        Uuid::from_u128(77).into()
    }

    async fn occupy(&self, address: SocketAddr) -> Box<dyn Send> {
        let world = self.stage.world.clone();
        world.with(|world| world.replicas.strangers.insert(address));
        Box::new(Stranger(world, address))
    }

    async fn left_of_builds(&self) -> usize {
        self.stage.world.with(|world| world.workshop.artifacts.len())
    }
}

fn simulated(program: &Wished) -> Program {
    let says = |stream, text: &str| (stream, text.to_owned());
    match program {
        Wished::Serves | Wished::Forks => Program::default(),
        Wished::Idles => Program::silent(),
        Wished::Stubborn => {
            Program { ends_after: None, prints: vec![says(OutputStream::Stdout, "ready")], ..Program::silent() }
        }
        Wished::Ends(code) => Program {
            prints: vec![says(OutputStream::Stdout, "before"), says(OutputStream::Stderr, "beside")],
            ..Program::ending(Duration::from_millis(30), Exit::Code(*code))
        },
    }
}

mod runtime {
    use super::Runtime;

    crate::runtime_suite!(Runtime, (start_paused = true));
}

struct Repositories {
    stage: Stage,
    source: Arc<SimSource>,
}

#[async_trait]
impl SourceHarness for Repositories {
    async fn fresh() -> Self {
        let stage = Stage::new();
        let source = Arc::new(SimSource(stage.world.outside()));
        Self { stage, source }
    }

    fn source(&self) -> Arc<dyn Source> {
        self.source.clone()
    }

    fn url(&self, repository: &str) -> GitUrl {
        format!("https://example.com/{repository}.git").parse().unwrap()
    }

    async fn create(&self, repository: &str) {
        let url = self.url(repository);
        self.stage.world.with(|world| world.workshop.create(&url));
    }

    async fn push(&self, repository: &str, branch: &str, files: Files<'_>, _how: Push) -> CommitSha {
        let sha: CommitSha = format!("{:040x}", self.stage.world.clock().new_id().as_u128()).parse().unwrap();
        let file = |content: &Content<'_>| match content {
            Content::Text(text) => File::Text((*text).to_owned()),
            Content::Executable(text) => File::Executable((*text).to_owned()),
            Content::Link(target) => File::Link((*target).to_owned()),
            Content::Submodule(_) => panic!("the simulation has no submodules"),
        };
        let commit = Commit {
            message: "a change".to_owned(),
            files: files.iter().map(|(path, content)| ((*path).to_owned(), file(content))).collect(),
            effort: Effort::taking(Duration::from_millis(1)),
        };
        let url = self.url(repository);
        self.stage.world.with(|world| world.workshop.push(&url, branch, sha.clone(), commit));
        sha
    }

    async fn remove_branch(&self, repository: &str, branch: &str) {
        let url = self.url(repository);
        self.stage.world.with(|world| world.workshop.remove_branch(&url, branch));
    }
}

mod source {
    use super::Repositories;

    crate::source_suite!(Repositories);
}

struct Stores {
    stage: Stage,
    memory: Arc<MemoryStore>,
}

impl Stores {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(SimStore::new(self.stage.world.outside(), Arc::clone(&self.memory)))
    }
}

#[async_trait]
impl StoreHarness for Stores {
    async fn fresh() -> Self {
        Self { stage: Stage::new(), memory: Arc::new(MemoryStore::new()) }
    }

    fn store(&self) -> Arc<dyn Store> {
        self.open()
    }

    async fn reopen(self) -> Self {
        self
    }

    async fn second_handle(&self) -> Arc<dyn Store> {
        self.open()
    }
}

mod store {
    use super::Stores;

    crate::store_suite!(Stores);
}
