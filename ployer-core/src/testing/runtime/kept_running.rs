//! Kept running: a replica that the runtime was told to keep is started again when it dies, and only then.

use std::time::Duration;

use super::{LOOK_AGAIN, Program, RuntimeHarness, replica, replica_with_address, seen, until_it_listens, until_seen};
use crate::model::{Exit, ReplicaState};

/// A replica that ends of itself is started again and again.
pub async fn a_replica_that_dies_is_started_again(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let workload = harness.workload(instance, Program::Ends(3)).await;
    let replica = replica(&workload, 1);
    runtime.start(&workload, &replica).await.unwrap();

    runtime.keep_running(&replica.name).await.unwrap();
    runtime.keep_running(&replica.name).await.unwrap();

    let seen = until_seen(&*runtime, instance, &replica.name, |seen| seen.restarts >= 2).await;
    assert!(seen.keeps_running);
}

/// Before it was told so, the runtime starts nothing of its own accord.
pub async fn a_replica_that_is_not_kept_stays_ended(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let workload = harness.workload(instance, Program::Ends(3)).await;
    let replica = replica(&workload, 1);

    runtime.start(&workload, &replica).await.unwrap();

    let ended = ReplicaState::Exited(Exit::Code(3));
    let seen = until_seen(&*runtime, instance, &replica.name, |seen| seen.state == ended).await;
    assert_eq!((seen.restarts, seen.keeps_running), (0, false));
}

/// A stop is obeyed, also while the runtime waits to start it again.
pub async fn a_kept_replica_that_is_stopped_stays_stopped(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let workload = harness.workload(instance, Program::Ends(3)).await;
    let replica = replica(&workload, 1);
    runtime.start(&workload, &replica).await.unwrap();
    runtime.keep_running(&replica.name).await.unwrap();
    until_seen(&*runtime, instance, &replica.name, |seen| seen.restarts >= 1).await;

    runtime.stop(&replica.name, Duration::from_secs(5)).await.unwrap();

    let stopped = seen(&*runtime, instance, &replica.name).await.unwrap();
    assert_eq!(stopped.state, ReplicaState::Stopped);
    // Longer than the first pause of a restart would have been.
    for _ in 0..100 {
        tokio::time::sleep(LOOK_AGAIN).await;
        assert_eq!(seen(&*runtime, instance, &replica.name).await.unwrap().restarts, stopped.restarts);
    }
}

/// What should run and ended while nobody looked is started again by the next program in charge.
pub async fn a_kept_replica_that_died_during_a_crash_runs_again(harness: impl RuntimeHarness) {
    let instance = harness.instance();
    let workload = harness.workload(instance, Program::Serves).await;
    let replica = replica_with_address(&harness, &workload, 1).await;
    harness.runtime().start(&workload, &replica).await.unwrap();
    until_it_listens(&*harness.runtime(), &replica.name).await;
    harness.runtime().keep_running(&replica.name).await.unwrap();

    let harness = harness.reopen_after_death_of(&replica.name).await;

    let runtime = harness.runtime();
    runtime.attach().await.unwrap();
    until_it_listens(&*runtime, &replica.name).await;
    let seen = seen(&*runtime, instance, &replica.name).await.unwrap();
    assert_eq!((seen.state, seen.restarts), (ReplicaState::Running, 1));
}
