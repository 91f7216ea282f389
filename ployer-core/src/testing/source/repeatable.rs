//! Repeatable: the same deployment may be checked out again, over what a crash left behind.

use std::fs;
use std::time::Duration;

use uuid::Uuid;

use super::{Push, SourceHarness, check_out, contents, expected, main_branch, request, saying, shop};
use crate::model::{ApplicationId, DeploymentId};

/// Foreign and half-written files of an earlier attempt go.
pub async fn a_deployment_is_checked_out_again_over_what_a_crash_left(harness: impl SourceHarness) {
    let (harness, _) = shop(harness, &saying("hello")).await;
    let wanted = request(harness.url("shop"), main_branch());
    let first = check_out(&harness, &wanted).await.unwrap();
    fs::write(first.directory.join("index.html"), "hel").unwrap();
    fs::write(first.directory.join("left"), "behind").unwrap();

    let again = check_out(&harness, &wanted).await.unwrap();

    assert_eq!(again, first);
    assert_eq!(contents(&again.directory), expected(&saying("hello")));
}

/// What is discarded is gone from the disk.
pub async fn a_discarded_checkout_is_gone_and_can_be_made_again(harness: impl SourceHarness) {
    let (harness, _) = shop(harness, &saying("hello")).await;
    let wanted = request(harness.url("shop"), main_branch());
    let first = check_out(&harness, &wanted).await.unwrap();

    harness.source().discard(wanted.deployment).await.unwrap();

    assert!(!first.directory.exists());
    assert_eq!(check_out(&harness, &wanted).await.unwrap(), first);
}

/// Nothing but time is lost with what is kept for an application.
pub async fn a_forgotten_application_is_checked_out_anew(harness: impl SourceHarness) {
    let (harness, _) = shop(harness, &saying("hello")).await;
    let wanted = request(harness.url("shop"), main_branch());
    let first = check_out(&harness, &wanted).await.unwrap();

    harness.source().forget(wanted.application).await.unwrap();

    assert_eq!(check_out(&harness, &wanted).await.unwrap(), first);
}

/// Both may be asked twice, or of what never was.
pub async fn discarding_and_forgetting_what_is_not_there_is_no_error(harness: impl SourceHarness) {
    let source = harness.source();

    for _ in 0..2 {
        source.discard(DeploymentId::from(Uuid::from_u128(9))).await.unwrap();
        source.forget(ApplicationId::from(Uuid::from_u128(9))).await.unwrap();
    }
}

/// However far it came, a checkout that nobody waits for stands in nobody's way.
pub async fn a_dropped_checkout_can_be_made_again(harness: impl SourceHarness) {
    let (harness, _) = shop(harness, &saying("hello")).await;
    let wanted = request(harness.url("shop"), main_branch());
    for milliseconds in [0, 1, 3, 10, 30] {
        let patience = Duration::from_millis(milliseconds);
        tokio::time::timeout(patience, check_out(&harness, &wanted)).await.ok();
    }

    let checkout = check_out(&harness, &wanted).await.unwrap();

    assert_eq!(contents(&checkout.directory), expected(&saying("hello")));
}

/// Each gets its own, whatever goes on beside it.
pub async fn deployments_and_applications_at_once_do_not_meet(harness: impl SourceHarness) {
    let (harness, _) = shop(harness, &saying("hello")).await;
    harness.push("shop", "main", &saying("again"), Push::OnTop).await;
    let wanted = |application: u128, deployment: u128| {
        let mut wanted = request(harness.url("shop"), main_branch());
        wanted.application = ApplicationId::from(Uuid::from_u128(application));
        wanted.deployment = DeploymentId::from(Uuid::from_u128(deployment));
        wanted
    };
    let [a, b, c, d] = [wanted(1, 11), wanted(1, 12), wanted(2, 21), wanted(2, 22)];

    let (a, b, c, d) = tokio::join!(
        check_out(&harness, &a),
        check_out(&harness, &b),
        check_out(&harness, &c),
        check_out(&harness, &d)
    );

    let folders = [a, b, c, d].map(|checkout| checkout.unwrap().directory);
    for (n, folder) in folders.iter().enumerate() {
        assert_eq!(contents(folder), expected(&saying("again")));
        assert!(!folders[..n].contains(folder));
    }
}
