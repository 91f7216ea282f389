//! The upstream: as little work as HTTP/1.1 allows, in a process of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::rivals::{Child, read_address, spawn_self};

/// A running upstream; it ends when it is dropped.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    _child: Child,
}

pub(crate) fn start() -> Upstream {
    let mut child = spawn_self(&["role:upstream"]);
    Upstream { address: read_address(&mut child), _child: child }
}

/// What the process does: says where it listens, and answers.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        println!("{}", listener.local_addr().expect("an address"));
        let (small, large) = (Arc::new(answer(13)), Arc::new(answer(100_000)));
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, Arc::clone(&small), Arc::clone(&large)));
        }
    });
}

fn answer(length: usize) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + length, b'x');
    answer
}

async fn connection(mut stream: TcpStream, small: Arc<Vec<u8>>, large: Arc<Vec<u8>>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut buffer = vec![0; 8 * 1024];
    let mut filled = 0;
    while let Ok(read @ 1..) = stream.read(&mut buffer[filled..]).await {
        filled += read;
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            let answer = if buffer.starts_with(b"GET /large") { &large } else { &small };
            if stream.write_all(answer).await.is_err() {
                return;
            }
            filled = 0;
        }
    }
}
