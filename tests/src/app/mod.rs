//! The sample application: a Python server of the standard library, and what can be wrong with it.
//!
//! A version is a commit: [`App::push`] writes the server and its `variant.json` into a repository. Which version
//! answered stands in each answer, so that a story can tell whether the switch has happened.

mod bare;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use ployer_core::model::CommitSha;
use ployer_core::testing::{Content, Push, Repository};
use serde::Serialize;

pub use self::bare::Bare;

const SERVER: &str = include_str!("server.py");

/// The path that says whether a replica is ready.
pub const HEALTH: &str = "/health";

/// One version of the sample application. `App::version` gives a healthy one; the fields are there to be changed.
#[derive(Clone, Debug, Serialize)]
pub struct App {
    /// What its answers begin with.
    pub version: String,
    /// What is wrong with it.
    pub fault: Option<Fault>,
    /// The path of its health check, if it has one.
    pub health_path: Option<&'static str>,
    /// Seconds after its start at which it is healthy.
    pub ready_after: f64,
    /// Seconds that its build command takes; without it there is none.
    pub build_seconds: Option<f64>,
    /// Seconds that its release command takes; without it there is none. It notes each run in the volume.
    pub release_seconds: Option<f64>,
    /// Whether it prints a line ten times a second.
    pub ticks: bool,
    /// Whether it has a volume `data`.
    pub volume: bool,
    /// Whether it refuses to start while another one has its volume.
    pub one_at_a_time: bool,
    /// Replicas of `web`.
    pub replicas: u32,
    /// How it takes over, where not by default.
    pub rollout: Option<&'static str>,
}

/// What is wrong with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Its build command prints an error and fails.
    Build,
    /// Its build command writes a gigabyte.
    BuildFillsDisk,
    /// Its release command prints an error and fails.
    Release,
    /// It prints why and exits at once.
    Exits,
    /// It runs and never listens.
    NeverListens,
    /// It answers 500 on its health path.
    Unhealthy,
    /// It listens, though not on `PORT`.
    OtherPort,
}

impl App {
    /// A healthy version with a health check and nothing else.
    pub fn version(version: impl Into<String>) -> Self {
        Self {
            version: version.into(),
            fault: None,
            health_path: Some(HEALTH),
            ready_after: 0.0,
            build_seconds: None,
            release_seconds: None,
            ticks: false,
            volume: false,
            one_at_a_time: false,
            replicas: 1,
            rollout: None,
        }
    }

    /// A version with that fault, and with the step that it needs to show.
    pub fn with_fault(version: impl Into<String>, fault: Fault) -> Self {
        let healthy = Self::version(version);
        match fault {
            Fault::Build | Fault::BuildFillsDisk => Self { build_seconds: Some(0.0), fault: Some(fault), ..healthy },
            Fault::Release => Self { release_seconds: Some(0.0), volume: true, fault: Some(fault), ..healthy },
            Fault::Exits | Fault::NeverListens | Fault::Unhealthy | Fault::OtherPort => {
                Self { fault: Some(fault), ..healthy }
            }
        }
    }

    /// Makes it the head of `main`.
    pub fn push(&self, repository: &Repository) -> CommitSha {
        self.push_to(repository, "main", Push::OnTop)
    }

    /// Makes it the head of `branch`.
    pub fn push_to(&self, repository: &Repository, branch: &str, how: Push) -> CommitSha {
        let files = self.files();
        let files: Vec<_> = files.iter().map(|(path, text)| (*path, Content::Text(text))).collect();
        repository.commit(branch, &files, how)
    }

    /// Its files: path and text.
    pub fn files(&self) -> [(&'static str, String); 3] {
        let variant = serde_json::to_string_pretty(self).expect("a variant has nothing that JSON lacks");
        [("server.py", SERVER.to_owned()), ("variant.json", variant), ("ployer.toml", self.settings())]
    }

    fn settings(&self) -> String {
        let python = python().expect("a story that needs Python asks for it first").display();
        let command = |what| format!("\"{python} -ISu server.py {what}\"");
        let mut lines: Vec<String> = Vec::new();
        lines.extend(self.build_seconds.map(|_| format!("build = {}", command("build"))));
        lines.extend(self.release_seconds.map(|_| format!("release = {}", command("release"))));
        lines.extend(self.health_path.map(|path| format!("health = \"{path}\"")));
        lines.extend(self.rollout.map(|rollout| format!("rollout = \"{rollout}\"")));
        lines.extend(self.volume.then(|| "volumes = [\"data\"]".to_owned()));
        lines.push(format!("[processes]\nweb = {{ command = {}, replicas = {} }}\n", command("web"), self.replicas));
        lines.join("\n")
    }
}

/// The interpreter itself: what `python3` of the `PATH` may start through scripts and version managers.
pub fn python() -> Option<&'static PathBuf> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON.get_or_init(find_python).as_ref()
}

fn find_python() -> Option<PathBuf> {
    let script = "import sys, asyncio; assert sys.version_info >= (3, 9); print(sys.executable)";
    let output = Command::new("python3").args(["-c", script]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim()))
}
