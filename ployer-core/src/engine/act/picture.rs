//! The picture: what was seen of one application's world, shared by its actor and whoever looks on its behalf.
//!
//! It takes the place of a mailbox: whoever sees something changes the picture and wakes the actor, which decides on
//! the whole of it. So nothing can queue up, and a wake-up that is missed is only late. Of a replica with an effect
//! under way nothing can be said until a listing that began after its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::engine::decide::seen::{Readiness, RouteSeen, Seen};
use crate::model::{ReplicaName, ReplicaSeen, ReplicaState};

/// What was seen of one application's world.
#[derive(Debug, Default)]
pub(super) struct Picture {
    inner: Mutex<Inner>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    seen: Seen,
    /// Replicas whose effect has ended, with the number of the listing that had begun by then.
    ended: BTreeMap<ReplicaName, u64>,
    /// How often each replica was seen to die or was started.
    lives: BTreeMap<ReplicaName, u64>,
    /// Replicas whose last death was taken note of.
    dead: BTreeSet<ReplicaName>,
    listing: u64,
}

impl Picture {
    /// Changes the picture and wakes the actor.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let result = change(&mut self.inner().seen);
        self.news.notify_one();
        result
    }

    /// Forgets what has no more use; that is no news.
    pub(super) fn tidy(&self, forget: impl FnOnce(&mut Seen)) {
        forget(&mut self.inner().seen);
    }

    /// The picture as it is now.
    pub(super) fn read(&self) -> Seen {
        self.inner().seen.clone()
    }

    /// Looks at the picture, without taking a copy.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.inner().seen)
    }

    /// Waits until the picture has changed since this was last awaited.
    pub(super) async fn changed(&self) {
        self.news.notified().await;
    }

    /// Says that an effect on a replica begins.
    pub(super) fn begin(&self, name: &ReplicaName) {
        let mut inner = self.inner();
        inner.ended.remove(name);
        inner.seen.busy.insert(name.clone());
    }

    /// Says that an effect on a replica has ended, when `listing` was the last that had begun.
    pub(super) fn end(&self, name: &ReplicaName, listing: u64) {
        self.inner().ended.insert(name.clone(), listing);
        self.news.notify_one();
    }

    /// Has the gate ask a replica anew, because it starts.
    pub(super) fn restart(&self, name: &ReplicaName, now: Timestamp) {
        let mut inner = self.inner();
        inner.dead.remove(name);
        inner.begin_life(name, now);
    }

    /// Which life of a replica this is: an answer of an earlier one says nothing.
    pub(super) fn life(&self, name: &ReplicaName) -> u64 {
        self.inner().lives.get(name).copied().unwrap_or_default()
    }

    /// Changes what is known of a replica's readiness, unless that life of it is over.
    pub(super) fn judge(&self, name: &ReplicaName, life: u64, readiness: Readiness) {
        let mut inner = self.inner();
        if inner.lives.get(name).copied().unwrap_or_default() == life {
            inner.seen.readiness.insert(name.clone(), readiness);
            drop(inner);
            self.news.notify_one();
        }
    }

    /// The replicas that, as a listing says, died since the one before.
    pub(super) fn deaths(&self, replicas: &BTreeMap<ReplicaName, ReplicaSeen>) -> BTreeSet<ReplicaName> {
        let inner = self.inner();
        replicas.values().filter(|replica| inner.has_died(replica)).map(|replica| replica.name.clone()).collect()
    }

    /// Takes over a listing of that number, with the last lines of those that have died.
    pub(super) fn list(
        &self,
        listing: u64,
        replicas: BTreeMap<ReplicaName, ReplicaSeen>,
        died: BTreeMap<ReplicaName, Vec<String>>,
        now: Timestamp,
    ) {
        let mut inner = self.inner();
        if listing <= inner.listing {
            return;
        }
        inner.listing = listing;
        inner.dead.retain(|name| replicas.get(name).is_some_and(is_dead));
        for (name, output) in died {
            inner.begin_life(&name, now);
            inner.dead.insert(name.clone());
            inner.seen.output.insert(name, output);
        }
        let quiet = inner.release_busy(listing);
        let changed = quiet || inner.seen.replicas.as_ref() != Some(&replicas);
        inner.seen.replicas = Some(replicas);
        inner.forget_gone();
        drop(inner);
        if changed {
            self.news.notify_one();
        }
    }

    /// Takes over a route as it was read back. What answered under another one no longer counts.
    pub(super) fn route(&self, read: RouteSeen) {
        let mut inner = self.inner();
        let same = inner.seen.route.as_ref().is_some_and(|before| before.route == read.route);
        inner.seen.route = Some(read);
        if !same {
            inner.seen.answered.clear();
            inner.seen.answered_static = None;
            drop(inner);
            self.news.notify_one();
        }
    }

    /// Says whether the route may differ from the one that was read back.
    pub(super) fn doubt_route(&self, in_doubt: bool) {
        let mut inner = self.inner();
        let before = std::mem::replace(&mut inner.seen.route_in_doubt, in_doubt);
        drop(inner);
        if before && !in_doubt {
            self.news.notify_one();
        }
    }

    /// Every write leaves the picture whole, so a panic elsewhere cannot have broken it.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn has_died(&self, now: &ReplicaSeen) -> bool {
        let before = self.seen.replicas.as_ref().and_then(|before| before.get(&now.name));
        (is_dead(now) && !self.dead.contains(&now.name)) || before.is_some_and(|before| now.restarts > before.restarts)
    }

    fn begin_life(&mut self, name: &ReplicaName, now: Timestamp) {
        *self.lives.entry(name.clone()).or_default() += 1;
        let anew = Readiness { asked_at: now, attempts: 0, ready_at: None, reason: None };
        self.seen.readiness.insert(name.clone(), anew);
    }

    /// Ends the time in which nothing can be said of replicas whose effect ended before that listing began.
    fn release_busy(&mut self, listing: u64) -> bool {
        let before = self.ended.len();
        let (ended, busy) = (&mut self.ended, &mut self.seen.busy);
        ended.retain(|name, last_begun| {
            let still = *last_begun >= listing;
            if !still {
                busy.remove(name);
            }
            still
        });
        before != self.ended.len()
    }

    /// Forgets what was known of replicas that are gone.
    fn forget_gone(&mut self) {
        let seen = &mut self.seen;
        let Some(replicas) = &seen.replicas else { return };
        let busy = &seen.busy;
        let is_there = |name: &ReplicaName| replicas.contains_key(name) || busy.contains(name);
        seen.readiness.retain(|name, _| is_there(name));
        seen.output.retain(|name, _| is_there(name));
        self.lives.retain(|name, _| is_there(name));
    }
}

fn is_dead(replica: &ReplicaSeen) -> bool {
    matches!(replica.state, ReplicaState::Exited(_))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::engine::act::fakes::{Stand, replica};
    use crate::model::{Exit, Revision};

    fn now() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn name(text: &str) -> ReplicaName {
        text.parse().unwrap()
    }

    fn listing(replica: ReplicaSeen) -> BTreeMap<ReplicaName, ReplicaSeen> {
        BTreeMap::from([(replica.name.clone(), replica)])
    }

    fn ready(picture: &Picture, of: &str) {
        let ready = Readiness { asked_at: now(), attempts: 1, ready_at: Some(now()), reason: None };
        picture.judge(&name(of), picture.life(&name(of)), ready);
    }

    #[tokio::test]
    async fn nothing_is_said_of_a_replica_until_a_listing_that_began_after_its_effect() {
        let stand = Stand::new().await;
        let picture = Picture::default();
        let running = || listing(replica(&stand, "a", ReplicaState::Running));

        picture.begin(&name("a"));
        picture.list(1, running(), BTreeMap::new(), now());
        picture.end(&name("a"), 2);
        picture.list(2, running(), BTreeMap::new(), now());
        let after_an_older_listing = picture.read().busy.len();
        picture.list(3, running(), BTreeMap::new(), now());

        assert_eq!((after_an_older_listing, picture.read().busy.len()), (1, 0));
    }

    #[tokio::test]
    async fn an_older_listing_does_not_replace_a_newer_one() {
        let stand = Stand::new().await;
        let picture = Picture::default();
        picture.list(2, BTreeMap::new(), BTreeMap::new(), now());

        picture.list(1, listing(replica(&stand, "a", ReplicaState::Running)), BTreeMap::new(), now());

        assert_eq!(picture.read().replicas, Some(BTreeMap::new()));
    }

    #[tokio::test]
    async fn a_replica_that_died_is_asked_anew_before_it_counts_as_ready() {
        let stand = Stand::new().await;
        let picture = Picture::default();
        picture.list(1, listing(replica(&stand, "a", ReplicaState::Running)), BTreeMap::new(), now());
        ready(&picture, "a");
        let died = listing(replica(&stand, "a", ReplicaState::Exited(Exit::Code(1))));

        let deaths = picture.deaths(&died);
        picture.list(2, died.clone(), BTreeMap::from([(name("a"), vec!["ouch".to_owned()])]), now());

        assert_eq!(deaths, BTreeSet::from([name("a")]));
        assert!(!picture.read().is_ready(&name("a")));
        assert_eq!(picture.read().output[&name("a")], ["ouch"]);
        assert!(picture.deaths(&died).is_empty(), "a death counts once");
    }

    #[tokio::test]
    async fn a_restart_by_the_runtime_is_a_death_too() {
        let stand = Stand::new().await;
        let picture = Picture::default();
        picture.list(1, listing(replica(&stand, "a", ReplicaState::Running)), BTreeMap::new(), now());
        let again = ReplicaSeen { restarts: 1, ..replica(&stand, "a", ReplicaState::Running) };

        assert_eq!(picture.deaths(&listing(again)), BTreeSet::from([name("a")]));
    }

    #[tokio::test]
    async fn an_answer_from_an_earlier_life_says_nothing() {
        let picture = Picture::default();
        let asked_in = picture.life(&name("a"));

        picture.restart(&name("a"), now());
        let late = Readiness { asked_at: now(), attempts: 1, ready_at: Some(now()), reason: None };
        picture.judge(&name("a"), asked_in, late);

        assert!(!picture.read().is_ready(&name("a")));
    }

    #[tokio::test]
    async fn what_answered_under_another_route_no_longer_counts() {
        let picture = Picture::default();
        let route = |reason: &str| {
            let target = crate::model::Target::Unavailable { reason: reason.to_owned() };
            Some(crate::model::Route { hosts: BTreeSet::new(), target })
        };
        picture.route(RouteSeen { route: route("a"), revision: Revision { epoch: 1, number: 1 } });
        picture.update(|seen| seen.answered.insert(name("a")));

        picture.route(RouteSeen { route: route("a"), revision: Revision { epoch: 1, number: 2 } });
        let after_another_revision = picture.read().answered.len();
        picture.route(RouteSeen { route: route("b"), revision: Revision { epoch: 1, number: 3 } });

        assert_eq!((after_another_revision, picture.read().answered.len()), (1, 0));
    }

    #[tokio::test]
    async fn a_listing_without_news_wakes_nobody() {
        let stand = Stand::new().await;
        let picture = Picture::default();
        picture.list(1, listing(replica(&stand, "a", ReplicaState::Running)), BTreeMap::new(), now());
        picture.changed().await;

        picture.list(2, listing(replica(&stand, "a", ReplicaState::Running)), BTreeMap::new(), now());

        assert!(picture.changed().now_or_never().is_none());
    }
}
