//! Exact: the folder has the files of the commit, all of them and no other.

use super::{Content, Push, SourceHarness, check_out, contents, expected, main_branch, request, saying, shop};
use crate::source::Wish;

/// Files of every kind, in folders, also those that an export would leave out.
pub async fn the_folder_has_every_file_of_the_commit_and_no_other(harness: impl SourceHarness) {
    let files = [
        (".gitattributes", Content::Text("docs export-ignore\n")),
        (".gitignore", Content::Text("*.log\n")),
        ("docs/page.md", Content::Text("a page")),
        ("empty", Content::Text("")),
        ("kept.log", Content::Text("kept although ignored")),
        ("run.sh", Content::Executable("#!/bin/sh\n")),
        ("src/deep/er/main.txt", Content::Text("deep")),
        ("src/link", Content::Link("deep/er")),
        ("with blank and ünicode", Content::Text("odd")),
    ];
    let (harness, _) = shop(harness, &files).await;

    let checkout = check_out(&harness, &request(harness.url("shop"), main_branch())).await.unwrap();

    assert_eq!(contents(&checkout.directory), expected(&files));
}

/// A subfolder stands for the whole repository.
pub async fn a_base_directory_is_deployed_as_if_it_were_the_whole(harness: impl SourceHarness) {
    let files = [("apps/shop/index.html", Content::Text("shop")), ("apps/blog/index.html", Content::Text("blog"))];
    let (harness, _) = shop(harness, &files).await;
    let mut wanted = request(harness.url("shop"), main_branch());
    wanted.base_directory = Some("apps/shop".parse().unwrap());

    let checkout = check_out(&harness, &wanted).await.unwrap();

    assert_eq!(contents(&checkout.directory), expected(&saying("shop")));
}

/// A commit is taken by its id.
pub async fn a_named_commit_is_taken_though_its_branch_moved_on(harness: impl SourceHarness) {
    let (harness, first) = shop(harness, &saying("first")).await;
    harness.push("shop", "main", &saying("second"), Push::OnTop).await;

    let checkout = check_out(&harness, &request(harness.url("shop"), Wish::Commit(first.clone()))).await.unwrap();

    assert_eq!(contents(&checkout.directory), expected(&saying("first")));
    assert_eq!(checkout.commit.sha, Some(first));
}

/// Id, message and author of the commit are told.
pub async fn what_was_taken_is_recorded_with_the_commit(harness: impl SourceHarness) {
    let (harness, commit) = shop(harness, &saying("hello")).await;

    let checkout = check_out(&harness, &request(harness.url("shop"), main_branch())).await.unwrap();

    assert_eq!(checkout.commit.sha, Some(commit));
    assert!(!checkout.commit.message.is_empty() && !checkout.commit.message.contains('\n'));
    assert!(!checkout.commit.author.is_empty() && !checkout.commit.tree.is_empty());
}

/// The tree's name stands for the content, also of a base directory.
pub async fn equal_contents_have_equal_trees_and_different_ones_do_not(harness: impl SourceHarness) {
    let (harness, first) = shop(harness, &[("a/f", Content::Text("1")), ("b/f", Content::Text("1"))]).await;
    let second =
        harness.push("shop", "main", &[("a/f", Content::Text("1")), ("b/f", Content::Text("2"))], Push::OnTop).await;
    let mut trees = Vec::new();
    for (commit, folder) in [(&first, "a"), (&first, "b"), (&second, "a"), (&second, "b")] {
        let mut wanted = request(harness.url("shop"), Wish::Commit(commit.clone()));
        wanted.base_directory = Some(folder.parse().unwrap());

        trees.push(check_out(&harness, &wanted).await.unwrap().commit.tree);
    }

    assert_eq!(trees[0], trees[1]);
    assert_eq!(trees[0], trees[2]);
    assert_ne!(trees[0], trees[3]);
}
