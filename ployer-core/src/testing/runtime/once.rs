//! Once: a one-off that has run is not run again: its recorded exit is answered.

use std::time::Duration;

use super::{PATIENCE, Program, RuntimeHarness, one_off, printed, until_seen};
use crate::model::{Exit, ReplicaState};

/// Asked again, it answers as before and has printed nothing more.
pub async fn a_one_off_asked_again_answers_its_recorded_exit(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let mut workload = harness.workload(instance, Program::Ends(3)).await;
    let name = one_off(&mut workload);

    let first = runtime.run(&workload, &name).await.unwrap();
    let second = runtime.run(&workload, &name).await.unwrap();

    assert_eq!((first, second), (Exit::Code(3), Exit::Code(3)));
    assert_eq!(printed(&*runtime, &name).await.len(), 2, "one line of each stream");
    let listed = runtime.list(instance).await.unwrap();
    assert_eq!(listed[0].state, ReplicaState::Exited(Exit::Code(3)));
}

/// Two who ask at once share one run.
pub async fn a_one_off_asked_twice_at_once_runs_once(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let mut workload = harness.workload(instance, Program::Ends(0)).await;
    let name = one_off(&mut workload);

    let (first, second) = tokio::join!(runtime.run(&workload, &name), runtime.run(&workload, &name));

    assert_eq!((first.unwrap(), second.unwrap()), (Exit::Code(0), Exit::Code(0)));
    assert_eq!(printed(&*runtime, &name).await.len(), 2, "one line of each stream");
}

/// The record outlives a crash.
pub async fn a_recorded_exit_is_known_after_a_crash_of_this_program(harness: impl RuntimeHarness) {
    let instance = harness.instance();
    let mut workload = harness.workload(instance, Program::Ends(3)).await;
    let name = one_off(&mut workload);
    harness.runtime().run(&workload, &name).await.unwrap();

    let harness = harness.reopen().await;

    let runtime = harness.runtime();
    runtime.attach().await.unwrap();
    assert_eq!(runtime.run(&workload, &name).await.unwrap(), Exit::Code(3));
    assert_eq!(printed(&*runtime, &name).await.len(), 2, "one line of each stream");
}

/// Dropping the call leaves the one-off running; a stop ends it, and that is its recorded exit.
pub async fn a_one_off_outlives_the_call_and_ends_by_stop(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let mut workload = harness.workload(instance, Program::Idles).await;
    let name = one_off(&mut workload);
    tokio::select! {
        exit = runtime.run(&workload, &name) => panic!("it ended: {exit:?}"),
        _ = until_seen(&*runtime, instance, &name, |seen| seen.state == ReplicaState::Running) => {}
    }

    runtime.stop(&name, Duration::from_secs(5)).await.unwrap();

    let exit = tokio::time::timeout(PATIENCE, runtime.run(&workload, &name)).await.unwrap().unwrap();
    assert!(!exit.is_success(), "{exit}");
}
