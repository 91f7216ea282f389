//! Several upstreams: who gets a request, and what happens when one is away.

use super::support::*;
use crate::model::Target;

#[tokio::test]
async fn a_request_goes_to_the_upstream_with_the_least_under_way() {
    let stage = Stage::new();
    let listening = [Listening::new("shop-web-1").await, Listening::new("shop-web-2").await];
    stage.route(upstreams(&listening)).await;

    let mut clients = Vec::new();
    let mut served = Vec::new();
    for _ in 0..6 {
        let mut client = stage.connect().await;
        client.send(get("/")).await;
        clients.push(client);
        served.push(tokio::select! {
            wire = listening[0].accept() => wire,
            wire = listening[1].accept() => wire,
        });
    }

    for listening in &listening {
        assert_eq!(stage.in_flight(listening).await.requests, 3);
    }
}

#[tokio::test]
async fn a_refused_connection_is_no_error_while_another_upstream_accepts() {
    let stage = Stage::new();
    let upstream = Listening::new("shop-web-1").await;
    let away = [nobody("shop-web-2"), nobody("shop-web-3")];
    let all = [upstream.upstream.clone()].into_iter().chain(away).collect();
    stage.route(Target::Upstreams(all)).await;

    for _ in 0..6 {
        let mut client = stage.connect().await;
        client
            .send(format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi"))
            .await;
        let mut served = upstream.accept().await;
        served.head().await;
        assert_eq!(served.until("hi").await, "hi", "its body is whole");
        served.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
        assert!(client.rest().await.ends_with("ok"));
    }
    assert_eq!(stage.traffic().await.failed, 0);
}

#[tokio::test]
async fn nobody_who_accepts_is_a_502_and_no_upstream_a_503() {
    let stage = Stage::new();

    stage.route(Target::Upstreams([nobody("shop-web-1"), nobody("shop-web-2")].into())).await;
    let refused = stage.exchange(get("/").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")).await;
    stage.route(Target::Upstreams([].into())).await;
    let none = stage.exchange(get("/").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")).await;

    assert!(refused.starts_with("HTTP/1.1 502 "), "{refused}");
    assert!(none.starts_with("HTTP/1.1 503 "), "{none}");
    assert!(header(&none, "retry-after").is_some());
}

#[tokio::test]
async fn a_request_that_nobody_took_goes_to_the_upstream_that_comes_instead() {
    let stage = Stage::new();
    stage.route(Target::Hold { until: jiff::Timestamp::MAX }).await;
    let mut client = stage.connect().await;
    client.send(get("/")).await;
    until(async || stage.traffic().await.held == 1).await;

    let upstream = Listening::new("shop-web-1").await;
    stage.route(upstreams([&upstream])).await;
    upstream.serve("hello").await;

    assert_eq!(client.message().await.1, "hello");
}
