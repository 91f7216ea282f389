//! The engine as one value: it holds the lease, and an actor for each application while it runs.
//!
//! It spawns nothing before [`Engine::run`] and leaves no task behind: dropping that future ends all of them, which
//! is what a crash looks like; its token ends them in good order. Either way the applications go on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::context::{Context, Tasks, lock};
use super::crew::Crew;
use super::lease::HeldLease;
use super::reach::Reach;

use crate::clock::Clock;
use crate::config::Settings;
use crate::error::Result;
use crate::model::{EventSeq, InstanceId, ReplicaSeen};
use crate::monitor::retention;
use crate::probe::Probe;
use crate::runtime::ContainerRuntime;
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
    /// Whether it is certain that no other engine runs on this store, because a lock of the operating system says so:
    /// a lease that a crash left behind is then taken over at once.
    pub(crate) alone: bool,
    /// Wakes whoever follows the event log. Everybody in this process who commits sends the number that `commit`
    /// answered, and may subscribe; it is a wake-up only: commits of other processes are found by looking.
    pub(crate) news: watch::Sender<EventSeq>,
}

impl EngineParts {
    /// Wakes whoever follows the event log.
    pub(crate) fn tell(&self, newest: EventSeq) {
        self.news.send_if_modified(|known| {
            let is_news = newest > *known;
            *known = newest.max(*known);
            is_news
        });
    }
}

/// How long parking, or letting go of a runtime, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An engine that holds the lease.
#[derive(Debug)]
pub(crate) struct Engine {
    parts: Arc<EngineParts>,
    lease: Arc<HeldLease>,
}

impl Engine {
    /// Takes the lease.
    ///
    /// # Errors
    ///
    /// `Conflict` if another engine holds it; the message names the holder, and until when.
    pub(crate) async fn start(parts: EngineParts) -> Result<Self> {
        let parts = Arc::new(parts);
        let lease = Arc::new(HeldLease::take(Arc::clone(&parts)).await?);
        Ok(Self { parts, lease })
    }

    /// Works until `stop` is cancelled, then parks what is under way and gives the lease back.
    ///
    /// # Errors
    ///
    /// `Conflict` if the lease was lost to another engine.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<()> {
        let tasks: Tasks = Arc::new(Mutex::new(JoinSet::new()));
        let context = Arc::new(Context::new(Arc::clone(&self.parts), Arc::clone(&self.lease), &tasks));
        let mut crew = Crew::new(Arc::clone(&context), stop.clone());
        let lost = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            error = self.lease.keep() => Some(error),
            never = crew.work() => match never {},
            () = self.keep_events_within() => None,
        };
        if lost.is_none() {
            self.lease.during(crew.park()).await;
        }
        crew.end().await;
        let mut tasks = std::mem::take(&mut *lock(&tasks));
        tasks.shutdown().await;
        let letting_go = context.reaches().into_iter().map(let_go);
        join_all(letting_go).await;
        match lost {
            Some(error) => Err(error),
            None => self.lease.give_back().await,
        }
    }

    async fn keep_events_within(&self) {
        let EngineParts { store, clock, settings, .. } = self.parts.as_ref();
        retention::keep_events_within(store.as_ref(), clock.as_ref(), &settings.events).await;
    }
}

async fn let_go(reach: Arc<Reach>) {
    match timeout(PATIENCE, reach.runtime.detach()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = %error.chain(), "the runtime was not let go in good order"),
        Err(_) => tracing::warn!("letting go of the runtime took too long"),
    }
}

/// Ends the replicas of every application of the installation, and keeps them: the next engine starts them again.
/// Called while no engine runs; it takes the lease meanwhile.
///
/// # Errors
///
/// `Conflict` if an engine runs, and what the runtime answers where a replica does not end.
pub(crate) async fn stop_applications(parts: &EngineParts) -> Result<()> {
    let parts = Arc::new(parts.clone());
    let lease = HeldLease::take(Arc::clone(&parts)).await?;
    let result = lease.during(stop_everywhere(&parts)).await;
    lease.give_back().await?;
    result
}

async fn stop_everywhere(parts: &EngineParts) -> Result<()> {
    for server in parts.store.servers().await? {
        let handle = parts.servers.connect(&server).await?;
        handle.runtime.attach().await?;
        let stopped = stop_all(parts, handle.runtime.as_ref()).await;
        handle.runtime.detach().await?;
        stopped?;
    }
    Ok(())
}

async fn stop_all(parts: &EngineParts, runtime: &dyn ContainerRuntime) -> Result<()> {
    let grace = parts.settings.deadlines.grace;
    let applications = parts.store.applications().await?;
    let is_known = |replica: &&ReplicaSeen| applications.iter().any(|known| known.id == replica.owner.application);
    let replicas = runtime.list(parts.instance).await?;
    try_join_all(replicas.iter().filter(is_known).map(|replica| runtime.stop(&replica.name, grace))).await?;
    Ok(())
}
