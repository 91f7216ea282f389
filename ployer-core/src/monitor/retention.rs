//! Retention: lets go of events and build output that are older or more than what is kept.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::config::EventLimits;
use crate::error::{ErrorKind, Result};
use crate::model::{ApplicationId, EventSeq};
use crate::store::Store;

/// How often the event log is looked at.
const INTERVAL: Duration = Duration::from_secs(60);
/// Events read at once.
const PAGE: u32 = 500;
/// How many deployments whose output may be there still are looked at beyond those whose output is kept.
const MARGIN: usize = 20;

/// Keeps the event log within its limits until it is dropped.
pub(crate) async fn keep_events_within(store: &dyn Store, clock: &dyn Clock, limits: &EventLimits) {
    loop {
        if let Err(error) = trim_events(store, clock.now(), limits).await {
            tracing::warn!(error = %error.chain(), "old events could not be removed");
        }
        sleep(INTERVAL).await;
    }
}

/// Removes events that are too old or too many.
async fn trim_events(store: &dyn Store, now: Timestamp, limits: &EventLimits) -> Result<()> {
    let last = store.last_event().await?.0;
    let kept_from = first_kept(store, last).await?;
    let too_many = last.saturating_sub(limits.count_max);
    let oldest = now.checked_sub(limits.age_max).unwrap_or(Timestamp::MIN);
    let too_old = last_before(store, kept_from, oldest).await?;
    let up_to = too_many.max(too_old);
    if up_to > kept_from { store.trim_events(EventSeq(up_to)).await } else { Ok(()) }
}

/// The smallest number after which all events are kept, found by halving.
async fn first_kept(store: &dyn Store, last: u64) -> Result<u64> {
    let (mut low, mut high) = (0, last);
    while low < high {
        let middle = low + (high - low) / 2;
        match store.events(EventSeq(middle), 1).await {
            Ok(_) => high = middle,
            Err(error) if error.kind() == ErrorKind::Gone => low = middle + 1,
            Err(error) => return Err(error),
        }
    }
    Ok(low)
}

/// The number of the last event before `oldest`, of those after `after`.
async fn last_before(store: &dyn Store, mut after: u64, oldest: Timestamp) -> Result<u64> {
    loop {
        let page = store.events(EventSeq(after), PAGE).await?;
        let old = page.iter().take_while(|event| event.at < oldest).count();
        match page[..old].last() {
            Some(event) => after = event.seq.0,
            None => return Ok(after),
        }
        if old < page.len() {
            return Ok(after);
        }
    }
}

/// Removes the output of an application's deployments but the newest `kept`.
pub(crate) async fn trim_logs(store: &dyn Store, application: ApplicationId, kept: usize) -> Result<()> {
    let limit = u32::try_from(kept + MARGIN).unwrap_or(u32::MAX);
    for deployment in store.deployments(Some(application), limit).await?.iter().skip(kept) {
        store.remove_log(deployment.id).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::model::{Actor, EventKind, NewEvent};
    use crate::store::memory::MemoryStore;
    use crate::store::{Commit, Events};

    /// A store with an event each minute.
    async fn store(events: i64) -> MemoryStore {
        let store = MemoryStore::new();
        for minute in 0..events {
            let at = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute);
            let event = NewEvent::global(EventKind::ServerChanged);
            Store::commit(&store, Commit::new(Actor::System, at).event(event)).await.unwrap();
        }
        store
    }

    async fn first(store: &MemoryStore) -> u64 {
        first_kept(store, store.last_event().await.unwrap().0).await.unwrap() + 1
    }

    fn after_minutes(minutes: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
    }

    #[tokio::test]
    async fn events_beyond_the_number_that_is_kept_go() {
        let store = store(50).await;
        let limits = EventLimits { count_max: 20, ..EventLimits::default() };

        trim_events(&store, after_minutes(50), &limits).await.unwrap();

        assert_eq!(first(&store).await, 31);
        assert_eq!(store.last_event().await.unwrap(), EventSeq(50));
    }

    #[tokio::test]
    async fn events_that_are_too_old_go() {
        let store = store(50).await;
        let limits = EventLimits { age_max: Duration::from_secs(10 * 60), ..EventLimits::default() };

        trim_events(&store, after_minutes(50), &limits).await.unwrap();

        assert_eq!(first(&store).await, 41);
    }

    #[tokio::test]
    async fn events_within_the_limits_stay_also_after_others_went() {
        let store = store(50).await;
        store.trim_events(EventSeq(7)).await.unwrap();

        trim_events(&store, after_minutes(50), &EventLimits::default()).await.unwrap();

        assert_eq!(first(&store).await, 8);
    }
}
