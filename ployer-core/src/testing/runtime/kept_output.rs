//! Kept output: what a replica printed is readable until it is removed, also after it ended.

use super::{Program, RuntimeHarness, lines, one_off, printed, replica, until_printed};
use crate::error::ErrorKind;
use crate::model::OutputStream;
use crate::runtime::LogQuery;

/// Both streams are told apart and are there after the end.
pub async fn both_streams_are_readable_after_the_end(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let mut workload = harness.workload(instance, Program::Ends(0)).await;
    let name = one_off(&mut workload);

    runtime.run(&workload, &name).await.unwrap();

    let mut printed = printed(&*runtime, &name).await;
    printed.sort_by(|a, b| a.text.cmp(&b.text));
    let told: Vec<_> = printed.iter().map(|line| (line.stream, line.text.as_str())).collect();
    assert_eq!(told, [(OutputStream::Stdout, "before"), (OutputStream::Stderr, "beside")]);
    assert!(printed.iter().all(|line| line.replica == name));
}

/// A tail has as many lines as were asked for, and is the end of the whole.
pub async fn the_tail_is_the_last_lines(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let mut workload = harness.workload(instance, Program::Ends(0)).await;
    let name = one_off(&mut workload);
    runtime.run(&workload, &name).await.unwrap();
    let whole = printed(&*runtime, &name).await;

    let tail = lines(&*runtime, &name, &LogQuery { tail: Some(1), follow: false }).await;

    assert_eq!(tail, whole[1..]);
}

/// A follower gets what comes, and comes to an end when the replica is removed.
pub async fn following_ends_with_the_removal(harness: impl RuntimeHarness) {
    let (runtime, instance) = (harness.runtime(), harness.instance());
    let workload = harness.workload(instance, Program::Stubborn).await;
    let replica = replica(&workload, 1);
    runtime.start(&workload, &replica).await.unwrap();
    let query = LogQuery { tail: None, follow: true };

    let (followed, ()) = tokio::join!(lines(&*runtime, &replica.name, &query), async {
        until_printed(&*runtime, &replica.name, "ready").await;
        runtime.remove(&replica.name).await.unwrap();
    });

    assert!(followed.iter().any(|line| line.text == "ready"), "{followed:?}");
    let error = runtime.logs(&replica.name, &query).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// A crash of this program loses no line.
pub async fn output_is_readable_after_a_crash_of_this_program(harness: impl RuntimeHarness) {
    let instance = harness.instance();
    let mut workload = harness.workload(instance, Program::Ends(0)).await;
    let name = one_off(&mut workload);
    harness.runtime().run(&workload, &name).await.unwrap();
    let before = printed(&*harness.runtime(), &name).await;

    let harness = harness.reopen().await;

    assert_eq!(printed(&*harness.runtime(), &name).await, before);
}
