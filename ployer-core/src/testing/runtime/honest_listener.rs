//! Honest listener: `listens` is true only if the replica itself holds the listener.

use std::time::Duration;

use super::{Program, RuntimeHarness, replica_with_address, seen, until_it_listens};
use crate::model::ReplicaState;

/// A replica that listens where it was told is seen to do so.
pub async fn a_replica_that_listens_on_its_address_says_so(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let workload = harness.workload(instance, Program::Serves).await;
    let replica = replica_with_address(&harness, &workload, 1).await;

    runtime.start(&workload, &replica).await.unwrap();

    until_it_listens(&*runtime, &replica.name).await;
}

/// Somebody else on the address proves nothing about the replica.
pub async fn a_stranger_on_the_address_does_not_count(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let workload = harness.workload(instance, Program::Idles).await;
    let replica = replica_with_address(&harness, &workload, 1).await;
    runtime.start(&workload, &replica).await.unwrap();

    let _stranger = harness.occupy(replica.address.unwrap()).await;

    assert!(!runtime.listens(&replica.name).await.unwrap());
    assert_eq!(seen(&*runtime, instance, &replica.name).await.unwrap().state, ReplicaState::Running);
}

/// A replica that was stopped listens no longer.
pub async fn a_replica_that_was_stopped_does_not_listen(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let workload = harness.workload(instance, Program::Serves).await;
    let replica = replica_with_address(&harness, &workload, 1).await;
    runtime.start(&workload, &replica).await.unwrap();
    until_it_listens(&*runtime, &replica.name).await;

    runtime.stop(&replica.name, Duration::from_secs(5)).await.unwrap();

    assert!(!runtime.listens(&replica.name).await.unwrap());
}
