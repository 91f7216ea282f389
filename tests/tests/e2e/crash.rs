//! Crashes: the engine is killed at random instants of deployments and rollbacks, and goes on as if nothing was.
//!
//! `PLOYER_TEST_KILLS` says how often, `PLOYER_TEST_SEED` repeats the choices of a run (not its timing). The proxy
//! lives in the killed program, so a request counts as lost only if no kill fell into its time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use ployer_core::clock::SystemClock;
use ployer_core::model::{
    Application, ApplicationId, Deployment, DeploymentKind, DeploymentStatus, ReleaseId, ReplicaName, Step,
};
use ployer_core::runtime::process::{ProcessConfig, ProcessRuntime};
use ployer_core::runtime::{ContainerRuntime, LogQuery};
use ployer_core::testing::Repository;
use ployer_core::{DeploymentHandle, ErrorKind, Ployer, Rollback};
use tempfile::TempDir;
use tests::app::{App, Fault};
use tests::await_that::{eventually, within};
use tests::installation::{Rest, application, free_port, settings};
use tests::load::{Kind, Load, Lost, Mix, Target, get};
use tests::program::Program;
use tests::{need, processes};
use tokio::process::Command;

use crate::chance::Chance;
use crate::turns::alone;

/// Longer than any step may take: what has not ended by then is stuck.
const STUCK: Duration = Duration::from_secs(120);

/// The longest time from the start of a deployment to a kill: some fall into its retirement.
const KILL_WITHIN: Duration = Duration::from_millis(4_000);

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_instants_leave_nothing_stuck_skipped_repeated_or_orphaned() {
    if !need::sample() {
        return;
    }
    let _turn = alone().await;
    let mut chance = Chance::new();
    let mut story = Story::begin().await;
    let load = [Load::start(&story.target(0), Mix::LIGHT), Load::start(&story.target(1), Mix::LIGHT)];

    for number in 1..=need::number("PLOYER_TEST_KILLS", 10) {
        let which = chance.below(2) as usize;
        let began = story.begin_something(which, number, &mut chance).await;
        tokio::time::sleep(KILL_WITHIN.mul_f64(chance.fraction())).await;
        story.kill_and_start_again().await;
        story.settle(which, &began).await;
    }

    for load in load {
        let report = load.stop().await;
        let unexplained: Vec<_> = report.lost.iter().filter(|lost| !story.is_explained(lost)).collect();
        assert!(unexplained.is_empty(), "{chance}: lost while the engine was up: {unexplained:?}\n{report}");
        assert!(report.tallies[&Kind::KeepAlive].answered > 0, "{report}");
    }
    story.end().await;
}

/// Two applications, one start-first and one stop-first, and the engine that is killed.
struct Story {
    engine: Program,
    ployer: Ployer,
    shops: [Shop; 2],
    port: u16,
    /// From each kill to the time at which requests were taken again.
    outages: Vec<(Instant, Instant)>,
    rest: Rest,
    folder: TempDir,
}

struct Shop {
    application: Application,
    repository: Repository,
    is_stop_first: bool,
    /// What each release answers.
    versions: BTreeMap<ReleaseId, String>,
    /// What should serve now.
    serving: String,
}

/// Something whose end is awaited.
struct Began {
    handle: DeploymentHandle,
    version: String,
    is_good: bool,
}

impl Story {
    async fn begin() -> Self {
        let (folder, port) = (TempDir::new().unwrap(), free_port());
        let data_dir = folder.path().join("data");
        let engine = start(&data_dir, port).await;
        let ployer = Ployer::builder().data_dir(&data_dir).settings(settings()).build().await.unwrap();
        let mut shops = Vec::new();
        for (name, is_stop_first) in [("shop", false), ("till", true)] {
            let repository = Repository::create(folder.path().join(name));
            let application = application(&ployer, name, &repository).await;
            let (versions, serving) = (BTreeMap::new(), String::new());
            shops.push(Shop { application, repository, is_stop_first, versions, serving });
        }
        let rest = Rest(ployer.instance());
        let shops = shops.try_into().ok().unwrap();
        let mut story = Self { engine, ployer, shops, port, outages: Vec::new(), rest, folder };
        let began = [story.deploy(0, "v0".to_owned(), None).await, story.deploy(1, "v0".to_owned(), None).await];
        for began in &began {
            story.ended(began).await;
        }
        for (which, began) in began.iter().enumerate() {
            story.settle(which, began).await;
        }
        story
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn target(&self, which: usize) -> Target {
        let host = format!("{}.localhost", self.shops[which].application.name);
        Target { address: (Ipv4Addr::LOCALHOST, self.port).into(), host }
    }

    /// A deployment, a broken one, or a rollback.
    async fn begin_something(&mut self, which: usize, number: u64, chance: &mut Chance) -> Began {
        let fault = match chance.below(8) {
            0 => Some(Fault::Unhealthy),
            1 => Some(Fault::Exits),
            2..=4 if self.shops[which].versions.len() > 1 => return self.roll_back(which).await,
            _ => None,
        };
        self.deploy(which, format!("v{number}"), fault).await
    }

    async fn deploy(&mut self, which: usize, version: String, fault: Option<Fault>) -> Began {
        let shop = &self.shops[which];
        let app = App {
            fault,
            build_seconds: Some(0.2),
            release_seconds: Some(0.3),
            ready_after: 0.2,
            ticks: true,
            volume: true,
            one_at_a_time: shop.is_stop_first,
            rollout: (!shop.is_stop_first).then_some("start-first"),
            ..App::version(&version)
        };
        app.push(&shop.repository);
        let handle = self.ployer.deployments().start(shop.application.id).await.unwrap();
        Began { handle, version, is_good: fault.is_none() }
    }

    async fn roll_back(&mut self, which: usize) -> Began {
        let shop = &self.shops[which];
        let handle = self.ployer.deployments().rollback(shop.application.id, Rollback::default()).await;
        let handle = match handle {
            Ok(handle) => handle,
            // Nothing before the active one: as good a time for a deployment.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                let version = format!("r{}", shop.versions.len());
                return self.deploy(which, version, None).await;
            }
            Err(error) => panic!("{error:?}"),
        };
        let DeploymentKind::Rollback { release, .. } = &handle.deployment().kind else { panic!("{handle:?}") };
        Began { version: shop.versions[release].clone(), handle, is_good: true }
    }

    async fn kill_and_start_again(&mut self) {
        let killed = Instant::now();
        self.engine.kill().await;
        self.engine = start(&self.data_dir(), self.port).await;
        self.outages.push((killed, Instant::now()));
        self.engine.until_says("that it works", |line| line == "at work").await;
    }

    /// Waits for the end of what was begun, and looks whether everything is as it must be.
    async fn settle(&mut self, which: usize, began: &Began) {
        let deployment = self.ended(began).await;
        let shop = &mut self.shops[which];
        match deployment.status {
            DeploymentStatus::Running => {
                assert!(began.is_good, "a gate was skipped: {deployment:?}");
                shop.serving.clone_from(&began.version);
                shop.versions.insert(deployment.release.unwrap(), began.version.clone());
            }
            DeploymentStatus::Failed => assert!(!began.is_good || is_allowed(&deployment), "{deployment:?}"),
            other => panic!("{other}: {deployment:?}"),
        }
        let target = self.target(which);
        let reply = get(&target, "/").await.unwrap();
        assert_eq!(reply.version(), self.shops[which].serving, "after {deployment:?}");
        self.assert_released_once(which, &deployment, &began.version).await;
        self.until_only_the_active_run().await;
        self.until_it_prints(which).await;
    }

    async fn ended(&self, began: &Began) -> Deployment {
        within(STUCK, "the deployment ends", async || {
            let deployment = self.ployer.deployments().get(began.handle.id()).await.unwrap();
            match deployment.status.is_final() {
                true => Ok(deployment),
                false => Err(format!("{deployment:?}\n{}", self.engine.said())),
            }
        })
        .await
    }

    async fn assert_released_once(&self, which: usize, deployment: &Deployment, version: &str) {
        let reply = get(&self.target(which), "/noted?file=released").await.unwrap();
        let released: Vec<_> = reply.text.split_whitespace().collect();
        let distinct: BTreeSet<_> = released.iter().collect();
        assert_eq!(released.len(), distinct.len(), "a release command ran twice: {released:?}");
        let is_deployed = deployment.status == DeploymentStatus::Running;
        assert!(!is_deployed || released.contains(&version), "{version} ran without its release command: {released:?}");
    }

    /// What the kernel knows and what should be are the same: no orphan, nothing missing.
    async fn until_only_the_active_run(&self) {
        within(STUCK, "only the active releases run", async || {
            let expected = BTreeSet::from([self.active(0).await?, self.active(1).await?]);
            let running: Vec<_> = processes::of(self.rest.0).into_iter().map(|marked| marked.replica).collect();
            let prefixes: BTreeSet<_> = running.iter().flatten().filter_map(|name| name.rsplit_once("-web-")).collect();
            let found: BTreeSet<_> = prefixes.into_iter().map(|(prefix, _)| prefix.to_owned()).collect();
            match found == expected && running.len() == 2 {
                true => Ok(()),
                false => Err(format!("{running:?} run, expected {expected:?}\n{}", self.engine.said())),
            }
        })
        .await;
    }

    async fn active(&self, which: usize) -> Result<String, String> {
        let application = self.application(which).await;
        let release = application.active_release.ok_or("nothing is active")?;
        Ok(format!("{}-{release}", application.application.name))
    }

    async fn application(&self, which: usize) -> ployer_core::ApplicationDetails {
        let id: ApplicationId = self.shops[which].application.id;
        self.ployer.applications().get(id).await.unwrap()
    }

    /// What serves, adopted or not, goes on writing its log.
    async fn until_it_prints(&self, which: usize) {
        let active = self.active(which).await.unwrap();
        let names = processes::replicas(self.rest.0);
        let name: ReplicaName = names.iter().find(|name| name.starts_with(&active)).unwrap().parse().unwrap();
        let last = self.last_line(&name).await;
        eventually("it prints on", async || match self.last_line(&name).await {
            now if now != last => Ok(()),
            now => Err(format!("{name} still says {now:?}")),
        })
        .await;
    }

    async fn last_line(&self, name: &ReplicaName) -> Option<String> {
        let key = [0; 32].to_vec().into();
        let config = ProcessConfig::new(self.data_dir(), self.rest.0, key, Arc::new(SystemClock));
        let runtime = ProcessRuntime::open(config).unwrap();
        let lines = runtime.logs(name, &LogQuery { tail: Some(1), follow: false }).await.unwrap();
        lines.map(|line| line.unwrap().text).collect::<Vec<_>>().await.pop()
    }

    /// Whether a kill, or the time until requests were taken again, fell into the time of a request.
    fn is_explained(&self, lost: &Lost) -> bool {
        self.outages.iter().any(|(killed, again)| lost.begun <= *again && lost.lost >= *killed)
    }

    async fn end(mut self) {
        self.engine.kill().await;
        self.ployer.stop_applications().await.unwrap();
        assert_eq!(processes::of(self.rest.0), BTreeSet::new(), "nothing runs after its end");
    }
}

async fn start(data_dir: &std::path::Path, port: u16) -> Program {
    let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
    command.arg(data_dir).arg(port.to_string());
    let engine = Program::start(command);
    engine.until_says("that it listens", |line| line == "listening").await;
    engine
}

/// A good version may fail only where the engine cannot know whether its release command ran to its end.
fn is_allowed(deployment: &Deployment) -> bool {
    deployment.failure.as_ref().is_some_and(|failure| failure.step == Step::ReleaseCommand)
}
