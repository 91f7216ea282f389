//! The address book: which upstream addresses are somebody's, so that none is ever given to two.
//!
//! It follows from the stored states: seeded with all of them before the first actor begins, and kept in step with
//! each state that is committed. Addresses that were found but are not committed yet are reserved meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::AddressRange;
use crate::error::{Error, Result};
use crate::model::ApplicationId;
use crate::runtime::ContainerRuntime;

/// How often a search begins again because others took what it had found.
const ROUNDS: usize = 20;

/// The addresses of all applications.
#[derive(Debug, Default)]
pub(super) struct AddressBook {
    entries: Mutex<BTreeMap<ApplicationId, Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    committed: BTreeSet<SocketAddr>,
    reserved: BTreeSet<SocketAddr>,
    /// Until when the addresses of a deleted application rest.
    rests_until: Option<Instant>,
}

impl AddressBook {
    /// Takes over what the state of an application says, as it was committed. While `searching`, addresses that
    /// were found for it stay reserved.
    pub(super) fn follow(&self, application: ApplicationId, committed: BTreeSet<SocketAddr>, searching: bool) {
        let mut entries = self.entries();
        let entry = entries.entry(application).or_default();
        entry.committed = committed;
        if !searching {
            entry.reserved.clear();
        }
    }

    /// Forgets an application that was deleted, once its addresses have rested: a proxy may still name them.
    pub(super) fn forget(&self, application: ApplicationId, rest: Duration) {
        if let Some(entry) = self.entries().get_mut(&application) {
            entry.rests_until = Some(Instant::now() + rest);
        }
    }

    /// Finds `count` addresses that are free at this moment and nobody's, and reserves them for the application in
    /// place of those that were reserved before.
    ///
    /// # Errors
    ///
    /// `Exhausted` if there are fewer.
    pub(super) async fn find(
        &self,
        application: ApplicationId,
        runtime: &dyn ContainerRuntime,
        range: &AddressRange,
        count: usize,
    ) -> Result<Vec<SocketAddr>> {
        for _ in 0..ROUNDS {
            let taken: Vec<SocketAddr> = self.taken().into_iter().collect();
            let found = runtime.free_addresses(range, &taken, count).await?;
            if self.reserve(application, &found) {
                return Ok(found);
            }
        }
        Err(Error::conflict("other applications took every address that was found"))
    }

    fn taken(&self) -> BTreeSet<SocketAddr> {
        let mut entries = self.entries();
        let now = Instant::now();
        entries.retain(|_, entry| entry.rests_until.is_none_or(|until| until > now));
        entries.values().flat_map(|entry| entry.committed.iter().chain(&entry.reserved).copied()).collect()
    }

    /// Reserves `found` unless somebody was faster.
    fn reserve(&self, application: ApplicationId, found: &[SocketAddr]) -> bool {
        let mut entries = self.entries();
        let is_taken = |address| entries.values().any(|entry| entry.has(address));
        if found.iter().any(is_taken) {
            return false;
        }
        entries.entry(application).or_default().reserved = found.iter().copied().collect();
        true
    }

    /// Every write leaves the book whole, so a panic elsewhere cannot have broken it.
    fn entries(&self) -> MutexGuard<'_, BTreeMap<ApplicationId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn has(&self, address: &SocketAddr) -> bool {
        self.committed.contains(address) || self.reserved.contains(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::engine::act::fakes::World;

    fn range() -> AddressRange {
        AddressRange { ports: 20_000..=20_004, ..AddressRange::default() }
    }

    fn ports(addresses: &[SocketAddr]) -> Vec<u16> {
        addresses.iter().map(SocketAddr::port).collect()
    }

    fn ids() -> (ApplicationId, ApplicationId) {
        (ApplicationId::new(&SystemClock), ApplicationId::new(&SystemClock))
    }

    #[tokio::test]
    async fn two_applications_that_search_at_once_find_different_addresses() {
        let (book, world, (shop, blog)) = (AddressBook::default(), World::default(), ids());

        let range = range();
        let (first, second) = tokio::join!(book.find(shop, &world, &range, 2), book.find(blog, &world, &range, 2));

        let mut all = ports(&[first.unwrap(), second.unwrap()].concat());
        all.sort_unstable();
        assert_eq!(all, [20_000, 20_001, 20_002, 20_003]);
    }

    #[tokio::test]
    async fn an_address_of_a_committed_state_is_not_given_out_again() {
        let (book, world, (shop, blog)) = (AddressBook::default(), World::default(), ids());
        book.follow(shop, "127.0.0.1:20000".parse().into_iter().collect(), false);

        let found = book.find(blog, &world, &range(), 1).await.unwrap();

        assert_eq!(ports(&found), [20_001]);
    }

    #[tokio::test]
    async fn a_found_address_stays_reserved_until_the_search_is_over() {
        let (book, world, (shop, blog)) = (AddressBook::default(), World::default(), ids());
        let found = book.find(shop, &world, &range(), 1).await.unwrap();

        book.follow(shop, BTreeSet::new(), true);
        let while_searching = book.find(blog, &world, &range(), 1).await.unwrap();
        book.follow(shop, found.iter().copied().collect(), false);
        book.follow(blog, BTreeSet::new(), false);
        let afterwards = book.find(blog, &world, &range(), 1).await.unwrap();

        assert_eq!((ports(&while_searching), ports(&afterwards)), (vec![20_001], vec![20_001]));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_deleted_application_had_is_free_again_once_it_has_rested() {
        let (book, world, (shop, blog)) = (AddressBook::default(), World::default(), ids());
        let rest = Duration::from_secs(60);
        book.find(shop, &world, &range(), 5).await.unwrap();

        book.forget(shop, rest);
        let at_once = book.find(blog, &world, &range(), 5).await.unwrap();
        tokio::time::advance(rest).await;

        assert_eq!(ports(&at_once), [] as [u16; 0]);
        assert_eq!(book.find(blog, &world, &range(), 5).await.unwrap().len(), 5);
    }
}
