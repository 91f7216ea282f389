//! An application: what to deploy, from where, and whether it should run.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::change::Version;
use super::git_url::GitUrl;
use super::id::{ApplicationId, ServerId, UserId};
use super::name::{AppName, BranchName, ProcessName, RepoPath};
use super::release::Rollout;

/// What to deploy, from where, and whether it should run.
///
/// Only the facade writes it: what the engine knows of an application is [`super::machine::Machine`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Application {
    /// Its id.
    pub id: ApplicationId,
    /// How often it was written.
    pub version: Version,
    /// Its name, unique in the installation.
    pub name: AppName,
    /// The server that runs it.
    pub server_id: ServerId,
    /// The user who made it; `None` where the system did.
    pub owner: Option<UserId>,
    /// Where its source is; without it nothing can be deployed.
    pub git_url: Option<GitUrl>,
    /// The branch or tag that is deployed; `None`: the repository's default branch.
    pub git_branch: Option<BranchName>,
    /// The folder of the repository that is the application; `None`: the whole.
    pub base_directory: Option<RepoPath>,
    /// How source becomes something that runs.
    pub build_strategy: BuildStrategy,
    /// The Dockerfile, for that strategy.
    pub dockerfile_path: Option<RepoPath>,
    /// The port that `web` listens on; `None`: what `PORT` says.
    pub port: Option<u16>,
    /// Whether a push deploys.
    pub auto_deploy: bool,
    /// Whether pushes are ignored until the next manual deployment: set by a rollback.
    pub auto_deploy_paused: bool,
    /// How a new release takes over; `None`: what its volumes ask for.
    pub rollout: Option<Rollout>,
    /// Replicas of a process type where they differ from the release's own number.
    pub replicas: BTreeMap<ProcessName, u32>,
    /// Whether it should run.
    pub wanted: Wanted,
    /// How often a restart was asked for.
    pub restarts_wanted: u64,
    /// Whether the administrator allows it to run as plain processes beside those of other users.
    pub allow_process_runtime: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Application {
    /// An application as it is made: nothing deployed, and to run once something is.
    pub fn new(
        id: ApplicationId,
        settings: NewApplication,
        server_id: ServerId,
        owner: Option<UserId>,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            version: Version::NEW,
            name: settings.name,
            server_id,
            owner,
            git_url: settings.git_url,
            git_branch: settings.git_branch,
            base_directory: settings.base_directory,
            build_strategy: settings.build_strategy,
            dockerfile_path: settings.dockerfile_path,
            port: settings.port,
            auto_deploy: settings.auto_deploy,
            auto_deploy_paused: false,
            rollout: settings.rollout,
            replicas: BTreeMap::new(),
            wanted: Wanted::Running,
            restarts_wanted: 0,
            allow_process_runtime: false,
            created_at: now,
            updated_at: now,
        }
    }
}

/// Whether an application should run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Wanted {
    /// Its active release serves.
    Running,
    /// Nothing of it runs; its releases are kept.
    Stopped,
    /// It is on its way out: nobody but the engine sees it any more.
    Deleting {
        /// Whether its persistent directories go too.
        volumes: bool,
    },
}

/// How source becomes something that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BuildStrategy {
    /// What the source looks like decides.
    #[default]
    Auto,
    /// A Dockerfile.
    Dockerfile,
    /// A prebuilt image.
    Image,
    /// A Procfile's processes, run as they are.
    Procfile,
    /// Files that the proxy serves.
    Static,
}

impl BuildStrategy {
    /// The word in JSON, SQL and the user interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Dockerfile => "dockerfile",
            Self::Image => "image",
            Self::Procfile => "procfile",
            Self::Static => "static",
        }
    }
}

/// A new application.
#[derive(Clone, Debug, Deserialize)]
pub struct NewApplication {
    /// Its name: becomes a host name, so it must be unique.
    pub name: AppName,
    /// The server that runs it; `None`: the local one.
    #[serde(default)]
    pub server_id: Option<ServerId>,
    /// Where its source is.
    #[serde(default)]
    pub git_url: Option<GitUrl>,
    /// The branch or tag that is deployed; `None`: the repository's default branch.
    #[serde(default)]
    pub git_branch: Option<BranchName>,
    /// The folder of the repository that is the application; `None`: the whole.
    #[serde(default)]
    pub base_directory: Option<RepoPath>,
    /// How source becomes something that runs.
    #[serde(default)]
    pub build_strategy: BuildStrategy,
    /// The Dockerfile, for that strategy.
    #[serde(default)]
    pub dockerfile_path: Option<RepoPath>,
    /// The port that `web` listens on; `None`: what `PORT` says.
    #[serde(default)]
    pub port: Option<u16>,
    /// Whether a push deploys.
    #[serde(default)]
    pub auto_deploy: bool,
    /// How a new release takes over; `None`: what its volumes ask for.
    #[serde(default)]
    pub rollout: Option<Rollout>,
}

impl NewApplication {
    /// An application of that name, everything else by default.
    pub fn new(name: AppName) -> Self {
        Self {
            name,
            server_id: None,
            git_url: None,
            git_branch: None,
            base_directory: None,
            build_strategy: BuildStrategy::Auto,
            dockerfile_path: None,
            port: None,
            auto_deploy: false,
            rollout: None,
        }
    }
}

/// What to change of an application; fields that are `None` stay as they are.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct UpdateApplication {
    /// A new name; the generated domain follows with the next deployment.
    pub name: Option<AppName>,
    /// Another repository.
    pub git_url: Option<GitUrl>,
    /// Another branch.
    pub git_branch: Option<BranchName>,
    /// Another folder of the repository.
    pub base_directory: Option<RepoPath>,
    /// Another strategy.
    pub build_strategy: Option<BuildStrategy>,
    /// Another Dockerfile.
    pub dockerfile_path: Option<RepoPath>,
    /// Another port.
    pub port: Option<u16>,
    /// Whether a push deploys.
    pub auto_deploy: Option<bool>,
    /// How a new release takes over.
    pub rollout: Option<Rollout>,
    /// Whether it may run as plain processes beside those of other users: the administrator's to say.
    pub allow_process_runtime: Option<bool>,
}

/// How an application is doing; derived from what is wanted and seen, never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ApplicationStatus {
    /// Nothing was deployed yet.
    Idle,
    /// A first deployment is under way and nothing serves yet.
    Building,
    /// An active release serves.
    Running,
    /// Stopped by a user.
    Stopped,
    /// Nothing serves and the last deployment failed.
    Failed,
}
