//! Upgrades: after `101` both streams are one tunnel, counted on its upstream until either side ends it.
//!
//! A tunnel at rest holds no buffer. A side that has said all it has to say is closed for writing on the other one,
//! and the tunnel goes on in the other direction.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::balance::UnderWay;
use super::pool::{Connection, Upgraded};

/// What is moved at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// The upstream's side of a connection that is being upgraded.
#[derive(Debug)]
pub(super) struct Tunnel {
    connection: Connection,
    _under_way: UnderWay,
}

impl Tunnel {
    pub(super) fn new(connection: Connection, under_way: UnderWay) -> Self {
        Self { connection, _under_way: under_way }
    }

    /// Moves bytes both ways until both have ended; `read` is what the client sent together with its request.
    pub(super) async fn run(self, mut client: TcpStream, read: Bytes) {
        let Some(Upgraded { stream: mut upstream, read: answered }) = self.connection.upgrade().await else { return };
        keep_alive(&client);
        let (from_client, to_client) = client.split();
        let (from_upstream, to_upstream) = upstream.split();
        let there = relay(from_client, to_upstream, read);
        let back = relay(from_upstream, to_client, answered);
        if let Err(error) = tokio::try_join!(there, back) {
            tracing::debug!(%error, "an upgraded connection ended");
        }
    }
}

/// A client that has vanished without a word is noticed by the system's own probes.
fn keep_alive(client: &TcpStream) {
    if let Err(error) = rustix::net::sockopt::set_socket_keepalive(client, true) {
        tracing::debug!(%error, "an upgraded connection is not probed");
    }
}

async fn relay(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, first: Bytes) -> io::Result<()> {
    to.write_all(&first).await?;
    drop(first);
    loop {
        from.ready(Interest::READABLE).await?;
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        if from.read_buf(&mut chunk).await? == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk).await?;
    }
}
