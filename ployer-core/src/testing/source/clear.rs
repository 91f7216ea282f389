//! Clear: what is not there is `NotFound`, and is named.

use super::{SourceHarness, check_out, main_branch, request, saying, shop};
use crate::error::ErrorKind;
use crate::source::{CheckoutRequest, Wish};

/// The address is wrong, or the repository was removed.
pub async fn a_repository_that_is_not_there_is_not_found_by_name(harness: impl SourceHarness) {
    let url = harness.url("absent");

    assert_not_found(&harness, &request(url.clone(), main_branch()), url.as_str()).await;
}

/// The branch was never pushed, or was deleted.
pub async fn a_branch_that_is_not_there_is_not_found_by_name(harness: impl SourceHarness) {
    let (harness, _) = shop(harness, &saying("hello")).await;
    let wanted = request(harness.url("shop"), Wish::Branch("feature/none".parse().unwrap()));

    assert_not_found(&harness, &wanted, "feature/none").await;
}

/// The commit was never pushed.
pub async fn a_commit_that_is_not_there_is_not_found_by_name(harness: impl SourceHarness) {
    let (harness, _) = shop(harness, &saying("hello")).await;
    let sha = "0123456789abcdef0123456789abcdef01234567";

    assert_not_found(&harness, &request(harness.url("shop"), Wish::Commit(sha.parse().unwrap())), sha).await;
}

/// The folder is not in the commit.
pub async fn a_base_directory_that_is_not_there_is_not_found_by_name(harness: impl SourceHarness) {
    let (harness, _) = shop(harness, &saying("hello")).await;
    let mut wanted = request(harness.url("shop"), main_branch());
    wanted.base_directory = Some("apps/none".parse().unwrap());

    assert_not_found(&harness, &wanted, "apps/none").await;
}

/// Nothing was pushed yet.
pub async fn an_empty_repository_is_not_found_and_says_so(harness: impl SourceHarness) {
    harness.create("new").await;

    for what in [main_branch(), Wish::DefaultBranch] {
        assert_not_found(&harness, &request(harness.url("new"), what), "is empty").await;
    }
}

async fn assert_not_found(harness: &impl SourceHarness, request: &CheckoutRequest, name: &str) {
    let error = check_out(harness, request).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::NotFound, "{}", error.chain());
    assert!(error.to_string().contains(name), "{error}");
    assert!(error.hint().is_some(), "{error}");
}
