//! The observer: one listing of a server's workloads serves all of its actors.
//!
//! It lists when asked, when the runtime has news, and once in a while; requests that come meanwhile are served by
//! the next listing. It only looks: an object of ours that the store does not know is reported and left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::context::lock;
use super::engine::EngineParts;
use super::output;
use super::picture::Picture;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Actor, ApplicationId, EventKind, NewEvent, ReplicaName, ReplicaSeen, RuntimeEvent};
use crate::runtime::ContainerRuntime;
use crate::store::Commit;

/// How long a runtime may take to list or to begin telling news.
const PATIENCE: Duration = Duration::from_secs(10);
/// When a listing that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

type Listing = BTreeMap<ApplicationId, BTreeMap<ReplicaName, ReplicaSeen>>;

/// Looks at one server on behalf of its actors.
#[derive(Debug)]
pub(super) struct Observer {
    parts: Arc<EngineParts>,
    epoch: u64,
    runtime: Arc<dyn ContainerRuntime>,
    wish: Notify,
    /// Listings that have begun.
    begun: AtomicU64,
    begun_at: Mutex<Option<Instant>>,
    pictures: Mutex<BTreeMap<ApplicationId, Arc<Picture>>>,
}

impl Observer {
    pub(super) fn new(parts: Arc<EngineParts>, epoch: u64, runtime: Arc<dyn ContainerRuntime>) -> Self {
        Self {
            parts,
            epoch,
            runtime,
            wish: Notify::new(),
            begun: AtomicU64::new(0),
            begun_at: Mutex::default(),
            pictures: Mutex::default(),
        }
    }

    /// Tells an application from now on what is seen of it.
    pub(super) fn watch(&self, application: ApplicationId, picture: Arc<Picture>) {
        lock(&self.pictures).insert(application, picture);
        self.look();
    }

    /// Ends that.
    pub(super) fn forget(&self, application: ApplicationId) {
        lock(&self.pictures).remove(&application);
    }

    /// Asks for a listing that begins after this call.
    pub(super) fn look(&self) {
        self.wish.notify_one();
    }

    /// Asks for a listing, unless one began less than `age` ago.
    pub(super) fn look_if_older(&self, age: Duration) {
        let begun_at = *lock(&self.begun_at);
        if begun_at.is_none_or(|begun_at| begun_at.elapsed() >= age) {
            self.look();
        }
    }

    /// The number of the last listing that has begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }

    /// Looks until the engine ends.
    pub(super) async fn run(self: Arc<Self>) {
        let mut events = None;
        let mut strangers = Strangers::default();
        loop {
            if events.is_none() {
                events = self.events().await;
            }
            tokio::select! {
                biased;
                () = self.wish.notified() => {}
                is_open = next(&mut events) => if !is_open { events = None; sleep(RETRY).await; },
                () = sleep(self.parts.settings.engine.tick_idle) => {}
            }
            match self.list().await {
                Ok(listing) => strangers.report(&self, &listing).await,
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "the runtime could not be listed");
                    sleep(RETRY).await;
                    self.look();
                }
            }
        }
    }

    async fn events(&self) -> Option<BoxStream<'static, RuntimeEvent>> {
        timeout(PATIENCE, self.runtime.events(self.parts.instance)).await.ok()?.ok()
    }

    /// Lists once, tells every picture, and answers what belongs to applications that have none.
    async fn list(&self) -> Result<Listing> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        *lock(&self.begun_at) = Some(Instant::now());
        let listing = timeout(PATIENCE, self.runtime.list(self.parts.instance));
        let late = |_| Error::new(ErrorKind::Timeout, "the runtime took too long to list its workloads");
        let mut by_application = Listing::new();
        for replica in listing.await.map_err(late)?? {
            let application = replica.owner.application;
            by_application.entry(application).or_default().insert(replica.name.clone(), replica);
        }
        let pictures = lock(&self.pictures).clone();
        for (application, picture) in pictures {
            let replicas = by_application.remove(&application).unwrap_or_default();
            self.tell(&picture, number, replicas).await;
        }
        Ok(by_application)
    }

    async fn tell(&self, picture: &Picture, number: u64, replicas: BTreeMap<ReplicaName, ReplicaSeen>) {
        let died = picture.deaths(&replicas);
        let outputs = died.iter().filter_map(|name| replicas.get(name)).map(|replica| self.last_words(replica));
        let outputs = join_all(outputs).await;
        let died = died.into_iter().zip(outputs).collect();
        picture.list(number, replicas, died, self.parts.clock.now());
    }

    async fn warn(&self, name: &ReplicaName) -> Result<()> {
        tracing::warn!(%name, "a workload carries our mark but is not in the store: left alone");
        let event = NewEvent::global(EventKind::UnknownWorkload { name: name.clone() });
        let commit = Commit::new(Actor::System, self.parts.clock.now()).event(event).fenced(self.epoch);
        self.parts.tell(self.parts.store.commit(commit).await?);
        Ok(())
    }

    async fn last_words(&self, replica: &ReplicaSeen) -> Vec<String> {
        output::tail(&self.parts, self.runtime.as_ref(), &replica.name, replica.owner.release).await
    }
}

/// Waits for news and takes all that there is; `false` when the stream has ended.
async fn next(events: &mut Option<BoxStream<'static, RuntimeEvent>>) -> bool {
    let Some(stream) = events else { return std::future::pending().await };
    if stream.next().await.is_none() {
        return false;
    }
    loop {
        match stream.next().now_or_never() {
            Some(Some(_)) => {}
            Some(None) => return false,
            None => return true,
        }
    }
}

/// Objects of ours whose application the store does not know.
#[derive(Default)]
struct Strangers {
    /// Seen in the listing before: one that is just being deleted is gone by the next.
    suspected: BTreeSet<ReplicaName>,
    reported: BTreeSet<ReplicaName>,
}

impl Strangers {
    async fn report(&mut self, observer: &Observer, listing: &Listing) {
        let mut suspected = BTreeSet::new();
        for (application, replicas) in listing {
            if matches!(observer.parts.store.application(*application).await, Ok(None)) {
                suspected.extend(replicas.keys().cloned());
            }
        }
        for name in suspected.intersection(&self.suspected) {
            if !self.reported.contains(name) && observer.warn(name).await.is_ok() {
                self.reported.insert(name.clone());
            }
        }
        self.suspected = suspected;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::act::fakes::{Stand, replica};
    use crate::model::{EventSeq, Exit, ReplicaState};
    use crate::store::Events;

    fn put(stand: &Stand, replica: ReplicaSeen) {
        stand.world.things().replicas.insert(replica.name.clone(), replica);
    }

    async fn soon() {
        sleep(Duration::from_millis(5)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_come_during_a_listing_are_served_by_the_next() {
        let stand = Stand::new().await;
        stand.world.things().delays.insert("list", Duration::from_millis(10));
        let (scope, _tasks) = stand.scope().await;
        soon().await;

        (0..100).for_each(|_| scope.reach.observer.look());
        sleep(Duration::from_millis(100)).await;

        assert_eq!(scope.reach.observer.begun(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_lines_of_a_replica_that_died_come_with_its_death() {
        let stand = Stand::new().await;
        put(&stand, replica(&stand, "a", ReplicaState::Running));
        let (scope, _tasks) = stand.scope().await;
        soon().await;
        let name: ReplicaName = "a".parse().unwrap();
        stand.world.things().output.insert(name.clone(), vec!["no database".to_owned()]);

        put(&stand, replica(&stand, "a", ReplicaState::Exited(Exit::Code(1))));
        scope.reach.observer.look();
        soon().await;

        let seen = scope.picture.read();
        assert_eq!(seen.replica(&name).unwrap().state, ReplicaState::Exited(Exit::Code(1)));
        assert_eq!(seen.output[&name], ["no database"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_workload_whose_application_is_unknown_is_reported_once_and_left_alone() {
        let stand = Stand::new().await;
        let mut stranger = replica(&stand, "stranger", ReplicaState::Running);
        stranger.owner.application = ApplicationId::new(stand.parts.clock.as_ref());
        put(&stand, stranger);
        let (_scope, _tasks) = stand.scope().await;

        sleep(Duration::from_secs(120)).await;

        let events = stand.store.events(EventSeq(0), 100).await.unwrap();
        let is_report = |event: &&crate::model::Event| matches!(event.kind, EventKind::UnknownWorkload { .. });
        assert_eq!(events.iter().filter(is_report).count(), 1);
        assert!(stand.world.calls().iter().all(|call| !call.contains("stranger")));
    }
}
