//! Kept connections: used again where that is safe, and a request sent again only where that changes nothing.

use std::time::Duration;

use super::support::*;
use crate::config::ProxySettings;
use crate::model::InFlight;

const POST: &str = "POST / HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: 2\r\n\r\nhi";

/// A proxy with one kept connection to its upstream; the first is the client's.
async fn warm(settings: ProxySettings) -> (Stage, Listening, Wire, Wire) {
    let (stage, upstream) = Stage::with_upstream_and(settings).await;
    let mut client = stage.connect().await;
    client.send(get("/first")).await;
    let (kept, _) = upstream.serve("first").await;
    assert_eq!(client.message().await.1, "first");
    (stage, upstream, client, kept)
}

#[tokio::test]
async fn a_connection_is_kept_for_the_next_request_of_any_client() {
    let settings = ProxySettings { threads: Some(1), ..ProxySettings::default() };
    let (stage, upstream, mut client, mut kept) = warm(settings).await;
    let mut other = stage.connect().await;

    for client in [&mut client, &mut other] {
        client.send(get("/again")).await;
        assert!(kept.head().await.starts_with("GET /again "));
        kept.answer("again").await;
        assert_eq!(client.message().await.1, "again");
    }

    assert!(upstream.is_left_alone().await);
}

#[tokio::test]
async fn a_repeatable_request_is_sent_again_when_the_kept_connection_closes_on_it() {
    let (_stage, upstream, mut client, mut kept) = warm(ProxySettings::default()).await;

    client.send(get("/second")).await;
    let first_try = kept.head().await;
    drop(kept);
    let (_served, second_try) = upstream.serve("second").await;

    assert_eq!(first_try, second_try);
    assert_eq!(client.message().await.1, "second");
}

#[tokio::test]
async fn a_request_that_cannot_be_repeated_is_not_sent_twice() {
    let (stage, upstream, mut client, mut kept) = warm(ProxySettings::default()).await;

    client.send(POST).await;
    kept.head().await;
    drop(kept);
    let (head, _) = client.message().await;

    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert!(upstream.is_left_alone().await);
    assert_eq!(stage.in_flight(&upstream).await, InFlight::default());
}

#[tokio::test]
async fn a_request_that_cannot_be_repeated_takes_no_connection_that_was_idle_for_long() {
    let settings = ProxySettings { reuse_unsafe: Duration::ZERO, ..ProxySettings::default() };
    let (_stage, upstream, mut client, kept) = warm(settings).await;

    client.send(POST).await;
    let mut served = upstream.accept().await;
    served.head().await;
    served.until("hi").await;
    served.answer("posted").await;

    assert_eq!(client.message().await.1, "posted");
    assert!(kept.is_silent().await);
}

#[tokio::test]
async fn an_answer_that_has_begun_is_not_asked_for_again() {
    let (_stage, upstream, mut client, mut kept) = warm(ProxySettings::default()).await;

    client.send(get("/second")).await;
    kept.head().await;
    kept.send("HTTP/1.1 2").await;
    drop(kept);
    let (head, _) = client.message().await;

    assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
    assert!(upstream.is_left_alone().await);
}

#[tokio::test]
async fn a_connection_that_the_upstream_closed_at_rest_costs_nobody_anything() {
    let (_stage, upstream, mut client, kept) = warm(ProxySettings::default()).await;
    drop(kept);

    client.send(POST).await;
    let mut served = upstream.accept().await;
    served.head().await;
    served.until("hi").await;
    served.answer("posted").await;

    assert_eq!(client.message().await.1, "posted");
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_both_connections() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client.send(get("/")).await;
    let mut served = upstream.accept().await;
    served.head().await;
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    drop(served);

    assert!(client.rest().await.ends_with("\r\n\r\nhello"), "the client can tell that it is not whole");
    assert_eq!(stage.in_flight(&upstream).await, InFlight::default());
}

#[tokio::test]
async fn an_upstream_that_closes_before_an_answer_is_tried_once_more_elsewhere() {
    let stage = Stage::new();
    let (bad, good) = (Listening::new("shop-web-1").await, Listening::new("shop-web-2").await);
    stage.route(upstreams([&bad, &good])).await;

    for _ in 0..4 {
        let mut client = stage.connect().await;
        client.send(get("/")).await;
        let serve = async {
            loop {
                tokio::select! {
                    wire = bad.accept() => drop(wire),
                    (wire, _) = good.serve("good") => return wire,
                }
            }
        };
        let (_served, (_, body)) = tokio::join!(serve, client.message());
        assert_eq!(body, "good");
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;
    client.send(get("/")).await;
    let mut served = upstream.accept().await;
    served.head().await;

    drop(client);

    assert_eq!(served.rest().await, "", "the upstream learns that nobody waits");
    until(async || stage.in_flight(&upstream).await == InFlight::default()).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_an_answer_takes_it_along() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;
    client.send(get("/")).await;
    let mut served = upstream.accept().await;
    served.head().await;
    served.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    client.until("hello\r\n").await;

    drop(client);

    assert_eq!(served.rest().await, "");
    until(async || stage.in_flight(&upstream).await == InFlight::default()).await;
}

#[tokio::test]
async fn kept_connections_to_an_upstream_that_left_the_table_are_closed() {
    let (stage, _upstream, _client, mut kept) = warm(ProxySettings::default()).await;
    let next = Listening::new("shop-web-2").await;

    stage.route(upstreams([&next])).await;

    assert_eq!(kept.rest().await, "");
}

#[tokio::test]
async fn a_connection_in_use_while_its_upstream_leaves_is_closed_after_its_answer() {
    let (stage, _upstream, mut client, mut kept) = warm(ProxySettings::default()).await;
    let next = Listening::new("shop-web-2").await;
    client.send(get("/second")).await;
    kept.head().await;

    stage.route(upstreams([&next])).await;
    kept.answer("second").await;

    assert_eq!(client.message().await.1, "second");
    assert_eq!(kept.rest().await, "");
}

#[tokio::test]
async fn a_connection_that_has_been_idle_for_too_long_is_closed() {
    let settings = ProxySettings { upstream_idle: Duration::from_millis(50), ..ProxySettings::default() };
    let (_stage, _upstream, _client, mut kept) = warm(settings).await;

    assert_eq!(kept.rest().await, "");
}
