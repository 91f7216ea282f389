//! Named: a replica is found under its name, by whoever asks, also after this program was restarted.

use std::time::Duration;

use super::{Program, RuntimeHarness, replica, replica_with_address, seen, until_it_listens};
use crate::model::ReplicaState;

/// What runs is listed under its name, and says whose it is.
pub async fn a_replica_is_found_under_its_name_with_its_owner(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let workload = harness.workload(instance, Program::Idles).await;
    let (first, second) = (replica(&workload, 1), replica(&workload, 2));
    runtime.start(&workload, &second).await.unwrap();
    runtime.start(&workload, &first).await.unwrap();

    let listed = runtime.list(instance).await.unwrap();

    let names: Vec<_> = listed.iter().map(|seen| &seen.name).collect();
    assert_eq!(names, [&first.name, &second.name], "in the order of their names");
    assert_eq!(listed[1].owner, workload.owner(2));
}

/// What runs goes on through a crash, is found after it, and can be stopped.
pub async fn what_runs_is_found_and_stopped_after_a_crash_of_this_program(harness: impl RuntimeHarness) {
    let instance = harness.instance();
    let workload = harness.workload(instance, Program::Serves).await;
    let replica = replica_with_address(&harness, &workload, 1).await;
    harness.runtime().start(&workload, &replica).await.unwrap();
    until_it_listens(&*harness.runtime(), &replica.name).await;

    let harness = harness.reopen().await;

    let runtime = harness.runtime();
    runtime.attach().await.unwrap();
    assert!(runtime.listens(&replica.name).await.unwrap(), "it was not interrupted");
    let found = seen(&*runtime, instance, &replica.name).await.unwrap();
    assert_eq!((found.state, found.owner), (ReplicaState::Running, workload.owner(1)));
    runtime.stop(&replica.name, Duration::from_secs(5)).await.unwrap();
    assert_eq!(seen(&*runtime, instance, &replica.name).await.unwrap().state, ReplicaState::Stopped);
}

/// What a user has stopped is not started by a crash.
pub async fn what_was_stopped_is_still_stopped_after_a_crash_of_this_program(harness: impl RuntimeHarness) {
    let instance = harness.instance();
    let workload = harness.workload(instance, Program::Idles).await;
    let replica = replica(&workload, 1);
    harness.runtime().start(&workload, &replica).await.unwrap();
    harness.runtime().stop(&replica.name, Duration::from_secs(5)).await.unwrap();

    let harness = harness.reopen().await;

    let runtime = harness.runtime();
    runtime.attach().await.unwrap();
    assert_eq!(seen(&*runtime, instance, &replica.name).await.unwrap().state, ReplicaState::Stopped);
}
