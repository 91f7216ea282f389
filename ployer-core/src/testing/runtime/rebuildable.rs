//! Rebuildable: building the same name again replaces what a crash left behind.

use super::whole_artifact::{Lines, is_same_place};
use super::{BuildProgram, RuntimeHarness};

/// A second build under a name takes the place of the first.
pub async fn building_the_same_name_again_replaces_it(harness: impl RuntimeHarness) {
    let request = harness.source(harness.instance(), BuildProgram::Succeeds).await;
    let first = harness.builder().build(&request, &Lines::default()).await.unwrap();

    let second = harness.builder().build(&request, &Lines::default()).await.unwrap();

    assert!(is_same_place(&first, &second), "{first:?} {second:?}");
    assert!(harness.builder().exists(&second).await.unwrap());
}

/// A build that a crash cut off is no obstacle to the next under its name.
pub async fn a_build_left_by_a_crash_is_built_anew(harness: impl RuntimeHarness) {
    let instance = harness.instance();
    let hanging = harness.source(instance, BuildProgram::Hangs).await;
    let good = harness.source(instance, BuildProgram::Succeeds).await;
    let good = super::whole_artifact::renamed(good, &hanging);
    super::cancelled_clean::begin_and_drop(&harness, &hanging).await;

    let harness = harness.reopen().await;
    let artifact = harness.builder().build(&good, &Lines::default()).await.unwrap();

    assert!(harness.builder().exists(&artifact).await.unwrap());
    harness.builder().remove(&good.artifact).await.unwrap();
    assert_eq!(harness.left_of_builds().await, 0);
}
