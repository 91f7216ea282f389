//! The engine's cost: a redeployment against the bare start of the same process, and a rollback to its first answer.
//!
//! A redeployment is everything from the call to `running`: fetch, checkout, release directory, start, gate, switch,
//! an answer through the proxy, and each step on the disk. Bare is the same process, started and asked until it
//! answers. Both take turns.
#![allow(clippy::expect_used, reason = "a bench that cannot be set up has no result")]

mod app;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use benches::median;
use ployer_core::config::Settings;
use ployer_core::model::{ApplicationId, DeploymentId, NewApplication};
use ployer_core::testing::{Content, Push, Repository};
use ployer_core::{EngineHandle, Ployer, Rollback};

const ROUNDS: usize = 20;
const HOST: &str = "shop.localhost";

fn main() {
    if std::env::args().nth(1).as_deref() == Some("role:app") {
        return app::serve();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(measure());
}

async fn measure() {
    let folder = tempfile::tempdir().expect("a folder");
    let repository = Repository::create(folder.path().join("repository"));
    let stand = Stand::new(folder.path().join("data"), &repository).await;
    push(&repository, "v0");
    let mut before = stand.deploy().await.0;
    let (mut bare, mut deployed, mut rolled_back) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        bare.push(app::start_bare(folder.path()));
        let version = format!("v{round}");
        push(&repository, &version);
        let (deployment, took) = stand.deploy().await;
        deployed.push(took);
        app::until_answers(stand.address, HOST, &version);
        // Its replicas are gone: the rollback starts them anew.
        stand.until_retired(before).await;
        rolled_back.push(stand.roll_back(&format!("v{}", round - 1)).await);
        stand.until_retired(deployment).await;
        // The next version is rolled back to this one.
        push(&repository, &version);
        before = stand.deploy().await.0;
    }
    stand.end().await;
    report(&bare, &deployed, &rolled_back);
}

fn report(bare: &[Duration], deployed: &[Duration], rolled_back: &[Duration]) {
    let on_top: Vec<_> = deployed.iter().zip(bare).map(|(deployed, bare)| deployed.saturating_sub(*bare)).collect();
    println!("engine: {ROUNDS} rounds, median and slowest");
    println!("{:<44} {:>10} {:>10}", "case", "median ms", "slowest");
    for (case, times) in [
        ("bare process: start to first answer", bare),
        ("redeployment: call to `running`", deployed),
        ("redeployment on top of the bare start", &on_top),
        ("rollback: call to first answer of the old one", rolled_back),
    ] {
        let slowest = times.iter().max().copied().unwrap_or_default();
        println!("{case:<44} {:>10.1} {:>10.1}", ms(median(times)), ms(slowest));
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// An installation with one application.
struct Stand {
    ployer: Ployer,
    engine: EngineHandle,
    shop: ApplicationId,
    address: SocketAddr,
}

impl Stand {
    async fn new(data_dir: std::path::PathBuf, repository: &Repository) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut settings = Settings::default();
        settings.source.allow_local = true;
        let ployer = Ployer::builder().data_dir(data_dir).settings(settings).listener(listener).build().await;
        let ployer = ployer.expect("an installation");
        let mut engine = ployer.spawn();
        engine.ready().await.expect("an engine");
        let url = repository.path().to_str().and_then(|path| path.parse().ok());
        let new = NewApplication { git_url: url, ..NewApplication::new("shop".parse().expect("a name")) };
        let shop = ployer.applications().create(new).await.expect("an application").id;
        Self { ployer, engine, shop, address }
    }

    async fn deploy(&self) -> (DeploymentId, Duration) {
        let began = Instant::now();
        let deployment = self.ployer.deployments().start(self.shop).await.expect("a deployment");
        deployment.wait().await.expect("it goes well");
        (deployment.id(), began.elapsed())
    }

    async fn until_retired(&self, deployment: DeploymentId) {
        while self.ployer.deployments().get(deployment).await.expect("a deployment").retired_at.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// From the call to the first answer of the old version; returns when the rollback has ended.
    async fn roll_back(&self, version: &str) -> Duration {
        let began = Instant::now();
        let deployment = self.ployer.deployments().rollback(self.shop, Rollback::default()).await.expect("a rollback");
        let (address, version) = (self.address, version.to_owned());
        let asking = tokio::task::spawn_blocking(move || app::until_answers(address, HOST, &version));
        asking.await.expect("an answer");
        let took = began.elapsed();
        deployment.wait().await.expect("it goes well");
        took
    }

    async fn end(self) {
        self.engine.stop().await.expect("an end");
        self.ployer.stop_applications().await.expect("nothing runs");
    }
}

fn push(repository: &Repository, version: &str) {
    let files = app::files(version);
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, Content::Text(text))).collect();
    repository.commit("main", &files, Push::OnTop);
}
