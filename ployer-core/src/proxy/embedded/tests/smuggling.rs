//! No request hides in another one: what could be understood in two ways is refused, or goes on in one.

use super::support::*;

/// Heads that are refused before any upstream is asked.
const REFUSED: [(&str, &str); 24] = [
    ("two lengths", "POST / HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n"),
    ("a list of lengths", "POST / HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: 5, 6\r\n\r\n"),
    ("a signed length", "POST / HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: +5\r\n\r\n"),
    ("a negative length", "POST / HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: -1\r\n\r\n"),
    ("a length in hex", "POST / HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: 0x5\r\n\r\n"),
    ("an empty length", "POST / HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: \r\n\r\n"),
    ("a huge length", "POST / HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: 99999999999999999999\r\n\r\n"),
    ("another encoding", "POST / HTTP/1.1\r\nhost: shop.localhost\r\ntransfer-encoding: gzip\r\n\r\n"),
    ("a second encoding", "POST / HTTP/1.1\r\nhost: shop.localhost\r\ntransfer-encoding: gzip, chunked\r\n\r\n"),
    ("chunked twice", "POST / HTTP/1.1\r\nhost: shop.localhost\r\ntransfer-encoding: chunked, chunked\r\n\r\n"),
    ("chunked not last", "POST / HTTP/1.1\r\nhost: shop.localhost\r\ntransfer-encoding: chunked, identity\r\n\r\n"),
    ("almost chunked", "POST / HTTP/1.1\r\nhost: shop.localhost\r\ntransfer-encoding: xchunked\r\n\r\n"),
    (
        "two encodings",
        "POST / HTTP/1.1\r\nhost: shop.localhost\r\ntransfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n",
    ),
    ("chunked in HTTP/1.0", "POST / HTTP/1.0\r\nhost: shop.localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a space before the colon", "POST / HTTP/1.1\r\nhost: shop.localhost\r\ntransfer-encoding : chunked\r\n\r\n"),
    ("a folded line", "POST / HTTP/1.1\r\nhost: shop.localhost\r\na: b\r\n content-length: 5\r\n\r\n"),
    ("a line without a colon", "GET / HTTP/1.1\r\nhost: shop.localhost\r\nnothing\r\n\r\n"),
    ("a NUL", "GET / HTTP/1.1\r\nhost: shop.localhost\r\na: b\0c\r\n\r\n"),
    ("a bare CR", "GET / HTTP/1.1\r\nhost: shop.localhost\r\na: b\rcontent-length: 5\r\n\r\n"),
    ("no host", "GET / HTTP/1.1\r\n\r\n"),
    ("two hosts", "GET / HTTP/1.1\r\nhost: shop.localhost\r\nhost: other\r\n\r\n"),
    ("a host with a path", "GET / HTTP/1.1\r\nhost: shop.localhost/admin\r\n\r\n"),
    ("a user in the address", "GET http://a@shop.localhost/ HTTP/1.1\r\nhost: shop.localhost\r\n\r\n"),
    ("a space in the path", "GET /a b HTTP/1.1\r\nhost: shop.localhost\r\n\r\n"),
];

#[tokio::test]
async fn a_head_that_could_be_read_in_two_ways_is_refused_and_the_connection_closed() {
    let (stage, upstream) = Stage::with_upstream().await;

    for (what, head) in REFUSED {
        let answer = stage.exchange(format!("{head}{}", get("/smuggled"))).await;

        assert!(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.0 400 "), "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{what}: {answer}");
    }
    assert!(upstream.is_left_alone().await);
}

#[tokio::test]
async fn a_request_for_a_tunnel_is_refused() {
    let (stage, upstream) = Stage::with_upstream().await;

    let answer = stage.exchange(format!("CONNECT {HOST}:80 HTTP/1.1\r\nhost: {HOST}\r\n\r\n")).await;

    assert!(answer.starts_with("HTTP/1.1 501 "), "{answer}");
    assert!(upstream.is_left_alone().await);
}

#[tokio::test]
async fn a_length_beside_an_encoding_goes_on_with_one_framing() {
    for framing in
        ["content-length: 4\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 4"]
    {
        let (stage, upstream) = Stage::with_upstream().await;
        let mut client = stage.connect().await;

        let smuggled = get("/smuggled");
        client
            .send(format!("POST / HTTP/1.1\r\nhost: {HOST}\r\n{framing}\r\n\r\n5\r\nhello\r\n0\r\n\r\n{smuggled}"))
            .await;
        let mut served = upstream.accept().await;
        let head = served.head().await;
        let body = served.until("0\r\n\r\n").await;
        served.answer("ok").await;
        let answer = client.rest().await;

        assert_eq!(header(&head, "content-length"), None, "{framing}");
        assert_eq!(header(&head, "transfer-encoding"), Some("chunked"), "{framing}");
        assert_eq!(body, "5\r\nhello\r\n0\r\n\r\n", "{framing}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "nothing after it is believed: {answer}");
        assert!(served.is_silent().await && upstream.is_left_alone().await, "{framing}");
    }
}

#[tokio::test]
async fn equal_lengths_go_on_as_one() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client
        .send(format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello"))
        .await;
    let mut served = upstream.accept().await;
    let head = served.head().await;

    assert_eq!(head.matches("content-length").count(), 1, "{head}");
    assert_eq!(served.until("hello").await, "hello");
}

#[tokio::test]
async fn a_body_with_a_bad_chunk_never_ends_for_the_upstream() {
    for chunk in
        ["zz\r\nhello", "-1\r\nhello", "0x5\r\nhello", " 5\r\nhello", "5\nhello", "5\r\nhelloX", "5 5\r\nhello"]
    {
        let (stage, upstream) = Stage::with_upstream().await;
        let mut client = stage.connect().await;

        client.send(format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n")).await;
        let mut served = upstream.accept().await;
        served.head().await;
        client.send(format!("{chunk}\r\n0\r\n\r\n{}", get("/smuggled"))).await;
        let seen = served.rest().await;
        let answer = client.rest().await;

        assert!(!seen.ends_with("0\r\n\r\n") && !seen.contains("GET"), "{chunk:?}: {seen:?}");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{chunk:?}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{chunk:?}: {answer}");
    }
}

#[tokio::test]
async fn an_overlong_chunk_size_is_refused() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client
        .send(format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n{}5\r\n", "0".repeat(40)))
        .await;
    client.send("fffffffffffffffff5\r\nhello\r\n0\r\n\r\n").await;
    let mut served = upstream.accept().await;
    served.head().await;

    assert!(!served.rest().await.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn an_answer_that_cannot_be_trusted_is_not_passed_on() {
    for (what, answer) in [
        ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello"),
        ("another encoding", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("an encoding in HTTP/1.0", "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("no HTTP", "220 smtp.example.com ready\r\n"),
        ("a switch nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
    ] {
        let (stage, upstream) = Stage::with_upstream().await;
        let mut client = stage.connect().await;

        client.send(get("/")).await;
        let mut served = upstream.accept().await;
        served.head().await;
        served.send(answer).await;
        let (head, _) = client.message().await;

        assert!(head.starts_with("HTTP/1.1 502 "), "{what}: {head}");
        assert_eq!(served.rest().await, "", "{what}: its connection is closed");
    }
}

#[tokio::test]
async fn an_answer_with_length_and_encoding_goes_on_with_one_framing() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client.send(get("/")).await;
    let mut served = upstream.accept().await;
    served.head().await;
    served
        .send("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        .await;
    let head = client.head().await;

    assert_eq!(header(&head, "content-length"), None);
    assert_eq!(client.until("0\r\n\r\n").await, "5\r\nhello\r\n0\r\n\r\n");
}

#[tokio::test]
async fn bytes_after_an_answer_are_nobodys_answer() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client.send(get("/1")).await;
    let mut served = upstream.accept().await;
    served.head().await;
    served.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil").await;
    assert_eq!(client.message().await.1, "ok");
    client.send(get("/2")).await;
    upstream.serve("good").await;

    assert_eq!(client.message().await.1, "good");
}
