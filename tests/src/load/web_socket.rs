//! WebSockets: a message ten times a second, echoed, until one side ends the connection in good order.
//!
//! The application ends one by a close frame when it is told to end; the client then connects again at once, and
//! must be let in. A connection that breaks off, or a message without its echo, is lost.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use jiff::Timestamp;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::client::chain;
use super::ledger::{Ended, Kind};
use super::{ANSWER, Visit};

const PAUSE: Duration = Duration::from_millis(100);

/// One WebSocket after the other; the client ends each after `life`, if that is given.
pub(super) async fn run(visit: Visit, life: Option<Duration>) {
    while !visit.stop.is_cancelled() {
        let entry = visit.ledger.begin(Kind::WebSocket);
        match session(&visit, life).await {
            Ok(version) => entry.answered(&version),
            Err(detail) => {
                entry.lost(detail);
                visit.pause().await;
            }
        }
    }
}

/// One WebSocket to its good end; answers which version had it.
async fn session(visit: &Visit, life: Option<Duration>) -> Result<String, String> {
    let (mut socket, version) = timeout(ANSWER, open(visit)).await.map_err(|_| "not opened in time".to_owned())??;
    visit.ledger.see(&version);
    let (opened, begun) = (Timestamp::now(), Instant::now());
    for number in 0_u64.. {
        if visit.stop.is_cancelled() || life.is_some_and(|life| begun.elapsed() > life) {
            return close(socket).await.map(|()| version);
        }
        let message = format!("{}.{number}", visit.client);
        // A close frame that is under way already is found by the next read.
        let sent = socket.send(Message::text(&message)).await;
        match echo(&mut socket, &format!("{version} {message}")).await? {
            Echo::Same => sent.map_err(|error| chain("not sent", &error))?,
            Echo::Closed(why) => {
                visit.ledger.ended(Ended { version: version.clone(), opened, at: Timestamp::now(), why });
                return finish(socket).await.map(|()| version);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(version)
}

type Socket = WebSocketStream<TcpStream>;

async fn open(visit: &Visit) -> Result<(Socket, String), String> {
    let stream = TcpStream::connect(visit.target.address).await.map_err(|error| chain("not connected", &error))?;
    let url = format!("ws://{}/ws", visit.target.host);
    let request = url.into_client_request().map_err(|error| chain("not sent", &error))?;
    let opened = tokio_tungstenite::client_async(request, stream).await;
    let (socket, answer) = opened.map_err(|error| chain("not opened", &error))?;
    let version = answer.headers().get("x-version").and_then(|value| value.to_str().ok()).unwrap_or_default();
    Ok((socket, version.to_owned()))
}

enum Echo {
    Same,
    Closed(String),
}

async fn echo(socket: &mut Socket, expected: &str) -> Result<Echo, String> {
    let next = timeout(ANSWER, socket.next()).await.map_err(|_| format!("no echo within {ANSWER:?}"))?;
    match next {
        Some(Ok(Message::Text(text))) if text.as_str() == expected => Ok(Echo::Same),
        Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => Ok(Echo::Closed(format!("{code} {reason}"))),
        Some(Ok(other)) => Err(format!("wrong echo: {other:?} in the place of {expected:?}")),
        Some(Err(error)) => Err(chain("broken off", &error)),
        None => Err("ended without a close frame".to_owned()),
    }
}

/// The client's end: a close frame, and its echo.
async fn close(mut socket: Socket) -> Result<(), String> {
    socket.send(Message::Close(None)).await.map_err(|error| chain("not closed", &error))?;
    finish(socket).await
}

/// Reads to the end of a connection that is closing.
async fn finish(mut socket: Socket) -> Result<(), String> {
    let end = async {
        loop {
            match socket.next().await {
                None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(chain("not closed in order", &error)),
            }
        }
    };
    timeout(ANSWER, end).await.unwrap_or_else(|_| Err("not closed in time".to_owned()))
}
