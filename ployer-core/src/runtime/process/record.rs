//! The record: what is known of one replica or one-off, on disk before it counts.
//!
//! It is written as `Starting` before a process is made and as `Running` with its identity right after. A crash in
//! between is found out by the marks that the process carries in its environment.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files::{self, failed};
use crate::error::{Error, Resource, Result};
use crate::model::{Command, Exit, Limits, Owner, ReplicaName, ReplicaSeen, ReplicaState, VolumeName};

const FORMAT: u32 = 1;

/// What is known of one replica or one-off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The version of this file.
    pub(super) format: u32,
    pub(super) name: ReplicaName,
    pub(super) owner: Owner,
    pub(super) kind: Kind,
    pub(super) address: Option<SocketAddr>,
    pub(super) launch: Launch,
    /// Whether it should run: not after it was told to stop.
    pub(super) wanted: bool,
    /// Whether it is started again when it dies.
    pub(super) keep: bool,
    /// How often it was.
    pub(super) restarts: u32,
    pub(super) phase: Phase,
}

/// Replicas may start again, one-offs never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Replica,
    OneOff,
}

/// What it takes to start it, but for its environment, which is sealed in a file of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Launch {
    /// The release directory, as it was named when it was built.
    pub(super) release: PathBuf,
    pub(super) command: Command,
    pub(super) volumes: Vec<VolumeName>,
    pub(super) limits: Limits,
}

/// Where it is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// A process is being made, or was while this program crashed.
    Starting,
    /// A process was made.
    Running(Identity),
    /// Nothing of it runs.
    Ended(Exit),
}

/// Who a process is: its number may be given to another one later, but not with the same start time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) pid: i32,
    /// Clock ticks since the machine started.
    pub(super) started: u64,
    /// Which start of the machine.
    pub(super) boot: String,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)
    }
}

impl Record {
    pub(super) fn new(
        name: ReplicaName,
        owner: Owner,
        kind: Kind,
        address: Option<SocketAddr>,
        launch: Launch,
    ) -> Self {
        let phase = Phase::Starting;
        Self { format: FORMAT, name, owner, kind, address, launch, wanted: true, keep: false, restarts: 0, phase }
    }

    /// What a caller sees of it.
    pub(super) fn seen(&self) -> ReplicaSeen {
        let state = self.state();
        let address = self.address.filter(|_| state == ReplicaState::Running);
        ReplicaSeen {
            name: self.name.clone(),
            owner: self.owner.clone(),
            state,
            address,
            restarts: self.restarts,
            keeps_running: self.keep && self.kind == Kind::Replica,
        }
    }

    /// What it does.
    pub(super) fn state(&self) -> ReplicaState {
        match self.phase {
            Phase::Running(_) => ReplicaState::Running,
            Phase::Ended(exit) if self.wanted => ReplicaState::Exited(exit),
            Phase::Ended(_) | Phase::Starting => ReplicaState::Stopped,
        }
    }

    /// Whether it is to be started again, because it died and should run.
    pub(super) fn starts_again(&self) -> bool {
        self.kind == Kind::Replica && self.wanted && self.keep && matches!(self.phase, Phase::Ended(_))
    }

    /// The process, if there is one.
    pub(super) fn identity(&self) -> Option<&Identity> {
        match &self.phase {
            Phase::Running(identity) => Some(identity),
            Phase::Starting | Phase::Ended(_) => None,
        }
    }
}

/// The folder of one replica: its record, its sealed environment and its output.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// That of `name`, below `root`.
    pub(super) fn of(root: &Path, name: &ReplicaName) -> Self {
        Self(root.join(name.as_str()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn record(&self) -> PathBuf {
        self.0.join("record.json")
    }

    fn env(&self) -> PathBuf {
        self.0.join("env.sealed")
    }

    /// Makes it durable. The environment is written before the record that needs it.
    pub(super) fn write(&self, record: &Record, env: Option<&[u8]>) -> Result<()> {
        let cannot = || format!("the state of `{}` cannot be written", record.name);
        let json = serde_json::to_vec(record).map_err(|e| Error::internal(cannot(), e))?;
        let write = || -> io::Result<()> {
            if let Some(env) = env {
                files::make_private_dir(&self.0)?;
                files::sync_parent(&self.0)?;
                files::write_whole(&self.env(), env)?;
            }
            files::write_whole(&self.record(), &json)
        };
        write().map_err(failed(cannot()))
    }

    /// Reads it; `None` if there is none.
    pub(super) fn read(&self) -> Result<Option<Record>> {
        let path = self.record();
        let cannot = || format!("{} cannot be read", path.display());
        match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(cannot())(error)),
            Ok(json) => match serde_json::from_slice::<Record>(&json) {
                Ok(record) if record.format == FORMAT => Ok(Some(record)),
                Ok(record) => Err(Error::failed(format!("{}: format {} is unknown", cannot(), record.format))
                    .with_hint("it was written by a newer version of Ployer")),
                Err(error) => Err(Error::internal(cannot(), error)),
            },
        }
    }

    pub(super) fn read_env(&self) -> Result<Vec<u8>> {
        let path = self.env();
        std::fs::read(&path).map_err(failed(format!("{} cannot be read", path.display())))
    }

    /// Removes it: the record first, so that what is left of a crash is no replica.
    pub(super) fn remove(&self) -> Result<()> {
        let cannot = failed(format!("{} cannot be removed", self.0.display()));
        let remove = || match std::fs::remove_file(self.record()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => files::remove_dir(&self.0),
        };
        remove().map_err(cannot)
    }
}

/// Every record below `root`, and what could not be read.
pub(super) fn read_all(root: &Path) -> Result<(Vec<Record>, Vec<Error>)> {
    let cannot = || format!("{} cannot be listed", root.display());
    let entries = std::fs::read_dir(root).map_err(failed(cannot()))?;
    let (mut records, mut errors) = (Vec::new(), Vec::new());
    for entry in entries {
        let folder = Folder(entry.map_err(failed(cannot()))?.path());
        match folder.read() {
            Ok(Some(record)) => records.push(record),
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    records.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((records, errors))
}

/// There is no such replica.
pub(super) fn absent(name: &ReplicaName) -> Error {
    Error::not_found(Resource::Replica, name)
}
