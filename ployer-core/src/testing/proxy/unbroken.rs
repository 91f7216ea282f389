//! Unbroken: a request under way keeps its upstream when the table changes.

use super::{ProxyHarness, Stage, answer, application, arrived, to};

/// New requests go to the new upstream while the old one still answers.
pub async fn a_request_under_way_keeps_its_upstream_when_the_route_moves(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    let (old, new) = (stage.start("shop-web-1").await, stage.start("shop-web-2").await);
    stage.route("shop", to([&old])).await;
    old.pause();
    let request = stage.request("shop", "x");
    arrived(&*old, 1).await;

    stage.route("shop", to([&new])).await;
    let later = answer(stage.request("shop", "y")).await;
    old.resume();

    assert_eq!(later.body, "shop-web-2:y");
    assert_eq!(answer(request).await.body, "shop-web-1:x");
    assert_eq!(old.arrived(), 1);
}

/// Also when nothing follows its route.
pub async fn a_request_under_way_ends_well_when_its_route_goes(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    let (shop, blog) = (stage.start("shop-web-1").await, stage.start("blog-web-1").await);
    stage.route("shop", to([&shop])).await;
    shop.pause();
    let request = stage.request("shop", "x");
    arrived(&*shop, 1).await;

    let mut table = stage.next("blog", to([&blog]));
    table.routes.remove(&application("shop"));
    stage.apply(table).await;
    shop.resume();

    assert_eq!(answer(request).await.body, "shop-web-1:x");
}
