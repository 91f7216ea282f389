//! Build output: lines in order, each once; the middle may be left out.

use super::{StoreHarness, sample};
use crate::model::{LogLine, LogPage};

fn line(number: u64) -> LogLine {
    LogLine { number, at: sample::at(number as i64), text: format!("line {number}: \t\0'ä' \u{1b}[1m{{}}") }
}

fn lines(numbers: impl IntoIterator<Item = u64>) -> Vec<LogLine> {
    numbers.into_iter().map(line).collect()
}

/// Chunks that come late or overlap.
pub async fn lines_come_back_in_order_whatever_chunks_they_came_in(harness: impl StoreHarness) {
    let store = harness.store();
    let deployment = sample::id();

    for chunk in [lines(4..=6), lines(1..=1), lines([3, 2]), lines([]), lines(6..=9)] {
        store.append_log(deployment, &chunk).await.unwrap();
    }

    let page = store.log(deployment, 0, 100).await.unwrap();
    assert_eq!(page, LogPage { lines: lines(1..=9), left_out: 0 });
}

/// A writer that does not know whether it was heard says it again.
pub async fn a_repeated_append_changes_nothing(harness: impl StoreHarness) {
    let store = harness.store();
    let deployment = sample::id();
    store.append_log(deployment, &lines(1..=3)).await.unwrap();

    let other = LogLine { text: "another text".to_owned(), ..line(2) };
    store.append_log(deployment, &[other, line(3), line(4)]).await.unwrap();

    assert_eq!(store.log(deployment, 0, 100).await.unwrap().lines, lines(1..=4));
}

/// A reader goes on where it stopped.
pub async fn a_page_begins_after_a_line_and_has_a_limit(harness: impl StoreHarness) {
    let store = harness.store();
    let deployment = sample::id();
    store.append_log(deployment, &lines(1..=1_000)).await.unwrap();

    assert_eq!(store.log(deployment, 0, 3).await.unwrap().lines, lines(1..=3));
    assert_eq!(store.log(deployment, 998, 100).await.unwrap().lines, lines(999..=1_000));
    assert_eq!(store.log(deployment, 1_000, 100).await.unwrap().lines, []);
    assert_eq!(store.log(deployment, u64::MAX, 100).await.unwrap().lines, []);
}

/// Oldest of the last first.
pub async fn the_tail_is_the_last_lines_in_order(harness: impl StoreHarness) {
    let store = harness.store();
    let deployment = sample::id();
    store.append_log(deployment, &lines(1..=50)).await.unwrap();

    assert_eq!(store.log_tail(deployment, 3).await.unwrap(), lines(48..=50));
    assert_eq!(store.log_tail(deployment, 100).await.unwrap(), lines(1..=50));
    assert_eq!(store.log_tail(deployment, 0).await.unwrap(), []);
}

/// The hole may grow, be asked for twice, and stays a hole when the writer repeats itself.
pub async fn lines_left_out_are_counted_and_do_not_come_back(harness: impl StoreHarness) {
    let store = harness.store();
    let deployment = sample::id();
    store.append_log(deployment, &lines(1..=100)).await.unwrap();

    store.leave_out_log(deployment, 11, 20).await.unwrap();
    store.leave_out_log(deployment, 11, 30).await.unwrap();
    store.leave_out_log(deployment, 11, 30).await.unwrap();
    store.leave_out_log(deployment, 5, 4).await.unwrap();
    store.append_log(deployment, &lines(25..=101)).await.unwrap();

    let page = store.log(deployment, 9, 3).await.unwrap();
    assert_eq!(page, LogPage { lines: lines([10, 31, 32]), left_out: 20 });
    assert_eq!(store.log(deployment, 0, 1_000).await.unwrap().lines.len(), 81);
}

/// Removed with its count of lines left out; removing it twice is no error.
pub async fn a_removed_output_is_empty_and_begins_anew(harness: impl StoreHarness) {
    let store = harness.store();
    let deployment = sample::id();
    store.append_log(deployment, &lines(1..=10)).await.unwrap();
    store.leave_out_log(deployment, 4, 6).await.unwrap();

    store.remove_log(deployment).await.unwrap();
    store.remove_log(deployment).await.unwrap();
    assert_eq!(store.log(deployment, 0, 100).await.unwrap(), LogPage::default());

    store.append_log(deployment, &lines(1..=5)).await.unwrap();
    assert_eq!(store.log(deployment, 0, 100).await.unwrap(), LogPage { lines: lines(1..=5), left_out: 0 });
}

/// Each has its own numbers.
pub async fn outputs_of_deployments_do_not_mix(harness: impl StoreHarness) {
    let store = harness.store();
    let (one, two) = (sample::id(), sample::id());
    store.append_log(one, &lines(1..=3)).await.unwrap();
    store.append_log(two, &lines(1..=7)).await.unwrap();

    store.leave_out_log(two, 2, 3).await.unwrap();
    store.remove_log(two).await.unwrap();

    assert_eq!(store.log(one, 0, 100).await.unwrap(), LogPage { lines: lines(1..=3), left_out: 0 });
}

/// Output survives the end of the program, though perhaps not that of the machine.
pub async fn output_is_there_after_opening_again(harness: impl StoreHarness) {
    let deployment = sample::id();
    harness.store().append_log(deployment, &lines(1..=9)).await.unwrap();
    harness.store().leave_out_log(deployment, 3, 4).await.unwrap();

    let harness = harness.reopen().await;

    let page = harness.store().log(deployment, 0, 100).await.unwrap();
    assert_eq!(page, LogPage { lines: lines([1, 2, 5, 6, 7, 8, 9]), left_out: 2 });
}
