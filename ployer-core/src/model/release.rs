//! A release: what a deployment made, ready to run again at any time.
//!
//! It is immutable but for its [`ReleaseState`] and its pin: the artifact, the processes and the *versions* of the
//! secret values that it started with. That is what makes a rollback need no build.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::change::Version;
use super::id::{ApplicationId, DeploymentId, ReleaseId, SecretVersion};
use super::name::{AppName, CommitSha, EnvKey, ProcessName, RequestPath, VolumeName};

/// What a deployment made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Release {
    /// The id of the deployment that made it.
    pub id: ReleaseId,
    /// How often its state was written.
    pub version: Version,
    /// Whose it is.
    pub application_id: ApplicationId,
    /// The application's name when it was made: replicas are named after it.
    pub application_name: AppName,
    /// The commit it was made of; `None` for a folder that is no repository.
    pub commit: Option<CommitSha>,
    /// What runs.
    pub artifact: Artifact,
    /// Releases of one application with equal keys have equal artifacts.
    pub reuse_key: String,
    /// How it runs.
    pub spec: ReleaseSpec,
    /// The environment: each variable's version when the release was made.
    pub env: BTreeMap<EnvKey, SecretVersion>,
    /// Whether it ran, and whether its artifact is still there.
    pub state: ReleaseState,
    /// The rollback that needs it: collection leaves it alone.
    pub pinned_by: Option<DeploymentId>,
    /// When it last became the active release.
    pub activated_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Release {
    /// A release as its deployment makes it.
    pub fn new(made_by: DeploymentId, application: ApplicationId, name: AppName, built: Built, now: Timestamp) -> Self {
        Self {
            id: made_by.into(),
            version: Version::NEW,
            application_id: application,
            application_name: name,
            commit: None,
            artifact: built.artifact,
            reuse_key: built.reuse_key,
            spec: built.spec,
            env: BTreeMap::new(),
            state: ReleaseState::Made,
            pinned_by: None,
            activated_at: None,
            created_at: now,
        }
    }
}

/// What a build results in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Built {
    /// What runs.
    pub artifact: Artifact,
    /// How it runs.
    pub spec: ReleaseSpec,
    /// Equal keys mean equal artifacts: the tree, the build's arguments and the base images.
    pub reuse_key: String,
    /// The release whose artifact was taken over instead of building.
    pub reused_from: Option<ReleaseId>,
}

/// What runs: an image or a directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Artifact {
    /// An image of a container runtime.
    Image {
        /// Its name: `ployer-{application}:{deployment}`.
        reference: String,
        /// Its content.
        digest: String,
    },
    /// A release directory of the process runtime.
    Directory {
        /// Where it is.
        path: PathBuf,
    },
}

/// Whether a release ran, and whether its artifact is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReleaseState {
    /// Built, and never active yet.
    Made,
    /// It has been the active release: a rollback may return to it.
    Ran,
    /// Its deployment failed: its artifact may go.
    Discarded,
    /// Its artifact is being removed: it can no longer be activated.
    Collecting,
    /// Its artifact is gone.
    Collected,
}

/// How a release runs: from `ployer.toml`, the `Procfile`, the image and the application's settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReleaseSpec {
    /// Its process types; empty for a static site.
    pub processes: Vec<ProcessSpec>,
    /// The directory that the proxy serves, inside the artifact, for a static site.
    pub static_root: Option<PathBuf>,
    /// A one-off that must succeed before anything of the release starts.
    pub release_command: Option<Command>,
    /// The gate's path, asked of `web`.
    pub health_path: Option<RequestPath>,
    /// How it takes over from the release before.
    pub rollout: Rollout,
    /// Persistent directories, mounted into every process.
    pub volumes: Vec<VolumeMount>,
}

impl ReleaseSpec {
    /// The process type of that name.
    pub fn process(&self, name: &ProcessName) -> Option<&ProcessSpec> {
        self.processes.iter().find(|process| process.name == *name)
    }
}

/// A process type of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// `web` has a port and a route, all others have neither.
    pub name: ProcessName,
    /// What is run; `None`: the image's own command.
    pub command: Option<Command>,
    /// How many replicas where the application says nothing else.
    pub replicas: u32,
    /// What each replica may use.
    pub limits: Limits,
    /// The fixed port inside a container; processes listen on `$PORT`.
    pub port: Option<u16>,
}

impl ProcessSpec {
    /// One replica of `name` without limits.
    pub fn new(name: ProcessName, command: Option<Command>) -> Self {
        Self { name, command, replicas: 1, limits: Limits::default(), port: None }
    }
}

/// A command as its arguments: no shell ever sees it.
///
/// `$NAME` and `${NAME}` in an argument stand for a variable of the replica's environment; `$$` is a dollar.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Command(pub Vec<String>);

/// What one replica may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory, in bytes.
    pub memory_bytes_max: Option<u64>,
    /// Processor time, in cores.
    pub cpus_max: Option<f64>,
    /// Processes and threads.
    pub pids_max: Option<u32>,
}

/// A persistent directory of the application, as a release sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VolumeMount {
    /// Its name; a process finds its path in `PLOYER_VOLUME_<NAME>`.
    pub name: VolumeName,
    /// Where a container sees it.
    pub path: Option<String>,
}

/// How a new release takes over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rollout {
    /// The new replicas start beside the old ones; the default where nothing is persistent.
    #[default]
    StartFirst,
    /// The old replicas end before the new ones start; the default with a persistent directory.
    StopFirst,
}
