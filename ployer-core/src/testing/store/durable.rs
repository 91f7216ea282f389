//! Durable: what `commit` returned for is there after a crash of the machine.
//!
//! A suite cannot pull the plug: it drops the store without a farewell. What that leaves to prove (that data is
//! flushed before `commit` returns) each implementation tests in its own way.

use super::{StoreHarness, assert_refused, commit, insert, sample, stored_application};
use crate::error::ErrorKind;
use crate::model::{EventKind, EventSeq, NewEvent};

/// Records and events.
pub async fn everything_is_there_after_opening_again(harness: impl StoreHarness) {
    let shop = stored_application(&*harness.store()).await;
    let event = NewEvent::of(shop.id, EventKind::ApplicationCreated);
    harness.store().commit(commit().insert(sample::machine(shop.id)).event(event.clone())).await.unwrap();

    let harness = harness.reopen().await;

    let store = harness.store();
    assert_eq!(store.application(shop.id).await.unwrap(), Some(shop.clone()));
    assert!(store.machine(shop.id).await.unwrap().is_some());
    let told: Vec<_> = store.events(EventSeq(0), 10).await.unwrap().into_iter().map(|event| event.kind).collect();
    assert_eq!(told, [event.kind]);
}

/// A fence that a restart forgets is none.
pub async fn an_epoch_fences_also_after_opening_again(harness: impl StoreHarness) {
    insert(&*harness.store(), sample::lease("first", 3)).await;

    let harness = harness.reopen().await;

    let late = commit().insert(sample::server("local")).fenced(2);
    assert_refused(&harness.store().commit(late).await.unwrap_err(), ErrorKind::Conflict, "first");
    harness.store().commit(commit().insert(sample::server("local")).fenced(3)).await.unwrap();
}

/// Also when no event is left to count from.
pub async fn event_numbers_go_on_after_opening_again(harness: impl StoreHarness) {
    let event = || commit().event(NewEvent::global(EventKind::ServerChanged));
    harness.store().commit(event()).await.unwrap();
    harness.store().commit(event()).await.unwrap();
    harness.store().trim_events(EventSeq(2)).await.unwrap();

    let harness = harness.reopen().await;

    assert_eq!(harness.store().last_event().await.unwrap(), EventSeq(2));
    assert_eq!(harness.store().commit(event()).await.unwrap(), EventSeq(3));
}
