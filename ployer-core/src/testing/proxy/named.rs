//! Named: `ask` tells who answered, and asks the wanted upstream alone.

use jiff::SignedDuration;
use uuid::Uuid;

use super::{ProxyHarness, Stage, StandIn, host, to};
use crate::model::{Answer, AnsweredBy, Ask, ReleaseId, Target, Upstream};

/// Also when it does not say which one it wants.
pub async fn an_ask_learns_which_replica_answered(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    let upstream = stage.start("shop-web-1").await;
    stage.route("shop", to([&upstream])).await;

    let answer = ask(&stage, "shop", None).await;

    assert_eq!(answer, Answer { status: 200, by: by(&*upstream) });
}

/// However many there are.
pub async fn an_ask_reaches_the_wanted_upstream_alone(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    let (first, second) = (stage.start("shop-web-1").await, stage.start("shop-web-2").await);
    stage.route("shop", to([&first, &second])).await;

    for _ in 0..4 {
        let answer = ask(&stage, "shop", Some(second.upstream())).await;
        assert_eq!(answer, Answer { status: 200, by: by(&*second) });
    }

    assert_eq!((first.arrived(), second.arrived()), (0, 4));
}

/// It would prove nothing about the route.
pub async fn an_ask_for_an_upstream_of_no_route_is_answered_by_the_proxy(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    let (first, second) = (stage.start("shop-web-1").await, stage.start("shop-web-2").await);
    stage.route("shop", to([&first])).await;

    assert_eq!(ask(&stage, "shop", Some(second.upstream())).await.by, AnsweredBy::Proxy);
    assert_eq!(ask(&stage, "nobody", None).await, Answer { status: 404, by: AnsweredBy::Proxy });
    assert_eq!((first.arrived(), second.arrived()), (0, 0));
}

/// What comes after the hold can be tried before it ends.
pub async fn an_ask_passes_a_hold_to_the_wanted_upstream(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    let upstream = stage.start("shop-web-1").await;
    let until = stage.harness.clock().now() + SignedDuration::from_secs(60);
    stage.route("shop", Target::Hold { until }).await;

    assert_eq!(ask(&stage, "shop", Some(upstream.upstream())).await.by, by(&*upstream));
    assert_eq!(ask(&stage, "shop", None).await.by, AnsweredBy::Proxy);
    assert_eq!(stage.held("shop").await, 0);
}

/// A static site has no replica; it is named by its release.
pub async fn an_ask_learns_which_files_answered(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    let root = std::env::temp_dir();
    let release = ReleaseId::from(Uuid::from_u128(7));
    stage.route("site", Target::Static { release, root }).await;

    assert_eq!(ask(&stage, "site", None).await.by, AnsweredBy::Static(release));
}

async fn ask<H: ProxyHarness>(stage: &Stage<H>, name: &str, wanted: Option<Upstream>) -> Answer {
    stage.proxy().ask(&Ask { host: host(name), path: "/".to_owned(), wanted }).await.unwrap()
}

fn by(stand_in: &dyn StandIn) -> AnsweredBy {
    AnsweredBy::Replica(stand_in.upstream().replica)
}
