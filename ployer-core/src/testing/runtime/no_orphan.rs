//! No orphan: after `remove` nothing of the replica is left, grandchildren included.

use std::time::Duration;

use super::{Program, RuntimeHarness, replica, replica_with_address, seen, until_it_listens, until_printed};
use crate::config::AddressRange;
use crate::model::ReplicaState;

/// A process that left its group and ignores signals ends with the replica; its port is free again.
pub async fn removing_ends_a_process_that_left_its_group(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let workload = harness.workload(instance, Program::Forks).await;
    let replica = replica_with_address(&harness, &workload, 1).await;
    runtime.start(&workload, &replica).await.unwrap();
    until_it_listens(&*runtime, &replica.name).await;

    runtime.remove(&replica.name).await.unwrap();

    let address = replica.address.unwrap();
    let only = AddressRange { host: address.ip(), ports: address.port()..=address.port() };
    assert_eq!(runtime.free_addresses(&only, &[], 1).await.unwrap(), [address]);
    assert_eq!(runtime.list(instance).await.unwrap(), []);
}

/// SIGKILL follows when the grace has passed.
pub async fn one_that_ignores_sigterm_is_killed_after_its_grace(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let workload = harness.workload(instance, Program::Stubborn).await;
    let replica = replica(&workload, 1);
    runtime.start(&workload, &replica).await.unwrap();
    until_printed(&*runtime, &replica.name, "ready").await;

    let before = tokio::time::Instant::now();
    runtime.stop(&replica.name, Duration::from_millis(300)).await.unwrap();

    assert!(before.elapsed() >= Duration::from_millis(300), "it had its grace");
    assert_eq!(seen(&*runtime, instance, &replica.name).await.unwrap().state, ReplicaState::Stopped);
}

/// What runs is killed before it is removed.
pub async fn removing_what_runs_ends_it(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let workload = harness.workload(instance, Program::Serves).await;
    let replica = replica_with_address(&harness, &workload, 1).await;
    runtime.start(&workload, &replica).await.unwrap();
    until_it_listens(&*runtime, &replica.name).await;

    runtime.remove(&replica.name).await.unwrap();

    let address = replica.address.unwrap();
    let only = AddressRange { host: address.ip(), ports: address.port()..=address.port() };
    assert_eq!(runtime.free_addresses(&only, &[], 1).await.unwrap(), [address]);
    assert_eq!(seen(&*runtime, instance, &replica.name).await, None);
}
