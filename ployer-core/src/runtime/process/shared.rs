//! What every part of the process runtime needs to know: where things lie, and what was handed in.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, broadcast};

use super::confine::{self, Confinement, Outside, Signals};
use super::files::{self, failed};
use super::kin::{self, Marks};
use super::limits::Limiter;
use super::output::Output;
use super::record::Folder;
use super::seal::Seal;
use crate::clock::Clock;
use crate::config::{ProcessSettings, Settings};
use crate::error::{Error, Result};
use crate::model::{ApplicationId, InstanceId, ReplicaName, RuntimeEvent, Secret, VolumeName};

/// News that a slow listener may be behind.
const EVENTS_MAX: usize = 1024;

/// What a process runtime is opened with.
#[derive(Clone)]
pub struct ProcessConfig {
    /// Where everything of this installation lies.
    pub data_dir: PathBuf,
    /// The installation.
    pub instance: InstanceId,
    /// The key that environments are sealed with on disk; one of the installation, the same at each start.
    pub key: Secret,
    /// What every process inherits: `PATH`, `HOME`, `LANG`. Nothing is read from our own environment.
    pub environment: BTreeMap<String, String>,
    /// The settings of the library: pauses, slots and limits.
    pub settings: Settings,
    /// Time and randomness.
    pub clock: Arc<dyn Clock>,
}

/// Of the environment only the names: a value may be a password.
impl fmt::Debug for ProcessConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessConfig")
            .field("data_dir", &self.data_dir)
            .field("instance", &self.instance)
            .field("environment", &self.environment.keys())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl ProcessConfig {
    /// The default settings, and a `PATH` of the system's own folders.
    pub fn new(data_dir: impl Into<PathBuf>, instance: InstanceId, key: Secret, clock: Arc<dyn Clock>) -> Self {
        let path = ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        let environment = BTreeMap::from([path]);
        Self { data_dir: data_dir.into(), instance, key, environment, settings: Settings::default(), clock }
    }
}

/// What every part of the process runtime needs to know.
pub(super) struct Shared {
    data_dir: PathBuf,
    pub(super) instance: InstanceId,
    pub(super) seal: Seal,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) settings: ProcessSettings,
    pub(super) pauses: Pauses,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) events: broadcast::Sender<RuntimeEvent>,
    /// Which start of the machine this is.
    pub(super) boot: String,
    pub(super) limiter: Limiter,
    /// Whether the kernel can confine.
    pub(super) is_confining: bool,
    /// Replicas that the runtime starts again at the same time.
    pub(super) starts: Arc<Semaphore>,
}

/// How long the supervisors wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    /// Before the first restart.
    pub(super) restart: Duration,
    /// Before any later one, at most.
    pub(super) restart_max: Duration,
    /// From SIGTERM to SIGKILL for what a program before had told to end.
    pub(super) grace: Duration,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("data_dir", &self.data_dir)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn open(config: ProcessConfig) -> Result<Self> {
        let boot = kin::boot().map_err(|cause| {
            Error::unsupported("running processes without /proc").with_source(cause).with_hint("mount /proc")
        })?;
        let data_dir = prepare(&config.data_dir)?;
        let is_confining = confine::is_available();
        if !is_confining {
            tracing::warn!("this kernel has no Landlock: applications can read each other's files");
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let Settings { engine, deadlines, process, .. } = config.settings;
        let limiter = Limiter::open(process.cgroup.as_deref(), config.instance);
        let starts = engine.start_slots.unwrap_or(cores);
        let pauses =
            Pauses { restart: engine.restart_pause, restart_max: engine.restart_pause_max, grace: deadlines.grace };
        Ok(Self {
            data_dir,
            instance: config.instance,
            seal: Seal::new(&config.key),
            environment: config.environment,
            settings: process,
            pauses,
            clock: config.clock,
            events: broadcast::Sender::new(EVENTS_MAX),
            boot,
            limiter,
            is_confining,
            starts: Arc::new(Semaphore::new(starts.max(1))),
        })
    }

    /// Where the records of replicas lie.
    pub(super) fn replicas(&self) -> PathBuf {
        replicas(&self.data_dir)
    }

    pub(super) fn folder(&self, name: &ReplicaName) -> Folder {
        Folder::of(&self.replicas(), name)
    }

    pub(super) fn output(&self, folder: &Folder) -> Output {
        Output::new(folder.path(), self.settings.output_bytes_max)
    }

    /// Held by whoever is in charge.
    pub(super) fn lock(&self) -> PathBuf {
        self.data_dir.join("replicas.lock")
    }

    /// The `TMPDIR` of a replica or build: short, because sockets in it have 108 bytes for their whole path.
    pub(super) fn tmp(&self, name: &impl fmt::Display) -> PathBuf {
        let hash = Sha256::digest(name.to_string());
        let short: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        self.data_dir.join("tmp").join(short)
    }

    pub(super) fn volume(&self, application: ApplicationId, name: &VolumeName) -> PathBuf {
        self.data_dir.join("volumes").join(application.to_string()).join(name.as_str())
    }

    pub(super) fn releases(&self) -> PathBuf {
        releases(&self.data_dir)
    }

    /// Where a release directory is now, also if the data directory was moved since it was built: only its last two
    /// names count, and it is always one of ours.
    pub(super) fn release(&self, path: &Path) -> PathBuf {
        let names = path.components().filter(|part| matches!(part, Component::Normal(_)));
        let names: Vec<_> = names.rev().take(2).collect();
        self.releases().join(names.into_iter().rev().collect::<PathBuf>())
    }

    /// What a process may touch, where the kernel can hold it to that.
    pub(super) fn confinement(&self, own: Vec<PathBuf>, outside: Outside) -> Option<Confinement> {
        let closed = self.data_dir.clone();
        self.is_confining.then_some(Confinement { closed, own, outside, signals: Signals::Inside })
    }

    /// What everything that runs here has in its environment.
    pub(super) fn marks(&self) -> Marks {
        Marks::installation(self.instance, &self.data_dir)
    }

    /// A number that differs between installations.
    pub(super) fn seed(&self) -> u128 {
        self.instance.as_uuid().as_u128()
    }
}

/// Makes the folders, and answers the whole path of the data directory.
fn prepare(data_dir: &Path) -> Result<PathBuf> {
    let cannot = || format!("the data directory {} cannot be used", data_dir.display());
    let make = || {
        for folder in [replicas(data_dir), releases(data_dir)] {
            files::make_private_dir(&folder)?;
        }
        data_dir.canonicalize()
    };
    make().map_err(failed(cannot()))
}

fn replicas(data_dir: &Path) -> PathBuf {
    data_dir.join("replicas")
}

fn releases(data_dir: &Path) -> PathBuf {
    data_dir.join("releases")
}
