//! Cancelled clean: a dropped build leaves no process within 2 s, and nothing after `remove`.

use std::time::Duration;

use super::whole_artifact::Lines;
use super::{BuildProgram, LOOK_AGAIN, PATIENCE, RuntimeHarness};
use crate::runtime::BuildRequest;

/// The bound that the trait promises.
const WITHIN: Duration = Duration::from_secs(2);

/// What a dropped build started is gone, and what it wrote goes with `remove`.
pub async fn a_dropped_build_leaves_no_process_and_nothing_after_removal(harness: impl RuntimeHarness) {
    let request = harness.source(harness.instance(), BuildProgram::Hangs).await;
    begin_and_drop(&harness, &request).await;

    let builder = harness.builder();
    let removal = builder.remove(&request.artifact);
    tokio::time::timeout(WITHIN, removal).await.expect("within its bound").unwrap();

    assert_eq!(harness.left_of_builds().await, 0);
}

/// Begins a build that does not end, and drops it once it has printed its line.
pub(super) async fn begin_and_drop(harness: &impl RuntimeHarness, request: &BuildRequest) {
    let (builder, lines) = (harness.builder(), Lines::default());
    let begun = async {
        while !lines.has("one") {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::select! {
        result = builder.build(request, &lines) => panic!("it ended: {result:?}"),
        begun = tokio::time::timeout(PATIENCE, begun) => begun.expect("it begins"),
    }
}
