//! Owned: `list` answers the objects of one instance and no others.

use super::{Program, RuntimeHarness, replica};
use crate::model::InstanceId;

/// Two instances on one runtime do not see each other's.
pub async fn only_objects_of_the_instance_are_listed(harness: impl RuntimeHarness) {
    let (runtime, ours) = (harness.runtime(), harness.instance());
    let theirs = InstanceId::from(uuid::Uuid::from_u128(1));
    let workload = harness.workload(ours, Program::Idles).await;
    let replica = replica(&workload, 1);
    runtime.start(&workload, &replica).await.unwrap();

    let (seen_by_us, seen_by_them) = (runtime.list(ours).await.unwrap(), runtime.list(theirs).await.unwrap());

    assert_eq!(seen_by_us.len(), 1);
    assert_eq!(seen_by_them, []);
}
