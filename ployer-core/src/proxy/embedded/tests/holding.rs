//! Holds: what waits loses nothing, and what waits is bounded.

use std::path::Path;
use std::sync::Arc;

use super::support::*;
use crate::clock::SystemClock;
use crate::config::ProxySettings;
use crate::error::ErrorKind;
use crate::model::{ApplicationId, Revision, Route, RouteTable, Target};
use crate::proxy::Proxy as _;
use crate::proxy::embedded::{EmbeddedConfig, EmbeddedProxy};

const HOLD: Target = Target::Hold { until: jiff::Timestamp::MAX };

async fn held(settings: ProxySettings) -> Stage {
    let stage = Stage::with(settings);
    stage.route(HOLD).await;
    stage
}

#[tokio::test]
async fn an_upload_of_unknown_length_is_held_and_arrives_whole() {
    let stage = held(ProxySettings::default()).await;
    let upstream = Listening::new("shop-web-2").await;
    let mut client = stage.connect().await;

    client.send(format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")).await;
    until(async || stage.traffic().await.held == 1).await;
    stage.route(upstreams([&upstream])).await;
    let mut served = upstream.accept().await;
    let head = served.head().await;
    assert_eq!(served.until("hello\r\n").await, "5\r\nhello\r\n");
    client.send("5\r\nagain\r\n0\r\n\r\n").await;
    assert_eq!(served.until("0\r\n\r\n").await, "5\r\nagain\r\n0\r\n\r\n");
    served.answer("done").await;

    assert_eq!(header(&head, "transfer-encoding"), Some("chunked"));
    assert_eq!(client.message().await.1, "done");
    assert_eq!(stage.traffic().await.failed, 0);
}

#[tokio::test]
async fn a_client_that_waits_for_leave_gets_it_only_after_the_hold() {
    let stage = held(ProxySettings::default()).await;
    let upstream = Listening::new("shop-web-2").await;
    let mut client = stage.connect().await;

    client.send(format!("POST / HTTP/1.1\r\nhost: {HOST}\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")).await;
    until(async || stage.traffic().await.held == 1).await;
    assert!(client.is_silent().await);
    stage.route(upstreams([&upstream])).await;
    let _served = upstream.accept().await;

    assert_eq!(client.head().await, "HTTP/1.1 100 Continue\r\n\r\n");
}

#[tokio::test]
async fn more_requests_than_may_wait_are_refused_at_once() {
    let stage = held(ProxySettings { held_max: 1, ..ProxySettings::default() }).await;
    let (mut first, mut second) = (stage.connect().await, stage.connect().await);
    first.send(get("/")).await;
    until(async || stage.traffic().await.held == 1).await;

    second.send(get("/")).await;
    let (head, _) = second.message().await;

    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(header(&head, "retry-after"), Some("5"));
    assert!(first.is_silent().await);
}

#[tokio::test]
async fn more_bytes_than_may_wait_are_refused_at_once() {
    let stage = held(ProxySettings { held_bytes_max: 100_000, ..ProxySettings::default() }).await;
    let upload = format!("PUT / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 1000000\r\n\r\n");
    let (mut first, mut second, mut third) = (stage.connect().await, stage.connect().await, stage.connect().await);
    first.send(&upload).await;
    until(async || stage.traffic().await.held == 1).await;

    second.send(&upload).await;
    let (head, _) = second.message().await;
    third.send(get("/")).await;

    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(third.is_silent().await, "a request without a body takes no bytes");
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_place() {
    let stage = held(ProxySettings { held_max: 1, ..ProxySettings::default() }).await;
    let upstream = Listening::new("shop-web-2").await;
    let mut first = stage.connect().await;
    first.send(get("/1")).await;
    until(async || stage.traffic().await.held == 1).await;
    drop(first);

    let waiting = in_time(async {
        loop {
            let mut client = stage.connect().await;
            client.send(get("/2")).await;
            if client.is_silent().await {
                return client;
            }
        }
    });
    let mut second = waiting.await;
    stage.route(upstreams([&upstream])).await;
    upstream.serve("second").await;

    assert_eq!(second.message().await.1, "second");
}

fn start(file: &Path, settings: ProxySettings) -> EmbeddedProxy {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let table_file = Some(file.to_owned());
    EmbeddedProxy::start(EmbeddedConfig { table_file, settings, ..EmbeddedConfig::new(vec![listener]) }).unwrap()
}

fn table(application: ApplicationId, revision: Revision, upstream: &Listening) -> RouteTable {
    let route = Route { hosts: [HOST.parse().unwrap()].into(), target: upstreams([upstream]) };
    RouteTable { revision, routes: [(application, route)].into(), fallback: None }
}

#[tokio::test]
async fn a_proxy_that_starts_with_a_table_on_disk_holds_until_it_is_told_the_present_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.json");
    let application = ApplicationId::new(&SystemClock);
    let (before, now) = (Listening::new("shop-web-1").await, Listening::new("shop-web-2").await);
    let stored = table(application, Revision { epoch: 2, number: 5 }, &before);
    start(&file, ProxySettings::default()).apply(&stored, Revision::default()).await.unwrap();

    let proxy = Arc::new(start(&file, ProxySettings::default()));
    let stage = Stage { proxy, application };
    let mut client = stage.connect().await;
    client.send(get("/")).await;
    until(async || stage.traffic().await.held == 1).await;
    let read = stage.proxy.routes().await.unwrap();
    let older = table(application, Revision { epoch: 1, number: 9 }, &now);
    let refused = stage.proxy.apply(&older, read.revision).await.unwrap_err();
    let newer = table(application, Revision { epoch: 3, number: 1 }, &now);
    stage.proxy.apply(&newer, read.revision).await.unwrap();
    now.serve("hello").await;

    assert_eq!(read, stored);
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert_eq!(client.message().await.1, "hello");
    assert!(before.is_left_alone().await, "its address may be somebody else's by now");
}

#[tokio::test]
async fn the_stored_table_itself_ends_the_hold_when_its_writer_repeats_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.json");
    let application = ApplicationId::new(&SystemClock);
    let upstream = Listening::new("shop-web-1").await;
    let stored = table(application, Revision { epoch: 2, number: 5 }, &upstream);
    start(&file, ProxySettings::default()).apply(&stored, Revision::default()).await.unwrap();

    let stage = Stage { proxy: Arc::new(start(&file, ProxySettings::default())), application };
    stage.proxy.apply(&stored, stored.revision).await.unwrap();
    let mut client = stage.connect().await;
    client.send(get("/")).await;
    upstream.serve("hello").await;

    assert_eq!(client.message().await.1, "hello");
}

#[tokio::test]
async fn the_hold_of_a_start_ends_with_when_to_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.json");
    let application = ApplicationId::new(&SystemClock);
    let upstream = Listening::new("shop-web-1").await;
    let stored = table(application, Revision { epoch: 2, number: 5 }, &upstream);
    start(&file, ProxySettings::default()).apply(&stored, Revision::default()).await.unwrap();
    let settings = ProxySettings { hold_at_start: std::time::Duration::from_millis(50), ..ProxySettings::default() };

    let stage = Stage { proxy: Arc::new(start(&file, settings)), application };
    let mut client = stage.connect().await;
    client.send(get("/")).await;
    let (head, _) = client.message().await;

    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(header(&head, "retry-after").is_some());
}

#[tokio::test]
async fn a_table_that_cannot_be_stored_is_not_applied() {
    let folder = tempfile::tempdir().unwrap();
    let proxy = start(&folder.path().join("missing/routes.json"), ProxySettings::default());
    let upstream = Listening::new("shop-web-1").await;
    let table = table(ApplicationId::new(&SystemClock), Revision { epoch: 1, number: 1 }, &upstream);

    let error = proxy.apply(&table, Revision::default()).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.hint().is_some());
    assert_eq!(proxy.routes().await.unwrap(), RouteTable::default());
}

#[tokio::test]
async fn a_file_that_is_no_table_costs_the_hold_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routes.json");
    std::fs::write(&file, "{\"revision\":").unwrap();

    let proxy = start(&file, ProxySettings::default());
    let upstream = Listening::new("shop-web-1").await;
    let table = table(ApplicationId::new(&SystemClock), Revision { epoch: 1, number: 1 }, &upstream);
    proxy.apply(&table, Revision::default()).await.unwrap();

    assert_eq!(proxy.routes().await.unwrap(), table);
}
