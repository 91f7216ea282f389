//! Counted: `in_flight` is zero only when nothing is under way on that upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{ProxyHarness, Stage, StandIn, answer, arrived, host, to, until};
use crate::model::InFlight;

/// From before it reaches the upstream until its answer has been taken over.
pub async fn a_request_counts_until_it_is_answered(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    let upstream = stage.start("shop-web-1").await;
    stage.route("shop", to([&upstream])).await;
    assert_eq!(requests(&stage, &*upstream).await, 0);
    upstream.pause();

    let under_way: Vec<_> = (0..3).map(|_| stage.request("shop", "x")).collect();
    arrived(&*upstream, 3).await;
    let counted = requests(&stage, &*upstream).await;
    upstream.resume();

    assert_eq!(counted, 3);
    for request in under_way {
        assert_eq!(answer(request).await.status, 200);
    }
    until("zero", async || requests(&stage, &*upstream).await == 0).await;
}

/// That is what draining waits for.
pub async fn an_upstream_that_no_route_names_still_counts(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    let (old, new) = (stage.start("shop-web-1").await, stage.start("shop-web-2").await);
    stage.route("shop", to([&old])).await;
    old.pause();
    let request = stage.request("shop", "x");
    arrived(&*old, 1).await;

    stage.route("shop", to([&new])).await;
    let counted = requests(&stage, &*old).await;
    old.resume();

    assert_eq!(counted, 1);
    assert_eq!(answer(request).await.body, "shop-web-1:x");
    until("zero", async || requests(&stage, &*old).await == 0).await;
}

/// A drained upstream may be stopped: a request that had chosen it just before would be lost.
pub async fn an_upstream_that_reads_zero_after_it_left_gets_nothing_more(harness: impl ProxyHarness) {
    const ROUNDS: usize = 60;
    let mut stage = Stage::new(harness);
    let mut present = stage.start("shop-web-0").await;
    stage.route("shop", to([&present])).await;
    let ends = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8).map(|_| tokio::spawn(load(Arc::clone(&stage.harness), Arc::clone(&ends)))).collect();

    let mut drained = Vec::new();
    for round in 1..=ROUNDS {
        let next = stage.start(&format!("shop-web-{round}")).await;
        stage.route("shop", to([&next])).await;
        until("zero", async || requests(&stage, &*present).await == 0).await;
        drained.push((present.arrived(), present));
        present = next;
    }
    ends.store(true, Ordering::Relaxed);

    for client in clients {
        client.await.unwrap();
    }
    for (round, (before, upstream)) in drained.iter().enumerate() {
        assert_eq!(upstream.arrived(), *before, "after upstream {round} was drained");
    }
}

async fn load<H: ProxyHarness>(harness: Arc<H>, ends: Arc<AtomicBool>) {
    while !ends.load(Ordering::Relaxed) {
        assert_eq!(harness.request(&host("shop"), "x").await.status, 200);
    }
}

async fn requests<H: ProxyHarness>(stage: &Stage<H>, upstream: &dyn StandIn) -> u64 {
    let InFlight { requests, upgraded } = stage.proxy().in_flight(&upstream.upstream()).await.unwrap();
    assert_eq!(upgraded, 0);
    requests
}
