//! Held: a request that meets a hold waits and is sent where the next table says; 503 with `Retry-After` when the hold
//! ends first.

use jiff::SignedDuration;

use super::{ProxyHarness, Stage, answer, to, until};
use crate::model::Target;

/// The body waits with its request.
pub async fn a_held_request_goes_with_its_body_where_the_next_table_says(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    let (old, new) = (stage.start("shop-web-1").await, stage.start("shop-web-2").await);
    stage.route("shop", to([&old])).await;
    stage.route("shop", hold(&stage, 60_000)).await;
    let body = "0123456789".repeat(20_000);
    let requests = [stage.request("shop", "x"), stage.request("shop", &body)];
    until("the hold", async || stage.held("shop").await == 2).await;

    stage.route("shop", to([&new])).await;

    for (request, body) in requests.into_iter().zip(["x", &body]) {
        let reply = answer(request).await;
        assert_eq!((reply.status, reply.body), (200, format!("shop-web-2:{body}")));
    }
    assert_eq!((old.arrived(), new.arrived()), (0, 2));
}

/// A longer hold takes over those that wait.
pub async fn a_request_is_held_through_one_hold_after_another(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    let upstream = stage.start("shop-web-1").await;
    stage.route("shop", hold(&stage, 30_000)).await;
    let request = stage.request("shop", "x");
    until("the hold", async || stage.held("shop").await == 1).await;

    stage.route("shop", hold(&stage, 60_000)).await;
    stage.route("shop", to([&upstream])).await;

    assert_eq!(answer(request).await.body, "shop-web-1:x");
    assert_eq!(stage.held("shop").await, 1, "a request is held once");
}

/// Whoever waits learns that it is worth while to come back.
pub async fn a_hold_that_ends_is_answered_with_when_to_come_back(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    stage.route("shop", hold(&stage, 100)).await;

    let first = answer(stage.request("shop", "x")).await;
    let later = answer(stage.request("shop", "x")).await;

    for reply in [first, later] {
        assert_eq!((reply.status, reply.retry_after), (503, true));
    }
}

fn hold<H: ProxyHarness>(stage: &Stage<H>, milliseconds: i64) -> Target {
    Target::Hold { until: stage.harness.clock().now() + SignedDuration::from_millis(milliseconds) }
}
