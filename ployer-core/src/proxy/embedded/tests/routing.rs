//! Which request goes where, and with which head.

use super::support::*;
use crate::model::{InFlight, Revision, Route, RouteTable, Target};
use crate::proxy::Proxy as _;

#[tokio::test]
async fn a_request_goes_to_the_upstream_and_its_answer_comes_back() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client.send(get("/a?b=c")).await;
    let mut served = upstream.accept().await;
    let request = served.head().await;
    let counted = stage.in_flight(&upstream).await;
    served.answer("hello").await;
    let (head, body) = client.message().await;

    assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{request}");
    assert_eq!(header(&request, "host"), Some(HOST));
    assert_eq!(header(&request, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(header(&request, "x-forwarded-host"), Some(HOST));
    assert_eq!(header(&request, "x-forwarded-proto"), Some("http"));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, "hello");
    assert_eq!(counted, InFlight { requests: 1, upgraded: 0 });
    assert_eq!(stage.in_flight(&upstream).await, InFlight::default());
    assert_eq!(stage.traffic().await.served, 1);
}

#[tokio::test]
async fn an_unknown_host_gets_a_page_that_names_no_upstream() {
    let (stage, upstream) = Stage::with_upstream().await;

    let plain = stage.exchange("GET / HTTP/1.1\r\nhost: nobody\r\nconnection: close\r\n\r\n").await;
    let page = stage.exchange("GET / HTTP/1.1\r\nhost: b\r\naccept: text/html\r\nconnection: close\r\n\r\n").await;

    assert!(plain.starts_with("HTTP/1.1 404 "), "{plain}");
    assert_eq!(header(&plain, "content-type"), Some("text/plain; charset=utf-8"));
    assert!(page.contains("<!doctype html>"), "{page}");
    assert!(!page.contains(&upstream.upstream.address.port().to_string()), "{page}");
}

#[tokio::test]
async fn the_fallback_answers_for_hosts_that_are_nobodys() {
    let stage = Stage::new();
    let upstream = Listening::new("shop-web-1").await;
    let route = Route { hosts: [HOST.parse().unwrap()].into(), target: upstreams([&upstream]) };
    let revision = Revision { epoch: 1, number: 1 };
    let table = RouteTable { revision, routes: [(stage.application, route)].into(), fallback: Some(stage.application) };
    stage.proxy.apply(&table, Revision::default()).await.unwrap();

    for host in ["127.0.0.1:8080", "other.example.com"] {
        let mut client = stage.connect().await;
        client.send(format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")).await;
        if host == "127.0.0.1:8080" {
            let (_served, head) = upstream.serve("hello").await;
            assert_eq!(header(&head, "host"), Some(host), "the host goes on as it was sent");
        } else {
            upstream.serve("hello").await;
        }
        assert!(client.rest().await.ends_with("hello"), "{host}");
    }
}

#[tokio::test]
async fn an_absolute_address_is_routed_by_its_own_host() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client.send(format!("GET http://{HOST}/a HTTP/1.1\r\nhost: other\r\n\r\n")).await;
    let (_served, head) = upstream.serve("hello").await;

    assert!(head.starts_with("GET /a HTTP/1.1\r\n"), "{head}");
    assert_eq!(header(&head, "host"), Some(HOST));
    assert_eq!(client.message().await.1, "hello");
}

#[tokio::test]
async fn a_redirect_keeps_path_and_query() {
    let stage = Stage::new();
    stage.route(Target::Redirect { to: "https://shop.example.com".to_owned() }).await;
    let mut client = stage.connect().await;

    client.send(get("/a/b?c=d")).await;
    let (head, _) = client.message().await;

    assert!(head.starts_with("HTTP/1.1 308 "), "{head}");
    assert_eq!(header(&head, "location"), Some("https://shop.example.com/a/b?c=d"));
}

#[tokio::test]
async fn an_unavailable_route_says_why_and_when_to_come_back() {
    let stage = Stage::new();
    stage.route(Target::Unavailable { reason: "The shop was stopped.".to_owned() }).await;
    let mut client = stage.connect().await;

    client.send(get("/")).await;
    let (head, body) = client.message().await;

    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(header(&head, "retry-after"), Some("5"));
    assert_eq!(body, "The shop was stopped.\n");
    assert_eq!(stage.traffic().await.failed, 1);
}

#[tokio::test]
async fn what_concerns_one_connection_stays_on_it() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client.send(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close, x-hop\r\nx-hop: 1\r\n\r\n")).await;
    let mut served = upstream.accept().await;
    let request = served.head().await;
    served
        .send("HTTP/1.1 200 OK\r\nconnection: x-back\r\nx-back: 1\r\nkeep-alive: 1\r\ncontent-length: 0\r\n\r\n")
        .await;
    let answer = client.rest().await;

    assert_eq!((header(&request, "connection"), header(&request, "x-hop")), (None, None));
    assert_eq!((header(&answer, "x-back"), header(&answer, "keep-alive")), (None, None));
    assert_eq!(header(&answer, "connection"), Some("close"));
    assert!(served.is_silent().await, "the upstream's connection is kept");
}
