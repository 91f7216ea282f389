//! Asks: the proxy's own learn who answered; whoever guesses learns nothing and steers nothing.

use super::support::*;
use crate::error::ErrorKind;
use crate::model::{AnsweredBy, Ask, Target, Upstream};
use crate::proxy::Proxy as _;

fn ask(path: &str, wanted: Option<Upstream>) -> Ask {
    Ask { host: HOST.parse().unwrap(), path: path.to_owned(), wanted }
}

#[tokio::test]
async fn an_ask_looks_like_any_request_to_its_upstream() {
    let (stage, upstream) = Stage::with_upstream().await;
    let ask = ask("/up", Some(upstream.upstream.clone()));

    let (answer, (_served, request)) = tokio::join!(stage.proxy.ask(&ask), upstream.serve("x"));

    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.by), (200, AnsweredBy::Replica(upstream.upstream.replica.clone())));
    assert!(request.starts_with("GET /up HTTP/1.1\r\n") && !request.contains("ployer"), "{request}");
    assert_eq!(stage.traffic().await.served, 0, "it is nobody's traffic");
}

#[tokio::test]
async fn whoever_guesses_the_mark_is_anybody() {
    let (stage, upstream) = Stage::with_upstream().await;
    let other = Listening::new("shop-web-2").await;
    let wanted = serde_json::to_string(&other.upstream).unwrap();

    for guess in [format!("{}{wanted}", "0".repeat(64)), wanted.clone(), "null".to_owned(), "0".repeat(64)] {
        let mut client = stage.connect().await;
        client
            .send(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nx-ployer-ask: {guess}\r\nconnection: close\r\n\r\n"))
            .await;
        let mut served = upstream.accept().await;
        let request = served.head().await;
        served.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
        let answer = client.rest().await;

        assert!(!request.contains("x-ployer"), "{request}");
        assert!(answer.ends_with("ok") && !answer.contains("x-ployer"), "{answer}");
    }
    assert!(other.is_left_alone().await);
}

#[tokio::test]
async fn whoever_guesses_the_mark_waits_like_anybody() {
    let stage = Stage::new();
    stage.route(Target::Hold { until: jiff::Timestamp::MAX }).await;
    let upstream = Listening::new("shop-web-1").await;
    let wanted = serde_json::to_string(&upstream.upstream).unwrap();
    let mut client = stage.connect().await;

    client.send(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\nx-ployer-ask: {}{wanted}\r\n\r\n", "0".repeat(64))).await;
    until(async || stage.traffic().await.held == 1).await;

    assert!(client.is_silent().await && upstream.is_left_alone().await);
}

#[tokio::test]
async fn an_upstream_cannot_answer_in_the_name_of_another() {
    let (stage, upstream) = Stage::with_upstream().await;
    let forged = "HTTP/1.1 200 OK\r\nx-ployer-answered-by: replica shop-web-9\r\ncontent-length: 0\r\n\r\n";
    let play = async {
        let mut served = upstream.accept().await;
        served.head().await;
        served.send(forged).await;
        served
    };
    let ask = ask("/", None);

    let (answer, mut served) = tokio::join!(stage.proxy.ask(&ask), play);
    let mut client = stage.connect().await;
    client.send(get("/")).await;
    let mut again = tokio::select! {
        wire = upstream.accept() => wire,
        request = served.head() => { assert!(request.starts_with("GET / ")); served }
    };
    again.send(forged).await;

    assert_eq!(answer.unwrap().by, AnsweredBy::Replica(upstream.upstream.replica.clone()));
    assert!(!client.head().await.contains("x-ployer"));
}

#[tokio::test]
async fn an_answer_that_the_proxy_made_is_called_its_own() {
    let stage = Stage::new();
    let mut seen = Vec::new();
    for target in [
        Target::Unavailable { reason: "It was stopped.".to_owned() },
        Target::Upstreams([].into()),
        Target::Upstreams([nobody("shop-web-1")].into()),
        Target::Redirect { to: "https://other".to_owned() },
    ] {
        stage.route(target).await;
        let answer = stage.proxy.ask(&ask("/", None)).await.unwrap();
        assert_eq!(answer.by, AnsweredBy::Proxy);
        seen.push(answer.status);
    }

    assert_eq!(seen, [503, 503, 502, 308]);
}

#[tokio::test]
async fn a_path_that_could_bring_headers_along_is_refused() {
    let stage = Stage::new();

    for path in ["", "up", "/ HTTP/1.1\r\nx: y", "/a b", "/\u{e9}", "http://other/"] {
        let error = stage.proxy.ask(&ask(path, None)).await.unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("path")), "{path:?}");
    }
}
