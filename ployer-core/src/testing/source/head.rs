//! Head: a branch is taken at its head at this moment, also after a forced push.

use super::{Push, SourceHarness, check_out, contents, expected, main_branch, request, saying, shop};
use crate::source::Wish;

/// What was pushed since the last checkout is there.
pub async fn a_branch_is_taken_at_its_newest_commit(harness: impl SourceHarness) {
    let (harness, _) = shop(harness, &saying("first")).await;
    let wanted = request(harness.url("shop"), main_branch());
    check_out(&harness, &wanted).await.unwrap();
    let second = harness.push("shop", "main", &saying("second"), Push::OnTop).await;

    let checkout = check_out(&harness, &wanted).await.unwrap();

    assert_eq!(checkout.commit.sha, Some(second));
    assert_eq!(contents(&checkout.directory), expected(&saying("second")));
}

/// History that was rewritten is taken as it is now.
pub async fn a_forced_push_is_followed_to_the_new_history(harness: impl SourceHarness) {
    let (harness, _) = shop(harness, &saying("first")).await;
    let wanted = request(harness.url("shop"), main_branch());
    check_out(&harness, &wanted).await.unwrap();
    let forced = harness.push("shop", "main", &saying("rewritten"), Push::Forced).await;

    let checkout = check_out(&harness, &wanted).await.unwrap();

    assert_eq!(checkout.commit.sha, Some(forced));
    assert_eq!(contents(&checkout.directory), expected(&saying("rewritten")));
}

/// Without a name it is the repository's own choice.
pub async fn the_default_branch_is_taken_where_none_is_named(harness: impl SourceHarness) {
    let (harness, main) = shop(harness, &saying("main")).await;
    harness.push("shop", "aside", &saying("aside"), Push::OnTop).await;

    let checkout = check_out(&harness, &request(harness.url("shop"), Wish::DefaultBranch)).await.unwrap();

    assert_eq!(checkout.commit.sha, Some(main));
}

/// `feature` may follow on `feature/login`: what is kept from before does not stand in the way.
pub async fn a_branch_in_the_place_of_a_folder_of_branches_is_taken(harness: impl SourceHarness) {
    let (harness, _) = shop(harness, &saying("main")).await;
    let named = |name: &str| request(harness.url("shop"), Wish::Branch(name.parse().unwrap()));
    harness.push("shop", "feature/login", &saying("login"), Push::OnTop).await;
    check_out(&harness, &named("feature/login")).await.unwrap();
    harness.remove_branch("shop", "feature/login").await;
    let feature = harness.push("shop", "feature", &saying("feature"), Push::OnTop).await;

    let checkout = check_out(&harness, &named("feature")).await.unwrap();

    assert_eq!(checkout.commit.sha, Some(feature));
    assert!(check_out(&harness, &named("feature/login")).await.is_err());
}
