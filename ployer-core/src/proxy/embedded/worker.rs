//! Workers: what one thread has, and what all threads share.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::client::conn::http1 as upstream;
use hyper::server::conn::http1 as server;
use tokio::sync::Semaphore;

use super::ask::Secret;
use super::balance::Peer;
use super::client::Clients;
use super::pool::Pool;
use super::route::{Entry, Live};
use super::traffic::Outcome;
use super::view::{Chosen, NotChosen, Opened, View};
use crate::clock::Clock;
use crate::config::ProxySettings;
use crate::model::Upstream;

/// The most that is read or written at once on one connection.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;

/// The least buffer that the HTTP library takes.
const BUFFER_BYTES_MIN: usize = 8 * 1024;

/// What all threads of a proxy share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: ProxySettings,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) live: Live,
    pub(super) secret: Secret,
    /// The client connections that may still come.
    pub(super) admissions: Arc<Semaphore>,
    /// The client connections of each thread.
    pub(super) connections: Box<[AtomicUsize]>,
}

/// What one thread has.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) thread: usize,
    pub(super) clients: Clients,
    pub(super) view: View,
    pub(super) server: server::Builder,
    pub(super) upstream: upstream::Builder,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, thread: usize) -> Rc<Self> {
        let head = shared.settings.head_bytes_max;
        let buffer = head.max(BUFFER_BYTES).max(BUFFER_BYTES_MIN);
        let mut server = server::Builder::new();
        // The sweep over all connections does what the library would do with a timer for each.
        server.writev(false).max_buf_size(buffer).max_header_size(head).header_read_timeout(None);
        let mut upstream = upstream::Builder::new();
        upstream.writev(false).max_buf_size(buffer).max_header_size(head);
        let view = View::new(&shared.live, thread);
        Rc::new(Self { thread, clients: Clients::default(), view, server, upstream, shared })
    }

    pub(super) fn find(&self, host: &str) -> Option<Rc<Opened>> {
        self.view.find(&self.shared.live, host)
    }

    pub(super) fn choose(&self, route: &Opened, open: impl Fn(&Arc<Peer>) -> bool) -> Result<Chosen, NotChosen> {
        self.view.choose(&self.shared.live, route, open)
    }

    /// An upstream that no route names, for an ask that passes a hold; no connection to it is kept.
    pub(super) fn choose_unrouted(&self, upstream: &Upstream) -> Chosen {
        let (seat, under_way) = self.shared.live.begin_unrouted(upstream, self.thread);
        let pool = Pool::new(seat);
        pool.close();
        Chosen { pool, under_way }
    }

    /// Counts what became of a request; the proxy's own asks are nobody's traffic.
    pub(super) fn count(&self, entry: &Entry, asked: bool, outcome: Outcome) {
        if !asked {
            entry.tallies.count(self.thread, outcome);
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.shared.connections[self.thread].load(Ordering::Relaxed)
    }
}
