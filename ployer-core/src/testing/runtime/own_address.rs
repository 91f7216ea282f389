//! Own address: a replica listens where it was told and nowhere else is reported.

use std::time::Duration;

use super::{Program, RuntimeHarness, replica_with_address, seen, until_it_listens};
use crate::config::AddressRange;
use crate::error::ErrorKind;

/// The address that was asked for is the one that is reported, as long as the replica runs.
pub async fn a_replica_reports_the_address_it_was_given_while_it_runs(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let workload = harness.workload(instance, Program::Serves).await;
    let replica = replica_with_address(&harness, &workload, 1).await;

    runtime.start(&workload, &replica).await.unwrap();

    until_it_listens(&*runtime, &replica.name).await;
    assert_eq!(seen(&*runtime, instance, &replica.name).await.unwrap().address, replica.address);
    runtime.stop(&replica.name, Duration::from_secs(5)).await.unwrap();
    assert_eq!(seen(&*runtime, instance, &replica.name).await.unwrap().address, None);
}

/// A start on an address that something else has is refused before anything is made.
pub async fn a_taken_address_is_a_conflict_and_leaves_nothing(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let workload = harness.workload(instance, Program::Serves).await;
    let replica = replica_with_address(&harness, &workload, 1).await;
    let _stranger = harness.occupy(replica.address.unwrap()).await;

    let error = runtime.start(&workload, &replica).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(!runtime.list(instance).await.unwrap().iter().any(|seen| seen.name == replica.name));
}

/// Addresses found free can be bound, are none of those set aside, and are not invented.
pub async fn free_addresses_are_neither_bound_nor_taken(harness: impl RuntimeHarness) {
    let (runtime, range) = (harness.runtime(), harness.addresses());
    let [bound, taken] = runtime.free_addresses(&range, &[], 2).await.unwrap()[..] else {
        panic!("two were asked for")
    };
    let _stranger = harness.occupy(bound).await;

    let found = runtime.free_addresses(&range, &[taken], 3).await.unwrap();

    assert_eq!(found.len(), 3);
    assert!(!found.contains(&bound) && !found.contains(&taken), "{found:?}");
    let narrow = AddressRange { host: bound.ip(), ports: bound.port()..=bound.port() };
    let error = runtime.free_addresses(&narrow, &[], 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exhausted);
}
