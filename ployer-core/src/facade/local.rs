//! The local server: this machine's runtime and proxy, as the engine finds them behind its row.
//!
//! Whoever only reads and enqueues never starts the proxy: it begins when the engine first speaks to it, and ends
//! with the engine.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    Answer, ApplicationId, Ask, InFlight, Revision, RouteTable, RuntimeKind, Server, Traffic, Upstream, Vantage,
};
use crate::proxy::Proxy;
use crate::runtime::{Builder, ContainerRuntime};
use crate::servers::{ServerHandle, Servers};

/// How long requests under way may take when the proxy ends.
const FAREWELL: Duration = Duration::from_secs(3);

/// This machine's runtime and proxy.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) runtime: Arc<dyn ContainerRuntime>,
    pub(super) builder: Arc<dyn Builder>,
    pub(super) proxy: Arc<dyn Proxy>,
    /// The same proxy, where it begins and ends with the engine.
    pub(super) on_demand: Option<Arc<OnDemand>>,
}

impl Local {
    /// What the row of this machine says of its runtime.
    pub(super) fn kind(&self) -> RuntimeKind {
        self.runtime.capabilities().kind
    }

    /// The port of this machine that requests come in at, where it is known.
    pub(super) fn port(&self) -> Option<u16> {
        self.on_demand.as_ref().and_then(|proxy| proxy.state().as_ref().map(|begun| begun.port))
    }

    /// Ends the proxy, if it began with the engine.
    pub(super) async fn stop_proxy(&self) {
        let begun = self.on_demand.as_ref().and_then(|proxy| proxy.state().take());
        if let Some(begun) = begun {
            (begun.close)(FAREWELL).await;
        }
    }
}

#[async_trait]
impl Servers for Local {
    async fn connect(&self, server: &Server) -> Result<ServerHandle> {
        if !server.is_local {
            return Err(Error::unsupported(format!("deploying to the remote server `{}`", server.name)));
        }
        if server.runtime != self.kind() {
            let message = format!("the runtime of server `{}` is not there", server.name);
            return Err(Error::new(ErrorKind::Unavailable, message)
                .with_hint("start Ployer with the runtime that the server was made with"));
        }
        Ok(ServerHandle {
            runtime: Arc::clone(&self.runtime),
            builder: Arc::clone(&self.builder),
            proxy: Arc::clone(&self.proxy),
        })
    }
}

/// A proxy that begins when it is first spoken to.
pub(super) struct OnDemand {
    vantage: Vantage,
    start: Box<dyn Fn() -> Result<Begun> + Send + Sync>,
    state: Mutex<Option<Begun>>,
}

/// A proxy that has begun.
pub(super) struct Begun {
    pub(super) proxy: Arc<dyn Proxy>,
    pub(super) port: u16,
    pub(super) close: Box<dyn FnOnce(Duration) -> BoxFuture<'static, ()> + Send>,
}

impl fmt::Debug for OnDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDemand").field("port", &self.state().as_ref().map(|begun| begun.port)).finish_non_exhaustive()
    }
}

impl OnDemand {
    #[cfg(feature = "proxy")]
    pub(super) fn new(vantage: Vantage, start: impl Fn() -> Result<Begun> + Send + Sync + 'static) -> Self {
        Self { vantage, start: Box::new(start), state: Mutex::new(None) }
    }

    fn begun(&self) -> Result<Arc<dyn Proxy>> {
        let mut state = self.state();
        if let Some(begun) = &*state {
            return Ok(Arc::clone(&begun.proxy));
        }
        let begun = (self.start)()?;
        let proxy = Arc::clone(&begun.proxy);
        *state = Some(begun);
        Ok(proxy)
    }

    fn state(&self) -> MutexGuard<'_, Option<Begun>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a wrapper that forgets a method answers for the wrong proxy")]
impl Proxy for OnDemand {
    async fn apply(&self, table: &RouteTable, expected: Revision) -> Result<Revision> {
        self.begun()?.apply(table, expected).await
    }

    async fn routes(&self) -> Result<RouteTable> {
        self.begun()?.routes().await
    }

    async fn in_flight(&self, upstream: &Upstream) -> Result<InFlight> {
        self.begun()?.in_flight(upstream).await
    }

    async fn traffic(&self, application: ApplicationId) -> Result<Option<Traffic>> {
        self.begun()?.traffic(application).await
    }

    async fn ask(&self, ask: &Ask) -> Result<Answer> {
        self.begun()?.ask(ask).await
    }

    fn vantage(&self) -> Vantage {
        self.vantage
    }
}
