//! Bodies: streamed both ways, whole, with their trailers, at the pace of whoever is slower.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::support::*;
use crate::config::ProxySettings;

#[tokio::test]
async fn a_part_of_an_answer_is_passed_on_before_the_next_exists() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;
    client.send(get("/events")).await;
    let mut served = upstream.accept().await;
    served.head().await;

    served.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.head().await;
    for event in ["one", "two"] {
        served.send(format!("3\r\n{event}\r\n")).await;
        assert_eq!(client.until(&format!("{event}\r\n")).await, format!("3\r\n{event}\r\n"));
    }
    served.send("0\r\n\r\n").await;

    assert_eq!(client.until("0\r\n\r\n").await, "0\r\n\r\n");
}

#[tokio::test]
async fn a_part_of_a_request_is_passed_on_before_the_next_exists() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client.send(format!("PUT / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 6\r\n\r\none")).await;
    let mut served = upstream.accept().await;
    let head = served.head().await;
    assert_eq!(header(&head, "content-length"), Some("6"));
    assert_eq!(served.until("one").await, "one");
    client.send("two").await;
    assert_eq!(served.until("two").await, "two");
    served.answer("ok").await;

    assert_eq!(client.message().await.1, "ok");
}

#[tokio::test]
async fn a_get_keeps_its_body() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client
        .send(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"))
        .await;
    let mut served = upstream.accept().await;
    let head = served.head().await;

    assert_eq!(header(&head, "transfer-encoding"), Some("chunked"));
    assert_eq!(served.until("0\r\n\r\n").await, "2\r\nhi\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_client_that_waits_for_leave_to_send_gets_it_once_an_upstream_is_there() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client.send(format!("POST / HTTP/1.1\r\nhost: {HOST}\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")).await;
    let mut served = upstream.accept().await;
    let request = served.head().await;
    let leave = client.head().await;
    client.send("hi").await;
    served.until("hi").await;
    served.answer("ok").await;

    assert_eq!(leave, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(header(&request, "expect"), None, "the proxy has given leave itself");
    assert_eq!(client.message().await.1, "ok");
}

#[tokio::test]
async fn a_client_that_waits_for_leave_is_refused_without_it() {
    let stage = Stage::new();
    let mut client = stage.connect().await;

    client.send("POST / HTTP/1.1\r\nhost: nobody\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n").await;

    assert!(client.head().await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn trailers_are_forwarded_both_ways() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client
        .send(format!(
            "POST / HTTP/1.1\r\nhost: {HOST}\r\nte: trailers\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n"
        ))
        .await;
    let mut served = upstream.accept().await;
    let head = served.head().await;
    let request = served.until("x-sum: 1\r\n\r\n").await;
    served
        .send(
            "HTTP/1.1 200 OK\r\ntrailer: x-back\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-back: 2\r\n\r\n",
        )
        .await;
    client.head().await;
    let answer = client.until("x-back: 2\r\n\r\n").await;

    assert_eq!(header(&head, "te"), Some("trailers"));
    assert_eq!(request, "2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n");
    assert_eq!(answer, "2\r\nok\r\n0\r\nx-back: 2\r\n\r\n");
}

#[tokio::test]
async fn an_upload_waits_for_an_upstream_that_does_not_read() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;
    client.send(format!("PUT / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 1000000000\r\n\r\n")).await;
    let mut served = upstream.accept().await;
    served.head().await;

    let sent = pour(&mut client).await;
    let mut read = vec![0; 1 << 20];
    served.0.read_exact(&mut read).await.unwrap();

    assert!(sent < 100 << 20, "{sent} bytes were taken without being read");
    assert!(pour(&mut client).await > 0, "and goes on when it reads");
}

#[tokio::test]
async fn an_answer_waits_for_a_client_that_does_not_read() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;
    client.send(get("/")).await;
    let mut served = upstream.accept().await;
    served.head().await;
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await;

    let sent = pour(&mut served).await;

    assert!(sent < 100 << 20, "{sent} bytes were taken without being read");
}

/// Writes until the other side takes nothing more for a while.
async fn pour(wire: &mut Wire) -> usize {
    let block = vec![b'x'; 1 << 16];
    let mut sent = 0;
    while let Ok(written) = timeout(Duration::from_millis(300), wire.0.write(&block)).await {
        sent += written.unwrap();
    }
    sent
}

#[tokio::test]
async fn an_answer_that_comes_before_the_end_of_an_upload_reaches_the_client() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;
    client.send(format!("PUT / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 1000000\r\n\r\n")).await;
    client.send("x".repeat(1000)).await;
    let mut served = upstream.accept().await;
    served.head().await;

    served.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig").await;
    let (head, body) = client.message().await;

    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    assert_eq!(body, "big");
}

#[tokio::test]
async fn a_refusal_is_not_lost_though_the_client_still_sends() {
    let stage = Stage::new();
    let mut client = stage.connect().await;

    client.send("PUT / HTTP/1.1\r\nhost: nobody\r\ncontent-length: 3000000\r\n\r\n").await;
    for _ in 0..30 {
        client.send("x".repeat(100_000)).await;
    }

    assert!(client.head().await.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn the_head_of_an_answer_keeps_its_length_without_a_body() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client.send(format!("HEAD / HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;
    let mut served = upstream.accept().await;
    served.head().await;
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n").await;
    let head = client.head().await;
    client.send(get("/next")).await;

    assert_eq!(header(&head, "content-length"), Some("1234"));
    assert!(served.head().await.starts_with("GET /next "), "the connection goes on");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client.send(format!("{}{}{}", get("/1"), get("/2"), get("/3"))).await;
    let mut served = upstream.accept().await;
    for n in ["/1", "/2", "/3"] {
        assert!(served.head().await.starts_with(&format!("GET {n} ")));
        served.answer(n).await;
    }

    for n in ["/1", "/2", "/3"] {
        assert_eq!(client.message().await.1, n);
    }
}

#[tokio::test]
async fn an_old_client_gets_an_answer_that_ends_with_its_connection() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client.send(format!("GET / HTTP/1.0\r\nhost: {HOST}\r\n\r\n")).await;
    let mut served = upstream.accept().await;
    let request = served.head().await;
    served.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").await;
    let answer = client.rest().await;

    assert!(request.starts_with("GET / HTTP/1.1\r\n"), "{request}");
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"), "{answer}");
}

#[tokio::test]
async fn an_old_upstream_ends_its_answer_with_its_connection() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client.send(get("/")).await;
    let mut served = upstream.accept().await;
    served.head().await;
    served.send("HTTP/1.0 200 OK\r\n\r\nhello").await;
    drop(served);
    client.head().await;

    assert_eq!(client.until("0\r\n\r\n").await, "5\r\nhello\r\n0\r\n\r\n");
}

#[tokio::test]
async fn an_upload_that_goes_on_is_not_late_with_its_answer() {
    let settings = ProxySettings { answer_head: Duration::from_millis(400), ..ProxySettings::default() };
    let (stage, upstream) = Stage::with_upstream_and(settings).await;
    let mut client = stage.connect().await;
    client.send(format!("PUT / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 8\r\n\r\n")).await;
    let mut served = upstream.accept().await;
    served.head().await;

    for _ in 0..8 {
        assert!(served.is_silent().await);
        client.send("x").await;
        served.until("x").await;
    }
    served.answer("ok").await;

    assert_eq!(client.message().await.1, "ok");
}
