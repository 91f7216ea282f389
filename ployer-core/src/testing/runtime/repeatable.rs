//! Repeatable: every call may be made again and then changes nothing.

use std::time::Duration;

use super::{Program, RuntimeHarness, replica, replica_with_address, seen, until_it_listens};
use crate::model::ReplicaState;

/// Starting what runs leaves the same process running.
pub async fn starting_what_runs_changes_nothing(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let workload = harness.workload(instance, Program::Serves).await;
    let replica = replica_with_address(&harness, &workload, 1).await;
    runtime.start(&workload, &replica).await.unwrap();
    until_it_listens(&*runtime, &replica.name).await;

    runtime.start(&workload, &replica).await.unwrap();

    let seen = seen(&*runtime, instance, &replica.name).await.unwrap();
    assert_eq!((seen.state, seen.restarts), (ReplicaState::Running, 0));
    assert!(runtime.listens(&replica.name).await.unwrap(), "it was not interrupted");
}

/// Stopping again what has stopped is no error.
pub async fn stopping_what_has_stopped_changes_nothing(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let workload = harness.workload(instance, Program::Idles).await;
    let replica = replica(&workload, 1);
    runtime.start(&workload, &replica).await.unwrap();
    runtime.stop(&replica.name, Duration::from_secs(5)).await.unwrap();
    let before = seen(&*runtime, instance, &replica.name).await;

    runtime.stop(&replica.name, Duration::from_secs(5)).await.unwrap();

    assert_eq!(seen(&*runtime, instance, &replica.name).await, before);
    assert_eq!(before.unwrap().state, ReplicaState::Stopped);
}

/// Removing what is gone, or never was, is no error.
pub async fn removing_what_is_gone_changes_nothing(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let workload = harness.workload(instance, Program::Idles).await;
    let replica = replica(&workload, 1);
    runtime.remove(&replica.name).await.unwrap();
    runtime.start(&workload, &replica).await.unwrap();

    runtime.remove(&replica.name).await.unwrap();
    runtime.remove(&replica.name).await.unwrap();

    assert_eq!(runtime.list(instance).await.unwrap(), []);
}

/// A replica that was stopped is kept, and starts again where it was.
pub async fn what_was_stopped_starts_again_under_its_name(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let workload = harness.workload(instance, Program::Serves).await;
    let replica = replica_with_address(&harness, &workload, 1).await;
    runtime.start(&workload, &replica).await.unwrap();
    until_it_listens(&*runtime, &replica.name).await;
    runtime.stop(&replica.name, Duration::from_secs(5)).await.unwrap();

    runtime.start(&workload, &replica).await.unwrap();

    until_it_listens(&*runtime, &replica.name).await;
    let seen = seen(&*runtime, instance, &replica.name).await.unwrap();
    assert_eq!((seen.state, seen.address), (ReplicaState::Running, replica.address));
}
