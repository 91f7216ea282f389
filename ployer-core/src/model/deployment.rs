//! A deployment: one way from source, or from an earlier release, to a release that serves.
//!
//! The documented words of its status live here alone.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::actor::Actor;
use super::change::Version;
use super::id::{ApplicationId, DeploymentId, ReleaseId, ServerId};
use super::name::{AppName, CommitSha, ProcessName};
use super::workload::ReplicaName;

/// One way from source, or from an earlier release, to a release that serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// How often it was written.
    pub version: Version,
    /// What is deployed.
    pub application_id: ApplicationId,
    /// Where.
    pub server_id: ServerId,
    /// Who asked for it.
    pub requested_by: Actor,
    /// What is to happen.
    pub kind: DeploymentKind,
    /// How far it is.
    pub status: DeploymentStatus,
    /// The step under way, or the one at which it ended.
    pub step: Step,
    /// What was checked out.
    pub commit: Option<CommitInfo>,
    /// The release it made or returned to.
    pub release: Option<ReleaseId>,
    /// `ployer-{application}:{id}`, known while queued.
    pub image_tag: String,
    /// A wish to cancel that was stored before the intent.
    pub cancel: Option<Cancel>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The deployment that has taken over since it was running.
    pub superseded_by: Option<DeploymentId>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When its build began.
    pub build_started_at: Option<Timestamp>,
    /// When its route was confirmed.
    pub routed_at: Option<Timestamp>,
    /// When it became running, failed or cancelled.
    pub finished_at: Option<Timestamp>,
    /// When its replicas were gone.
    pub retired_at: Option<Timestamp>,
    /// The facts of how it went, once it has ended.
    pub receipt: Option<Receipt>,
}

impl Deployment {
    /// A queued deployment.
    pub fn queued(
        id: DeploymentId,
        application: (ApplicationId, &AppName, ServerId),
        requested_by: Actor,
        kind: DeploymentKind,
        now: Timestamp,
    ) -> Self {
        let (application_id, name, server_id) = application;
        Self {
            id,
            version: Version::NEW,
            application_id,
            server_id,
            requested_by,
            kind,
            status: DeploymentStatus::Queued,
            step: Step::Queue,
            commit: None,
            release: None,
            image_tag: format!("ployer-{name}:{id}"),
            cancel: None,
            failure: None,
            superseded_by: None,
            requested_at: now,
            build_started_at: None,
            routed_at: None,
            finished_at: None,
            retired_at: None,
            receipt: None,
        }
    }
}

/// What a deployment is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeploymentKind {
    /// Deploys source.
    Deploy {
        /// A commit instead of the branch head.
        commit: Option<CommitSha>,
        /// Whether what was built before may be used.
        cache: BuildCache,
    },
    /// Returns to an earlier release.
    Rollback {
        /// Which one.
        release: ReleaseId,
        /// With which environment.
        env: RollbackEnv,
    },
}

/// Whether a build may use what was built before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildCache {
    /// Equal input is not built twice.
    #[default]
    Use,
    /// Everything is built anew: slower, for a cache that lies.
    Ignore,
}

/// The environment of a rollback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RollbackEnv {
    /// The values that the release started with.
    #[default]
    Release,
    /// Today's values: makes a new release of the same artifact.
    Current,
}

/// How far a deployment is. A deployment that reached `running` keeps the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentStatus {
    /// Waits for its turn.
    Queued,
    /// Its source is being fetched.
    Cloning,
    /// It is being built, pulled or reused.
    Building,
    /// From the release command to the switch.
    Deploying,
    /// It was seen to serve.
    Running,
    /// It ended before the switch; the version before serves.
    Failed,
    /// It was cancelled, or a newer one replaced it in the queue.
    Cancelled,
}

impl DeploymentStatus {
    /// Every status, in the order of a deployment's life.
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Cloning, Self::Building, Self::Deploying, Self::Running, Self::Failed, Self::Cancelled];

    /// The documented word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Cloning => "cloning",
            Self::Building => "building",
            Self::Deploying => "deploying",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more will happen to it.
    pub fn is_final(self) -> bool {
        match self {
            Self::Running | Self::Failed | Self::Cancelled => true,
            Self::Queued | Self::Cloning | Self::Building | Self::Deploying => false,
        }
    }

    /// Whether it holds its application's turn.
    pub fn is_under_way(self) -> bool {
        match self {
            Self::Cloning | Self::Building | Self::Deploying => true,
            Self::Queued | Self::Running | Self::Failed | Self::Cancelled => false,
        }
    }
}

impl fmt::Display for DeploymentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A step of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Step {
    /// Waiting for its turn.
    Queue,
    /// Fetching the source.
    Checkout,
    /// Building, pulling or reusing.
    Build,
    /// The one-off before anything starts.
    ReleaseCommand,
    /// Starting the replicas.
    Start,
    /// Waiting until they are ready.
    Gate,
    /// Moving the route.
    Switch,
    /// It serves; the release before retires.
    Done,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "queue",
            Self::Checkout => "checkout",
            Self::Build => "build",
            Self::ReleaseCommand => "release command",
            Self::Start => "start",
            Self::Gate => "gate",
            Self::Switch => "switch",
            Self::Done => "done",
        })
    }
}

/// A stored wish to cancel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Who wished it.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// Why: a person's wish, or the newer deployment that replaced it.
    pub reason: String,
}

/// Why a deployment failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// At which step.
    pub step: Step,
    /// What happened, in one sentence.
    pub cause: String,
    /// The last lines of output, oldest first, redacted.
    pub output: Vec<String>,
    /// The next step for a person.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure without output or hint.
    pub fn new(step: Step, cause: impl Into<String>) -> Self {
        Self { step, cause: cause.into(), output: Vec::new(), hint: None }
    }
}

/// What a checkout found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitInfo {
    /// The commit; `None` for a folder that is no repository.
    pub sha: Option<CommitSha>,
    /// The first line of its message.
    pub message: String,
    /// Who wrote it.
    pub author: String,
    /// The content that is deployed: equal trees are equal source.
    pub tree: String,
}

/// How to start a deployment. `Default` deploys the head of the application's branch.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StartDeployment {
    /// A commit of the repository instead of the branch head.
    pub commit: Option<CommitSha>,
    /// Whether what was built before may be used.
    pub cache: BuildCache,
}

/// The facts of how a deployment went: one JSON document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Receipt {
    /// What was checked out.
    pub commit: Option<CommitInfo>,
    /// The image or release directory.
    pub artifact: Option<String>,
    /// The release whose artifact was reused.
    pub reused_from: Option<ReleaseId>,
    /// Each step with its beginning and end.
    pub steps: Vec<StepTimes>,
    /// Each replica with the time it took to be ready.
    pub gate: Vec<GateResult>,
    /// The revision of the route table that was read back.
    pub revision: Option<String>,
    /// Who answered the probe through the proxy.
    pub answered_by: Vec<String>,
    /// Requests of the application from the intent, or the hold before it, to the confirmed switch; `None` where the
    /// proxy does not count.
    pub traffic: Option<super::route::Traffic>,
}

/// When a step began and ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTimes {
    /// Which step.
    pub step: Step,
    /// Its beginning.
    pub began_at: Timestamp,
    /// Its end.
    pub ended_at: Timestamp,
}

/// What the gate saw of a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateResult {
    /// Which replica.
    pub replica: ReplicaName,
    /// Of which process type.
    pub process: ProcessName,
    /// How often it was asked.
    pub attempts: u32,
    /// When it was first asked.
    pub asked_at: Timestamp,
    /// When it was ready.
    pub ready_at: Timestamp,
}
