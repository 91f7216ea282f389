//! An installation: the library with all of its real parts in a folder of its own.
//!
//! Nothing of it outlives the test: when it is dropped, whatever carries its mark is ended.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ployer_core::config::{Deadlines, Settings};
use ployer_core::model::{Application, ApplicationId, DeploymentId, InstanceId, NewApplication};
use ployer_core::testing::Repository;
use ployer_core::{Deployed, DeploymentFailed, EngineHandle, Error, Ployer};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::await_that::{PATIENCE, eventually};
use crate::load::Target;
use crate::processes;

/// The library at work in a folder of its own.
#[derive(Debug)]
pub struct Installation {
    // Dropped in this order: nobody starts again what is ended, and the folder goes last.
    engine: Option<EngineHandle>,
    ployer: Ployer,
    address: SocketAddr,
    rest: Rest,
    data_dir: PathBuf,
    /// Its repositories, and its data unless that is somewhere else.
    folder: TempDir,
}

/// Ends what an installation left, however its test ends.
#[derive(Debug)]
pub struct Rest(pub InstanceId);

impl Drop for Rest {
    fn drop(&mut self) {
        processes::kill_all(self.0);
    }
}

/// Deadlines that a story can wait for and a loaded machine can keep.
pub fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.source.allow_local = true;
    settings.deadlines = Deadlines {
        checkout: Duration::from_secs(20),
        build: Duration::from_secs(30),
        release_command: Duration::from_secs(20),
        start: Duration::from_secs(20),
        gate: Duration::from_secs(20),
        switch: Duration::from_secs(20),
        drain: Duration::from_secs(10),
        drain_upgraded: Duration::from_secs(10),
        grace: Duration::from_secs(5),
        ..Deadlines::default()
    };
    settings
}

/// A port of the loopback interface that no outgoing connection and no replica takes, free at this moment.
///
/// # Panics
///
/// If there is none.
pub fn free_port() -> u16 {
    let seed = std::process::id() as u16 % 1_000;
    let ports = (0..1_000).map(|step| 18_000 + (seed + step * 7) % 1_000);
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    ports.into_iter().find(is_free).expect("some port is free")
}

impl Installation {
    /// A new one, at work.
    pub async fn new(settings: Settings) -> Self {
        let folder = TempDir::new().unwrap();
        Self::within(folder.path().join("data"), folder, settings).await
    }

    /// One whose data is in a folder of the caller, at work.
    pub async fn at(data_dir: PathBuf, settings: Settings) -> Self {
        Self::within(data_dir, TempDir::new().unwrap(), settings).await
    }

    async fn within(data_dir: PathBuf, folder: TempDir, settings: Settings) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let ployer = Ployer::builder().data_dir(&data_dir).settings(settings).listener(listener).build().await.unwrap();
        let mut engine = ployer.spawn();
        timeout(PATIENCE, engine.ready()).await.expect("the engine gets to work").unwrap();
        let rest = Rest(ployer.instance());
        Self { engine: Some(engine), ployer, address, rest, data_dir, folder }
    }

    /// Its handle.
    pub fn ployer(&self) -> &Ployer {
        &self.ployer
    }

    /// Where its data is.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Where a test may put its repositories.
    pub fn repository(&self, name: &str) -> Repository {
        Repository::create(self.folder.path().join(name))
    }

    /// Whom to ask for an application.
    pub fn target(&self, application: &Application) -> Target {
        Target { address: self.address, host: format!("{}.localhost", application.name) }
    }

    /// An application whose source is `repository`.
    pub async fn application(&self, name: &str, repository: &Repository) -> Application {
        application(&self.ployer, name, repository).await
    }

    /// Deploys the head of the branch to its end.
    ///
    /// # Errors
    ///
    /// Those of [`ployer_core::DeploymentHandle::wait`].
    pub async fn deploy(&self, application: ApplicationId) -> Result<Deployed, Error> {
        deploy(&self.ployer, application).await
    }

    /// Deploys what cannot go well.
    ///
    /// # Panics
    ///
    /// If it goes well, or ends otherwise than by a failure.
    pub async fn deploy_in_vain(&self, application: ApplicationId) -> DeploymentFailed {
        let error = self.deploy(application).await.expect_err("it must not go well");
        DeploymentFailed::of(&error).unwrap_or_else(|| panic!("ended otherwise: {error:?}")).clone()
    }

    /// Waits until the replicas of everything but the active release are gone.
    pub async fn until_retired(&self, deployment: DeploymentId) {
        eventually("the release retires", async || {
            let deployment = self.ployer.deployments().get(deployment).await.map_err(|error| error.to_string())?;
            deployment.retired_at.ok_or_else(|| "it has not yet".to_owned())
        })
        .await;
    }

    /// Ends the engine; what runs goes on.
    pub async fn stop_engine(&mut self) {
        if let Some(engine) = self.engine.take() {
            timeout(PATIENCE, engine.stop()).await.expect("the engine ends").unwrap();
        }
    }

    /// Ends the engine and forgets the installation: what runs goes on, and is the caller's to end.
    pub async fn leave(mut self) {
        self.stop_engine().await;
        std::mem::forget(self.rest);
    }

    /// Ends everything, and fails the test if something is left.
    pub async fn end(mut self) {
        self.stop_engine().await;
        self.ployer.stop_applications().await.unwrap();
        assert_eq!(processes::of(self.rest.0), [].into(), "nothing runs after its end");
    }
}

/// An application of `ployer` whose source is `repository`.
///
/// # Panics
///
/// If it is refused.
pub async fn application(ployer: &Ployer, name: &str, repository: &Repository) -> Application {
    let url = repository.path().to_str().unwrap().parse().unwrap();
    let new = NewApplication { git_url: Some(url), ..NewApplication::new(name.parse().unwrap()) };
    ployer.applications().create(new).await.unwrap()
}

/// Deploys the head of the branch to its end.
///
/// # Errors
///
/// Those of [`ployer_core::DeploymentHandle::wait`].
pub async fn deploy(ployer: &Ployer, application: ApplicationId) -> Result<Deployed, Error> {
    let handle = ployer.deployments().start(application).await?;
    match timeout(2 * PATIENCE, handle.wait()).await {
        Ok(ended) => ended,
        Err(_) => panic!("it is stuck: {:?}", ployer.deployments().get(handle.id()).await?),
    }
}
