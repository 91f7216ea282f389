//! Ordered: events are numbered without gaps, in the order of their commits, also under concurrent writers.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{StoreHarness, assert_refused, commit, sample};
use crate::error::ErrorKind;
use crate::model::{Actor, DeploymentStatus, Event, EventKind, EventSeq, NewEvent, Step, Version};
use crate::store::{Commit, Store};

/// An event that tells of `number`.
fn event(number: u64) -> NewEvent {
    NewEvent::global(EventKind::EngineStarted { epoch: number })
}

/// A commit of `count` events.
fn events(count: u64) -> Commit {
    (1..=count).fold(commit(), |commit, number| commit.event(event(number)))
}

fn numbers(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq.0).collect()
}

/// The first event is number one.
pub async fn events_are_numbered_from_one_without_gaps(harness: impl StoreHarness) {
    let store = harness.store();
    assert_eq!(store.last_event().await.unwrap(), EventSeq(0));

    store.commit(events(2)).await.unwrap();
    store.commit(events(3)).await.unwrap();

    assert_eq!(numbers(&store.events(EventSeq(0), 100).await.unwrap()), [1, 2, 3, 4, 5]);
    assert_eq!(store.last_event().await.unwrap(), EventSeq(5));
}

/// What was not stored takes no number.
pub async fn a_refused_commit_leaves_no_gap(harness: impl StoreHarness) {
    let store = harness.store();
    store.commit(events(1)).await.unwrap();

    let stray = sample::machine(sample::id());
    store.commit(events(3).insert(stray)).await.unwrap_err();
    store.commit(events(1)).await.unwrap();

    assert_eq!(numbers(&store.events(EventSeq(0), 100).await.unwrap()), [1, 2]);
}

/// Eight writers on two handles: numbers without gaps, and the events of each commit in a row.
pub async fn events_of_eight_writers_at_once_have_no_gap(harness: impl StoreHarness) {
    let store = harness.store();
    let handles = [harness.store(), harness.second_handle().await];

    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let store: Arc<dyn Store> = handles[writer % 2].clone();
        writers.spawn(async move {
            for _ in 0..25 {
                store.commit(events(3)).await.unwrap();
            }
        });
    }
    writers.join_all().await;

    let stored = store.events(EventSeq(0), 1_000).await.unwrap();
    assert_eq!(numbers(&stored), (1..=600).collect::<Vec<_>>());
    for of_one_commit in stored.chunks(3) {
        let told: Vec<_> = of_one_commit.iter().map(|event| event.kind.clone()).collect();
        assert_eq!(told, events(3).events.into_iter().map(|event| event.kind).collect::<Vec<_>>());
    }
}

/// Whoever commits can wait for the answer's number and has then seen the own events.
pub async fn a_commit_answers_the_number_of_its_last_event(harness: impl StoreHarness) {
    let store = harness.store();

    assert_eq!(store.commit(events(2)).await.unwrap(), EventSeq(2));
    assert_eq!(store.commit(events(1)).await.unwrap(), EventSeq(3));
}

/// Time, actor, application and everything that the event tells.
pub async fn events_come_back_with_all_their_fields(harness: impl StoreHarness) {
    let store = harness.store();
    let (application, deployment) = (sample::id(), sample::id());
    let told = [
        NewEvent::of(application, EventKind::ApplicationCreated),
        NewEvent::of(application, EventKind::ApplicationUpdated { fields: vec!["port".to_owned()] }),
        NewEvent::of(
            application,
            EventKind::DeploymentStatus {
                deployment_id: deployment,
                status: DeploymentStatus::Failed,
                message: Some("nothing listens on \"3000\" ✗".to_owned()),
            },
        ),
        NewEvent::of(application, EventKind::DeploymentStep { deployment_id: deployment, step: Step::Gate }),
        NewEvent::global(EventKind::EngineStarted { epoch: 7 }),
    ];
    let actors = [
        Actor::System,
        Actor::User { user: sample::id() },
        Actor::Token { token: sample::id(), user: sample::id() },
        Actor::Webhook { application },
    ];

    for (second, actor) in actors.into_iter().enumerate() {
        let mut commit = Commit::new(actor, sample::at(second as i64));
        commit.events.extend(told.clone());
        store.commit(commit).await.unwrap();
    }

    let stored = store.events(EventSeq(0), 100).await.unwrap();
    let expected = (0..20).map(|index| {
        let (second, event) = (index / 5, told[index % 5].clone());
        Event::new(EventSeq(index as u64 + 1), sample::at(second as i64), actors[second], event)
    });
    assert_eq!(stored, expected.collect::<Vec<_>>());
}

/// Pages of seven, each after the last one seen.
pub async fn a_follower_that_pages_misses_and_doubles_nothing(harness: impl StoreHarness) {
    let store = harness.store();
    for _ in 0..10 {
        store.commit(events(2)).await.unwrap();
    }

    let mut seen = Vec::new();
    loop {
        let after = EventSeq(seen.last().copied().unwrap_or(0));
        let page = store.events(after, 7).await.unwrap();
        assert!(page.len() <= 7);
        if page.is_empty() {
            break;
        }
        seen.extend(numbers(&page));
    }

    assert_eq!(seen, (1..=20).collect::<Vec<_>>());
    assert_eq!(store.events(EventSeq(21), 7).await.unwrap(), []);
}

/// Who asks for what was trimmed is told, and where to begin instead.
pub async fn trimmed_events_are_gone_and_the_oldest_is_named(harness: impl StoreHarness) {
    let store = harness.store();
    store.commit(events(10)).await.unwrap();

    store.trim_events(EventSeq(4)).await.unwrap();
    store.trim_events(EventSeq(2)).await.unwrap();

    let error = store.events(EventSeq(3), 100).await.unwrap_err();
    assert_refused(&error, ErrorKind::Gone, "oldest kept is 5");
    assert_eq!(numbers(&store.events(EventSeq(4), 100).await.unwrap()), [5, 6, 7, 8, 9, 10]);
    assert_eq!(store.last_event().await.unwrap(), EventSeq(10));
}

/// No number is ever given twice.
pub async fn numbers_go_on_after_everything_was_trimmed(harness: impl StoreHarness) {
    let store = harness.store();
    store.commit(events(3)).await.unwrap();

    store.trim_events(EventSeq(3)).await.unwrap();

    assert_eq!(store.last_event().await.unwrap(), EventSeq(3));
    assert_eq!(store.events(EventSeq(3), 10).await.unwrap(), []);
    assert_refused(&store.events(EventSeq(0), 10).await.unwrap_err(), ErrorKind::Gone, "4");
    assert_eq!(store.commit(events(1)).await.unwrap(), EventSeq(4));
    assert_eq!(numbers(&store.events(EventSeq(3), 10).await.unwrap()), [4]);
}

/// Events that are not there yet are not trimmed ahead.
pub async fn trimming_beyond_the_newest_event_trims_what_there_is(harness: impl StoreHarness) {
    let store = harness.store();
    store.commit(events(2)).await.unwrap();

    store.trim_events(EventSeq(u64::MAX)).await.unwrap();

    assert_eq!(store.commit(events(1).insert(sample::server("local"))).await.unwrap(), EventSeq(3));
    assert_eq!(numbers(&store.events(EventSeq(2), 10).await.unwrap()), [3]);
    assert_eq!(store.servers().await.unwrap()[0].version, Version(1));
}
