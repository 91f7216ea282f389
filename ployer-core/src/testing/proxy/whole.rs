//! Whole: a table is applied entirely or not at all.

use super::{ProxyHarness, Stage, answer, application, host, to};
use crate::error::ErrorKind;
use crate::model::{Revision, Route};

/// Routes that the new table does not have are gone with the old one.
pub async fn a_table_replaces_every_route_of_the_one_before(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    let (first, second) = (stage.start("shop-web-1").await, stage.start("blog-web-1").await);
    stage.route("shop", to([&first])).await;

    let mut table = stage.next("blog", to([&second]));
    table.routes.remove(&application("shop"));
    stage.apply(table).await;

    assert_eq!(answer(stage.request("blog", "x")).await.body, "blog-web-1:x");
    assert_eq!(answer(stage.request("shop", "x")).await.status, 404);
}

/// Not even the routes that would have been fine are taken from a table that is refused.
pub async fn a_refused_table_changes_no_route(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    let (first, second) = (stage.start("shop-web-1").await, stage.start("shop-web-2").await);
    stage.route("shop", to([&first])).await;
    let refused = stage.next("shop", to([&second]));

    let error = stage.proxy().apply(&refused, Revision { epoch: 7, number: 7 }).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(answer(stage.request("shop", "x")).await.body, "shop-web-1:x");
    assert_eq!(stage.proxy().routes().await.unwrap(), stage.table);
    assert_eq!(second.arrived(), 0);
}

/// A host is one application's: whoever answered it first would be chance.
pub async fn a_table_in_which_two_routes_share_a_host_is_refused(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    let (first, second) = (stage.start("shop-web-1").await, stage.start("blog-web-1").await);
    stage.route("shop", to([&first])).await;
    let mut refused = stage.next("blog", to([&second]));
    refused.routes.insert(application("blog"), Route { hosts: [host("shop")].into(), target: to([&second]) });

    let error = stage.proxy().apply(&refused, stage.table.revision).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(stage.proxy().routes().await.unwrap(), stage.table);
}
