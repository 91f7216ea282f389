//! The runtime: where workloads run.
//!
//! Every call may be repeated: starting what runs, stopping what has stopped, removing what is gone change nothing.
//! That is what lets the engine do a step again after a crash without asking how far it came.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::config::AddressRange;
use crate::error::{Error, Result};
use crate::model::{
    ApplicationId, Command, Exit, InstanceId, OutputLine, Replica, ReplicaName, ReplicaSeen, RuntimeEvent, RuntimeKind,
    Secret, Stats, VolumeName, Workload,
};

mod builder;
#[cfg(feature = "process")]
pub mod process;

pub use self::builder::{ArtifactName, BuildRecipe, BuildRequest, Builder, LogSink};

/// What a runtime can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// What it is.
    pub kind: RuntimeKind,
    /// Whether it runs images; else it runs release directories.
    pub images: bool,
    /// Whether it can hold replicas to a memory limit.
    pub memory_limits: bool,
    /// Whether replicas are kept away from the files of others.
    pub confined: bool,
}

impl Capabilities {
    /// A runtime of that kind that runs release directories and holds nobody to a limit.
    pub fn new(kind: RuntimeKind) -> Self {
        Self { kind, images: false, memory_limits: false, confined: false }
    }
}

/// Runs workloads on one server.
///
/// Implementors promise, and `testing::runtime` checks under the same names:
/// - **repeatable**: every call may be made again and then changes nothing;
/// - **named**: a replica is found under its name, by whoever asks, also after this program was restarted;
/// - **owned**: `list` answers the objects of one instance and no others;
/// - **own address**: a replica listens where it was told and nowhere else is reported;
/// - **honest listener**: `listens` is true only if the replica itself holds the listener;
/// - **kept running**: after `keep_running` a replica that dies is started again, and none before;
/// - **once**: a one-off that has run is not run again: its recorded exit is answered;
/// - **no orphan**: after `remove` nothing of the replica is left, grandchildren included;
/// - **kept output**: what a replica printed is readable until it is removed, also after it ended.
#[async_trait]
pub trait ContainerRuntime: fmt::Debug + Send + Sync + 'static {
    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Takes charge of what runs: from now on it is watched, and what should run and died meanwhile starts again.
    ///
    /// Called by the holder of the engine's lease before anything else that changes; everybody else only looks.
    ///
    /// # Errors
    ///
    /// `Conflict` if another program is in charge.
    async fn attach(&self) -> Result<()> {
        Ok(())
    }

    /// Lets go: ends every task of its own; what runs goes on. Absence of [`ContainerRuntime::attach`] is no error.
    async fn detach(&self) -> Result<()> {
        Ok(())
    }

    /// Runs a one-off under `name` to its end and answers how it ended. Asked again under the same name, it waits
    /// for the one that runs, or answers the recorded exit; it never runs it twice.
    ///
    /// Its output goes to `logs`. Dropping the future does not end the one-off: `stop` does.
    async fn run(&self, workload: &Workload, name: &ReplicaName) -> Result<Exit>;

    /// Starts a replica, or starts it again if it has stopped.
    ///
    /// # Errors
    ///
    /// `Conflict` if its address is taken by something else.
    async fn start(&self, workload: &Workload, replica: &Replica) -> Result<()>;

    /// From now on the runtime itself starts this replica again when it dies, with growing pauses.
    async fn keep_running(&self, name: &ReplicaName) -> Result<()>;

    /// Ends a replica or one-off: SIGTERM, then SIGKILL after `grace`. It is kept and can be started again.
    async fn stop(&self, name: &ReplicaName, grace: Duration) -> Result<()>;

    /// Removes a replica or one-off that has stopped; one that runs is killed first. Absence is no error.
    async fn remove(&self, name: &ReplicaName) -> Result<()>;

    /// Everything of `instance`: replicas and one-offs, running or not, in the order of their names.
    async fn list(&self, instance: InstanceId) -> Result<Vec<ReplicaSeen>>;

    /// Whether the replica itself listens on its address.
    async fn listens(&self, name: &ReplicaName) -> Result<bool>;

    /// Every address that the replica itself listens on, where the runtime can tell: for a hint, not for a decision.
    async fn listeners(&self, name: &ReplicaName) -> Result<Vec<SocketAddr>> {
        let _named = name;
        Ok(Vec::new())
    }

    /// Addresses of `range` that are free at this moment, found by binding them: `count` of them, none of `taken`.
    ///
    /// # Errors
    ///
    /// `Exhausted` if there are fewer.
    async fn free_addresses(&self, range: &AddressRange, taken: &[SocketAddr], count: usize)
    -> Result<Vec<SocketAddr>>;

    /// What a replica or one-off printed; follows it where `query` says so.
    async fn logs(&self, name: &ReplicaName, query: &LogQuery) -> Result<BoxStream<'static, Result<OutputLine>>>;

    /// What a replica uses now.
    async fn stats(&self, name: &ReplicaName) -> Result<Stats>;

    /// Runs a command beside a replica, with its environment, and answers when it has ended.
    async fn exec(&self, name: &ReplicaName, command: &Command, input: Option<Secret>) -> Result<ExecOutput>;

    /// News of replicas and one-offs of `instance`, from now on. It may miss some: whoever needs to be sure lists.
    async fn events(&self, instance: InstanceId) -> Result<BoxStream<'static, RuntimeEvent>>;

    /// Removes a persistent directory with all that is in it: the engine calls it only when a user said so.
    async fn remove_volume(&self, application: ApplicationId, volume: &VolumeName) -> Result<()> {
        let _named = (application, volume);
        Err(Error::unsupported("removing volumes"))
    }
}

/// Which lines of a replica's output.
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    /// The last lines only; `None`: all that is kept.
    pub tail: Option<u32>,
    /// Goes on with new lines until the replica has ended and is removed.
    pub follow: bool,
}

/// What a command beside a replica left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    /// How it ended.
    pub exit: Exit,
    /// What it printed, 1 MiB of each stream at most.
    pub stdout: Vec<u8>,
    /// What it complained about.
    pub stderr: Vec<u8>,
}
