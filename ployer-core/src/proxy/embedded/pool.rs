//! Pool: the connections to one upstream that one thread keeps. No other thread sees them, so there is no lock.
//!
//! A connection comes back only after an answer that ended well; everything else closes it. The one used last is used
//! next, which lets the others grow old and go.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::balance::{Peer, Seat};
use super::body::CallBody;
use super::io::UpstreamIo;

/// Idle connections kept for one upstream by one thread.
const KEPT_MAX: usize = 256;

/// The connections to one upstream that one thread keeps.
#[derive(Debug)]
pub(super) struct Pool {
    seat: Rc<Seat>,
    idle: RefCell<Vec<Idle>>,
    closed: Cell<bool>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// A connection to an upstream; dropping it closes it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<CallBody>,
    received: Rc<Cell<u64>>,
    driver: Option<JoinHandle<Option<Upgraded>>>,
}

/// What is left of a connection that has been upgraded: the stream, and what was read too far.
#[derive(Debug)]
pub(super) struct Upgraded {
    pub(super) stream: TcpStream,
    pub(super) read: Bytes,
}

impl Pool {
    pub(super) fn new(seat: Rc<Seat>) -> Rc<Self> {
        Rc::new(Self { seat, idle: RefCell::default(), closed: Cell::new(false) })
    }

    pub(super) fn seat(&self) -> &Rc<Seat> {
        &self.seat
    }

    pub(super) fn peer(&self) -> &Arc<Peer> {
        self.seat.peer()
    }

    /// A kept connection that has been idle for less than `idle_max`.
    pub(super) fn take(&self, idle_max: Duration) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(kept) = idle.pop() {
            if kept.since.elapsed() >= idle_max {
                // Those below have been idle for longer still.
                idle.push(kept);
                return None;
            }
            if kept.connection.sender.is_ready() {
                return Some(kept.connection);
            }
        }
        None
    }

    /// Keeps a connection whose answer has ended well.
    pub(super) fn keep(&self, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if !self.closed.get() && idle.len() < KEPT_MAX && !connection.sender.is_closed() {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Closes the kept connections that have been idle for too long or that the upstream has closed.
    pub(super) fn tidy(&self, idle_max: Duration) {
        self.idle.borrow_mut().retain(|i| i.since.elapsed() < idle_max && !i.connection.sender.is_closed());
    }

    /// Closes all kept connections, and those that would come back.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.idle.borrow_mut().clear();
    }
}

impl Connection {
    /// Connects to the upstream.
    pub(super) async fn open(peer: &Peer, builder: &Builder, within: Duration) -> io::Result<Self> {
        let stream = timeout(within, TcpStream::connect(peer.upstream().address)).await??;
        stream.set_nodelay(true)?;
        let received = Rc::new(Cell::new(0));
        let io = TokioIo::new(UpstreamIo::new(stream, Rc::clone(&received)));
        let (sender, mut connection) = builder.handshake(io).await.map_err(io::Error::other)?;
        let driver = tokio::task::spawn_local(async move {
            (&mut connection).await.ok()?;
            let parts = connection.into_parts();
            Some(Upgraded { stream: parts.io.into_inner().into_stream(), read: parts.read_buf })
        });
        Ok(Self { sender, received, driver: Some(driver) })
    }

    /// How many bytes the upstream has sent on this connection so far.
    pub(super) fn received(&self) -> u64 {
        self.received.get()
    }

    /// The stream itself, after an answer that switched protocols.
    pub(super) async fn upgrade(mut self) -> Option<Upgraded> {
        self.driver.take()?.await.ok()?
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.abort();
        }
    }
}
