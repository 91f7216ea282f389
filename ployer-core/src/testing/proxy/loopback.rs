//! Loopback: a client and an upstream on sockets, as small as HTTP/1.1 allows.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Reply, StandIn};
use crate::model::{DomainName, ReplicaName, Upstream};

/// Sends one request on a connection of its own.
pub(super) async fn request(proxy: SocketAddr, host: &DomainName, body: &str) -> Reply {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let length = body.len();
    let head = format!("POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut stream = BufReader::new(stream);
    let message = read(&mut stream).await.unwrap().expect("the proxy closed without an answer");
    let status = message.start.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
    Reply { status, retry_after: message.header("retry-after").is_some(), body: message.body }
}

/// A message with its body.
struct Message {
    start: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Message {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Reads a message; `None` at the end of the stream.
async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Message>> {
    let start = line(stream).await?;
    if start.is_empty() {
        return Ok(None);
    }
    let mut message = Message { start, headers: Vec::new(), body: String::new() };
    loop {
        let line = line(stream).await?;
        let Some((name, value)) = line.split_once(':') else { break };
        message.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if message.header("transfer-encoding").is_some() {
        loop {
            let size = usize::from_str_radix(&line(stream).await?, 16).map_err(io::Error::other)?;
            message.body.push_str(&exactly(stream, size).await?);
            line(stream).await?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = message.header("content-length").and_then(|length| length.parse().ok()) {
        message.body = exactly(stream, length).await?;
    }
    Ok(Some(message))
}

async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    Ok(line.trim_end().to_owned())
}

async fn exactly(stream: &mut BufReader<TcpStream>, length: usize) -> io::Result<String> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// What an upstream knows of itself.
#[derive(Debug)]
struct State {
    upstream: Upstream,
    arrived: watch::Sender<u64>,
    paused: watch::Sender<bool>,
}

/// An upstream on a socket; it ends when it is dropped.
pub(super) struct Upstreamlet {
    state: Arc<State>,
    _serving: JoinSet<()>,
}

impl Upstreamlet {
    pub(super) async fn start(replica: ReplicaName) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Upstream { replica, address: listener.local_addr().unwrap() };
        let (arrived, paused) = (watch::Sender::new(0), watch::Sender::new(false));
        let state = Arc::new(State { upstream, arrived, paused });
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&state)));
        Self { state, _serving: serving }
    }
}

#[async_trait]
impl StandIn for Upstreamlet {
    fn upstream(&self) -> Upstream {
        self.state.upstream.clone()
    }

    fn pause(&self) {
        self.state.paused.send_replace(true);
    }

    fn resume(&self) {
        self.state.paused.send_replace(false);
    }

    fn arrived(&self) -> u64 {
        *self.state.arrived.borrow()
    }

    async fn wait_for(&self, count: u64) {
        self.state.arrived.subscribe().wait_for(|arrived| *arrived >= count).await.unwrap();
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(answer(stream, Arc::clone(&state)));
    }
}

async fn answer(stream: TcpStream, state: Arc<State>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(message) = read(&mut stream).await? {
        state.arrived.send_modify(|arrived| *arrived += 1);
        state.paused.subscribe().wait_for(|paused| !paused).await.map_err(io::Error::other)?;
        let body = format!("{}:{}", state.upstream.replica, message.body);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{body}").as_bytes()).await?;
    }
    Ok(())
}
