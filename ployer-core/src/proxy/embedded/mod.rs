//! The embedded proxy: HTTP/1.1 on threads of its own, in this process.
//!
//! It knows neither store nor engine: it is told a table and routes by it. The way of a request: `listen` accepts it,
//! `client` serves its connection, `call` checks it, `forward` follows the routes that `view` shows, `send` passes it to
//! an upstream over a connection of `pool`. What it promises is written at [`Proxy`]; what keeps draining safe is in
//! `view`.
//!
//! The table is compiled and swapped whole; each thread keeps its own connections and counts, so that no request waits
//! for a lock. A proxy that starts with a table on disk holds all its hosts until a table is applied.

mod ask;
mod balance;
mod body;
mod call;
mod client;
mod forward;
mod headers;
mod hold;
mod io;
mod listen;
mod pages;
mod persist;
mod pool;
mod route;
mod send;
mod static_files;
mod traffic;
mod upgrade;
mod view;
mod worker;

#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use tokio::net::ToSocketAddrs;
use tokio::sync::{Semaphore, watch};

use self::ask::Secret;
use self::listen::Stop;
use self::route::Live;
use self::worker::Shared;
use crate::clock::{Clock, SystemClock};
use crate::config::ProxySettings;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Answer, ApplicationId, Ask, InFlight, Revision, RouteTable, Traffic, Upstream, Vantage};
use crate::proxy::Proxy;

/// What an embedded proxy is made of.
#[derive(Debug)]
pub struct EmbeddedConfig {
    /// Where it listens: at least one.
    pub listeners: Vec<TcpListener>,
    /// Its limits.
    pub settings: ProxySettings,
    /// Where the table is kept; `None`: in memory only.
    pub table_file: Option<PathBuf>,
    /// Tells when a hold ends, and makes the secret of its asks.
    pub clock: Arc<dyn Clock>,
}

impl EmbeddedConfig {
    /// Listens on `listeners`, with all else by default.
    pub fn new(listeners: Vec<TcpListener>) -> Self {
        Self { listeners, settings: ProxySettings::default(), table_file: None, clock: Arc::new(SystemClock) }
    }
}

/// A reverse proxy on threads of its own; they end when it is dropped.
#[derive(Debug)]
pub struct EmbeddedProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    table_file: Option<PathBuf>,
    stop: watch::Sender<Stop>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl EmbeddedProxy {
    /// Listens on `address` with all else by default; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// `Conflict` if the address is taken; `Invalid` if it is none of this machine's.
    pub async fn bind(address: impl ToSocketAddrs) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind(address).await.and_then(tokio::net::TcpListener::into_std);
        let listener = listener.map_err(|e| match e.kind() {
            std::io::ErrorKind::AddrInUse => Error::conflict("the proxy's address is taken by somebody else")
                .with_hint("choose another port, or stop what listens there")
                .with_source(e),
            _ => Error::invalid("address", "the proxy cannot listen on it").with_source(e),
        })?;
        Self::start(EmbeddedConfig::new(vec![listener]))
    }

    /// Starts a proxy; it accepts when this returns.
    ///
    /// # Errors
    ///
    /// `Invalid` without a listener; `Internal` if the system gives no threads or sockets.
    pub fn start(config: EmbeddedConfig) -> Result<Self> {
        let EmbeddedConfig { listeners, settings, table_file, clock } = config;
        let first = listeners.first().ok_or_else(|| Error::invalid("listeners", "there is none"))?;
        let address = first.local_addr().map_err(|e| Error::internal("the proxy's listener has no address", e))?;
        let threads = settings.threads.unwrap_or_else(cores).max(1);
        let until = clock.now().saturating_add(settings.hold_at_start).unwrap_or(jiff::Timestamp::MAX);
        let restored = table_file.as_deref().and_then(persist::restore);
        let held_until = restored.as_ref().map(|_| until);
        let shared = Arc::new(Shared {
            live: Live::new(restored.unwrap_or_default(), held_until, threads)?,
            secret: Secret::new(&*clock)?,
            admissions: Arc::new(Semaphore::new(settings.connections_max.min(Semaphore::MAX_PERMITS))),
            connections: (0..threads).map(|_| 0.into()).collect(),
            settings,
            clock,
        });
        let stop = watch::Sender::new(Stop::No);
        let threads = Mutex::new(listen::start(&shared, &listeners, &stop)?);
        Ok(Self { shared, address, table_file, stop, threads })
    }

    /// Where it listens: the address of its first listener.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, and ends after what is under way, at most `within` this time. Requests that are held are under
    /// way. What has not ended by then is cut off.
    pub async fn close(&self, within: Duration) {
        self.stop.send_replace(Stop::Finish(within));
        self.stop.closed().await;
        self.join();
    }

    fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the proxy panicked");
            }
        }
    }
}

impl Drop for EmbeddedProxy {
    fn drop(&mut self) {
        self.stop.send_replace(Stop::Now);
        self.join();
    }
}

#[async_trait]
impl Proxy for EmbeddedProxy {
    async fn apply(&self, table: &RouteTable, expected: Revision) -> Result<Revision> {
        let Some(path) = self.table_file.clone() else { return self.shared.live.apply(table, expected, |_| Ok(())) };
        let (shared, table) = (Arc::clone(&self.shared), table.clone());
        let applied = move || shared.live.apply(&table, expected, |table| persist::save(&path, table));
        tokio::task::spawn_blocking(applied).await.map_err(|e| Error::internal("the route table was not applied", e))?
    }

    async fn routes(&self) -> Result<RouteTable> {
        Ok(self.shared.live.table())
    }

    async fn in_flight(&self, upstream: &Upstream) -> Result<InFlight> {
        Ok(self.shared.live.in_flight(upstream))
    }

    async fn traffic(&self, application: ApplicationId) -> Result<Option<Traffic>> {
        Ok(self.shared.live.traffic(application))
    }

    async fn ask(&self, ask: &Ask) -> Result<Answer> {
        if self.stop.is_closed() {
            return Err(Error::new(ErrorKind::NotRunning, "the proxy has been closed"));
        }
        let settings = &self.shared.settings;
        ask::send(ask, self.address, &self.shared.secret, settings.connect + settings.answer_head).await
    }

    fn vantage(&self) -> Vantage {
        Vantage::Host
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
