//! The process runtime under its suite, and what only it promises.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::record::Folder;
use super::{ProcessConfig, ProcessRuntime};
use crate::clock::SystemClock;
use crate::config::Settings;
use crate::model::{
    ApplicationId, Artifact, BuildCache, Command, DeploymentId, InstanceId, Limits, ReleaseId, ReplicaName, Secret,
    Workload,
};
use crate::runtime::{ArtifactName, BuildRecipe, BuildRequest, Builder, ContainerRuntime};
use crate::testing::runtime::{BuildProgram, Program, RuntimeHarness};

/// A data directory of its own, and the runtime on it.
pub(super) struct World {
    dir: tempfile::TempDir,
    instance: InstanceId,
    pub(super) runtime: Arc<ProcessRuntime>,
}

impl World {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let instance = InstanceId::new(&SystemClock);
        let runtime = open(dir.path(), instance);
        Self { dir, instance, runtime }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    /// A workload that runs `command` in a release directory of its own.
    pub(super) fn running(&self, command: &[&str]) -> Workload {
        let (application, release) = (ApplicationId::new(&SystemClock), ReleaseId::new(&SystemClock));
        let path = self.data().join("releases").join(application.to_string()).join(release.to_string());
        std::fs::create_dir_all(&path).unwrap();
        Workload {
            instance: self.instance,
            application,
            release,
            process: "web".parse().unwrap(),
            artifact: Artifact::Directory { path },
            command: Some(Command(command.iter().map(ToString::to_string).collect())),
            env: [("GREETING".parse().unwrap(), Secret::from("hello"))].into(),
            limits: Limits::default(),
            volumes: Vec::new(),
            port: None,
        }
    }

    /// The program crashes: its tasks end where they are, and another one opens the same data.
    pub(super) fn crash(mut self) -> Self {
        self.runtime = open(self.dir.path(), self.instance);
        self
    }

    /// The first process of a replica, as its record has it.
    pub(super) fn pid(&self, name: &ReplicaName) -> i32 {
        let record = Folder::of(&self.data().join("replicas"), name).read().unwrap().unwrap();
        record.identity().unwrap().pid
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for pid in marked(self.instance, "") {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
            }
        }
    }
}

fn open(data_dir: &Path, instance: InstanceId) -> Arc<ProcessRuntime> {
    let mut config = ProcessConfig::new(data_dir, instance, Secret::from("key"), Arc::new(SystemClock));
    let mut settings = Settings::default();
    settings.engine.restart_pause = Duration::from_millis(50);
    settings.engine.restart_pause_max = Duration::from_millis(200);
    config.settings = settings;
    config.environment = std::env::vars().filter(|(key, _)| key == "PATH" || key == "HOME").collect();
    Arc::new(ProcessRuntime::open(config).unwrap())
}

/// Processes of an instance whose environment has `mark`.
pub(super) fn marked(instance: InstanceId, mark: &str) -> Vec<i32> {
    let of_instance = format!("PLOYER_INSTANCE={instance}");
    let is_ours = |pid: &i32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let environ = String::from_utf8_lossy(&environ);
        environ.contains(&of_instance) && environ.contains(mark)
    };
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(is_ours).collect()
}

const SERVES: &str = "
import os, socket
listener = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))
while True:
    listener.accept()[0].close()
";

const FORKS: &str = "
import os, signal, socket, time
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listener = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))
    while True:
        listener.accept()[0].close()
os.wait()
";

const HANGS: &str = "
import os, time
print('one', flush=True)
if os.fork() == 0:
    os.setsid()
time.sleep(1000)
";

#[async_trait]
impl RuntimeHarness for World {
    async fn fresh() -> Self {
        Self::new()
    }

    fn runtime(&self) -> Arc<dyn ContainerRuntime> {
        self.runtime.clone()
    }

    fn builder(&self) -> Arc<dyn Builder> {
        self.runtime.clone()
    }

    async fn reopen(self) -> Self {
        self.crash()
    }

    async fn reopen_after_death_of(self, name: &ReplicaName) -> Self {
        let pid = rustix::process::Pid::from_raw(self.pid(name)).unwrap();
        let world = self.crash();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        world
    }

    async fn workload(&self, instance: InstanceId, program: Program) -> Workload {
        let exit;
        let command: &[&str] = match program {
            Program::Serves => &["python3", "-c", SERVES],
            Program::Idles => &["sleep", "1000"],
            Program::Stubborn => &["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"],
            Program::Ends(code) => {
                exit = format!("echo before; echo beside >&2; exit {code}");
                &["sh", "-c", &exit]
            }
            Program::Forks => &["python3", "-c", FORKS],
        };
        Workload { instance, ..self.running(command) }
    }

    async fn source(&self, instance: InstanceId, program: BuildProgram) -> BuildRequest {
        let context = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        std::fs::write(context.join("file"), "content").unwrap();
        let command: &[&str] = match program {
            BuildProgram::Succeeds => &["sh", "-c", "echo one; echo two >&2; echo three"],
            BuildProgram::Fails => &["sh", "-c", "echo one; exit 7"],
            BuildProgram::Hangs => &["python3", "-c", HANGS],
        };
        BuildRequest {
            instance,
            application: ApplicationId::new(&SystemClock),
            artifact: ArtifactName {
                application: "shop".parse().unwrap(),
                deployment: DeploymentId::new(&SystemClock),
            },
            context,
            recipe: BuildRecipe::Directory {
                command: Some(Command(command.iter().map(ToString::to_string).collect())),
            },
            cache: BuildCache::default(),
            env: [].into(),
        }
    }

    fn instance(&self) -> InstanceId {
        self.instance
    }

    async fn occupy(&self, address: SocketAddr) -> Box<dyn Send> {
        Box::new(std::net::TcpListener::bind(address).unwrap())
    }

    async fn left_of_builds(&self) -> usize {
        let mut left = marked(self.instance, "PLOYER_GUEST=").len();
        for application in std::fs::read_dir(self.data().join("releases")).unwrap() {
            let releases = std::fs::read_dir(application.unwrap().path()).unwrap();
            left += releases.filter(|entry| entry.as_ref().unwrap().path().extension().is_some()).count();
        }
        left
    }
}

crate::testing::runtime_suite!(World);
