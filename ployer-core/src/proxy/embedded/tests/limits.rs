//! Limits: everything that a client or an upstream may do has an end.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::support::*;
use crate::config::ProxySettings;
use crate::model::{Target, Upstream};

#[tokio::test]
async fn a_head_up_to_the_limit_passes_and_a_larger_one_is_refused() {
    let (stage, upstream) = Stage::with_upstream().await;
    let request = |bytes| format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nx-large: {}\r\n\r\n", "x".repeat(bytes));

    let mut client = stage.connect().await;
    client.send(request(60 * 1024)).await;
    upstream.serve("fits").await;
    assert_eq!(client.message().await.1, "fits");
    let refused = stage.exchange(request(70 * 1024)).await;

    assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
    assert!(upstream.is_left_alone().await);
}

#[tokio::test]
async fn an_answer_whose_head_is_too_large_is_not_passed_on() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;
    client.send(get("/")).await;
    let mut served = upstream.accept().await;
    served.head().await;

    served.send(format!("HTTP/1.1 200 OK\r\nx-large: {}\r\n\r\n", "x".repeat(70 * 1024))).await;
    let (head, _) = client.message().await;

    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
}

#[tokio::test]
async fn a_head_that_does_not_come_in_time_ends_the_connection() {
    let settings = ProxySettings { request_head: Duration::from_secs(1), ..ProxySettings::default() };
    let (stage, upstream) = Stage::with_upstream_and(settings).await;
    let (mut silent, mut slow, mut again) = (stage.connect().await, stage.connect().await, stage.connect().await);

    slow.send("GET / HTTP/1.1\r\nhost: ").await;
    again.send(get("/")).await;
    upstream.serve("ok").await;
    again.message().await;
    again.send("GET ").await;

    for client in [&mut silent, &mut slow, &mut again] {
        assert_eq!(client.rest().await, "");
    }
}

#[tokio::test]
async fn a_connection_that_was_used_may_be_idle_for_longer_than_a_head_may_take() {
    let settings = ProxySettings {
        request_head: Duration::from_secs(1),
        client_idle: Duration::from_secs(3),
        ..ProxySettings::default()
    };
    let (stage, upstream) = Stage::with_upstream_and(settings).await;
    let (mut used, mut unused) = (stage.connect().await, stage.connect().await);
    used.send(get("/")).await;
    upstream.serve("ok").await;
    used.message().await;

    assert_eq!(unused.rest().await, "");
    assert!(used.is_silent().await);
    assert_eq!(used.rest().await, "", "but not for ever");
}

#[tokio::test]
async fn an_answer_that_does_not_begin_in_time_is_a_504() {
    let settings = ProxySettings { answer_head: Duration::from_millis(100), ..ProxySettings::default() };
    let (stage, upstream) = Stage::with_upstream_and(settings).await;
    let mut client = stage.connect().await;

    client.send(get("/")).await;
    let mut served = upstream.accept().await;
    served.head().await;
    let (head, _) = client.message().await;

    assert!(head.starts_with("HTTP/1.1 504 "), "{head}");
    assert_eq!(served.rest().await, "", "the upstream learns that nobody waits");
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_cut_off() {
    let settings = ProxySettings { client_stalled: Duration::from_secs(1), ..ProxySettings::default() };
    let (stage, upstream) = Stage::with_upstream_and(settings).await;
    let mut client = stage.connect().await;
    client.send(get("/")).await;
    let mut served = upstream.accept().await;
    served.head().await;
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await;

    let block = vec![b'x'; 1 << 16];
    let cut = in_time(async {
        loop {
            if let Err(error) = served.0.write_all(&block).await {
                return error;
            }
        }
    });

    assert!(matches!(cut.await.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
}

#[tokio::test]
async fn a_client_that_does_not_send_its_body_is_told_so() {
    let settings = ProxySettings { client_stalled: Duration::from_millis(100), ..ProxySettings::default() };
    let (stage, upstream) = Stage::with_upstream_and(settings).await;
    let mut client = stage.connect().await;

    client.send(format!("PUT / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 10\r\n\r\nhello")).await;
    let mut served = upstream.accept().await;
    served.head().await;
    let answer = client.rest().await;

    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert_eq!(served.rest().await, "hello");
}

#[tokio::test]
async fn an_upstream_that_does_not_accept_in_time_is_a_502() {
    let settings = ProxySettings { connect: Duration::from_millis(100), ..ProxySettings::default() };
    let stage = Stage::with(settings);
    let replica = "shop-web-1".parse().unwrap();
    // An address of a block that is kept for documentation: whoever connects waits, or is told that there is no way.
    let upstream = Upstream { replica, address: ([192, 0, 2, 1], 9).into() };
    stage.route(Target::Upstreams([upstream].into())).await;
    let mut client = stage.connect().await;

    client.send(get("/")).await;
    let (head, _) = client.message().await;

    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
}

#[tokio::test]
async fn one_connection_more_than_allowed_waits_for_a_place() {
    let settings = ProxySettings { connections_max: 1, threads: Some(1), ..ProxySettings::default() };
    let (stage, upstream) = Stage::with_upstream_and(settings).await;
    let mut first = stage.connect().await;
    first.send(get("/1")).await;
    let mut served = upstream.accept().await;
    served.head().await;

    let mut second = stage.connect().await;
    second.send(get("/2")).await;
    assert!(second.is_silent().await);
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
    first.message().await;
    drop(first);
    upstream.serve("second").await;

    assert_eq!(second.message().await.1, "second");
}

#[tokio::test]
async fn a_connection_at_rest_makes_room_for_a_new_one() {
    let settings = ProxySettings { connections_max: 1, threads: Some(1), ..ProxySettings::default() };
    let (stage, upstream) = Stage::with_upstream_and(settings).await;
    let mut first = stage.connect().await;
    first.send(get("/1")).await;
    let (mut served, _) = upstream.serve("first").await;
    first.message().await;

    let mut second = stage.connect().await;
    second.send(get("/2")).await;
    assert_eq!(first.rest().await, "");
    drop(first);
    served.head().await;
    served.answer("second").await;

    assert_eq!(second.message().await.1, "second");
}
