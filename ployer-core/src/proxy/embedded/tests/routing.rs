//! Which request goes where.

use super::support::*;
use crate::model::{AnsweredBy, Ask, InFlight, Target};
use crate::proxy::Proxy as _;

#[tokio::test]
async fn a_request_goes_to_the_upstream_and_its_answer_comes_back() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.connect().await;

    client.send(get("/a?b=c")).await;
    let mut served = upstream.accept().await;
    let request = served.head().await;
    assert_eq!(stage.proxy.in_flight(&upstream.upstream).await.unwrap(), InFlight { requests: 1, upgraded: 0 });
    served.answer("hello").await;
    let (head, body) = client.message().await;

    assert!(request.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{request}");
    assert_eq!(header(&request, "x-forwarded-for"), Some("127.0.0.1"));
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, "hello");
    assert_eq!(stage.proxy.in_flight(&upstream.upstream).await.unwrap(), InFlight::default());
    assert_eq!(stage.proxy.traffic(stage.application).await.unwrap().unwrap().served, 1);
}

#[tokio::test]
async fn an_ask_learns_which_replica_answered() {
    let (stage, upstream) = Stage::with_upstream().await;
    let wanted = Some(upstream.upstream.clone());
    let ask = Ask { host: HOST.parse().unwrap(), path: "/up".to_owned(), wanted };

    let play = async {
        let mut served = upstream.accept().await;
        let request = served.head().await;
        served.answer("x").await;
        request
    };
    let (answer, request) = tokio::join!(stage.proxy.ask(&ask), play);

    let answer = answer.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.by, AnsweredBy::Replica(upstream.upstream.replica.clone()));
    assert!(!request.contains("x-ployer"), "{request}");
}

#[tokio::test]
async fn a_held_request_goes_where_the_next_table_says() {
    let stage = Stage::new();
    stage.route(Target::Hold { until: jiff::Timestamp::MAX }).await;
    let upstream = Listening::new("shop-web-2").await;
    let mut client = stage.connect().await;

    client.send(format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")).await;
    while stage.proxy.traffic(stage.application).await.unwrap().unwrap().held == 0 {
        tokio::task::yield_now().await;
    }
    stage.route(upstreams([&upstream])).await;
    let mut served = upstream.accept().await;
    let head = served.head().await;
    assert_eq!(served.until("hello\r\n").await, "5\r\nhello\r\n");
    client.send("0\r\n\r\n").await;
    served.until("0\r\n\r\n").await;
    served.answer("done").await;

    assert_eq!(header(&head, "transfer-encoding"), Some("chunked"));
    assert_eq!(client.message().await.1, "done");
}
