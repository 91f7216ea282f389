//! Static files, as clients see them.

use std::os::unix::fs::symlink;
use std::path::Path;

use uuid::Uuid;

use super::support::*;
use crate::model::{AnsweredBy, Ask, ReleaseId, Target};
use crate::proxy::Proxy as _;

/// A site, and a secret beside its root.
async fn site() -> (Stage, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir_all(root.join("docs/.git")).unwrap();
    std::fs::create_dir_all(root.join(".well-known")).unwrap();
    for (path, text) in [
        ("secret", "secret"),
        ("root/index.html", "<h1>home</h1>"),
        ("root/app.js", "run()"),
        ("root/docs/index.html", "docs"),
        ("root/docs/.git/config", "secret"),
        ("root/.env", "secret"),
        ("root/.well-known/security.txt", "contact"),
    ] {
        std::fs::write(folder.path().join(path), text).unwrap();
    }
    symlink(folder.path().join("secret"), root.join("out")).unwrap();
    symlink("../..", root.join("docs/up")).unwrap();
    let stage = Stage::new();
    stage.route(target(&root)).await;
    (stage, folder)
}

fn target(root: &Path) -> Target {
    Target::Static { release: ReleaseId::from(Uuid::from_u128(7)), root: root.to_owned() }
}

async fn ask_for(stage: &Stage, head: &str) -> (String, String) {
    let mut client = stage.connect().await;
    client.send(format!("{head}\r\nhost: {HOST}\r\n\r\n")).await;
    client.message().await
}

#[tokio::test]
async fn a_file_comes_with_its_type_and_a_tag_that_saves_the_second_time() {
    let (stage, _folder) = site().await;

    let (head, body) = ask_for(&stage, "GET / HTTP/1.1").await;
    let tag = header(&head, "etag").unwrap();
    let (again, nothing) = ask_for(&stage, &format!("GET /index.html HTTP/1.1\r\nif-none-match: {tag}")).await;
    let (script, _) = ask_for(&stage, "GET /app.js?v=1 HTTP/1.1").await;

    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, "<h1>home</h1>");
    assert_eq!(header(&head, "content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(header(&script, "content-type"), Some("text/javascript; charset=utf-8"));
    assert!(again.starts_with("HTTP/1.1 304 "), "{again}");
    assert_eq!(nothing, "");
    assert_eq!(stage.traffic().await.served, 3);
}

#[tokio::test]
async fn another_release_has_other_tags() {
    let (stage, folder) = site().await;
    let (head, _) = ask_for(&stage, "GET / HTTP/1.1").await;
    let root = folder.path().join("root");

    stage.route(Target::Static { release: ReleaseId::from(Uuid::from_u128(8)), root }).await;
    let (next, _) = ask_for(&stage, "GET / HTTP/1.1").await;

    assert_ne!(header(&head, "etag"), header(&next, "etag"));
}

#[tokio::test]
async fn nothing_outside_the_root_and_nothing_hidden_is_served() {
    let (stage, _folder) = site().await;

    for path in [
        "/../secret",
        "/..%2fsecret",
        "/%2e%2e/secret",
        "/%2e%2e%2fsecret",
        "/docs/../../secret",
        "/docs/..%5c..%5csecret",
        "/out",
        "/docs/up/secret",
        "/.env",
        "/%2eenv",
        "/docs/.git/config",
        "/index.html%00.txt",
        "/missing",
        "/index.html/",
        "//etc/passwd",
    ] {
        let (head, body) = ask_for(&stage, &format!("GET {path} HTTP/1.1")).await;
        assert!(head.starts_with("HTTP/1.1 404 "), "{path}: {head}");
        assert!(!body.contains("secret"), "{path}: {body}");
    }
    assert_eq!(ask_for(&stage, "GET /.well-known/security.txt HTTP/1.1").await.1, "contact");
}

#[tokio::test]
async fn a_folder_without_a_slash_is_sent_to_the_one_with_it() {
    let (stage, _folder) = site().await;

    let (head, _) = ask_for(&stage, "GET /docs?a=b HTTP/1.1").await;
    let (doubled, _) = ask_for(&stage, "GET //docs HTTP/1.1").await;

    assert!(head.starts_with("HTTP/1.1 301 "), "{head}");
    assert_eq!(header(&head, "location"), Some("/docs/?a=b"));
    assert_eq!(header(&doubled, "location"), Some("/docs/"), "no other host");
    assert_eq!(ask_for(&stage, "GET /docs/ HTTP/1.1").await.1, "docs");
}

#[tokio::test]
async fn the_head_alone_has_the_length_and_other_methods_are_refused() {
    let (stage, _folder) = site().await;
    let mut client = stage.connect().await;

    client.send(format!("HEAD / HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
    let head = client.head().await;
    client.send(get("/app.js")).await;
    let (_, next) = client.message().await;
    let (post, _) = ask_for(&stage, "POST / HTTP/1.1\r\ncontent-length: 0").await;

    assert_eq!(header(&head, "content-length"), Some("13"));
    assert_eq!(next, "run()");
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    assert_eq!(header(&post, "allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn a_part_of_a_file_can_be_asked_for() {
    let (stage, _folder) = site().await;

    let (head, body) = ask_for(&stage, "GET / HTTP/1.1\r\nrange: bytes=4-7").await;
    let (beyond, _) = ask_for(&stage, "GET / HTTP/1.1\r\nrange: bytes=99-").await;
    let (changed, whole) = ask_for(&stage, "GET / HTTP/1.1\r\nrange: bytes=4-7\r\nif-range: \"other\"").await;

    assert!(head.starts_with("HTTP/1.1 206 "), "{head}");
    assert_eq!(header(&head, "content-range"), Some("bytes 4-7/13"));
    assert_eq!(body, "home");
    assert!(beyond.starts_with("HTTP/1.1 416 "), "{beyond}");
    assert!(changed.starts_with("HTTP/1.1 200 "), "{changed}");
    assert_eq!(whole, "<h1>home</h1>");
}

#[tokio::test]
async fn a_large_file_arrives_whole() {
    let (stage, folder) = site().await;
    let text: String = (0..100_000).map(|n| format!("{n:06}\n")).collect();
    std::fs::write(folder.path().join("root/large.txt"), &text).unwrap();

    let (_, body) = ask_for(&stage, "GET /large.txt HTTP/1.1").await;

    assert!(body == text, "{} of {} bytes", body.len(), text.len());
}

#[tokio::test]
async fn an_ask_names_the_release_only_while_its_root_can_be_read() {
    let (stage, folder) = site().await;
    let ask = Ask { host: HOST.parse().unwrap(), path: "/missing".to_owned(), wanted: None };

    let there = stage.proxy.ask(&ask).await.unwrap();
    std::fs::remove_dir_all(folder.path().join("root")).unwrap();
    let gone = stage.proxy.ask(&ask).await.unwrap();

    assert_eq!((there.status, there.by), (404, AnsweredBy::Static(ReleaseId::from(Uuid::from_u128(7)))));
    assert_eq!((gone.status, gone.by), (503, AnsweredBy::Proxy));
}
