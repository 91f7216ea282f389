//! Read back: `routes` answers the table that requests are routed by.

use jiff::SignedDuration;
use uuid::Uuid;

use super::{ProxyHarness, Stage, application, to};
use crate::model::{ReleaseId, RouteTable, Target};

/// Its first writer expects the revision that it reads here.
pub async fn a_fresh_proxy_has_no_routes(harness: impl ProxyHarness) {
    let stage = Stage::new(harness);

    assert_eq!(stage.proxy().routes().await.unwrap(), RouteTable::default());
}

/// Nothing of a table is lost or rounded.
pub async fn a_table_with_every_kind_of_target_is_read_back(harness: impl ProxyHarness) {
    let mut stage = Stage::new(harness);
    let upstreams = [stage.start("shop-web-1").await, stage.start("shop-web-2").await];
    let until = stage.harness.clock().now() + SignedDuration::from_secs(30);

    stage.route("shop", to(&upstreams)).await;
    stage
        .route("site", Target::Static { release: ReleaseId::from(Uuid::from_u128(7)), root: "/srv/site".into() })
        .await;
    stage.route("late", Target::Hold { until }).await;
    stage.route("old", Target::Redirect { to: "https://new.example.com".to_owned() }).await;
    stage.route("off", Target::Unavailable { reason: "It was stopped.".to_owned() }).await;
    let mut table = stage.next("none", to([]));
    table.fallback = Some(application("shop"));
    stage.apply(table).await;

    assert_eq!(stage.proxy().routes().await.unwrap(), stage.table);
}
