//! Load: clients that send one request after another over connections that are kept.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Sends requests for `path` from `clients` connections for so long, and answers how many were answered well.
pub(crate) fn run(address: SocketAddr, path: &str, clients: usize, lasting: Duration) -> u64 {
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: shop.localhost\r\nuser-agent: bench\r\naccept: */*\r\naccept-encoding: gzip\r\n\r\n"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let until = Instant::now() + lasting;
        let mut running = JoinSet::new();
        for _ in 0..clients {
            running.spawn(client(address, request.clone(), until));
        }
        running.join_all().await.into_iter().sum()
    })
}

async fn client(address: SocketAddr, request: String, until: Instant) -> u64 {
    let mut stream = TcpStream::connect(address).await.expect("the proxy listens");
    stream.set_nodelay(true).expect("a socket");
    let mut buffer = vec![0; 128 * 1024];
    let mut answered = 0;
    while Instant::now() < until {
        stream.write_all(request.as_bytes()).await.expect("the proxy reads");
        read_answer(&mut stream, &mut buffer).await;
        answered += 1;
    }
    answered
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    let (head, length) = loop {
        let read = stream.read(&mut buffer[filled..]).await.expect("the proxy answers");
        assert!(read > 0, "the proxy closed a connection");
        filled += read;
        if let Some(end) = buffer[..filled].windows(4).position(|part| part == b"\r\n\r\n") {
            break (end + 4, length(&buffer[..end]));
        }
    };
    let mut left = (head + length).saturating_sub(filled);
    while left > 0 {
        let read = stream.read(buffer).await.expect("the proxy answers");
        assert!(read > 0, "the proxy closed a connection");
        left = left.saturating_sub(read);
    }
}

fn length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    length.expect("an answer of known length")
}
