//! The runtime's suite: each promise of [`ContainerRuntime`] and [`Builder`] as tests of their own.
//!
//! An implementation brings a [`RuntimeHarness`], which knows how to make things that behave like a [`Program`] and
//! a [`BuildProgram`], and calls [`runtime_suite!`](crate::runtime_suite) in a test module; its crate needs tokio
//! with `macros` and `rt-multi-thread`. A simulated runtime calls `runtime_suite!(Harness, (start_paused = true))`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;

use crate::model::{AppName, InstanceId, OutputLine, ProcessName, Replica, ReplicaName, ReplicaSeen, Workload};
use crate::runtime::{BuildRequest, Builder, ContainerRuntime, LogQuery};

pub mod cancelled_clean;
pub mod honest_listener;
pub mod kept_output;
pub mod kept_running;
pub mod named;
pub mod no_orphan;
pub mod once;
pub mod own_address;
pub mod owned;
pub mod rebuildable;
pub mod repeatable;
pub mod whole_artifact;

/// How long the suite waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How the suite comes by runtimes, and by what they run.
#[async_trait]
pub trait RuntimeHarness: Send + Sync + Sized + 'static {
    /// A harness around a runtime with nothing in it, which no other test sees.
    async fn fresh() -> Self;

    /// The runtime.
    fn runtime(&self) -> Arc<dyn ContainerRuntime>;

    /// Its builder.
    fn builder(&self) -> Arc<dyn Builder>;

    /// The same things seen by a new program, after the one before has crashed.
    async fn reopen(self) -> Self;

    /// Like [`RuntimeHarness::reopen`]; the replica dies after the crash, before the new program looks.
    async fn reopen_after_death_of(self, name: &ReplicaName) -> Self;

    /// A workload of that instance that behaves like `program`; one without a port has no address.
    async fn workload(&self, instance: InstanceId, program: Program) -> Workload;

    /// A build of that instance that behaves like `program`.
    async fn source(&self, instance: InstanceId, program: BuildProgram) -> BuildRequest;

    /// The instance that the runtime works for.
    fn instance(&self) -> InstanceId;

    /// Addresses of which the test may use any that is free.
    fn addresses(&self) -> crate::config::AddressRange {
        crate::config::AddressRange::default()
    }

    /// Something that is none of the runtime's takes `address` and listens there, until it is dropped.
    async fn occupy(&self, address: SocketAddr) -> Box<dyn Send>;

    /// Processes, containers and half artifacts of builds that are still there.
    async fn left_of_builds(&self) -> usize;
}

/// How something that the suite runs has to behave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Program {
    /// Listens on its address until SIGTERM.
    Serves,
    /// Listens nowhere and runs until SIGTERM.
    Idles,
    /// Ignores SIGTERM, and prints `ready` once it does.
    Stubborn,
    /// Prints `before` to stdout, `beside` to stderr, and ends with this code.
    Ends(i32),
    /// Makes a process that leads a group of its own, ignores SIGTERM and listens on the address, and waits for it.
    Forks,
}

/// How a build that the suite starts has to behave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildProgram {
    /// Prints `one`, `two`, `three`, on both streams in turn, and succeeds with something that [`Program::Idles`].
    Succeeds,
    /// Prints `one` and fails.
    Fails,
    /// Prints `one` and does not end, nor does a process that it made.
    Hangs,
}

/// Makes each case of the suite a test, in a module named after its promise.
#[macro_export]
macro_rules! runtime_suite {
    ($harness:ty) => {
        $crate::runtime_suite! { $harness, (flavor = "multi_thread", worker_threads = 2) }
    };
    ($harness:ty, $flavor:tt) => {
        $crate::runtime_suite! { $harness; $flavor;
            repeatable:
                starting_what_runs_changes_nothing,
                stopping_what_has_stopped_changes_nothing,
                removing_what_is_gone_changes_nothing,
                what_was_stopped_starts_again_under_its_name;
            named:
                a_replica_is_found_under_its_name_with_its_owner,
                what_runs_is_found_and_stopped_after_a_crash_of_this_program,
                what_was_stopped_is_still_stopped_after_a_crash_of_this_program;
            owned:
                only_objects_of_the_instance_are_listed;
            own_address:
                a_replica_reports_the_address_it_was_given_while_it_runs,
                a_taken_address_is_a_conflict_and_leaves_nothing,
                free_addresses_are_neither_bound_nor_taken;
            honest_listener:
                a_replica_that_listens_on_its_address_says_so,
                a_stranger_on_the_address_does_not_count,
                a_replica_that_was_stopped_does_not_listen;
            kept_running:
                a_replica_that_dies_is_started_again,
                a_replica_that_is_not_kept_stays_ended,
                a_kept_replica_that_is_stopped_stays_stopped,
                a_kept_replica_that_died_during_a_crash_runs_again;
            once:
                a_one_off_asked_again_answers_its_recorded_exit,
                a_one_off_asked_twice_at_once_runs_once,
                a_recorded_exit_is_known_after_a_crash_of_this_program,
                a_one_off_outlives_the_call_and_ends_by_stop;
            no_orphan:
                removing_ends_a_process_that_left_its_group,
                one_that_ignores_sigterm_is_killed_after_its_grace,
                removing_what_runs_ends_it;
            kept_output:
                both_streams_are_readable_after_the_end,
                the_tail_is_the_last_lines,
                following_ends_with_the_removal,
                output_is_readable_after_a_crash_of_this_program;
            whole_artifact:
                a_built_artifact_is_there_and_runs,
                the_lines_of_a_build_come_in_order,
                a_failed_build_names_its_end_and_leaves_no_artifact,
                a_removed_artifact_is_gone_and_removing_again_is_no_error,
                a_reused_artifact_outlives_the_first;
            rebuildable:
                building_the_same_name_again_replaces_it,
                a_build_left_by_a_crash_is_built_anew;
            cancelled_clean:
                a_dropped_build_leaves_no_process_and_nothing_after_removal;
        }
    };
    ($harness:ty; $flavor:tt; $($promise:ident: $($case:ident),+;)+) => {$(
        mod $promise {
            #[allow(unused_imports, reason = "the harness may be named by a path of its own")]
            use super::*;

            $crate::runtime_suite! { @cases $harness; $flavor; $promise: $($case),+ }
        }
    )+};
    (@cases $harness:ty; $flavor:tt; $promise:ident: $($case:ident),+) => {
        $($crate::runtime_suite! { @case $harness; $flavor; $promise $case })+
    };
    (@case $harness:ty; ($($flavor:tt)+); $promise:ident $case:ident) => {
        #[tokio::test($($flavor)+)]
        async fn $case() {
            let harness = <$harness as $crate::testing::runtime::RuntimeHarness>::fresh().await;
            $crate::testing::runtime::$promise::$case(harness).await;
        }
    };
}

/// A replica of `workload` without an address.
fn replica(workload: &Workload, index: u32) -> Replica {
    Replica { name: name(workload, index), index, address: None }
}

/// A replica of `workload` with a free address.
async fn replica_with_address(harness: &impl RuntimeHarness, workload: &Workload, index: u32) -> Replica {
    let addresses = harness.runtime().free_addresses(&harness.addresses(), &[], 1).await.unwrap();
    Replica { address: Some(addresses[0]), ..replica(workload, index) }
}

fn name(workload: &Workload, index: u32) -> ReplicaName {
    ReplicaName::new(&app(), workload.release, &workload.process, index)
}

fn one_off(workload: &mut Workload) -> ReplicaName {
    workload.process = "release-command".parse::<ProcessName>().unwrap();
    ReplicaName::release_command(&app(), workload.release)
}

fn app() -> AppName {
    "shop".parse().unwrap()
}

/// The only replica of that name, if it is there.
async fn seen(runtime: &dyn ContainerRuntime, instance: InstanceId, name: &ReplicaName) -> Option<ReplicaSeen> {
    let mut found = runtime.list(instance).await.unwrap();
    found.retain(|seen| seen.name == *name);
    assert!(found.len() <= 1, "one name, one replica: {found:?}");
    found.pop()
}

/// Waits until `is_so` of what is seen of a replica.
async fn until_seen(
    runtime: &dyn ContainerRuntime,
    instance: InstanceId,
    name: &ReplicaName,
    is_so: impl Fn(&ReplicaSeen) -> bool,
) -> ReplicaSeen {
    let look = async {
        loop {
            match seen(runtime, instance, name).await {
                Some(seen) if is_so(&seen) => return seen,
                _ => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    };
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(seen) => seen,
        Err(_) => panic!("it did not come to that: {:?}", seen(runtime, instance, name).await),
    }
}

/// Waits until the replica listens on its address.
async fn until_it_listens(runtime: &dyn ContainerRuntime, name: &ReplicaName) {
    let look = async {
        while !runtime.listens(name).await.unwrap() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("it listens");
}

/// What was printed until now.
async fn printed(runtime: &dyn ContainerRuntime, name: &ReplicaName) -> Vec<OutputLine> {
    lines(runtime, name, &LogQuery::default()).await
}

async fn lines(runtime: &dyn ContainerRuntime, name: &ReplicaName, query: &LogQuery) -> Vec<OutputLine> {
    let lines = runtime.logs(name, query).await.unwrap();
    let all = lines.map(|line| line.unwrap()).collect::<Vec<_>>();
    tokio::time::timeout(PATIENCE, all).await.expect("the output ends")
}

/// Waits until a line was printed.
async fn until_printed(runtime: &dyn ContainerRuntime, name: &ReplicaName, text: &str) {
    let look = async {
        while !printed(runtime, name).await.iter().any(|line| line.text == text) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("it prints the line");
}
