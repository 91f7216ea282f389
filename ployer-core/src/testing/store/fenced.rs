//! Fenced: a commit with an epoch that is not the lease's loses with `Conflict`.

use super::{StoreHarness, assert_refused, commit, insert, sample, stored_server};
use crate::error::ErrorKind;
use crate::model::{Lease, Server, Version};

/// The engine that holds the lease may write.
pub async fn a_commit_of_the_leases_epoch_is_stored(harness: impl StoreHarness) {
    let store = harness.store();
    insert(&*store, sample::lease("first", 3)).await;

    let server = sample::server("local");
    store.commit(commit().insert(server.clone()).fenced(3)).await.unwrap();

    assert!(store.server(server.id).await.unwrap().is_some());
}

/// An engine whose lease has gone to another changes nothing, and learns who has it.
pub async fn a_commit_of_a_past_epoch_loses_and_names_the_holder(harness: impl StoreHarness) {
    let store = harness.store();
    insert(&*store, sample::lease("first", 3)).await;
    let server = stored_server(&*store).await;
    let taken = Lease { version: Version(1), ..sample::lease("second", 4) };
    store.commit(commit().update(taken)).await.unwrap();

    for past in [3, 5, 0] {
        let late = commit().update(Server { port: 1, ..server.clone() }).fenced(past);
        assert_refused(&store.commit(late).await.unwrap_err(), ErrorKind::Conflict, "second");
    }

    assert_eq!(store.server(server.id).await.unwrap(), Some(server));
}

/// Where nobody ever held the lease, no engine may write.
pub async fn a_commit_of_an_engine_without_a_lease_loses(harness: impl StoreHarness) {
    let store = harness.store();

    let error = store.commit(commit().insert(sample::server("local")).fenced(1)).await.unwrap_err();

    assert_refused(&error, ErrorKind::Conflict, "lease");
    assert_eq!(store.servers().await.unwrap(), []);
}

/// What users do is guarded by versions, not by the lease.
pub async fn a_commit_without_an_epoch_is_not_fenced(harness: impl StoreHarness) {
    let store = harness.store();
    insert(&*store, sample::lease("first", 3)).await;

    insert(&*store, sample::server("local")).await;

    assert_eq!(store.servers().await.unwrap().len(), 1);
}
