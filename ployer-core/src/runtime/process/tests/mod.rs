//! The process runtime under its suite, and what only it promises.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;

use super::record::{Folder, Record};
use super::{ProcessConfig, ProcessRuntime};
use crate::clock::SystemClock;
use crate::model::{
    ApplicationId, Artifact, BuildCache, Command, DeploymentId, Exit, InstanceId, Limits, ReleaseId, Replica,
    ReplicaName, ReplicaState, Secret, Workload,
};
use crate::runtime::{ArtifactName, BuildRecipe, BuildRequest, Builder, ContainerRuntime, LogQuery};
use crate::testing::runtime::{BuildProgram, Program, RuntimeHarness};

mod building;
mod crash;
mod guests;
mod starting;

/// A data directory of its own, and the runtime on it.
struct World {
    dir: tempfile::TempDir,
    instance: InstanceId,
    runtime: Arc<ProcessRuntime>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let instance = InstanceId::new(&SystemClock);
        let runtime = open(dir.path(), instance);
        Self { dir, instance, runtime }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    /// A workload that runs `command` in a release directory of its own.
    fn running(&self, command: &[&str]) -> Workload {
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
    fn crash(mut self) -> Self {
        self.runtime = open(self.dir.path(), self.instance);
        self
    }

    /// The first process of a replica, as its record has it.
    fn pid(&self, name: &ReplicaName) -> i32 {
        self.record(name).identity().unwrap().pid
    }

    fn folder(&self, name: &ReplicaName) -> Folder {
        Folder::of(&self.data().join("replicas"), name)
    }

    fn record(&self, name: &ReplicaName) -> Record {
        self.folder(name).read().unwrap().unwrap()
    }

    /// Changes the record of a replica as a program that crashed at the wrong moment would have left it.
    fn rewrite(&self, name: &ReplicaName, change: impl FnOnce(&mut Record)) {
        let mut record = self.record(name);
        change(&mut record);
        self.folder(name).write(&record, None).unwrap();
    }

    /// Runs a command as a one-off, and answers how it ended and what it printed.
    async fn run(&self, workload: &Workload) -> (Exit, Vec<String>) {
        let name = ReplicaName::release_command(&"shop".parse().unwrap(), workload.release);
        let exit = self.runtime.run(workload, &name).await.unwrap();
        (exit, self.printed(&name).await)
    }

    async fn printed(&self, name: &ReplicaName) -> Vec<String> {
        let lines = self.runtime.logs(name, &LogQuery::default()).await.unwrap();
        lines.map(|line| line.unwrap().text).collect().await
    }

    async fn until_printed(&self, name: &ReplicaName, text: &str) {
        eventually(async || self.printed(name).await.iter().any(|line| line == text)).await;
    }

    async fn remove(&self, name: &ReplicaName) {
        ContainerRuntime::remove(&*self.runtime, name).await.unwrap();
    }

    async fn state(&self, name: &ReplicaName) -> Option<ReplicaState> {
        let listed = self.runtime.list(self.instance).await.unwrap();
        listed.into_iter().find(|seen| seen.name == *name).map(|seen| seen.state)
    }
}

/// A replica of a workload, without an address.
fn replica(workload: &Workload) -> Replica {
    let name = ReplicaName::new(&"shop".parse().unwrap(), workload.release, &workload.process, 1);
    Replica { name, index: 1, address: None }
}

/// Looks until it is so, but not for ever.
async fn eventually(is_so: impl AsyncFn() -> bool) {
    let look = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), look).await.expect("it comes to that");
}

fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

impl Drop for World {
    fn drop(&mut self) {
        for pid in marked(self.instance, "") {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            // It may have ended meanwhile.
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
    }
}

fn open(data_dir: &Path, instance: InstanceId) -> Arc<ProcessRuntime> {
    let mut config = ProcessConfig::new(data_dir, instance, Secret::from("key"), Arc::new(SystemClock));
    config.settings.engine.restart_pause = Duration::from_millis(50);
    config.settings.engine.restart_pause_max = Duration::from_millis(200);
    config.settings.process.exec = Duration::from_secs(5);
    config.settings.process.exec_bytes_max = 64 * 1024;
    config.environment = std::env::vars().filter(|(key, _)| key == "PATH" || key == "HOME").collect();
    Arc::new(ProcessRuntime::open(config).unwrap())
}

/// Processes of an instance whose environment has `mark`.
fn marked(instance: InstanceId, mark: &str) -> Vec<i32> {
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
        let pid = self.pid(name);
        let world = self.crash();
        kill(pid);
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
