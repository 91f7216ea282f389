//! Upgrades: a tunnel that outlives tables, and that nobody gets who did not ask for it.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::*;
use crate::model::InFlight;

const ASKS: &str = "GET /socket HTTP/1.1\r\nhost: shop.localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n";
const SWITCHES: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";

/// A tunnel: its client's end and its upstream's.
async fn tunnel(stage: &Stage, upstream: &Listening) -> (Wire, Wire) {
    let mut client = stage.connect().await;
    client.send(ASKS).await;
    let mut served = upstream.accept().await;
    let request = served.head().await;
    served.send(SWITCHES).await;
    let head = client.head().await;

    for head in [request, head] {
        assert_eq!(header(&head, "upgrade"), Some("websocket"));
        assert_eq!(header(&head, "connection").map(str::to_ascii_lowercase), Some("upgrade".to_owned()));
    }
    (client, served)
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways_and_is_counted_as_such() {
    let (stage, upstream) = Stage::with_upstream().await;
    let (mut client, mut served) = tunnel(&stage, &upstream).await;

    client.send("ping").await;
    assert_eq!(served.until("ping").await, "ping");
    served.send("pong").await;
    assert_eq!(client.until("pong").await, "pong");
    let counted = stage.in_flight(&upstream).await;
    drop(client);

    assert_eq!(counted, InFlight { requests: 0, upgraded: 1 });
    assert_eq!(served.rest().await, "");
    drop(served);
    until(async || stage.in_flight(&upstream).await == InFlight::default()).await;
}

#[tokio::test]
async fn an_upgraded_connection_outlives_its_route() {
    let (stage, upstream) = Stage::with_upstream().await;
    let (mut client, mut served) = tunnel(&stage, &upstream).await;
    let next = Listening::new("shop-web-2").await;

    stage.route(upstreams([&next])).await;
    client.send("ping").await;

    assert_eq!(served.until("ping").await, "ping");
    assert_eq!(stage.in_flight(&upstream).await, InFlight { requests: 0, upgraded: 1 });
}

#[tokio::test]
async fn what_is_sent_together_with_a_head_is_not_lost() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client.send(format!("{ASKS}early")).await;
    let mut served = upstream.accept().await;
    served.head().await;
    served.send(format!("{SWITCHES}hello")).await;
    client.head().await;

    assert_eq!(client.until("hello").await, "hello");
    assert_eq!(served.until("early").await, "early");
}

#[tokio::test]
async fn a_large_stream_passes_through_a_tunnel_unchanged() {
    let (stage, upstream) = Stage::with_upstream().await;
    let (mut client, mut served) = tunnel(&stage, &upstream).await;
    let stream: String = (0..200_000).map(|n| format!("{n},")).collect();

    let mut read = vec![0; stream.len()];
    let (received, ()) = tokio::join!(served.0.read_exact(&mut read), client.send(&stream));
    received.unwrap();

    assert!(read == stream.as_bytes());
}

#[tokio::test]
async fn one_side_may_end_before_the_other() {
    let (stage, upstream) = Stage::with_upstream().await;
    let (mut client, mut served) = tunnel(&stage, &upstream).await;

    client.0.shutdown().await.unwrap();
    assert_eq!(served.rest().await, "");
    served.send("late").await;
    drop(served);

    assert_eq!(client.rest().await, "late");
}

#[tokio::test]
async fn an_upstream_may_decline_to_switch() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client.send(ASKS).await;
    let (mut served, _) = upstream.serve("no").await;
    assert_eq!(client.message().await.1, "no");
    client.send(get("/next")).await;

    assert!(served.head().await.starts_with("GET /next "), "both connections go on");
}

#[tokio::test]
async fn plain_http2_is_not_switched_to() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client.send(ASKS.replace("websocket", "h2c")).await;
    let (_served, head) = upstream.serve("plain").await;

    assert_eq!((header(&head, "upgrade"), header(&head, "connection")), (None, None));
    assert_eq!(client.message().await.1, "plain");
}
