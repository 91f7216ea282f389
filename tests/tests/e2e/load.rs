//! The test of the test: the load loses nothing where nothing is lost, and sees whatever is.

use std::net::Ipv4Addr;

use tests::app::{App, Bare};
use tests::await_that::eventually;
use tests::load::{Kind, Load, Lost, Mix, Report, Target, get};
use tests::need;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::turns::beside;

const KINDS: [Kind; 5] = [Kind::KeepAlive, Kind::Slow, Kind::Upload, Kind::Streaming, Kind::WebSocket];

#[tokio::test(flavor = "multi_thread")]
async fn a_load_on_a_server_that_goes_on_loses_nothing_of_any_kind() {
    if !need::python() {
        return;
    }
    let _turn = beside().await;
    let bare = listening(&App::version("v1")).await;

    let load = Load::start(&bare.target(), Mix::ALL);
    until_answered(&load, &[Kind::Slow, Kind::Upload, Kind::Streaming]).await;
    let report = load.stop().await;

    report.assert_whole(&KINDS);
    assert_eq!(report.versions(), ["v1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_is_seen_as_lost_requests_and_ended_web_sockets() {
    if !need::python() {
        return;
    }
    let _turn = beside().await;
    let bare = listening(&App::version("v1")).await;

    let load = Load::start(&bare.target(), Mix::ALL);
    until_answered(&load, &[Kind::KeepAlive]).await;
    eventually("each WebSocket is open", async || open_web_sockets(&load)).await;
    bare.tell_to_end();
    let well = tokio::task::spawn_blocking(move || bare.ended()).await.unwrap();
    let report = load.stop().await;

    assert!(well, "it finished what was under way");
    assert_eq!(report.ended.len(), 4, "{report}");
    // A kept connection may be closed just as the next request is sent; what was under way is answered.
    let is_new = |lost: &Lost| lost.detail.starts_with("not connected") || lost.detail.starts_with("no answer");
    assert!(report.lost.iter().all(is_new), "{report}");
    assert!(report.lost.iter().any(|lost| lost.kind == Kind::KeepAlive), "{report}");
}

#[tokio::test]
async fn every_way_to_lose_a_request_is_seen_as_lost() {
    let _turn = beside().await;
    let socket = "HTTP/1.1 101 -\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: x\r\n\r\n";
    let cases = [
        ("", "no answer", Mix { keep_alive: 1, ..NOBODY }),
        ("HTTP/1.1 200 OK\r\n", "no answer", Mix { keep_alive: 1, ..NOBODY }),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nv1", "broke off", Mix { keep_alive: 1, ..NOBODY }),
        ("HTTP/1.1 502 -\r\ncontent-length: 2\r\n\r\nv1", "502", Mix { keep_alive: 1, ..NOBODY }),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nv1 9\n", "wrong answer", Mix { keep_alive: 1, ..NOBODY }),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nv1 9\n", "wrong answer", Mix { upload: 1, ..NOBODY }),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nv1 1.1 0\n", "wrong answer", Mix { streaming: 1, ..NOBODY }),
        (socket, "not opened", Mix { web_socket: 1, ..NOBODY }),
    ];

    for (answer, expected, mix) in cases {
        let report = lose_one(answer, mix).await;

        let lost = report.lost.first().unwrap_or_else(|| panic!("{answer:?} is lost\n{report}"));
        assert!(lost.detail.contains(expected), "{answer:?}\n{report}");
    }
}

const NOBODY: Mix = Mix { keep_alive: 0, slow: 0, upload: 0, streaming: 0, web_socket: 0, short_web_socket: 0 };

/// What the load says of a server that gives one answer and closes.
async fn lose_one(answer: &'static str, mix: Mix) -> Report {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let target = Target { address: listener.local_addr().unwrap(), host: "shop.localhost".to_owned() };
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0, "a client sends something");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let load = Load::start(&target, mix);
    eventually("something is lost", async || match load.ledger().report().lost.len() {
        0 => Err("nothing"),
        _ => Ok(()),
    })
    .await;
    server.abort();
    load.stop().await
}

async fn listening(app: &App) -> Bare {
    let bare = Bare::start(app);
    eventually("it is healthy", async || match get(&bare.target(), "/health").await?.status.is_success() {
        true => Ok(()),
        false => Err("it is not".to_owned()),
    })
    .await;
    bare
}

async fn until_answered(load: &Load, kinds: &[Kind]) {
    for kind in kinds {
        eventually("each kind is answered", async || match load.ledger().answered(*kind) {
            0 => Err(format!("{kind:?} is not")),
            _ => Ok(()),
        })
        .await;
    }
}

fn open_web_sockets(load: &Load) -> Result<(), String> {
    let report = load.ledger().report();
    let tally = report.tallies.get(&Kind::WebSocket).cloned().unwrap_or_default();
    match tally.begun - tally.answered {
        4 => Ok(()),
        open => Err(format!("{open} of 4")),
    }
}
