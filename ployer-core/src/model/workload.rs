//! Workloads: what the engine asks a runtime for, and what the runtime reports.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::{ApplicationId, InstanceId, ReleaseId};
use super::name::{AppName, EnvKey, ProcessName};
use super::release::{Artifact, Command, Limits, VolumeMount};
use super::secret::Secret;
use crate::error::Error;

/// The name of a replica or a one-off: `{application}-{release}-{process}-{n}`.
///
/// Deterministic and fixed by the plan: whatever is found under it belongs to that plan, also after a crash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReplicaName(String);

impl ReplicaName {
    /// The name of replica `index` of a process type of a release.
    pub fn new(application: &AppName, release: ReleaseId, process: &ProcessName, index: u32) -> Self {
        Self(format!("{application}-{release}-{process}-{index}"))
    }

    /// The name of the release command of a release.
    pub fn release_command(application: &AppName, release: ReleaseId) -> Self {
        Self(format!("{application}-{release}-release-command"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReplicaName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || text.len() > 200 || text.starts_with('-') || !text.bytes().all(fits) {
            return Err(Error::invalid("replica", "it is not a name that Ployer gives")
                .with_hint("give the name of a replica as it is listed"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for ReplicaName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<ReplicaName> for String {
    fn from(name: ReplicaName) -> String {
        name.0
    }
}

impl fmt::Display for ReplicaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose an object of a runtime is: every one carries this.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The installation that made it: objects of others are never touched.
    pub instance: InstanceId,
    /// The application.
    pub application: ApplicationId,
    /// The release, which has the id of the deployment that made it.
    pub release: ReleaseId,
    /// The process type; a release command has the one called `release-command`.
    pub process: ProcessName,
    /// Which replica: rises, and is never used again within a release.
    pub index: u32,
}

/// The replicas of one process type of one release, as the runtime needs to know them.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The installation, application and release.
    pub instance: InstanceId,
    /// Whose it is.
    pub application: ApplicationId,
    /// Of which release.
    pub release: ReleaseId,
    /// Which process type.
    pub process: ProcessName,
    /// What runs.
    pub artifact: Artifact,
    /// The command; `None`: the image's own.
    pub command: Option<Command>,
    /// The environment, without `PORT`, which follows from the replica's address.
    pub env: BTreeMap<EnvKey, Secret>,
    /// What each replica may use.
    pub limits: Limits,
    /// The application's persistent directories.
    pub volumes: Vec<VolumeMount>,
    /// The fixed port inside a container.
    pub port: Option<u16>,
}

impl Workload {
    /// Whose replica `index` of this workload is.
    pub fn owner(&self, index: u32) -> Owner {
        Owner {
            instance: self.instance,
            application: self.application,
            release: self.release,
            process: self.process.clone(),
            index,
        }
    }
}

/// One replica to run: its name and where it must listen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Its name.
    pub name: ReplicaName,
    /// Which one of its workload.
    pub index: u32,
    /// Where it listens; `None` for a process type without a port.
    pub address: Option<SocketAddr>,
}

/// A replica that requests may go to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Upstream {
    /// Which replica.
    pub replica: ReplicaName,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A replica or one-off as a runtime sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaSeen {
    /// Its name.
    pub name: ReplicaName,
    /// Whose it is.
    pub owner: Owner,
    /// What it does.
    pub state: ReplicaState,
    /// Where it can be reached now; `None` while it has no address.
    pub address: Option<SocketAddr>,
    /// How often the runtime has started it again.
    pub restarts: u32,
    /// Whether the runtime starts it again when it dies.
    pub keeps_running: bool,
}

/// What a replica does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReplicaState {
    /// It runs.
    Running,
    /// It ended and was not told to; the runtime may start it again.
    Exited(Exit),
    /// It was told to stop and has, or was never started; kept, and can be started again.
    Stopped,
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Exit {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It ended while nobody looked, and how cannot be known any more.
    Unknown,
}

impl Exit {
    /// Whether it ended well.
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("unknown exit"),
        }
    }
}

/// News from a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeEvent {
    /// Which replica or one-off.
    pub name: ReplicaName,
    /// Whose it is.
    pub owner: Owner,
    /// What it does now.
    pub state: ReplicaState,
}

/// A line that a replica printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OutputLine {
    /// Which replica.
    pub replica: ReplicaName,
    /// Where it was printed.
    pub stream: OutputStream,
    /// When, where the runtime knows.
    pub at: Option<Timestamp>,
    /// The line without its end.
    pub text: String,
}

/// Where a line was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}
