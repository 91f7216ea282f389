//! Beginning and end: handed-in listeners, closing, dropping, several proxies in one process.

use std::net::TcpListener;
use std::time::Duration;

use tokio::net::TcpStream;

use super::support::*;
use crate::error::ErrorKind;
use crate::model::{Ask, Target};
use crate::proxy::Proxy as _;
use crate::proxy::embedded::{EmbeddedConfig, EmbeddedProxy};

#[tokio::test]
async fn whoever_connected_before_the_start_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut early = Wire(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
    early.send("GET / HTTP/1.1\r\nhost: nobody\r\n\r\n").await;

    let _proxy = EmbeddedProxy::start(EmbeddedConfig::new(vec![listener])).unwrap();

    assert!(early.head().await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn every_listener_that_was_handed_in_is_served() {
    let listeners = vec![TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("[::1]:0").unwrap()];
    let addresses: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap()).collect();
    let proxy = EmbeddedProxy::start(EmbeddedConfig::new(listeners)).unwrap();

    for address in &addresses {
        let mut client = Wire(TcpStream::connect(address).await.unwrap());
        client.send("GET / HTTP/1.1\r\nhost: nobody\r\n\r\n").await;
        assert!(client.head().await.starts_with("HTTP/1.1 404 "));
    }
    assert_eq!(proxy.local_addr(), addresses[0]);
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_so() {
    let first = EmbeddedProxy::bind("127.0.0.1:0").await.unwrap();

    let error = EmbeddedProxy::bind(first.local_addr()).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn a_dropped_proxy_frees_its_address_and_cuts_its_clients() {
    let (stage, _upstream) = Stage::with_upstream().await;
    let address = stage.proxy.local_addr();
    let mut client = stage.connect().await;
    client.send(get("/")).await;

    drop(stage);

    assert_eq!(client.rest().await, "");
    TcpListener::bind(address).unwrap();
}

#[tokio::test]
async fn a_proxy_that_closes_finishes_what_is_under_way() {
    let (stage, upstream) = Stage::with_upstream().await;
    let (mut idle, mut busy) = (stage.connect().await, stage.connect().await);
    for client in [&mut idle, &mut busy] {
        client.send(get("/")).await;
        upstream.serve("ok").await;
        client.message().await;
    }
    busy.send(get("/last")).await;
    let mut served = loop {
        let mut served = upstream.accept().await;
        if served.head().await.starts_with("GET /last ") {
            break served;
        }
    };

    let proxy = stage.proxy.clone();
    let closing = tokio::spawn(async move { proxy.close(DEADLINE).await });
    assert_eq!(idle.rest().await, "");
    served.answer("last").await;
    let (head, body) = busy.message().await;
    in_time(closing).await.unwrap();

    assert_eq!(body, "last");
    assert_eq!(header(&head, "connection"), Some("close"));
    assert!(TcpStream::connect(stage.proxy.local_addr()).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_proxy_that_closes_waits_no_longer_than_it_was_told() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;
    client.send(get("/")).await;
    let mut served = upstream.accept().await;
    served.head().await;

    in_time(stage.proxy.close(Duration::from_millis(50))).await;

    assert_eq!(client.rest().await, "");
    assert_eq!(served.rest().await, "");
}

#[tokio::test]
async fn a_proxy_that_closed_answers_no_ask() {
    let stage = Stage::new();
    stage.proxy.close(Duration::ZERO).await;
    let ask = Ask { host: HOST.parse().unwrap(), path: "/".to_owned(), wanted: None };

    let error = stage.proxy.ask(&ask).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::NotRunning);
}

#[tokio::test]
async fn two_proxies_in_one_process_do_not_meet() {
    let (first, second) = (Stage::new(), Stage::new());
    first.route(Target::Unavailable { reason: "First.".to_owned() }).await;
    second.route(Target::Unavailable { reason: "Second.".to_owned() }).await;

    for (stage, reason) in [(&first, "First.\n"), (&second, "Second.\n")] {
        let mut client = stage.connect().await;
        client.send(get("/")).await;
        assert_eq!(client.message().await.1, reason);
        assert_eq!(stage.traffic().await.failed, 1);
    }
}

#[test]
fn a_proxy_can_be_started_and_dropped_without_a_runtime() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();

    drop(EmbeddedProxy::start(EmbeddedConfig::new(vec![listener])).unwrap());

    TcpListener::bind(address).unwrap();
}
