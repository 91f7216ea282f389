//! Fenced: a table that is older than the present one, or whose writer expected another one, is refused.

use super::{ProxyHarness, Stage, to};
use crate::error::ErrorKind;
use crate::model::Revision;

/// Its writer has lost the lease, and does not know it yet.
pub async fn a_table_of_an_older_epoch_is_refused(harness: impl ProxyHarness) {
    let stage = at(harness, Revision { epoch: 3, number: 1 }).await;
    let present = stage.table.revision;

    refuses(&stage, Revision { epoch: 2, number: 9 }, present).await;
    refuses(&stage, Revision { epoch: 2, number: 9 }, Revision { epoch: 2, number: 8 }).await;
}

/// Revisions rise.
pub async fn an_older_table_of_the_same_epoch_is_refused(harness: impl ProxyHarness) {
    let stage = at(harness, Revision { epoch: 3, number: 5 }).await;

    refuses(&stage, Revision { epoch: 3, number: 4 }, stage.table.revision).await;
}

/// Somebody else has written meanwhile.
pub async fn a_writer_that_expected_another_table_is_refused(harness: impl ProxyHarness) {
    let stage = at(harness, Revision { epoch: 3, number: 5 }).await;

    for expected in [Revision { epoch: 3, number: 4 }, Revision { epoch: 2, number: 5 }, Revision::default()] {
        refuses(&stage, Revision { epoch: 3, number: 6 }, expected).await;
    }
}

/// A new engine begins with its own numbers, and goes on from what it has read.
pub async fn a_later_epoch_takes_over(harness: impl ProxyHarness) {
    let mut stage = at(harness, Revision { epoch: 3, number: 5 }).await;
    let mut table = stage.table.clone();
    table.revision = Revision { epoch: 4, number: 1 };

    stage.apply(table).await;

    assert_eq!(stage.proxy().routes().await.unwrap(), stage.table);
}

async fn at<H: ProxyHarness>(harness: H, revision: Revision) -> Stage<H> {
    let mut stage = Stage::new(harness);
    let upstream = stage.start("shop-web-1").await;
    let mut table = stage.next("shop", to([&upstream]));
    table.revision = revision;
    stage.apply(table).await;
    stage
}

async fn refuses<H: ProxyHarness>(stage: &Stage<H>, revision: Revision, expected: Revision) {
    let mut table = stage.table.clone();
    table.revision = revision;
    table.routes.clear();

    let error = stage.proxy().apply(&table, expected).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Conflict, "{revision} after {expected}");
    assert_eq!(stage.proxy().routes().await.unwrap(), stage.table, "{revision} after {expected}");
}
