//! Contained: no link of the tree leads out of the folder.

use super::{Content, Push, SourceHarness, check_out, contents, expected, main_branch, request, saying, shop};

/// Links are a part of the source like any other.
pub async fn links_inside_of_the_folder_stay_as_they_are(harness: impl SourceHarness) {
    let files = [
        ("a/b/up", Content::Link("../..")),
        ("a/file", Content::Text("text")),
        ("here", Content::Link(".")),
        ("nowhere", Content::Link("a/absent")),
        ("to-file", Content::Link("a/file")),
    ];
    let (harness, _) = shop(harness, &files).await;

    let checkout = check_out(&harness, &request(harness.url("shop"), main_branch())).await.unwrap();

    assert_eq!(contents(&checkout.directory), expected(&files));
}

/// Absolute, relative, through another link, or out of the base directory alone.
pub async fn a_link_out_of_the_folder_is_refused_by_name(harness: impl SourceHarness) {
    let (harness, _) = shop(harness, &saying("hello")).await;
    for files in [
        &[("base/out", Content::Link("/etc/passwd"))][..],
        &[("base/out", Content::Link("../../x"))],
        &[("base/out", Content::Link("../index.html")), ("index.html", Content::Text(""))],
        &[("base/a/b/up", Content::Link("../..")), ("base/out", Content::Link("a/b/up/../../x"))],
    ] {
        harness.push("shop", "main", files, Push::OnTop).await;
        let mut wanted = request(harness.url("shop"), main_branch());
        wanted.base_directory = Some("base".parse().unwrap());

        let refusal = check_out(&harness, &wanted).await.unwrap_err();

        assert!(refusal.to_string().contains("out"), "{refusal}");
        assert!(refusal.hint().is_some());
    }
}

/// Nothing that was refused can be deployed by mistake.
pub async fn a_refused_checkout_leaves_no_folder_behind(harness: impl SourceHarness) {
    let (harness, _) = shop(harness, &saying("hello")).await;
    let wanted = request(harness.url("shop"), main_branch());
    let folder = check_out(&harness, &wanted).await.unwrap().directory;
    harness.push("shop", "main", &[("out", Content::Link("/etc"))], Push::OnTop).await;

    check_out(&harness, &wanted).await.unwrap_err();

    assert!(!folder.exists());
}
