//! Repeatable: applying the same table again changes nothing and drops no request.

use super::{ProxyHarness, Stage, answer, arrived, to};
use crate::model::Revision;

/// Whatever its writer expected: it may be one that did not hear that its first try had come through.
pub async fn applying_the_present_table_again_changes_nothing(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    let upstream = stage.start("shop-web-1").await;
    stage.route("shop", to([&upstream])).await;
    let table = stage.table.clone();

    for expected in [table.revision, Revision::default()] {
        assert_eq!(stage.proxy().apply(&table, expected).await.unwrap(), table.revision);
        assert_eq!(stage.proxy().routes().await.unwrap(), table);
    }

    assert_eq!(answer(stage.request("shop", "x")).await.body, "shop-web-1:x");
}

/// A request that is under way does not notice.
pub async fn applying_the_present_table_again_drops_no_request(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    let upstream = stage.start("shop-web-1").await;
    stage.route("shop", to([&upstream])).await;
    upstream.pause();
    let request = stage.request("shop", "x");
    arrived(&*upstream, 1).await;

    stage.proxy().apply(&stage.table, stage.table.revision).await.unwrap();
    upstream.resume();

    assert_eq!(answer(request).await.body, "shop-web-1:x");
    assert_eq!(upstream.arrived(), 1);
}
