//! The context: what all actors of an engine share.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{OnceCell, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::addresses::AddressBook;
use super::engine::EngineParts;
use super::lease::HeldLease;
use super::reach::Reach;
use super::routes::RouteWriter;
use crate::engine::decide::seen::Ground;
use crate::error::Result;
use crate::model::{ApplicationId, ServerId};
use crate::proxy::Proxy;

/// When a task that panicked begins again.
const AGAIN: Duration = Duration::from_secs(1);

/// The tasks of an engine besides its actors: dropping it ends them.
pub(super) type Tasks = Arc<Mutex<JoinSet<()>>>;

/// What all actors of an engine share.
pub(super) struct Context {
    pub(super) parts: Arc<EngineParts>,
    pub(super) lease: Arc<HeldLease>,
    pub(super) ground: Ground,
    pub(super) addresses: AddressBook,
    /// The stored applications whose actors have not said yet which route they want.
    roll: watch::Sender<BTreeSet<ApplicationId>>,
    reaches: Mutex<BTreeMap<ServerId, Arc<OnceCell<Arc<Reach>>>>>,
    writers: Mutex<Vec<Arc<RouteWriter>>>,
    tasks: Weak<Mutex<JoinSet<()>>>,
}

impl Context {
    pub(super) fn new(parts: Arc<EngineParts>, lease: Arc<HeldLease>, tasks: &Tasks) -> Self {
        let ground = Ground { settings: parts.settings.as_ref().clone(), epoch: lease.epoch() };
        Self {
            parts,
            lease,
            ground,
            addresses: AddressBook::default(),
            roll: watch::Sender::new(BTreeSet::new()),
            reaches: Mutex::default(),
            writers: Mutex::default(),
            tasks: Arc::downgrade(tasks),
        }
    }

    /// Spawns a task that ends with the engine, and begins again should it panic.
    pub(super) fn spawn<F>(&self, task: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let lasting = async move {
            while AssertUnwindSafe(task()).catch_unwind().await.is_err() {
                tracing::error!("a task of the engine panicked; it begins again");
                sleep(AGAIN).await;
            }
        };
        if let Some(tasks) = self.tasks.upgrade() {
            lock(&tasks).spawn(lasting);
        }
    }

    /// What is shared to act on a server: connected once.
    pub(super) async fn reach(self: &Arc<Self>, server: ServerId) -> Result<Arc<Reach>> {
        let cell = Arc::clone(lock(&self.reaches).entry(server).or_default());
        let reach = cell.get_or_try_init(async || Reach::connect(self, server).await.map(Arc::new)).await?;
        Ok(Arc::clone(reach))
    }

    /// The servers that are connected.
    pub(super) fn reaches(&self) -> Vec<Arc<Reach>> {
        lock(&self.reaches).values().filter_map(|cell| cell.get().cloned()).collect()
    }

    /// The writer of a proxy's routes: one for servers that share it.
    pub(super) fn routes(&self, proxy: &Arc<dyn Proxy>) -> Arc<RouteWriter> {
        let mut writers = lock(&self.writers);
        if let Some(writer) = writers.iter().find(|writer| writer.is_of(proxy)) {
            return Arc::clone(writer);
        }
        let writer = RouteWriter::new(Arc::clone(&self.parts), Arc::clone(&self.lease), Arc::clone(proxy));
        let writer = Arc::new(writer);
        writers.push(Arc::clone(&writer));
        drop(writers);
        let (own, roll) = (Arc::clone(&writer), self.roll.subscribe());
        self.spawn(move || Arc::clone(&own).run(roll.clone()));
        writer
    }

    /// Expects each of these to say which route it wants before any table is applied.
    pub(super) fn expect(&self, applications: impl IntoIterator<Item = ApplicationId>) {
        self.roll.send_modify(|missing| missing.extend(applications));
    }

    /// Says that an application has said which route it wants, if any.
    pub(super) fn has_said(&self, application: ApplicationId) {
        self.roll.send_if_modified(|missing| missing.remove(&application));
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("lease", &self.lease).finish_non_exhaustive()
    }
}

/// What these locks guard is whole after every write, so a panic elsewhere cannot have broken it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
