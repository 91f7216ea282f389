//! A foreign proxy: a `Proxy` of one's own, held to the promises of the trait by the library's suite.
//!
//! It keeps a journal of every table that was applied, and leaves the requests to the embedded proxy. One that speaks
//! to a load balancer has the same six methods. `cargo test -p examples --example foreign_proxy` runs the suite.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ployer_core::model::{Answer, ApplicationId, Ask, InFlight, Revision, RouteTable, Traffic, Upstream, Vantage};
use ployer_core::proxy::Proxy;
use ployer_core::proxy::embedded::EmbeddedProxy;
use ployer_core::{Ployer, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let proxy = Arc::new(Journaled::new(EmbeddedProxy::bind("127.0.0.1:0").await?));
    let ployer = Ployer::builder().data_dir("./data").proxy(proxy.clone()).build().await?;
    let mut engine = ployer.spawn();
    engine.ready().await?;
    engine.stop().await?;
    println!("applied: {:?}", proxy.journal());
    Ok(())
}

/// A proxy that remembers which tables were applied.
#[derive(Debug)]
struct Journaled<P> {
    inner: P,
    journal: Mutex<Vec<Revision>>,
}

impl<P> Journaled<P> {
    fn new(inner: P) -> Self {
        Self { inner, journal: Mutex::default() }
    }

    fn journal(&self) -> Vec<Revision> {
        self.journal.lock().map(|journal| journal.clone()).unwrap_or_default()
    }
}

// A method that the trait gains must be forwarded as well.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<P: Proxy> Proxy for Journaled<P> {
    async fn apply(&self, table: &RouteTable, expected: Revision) -> Result<Revision> {
        let applied = self.inner.apply(table, expected).await?;
        if let Ok(mut journal) = self.journal.lock() {
            journal.push(applied);
        }
        Ok(applied)
    }

    async fn routes(&self) -> Result<RouteTable> {
        self.inner.routes().await
    }

    async fn in_flight(&self, upstream: &Upstream) -> Result<InFlight> {
        self.inner.in_flight(upstream).await
    }

    async fn traffic(&self, application: ApplicationId) -> Result<Option<Traffic>> {
        self.inner.traffic(application).await
    }

    async fn ask(&self, ask: &Ask) -> Result<Answer> {
        self.inner.ask(ask).await
    }

    fn vantage(&self) -> Vantage {
        self.inner.vantage()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use ployer_core::testing::proxy::ProxyHarness;

    use super::*;

    struct Foreign(Arc<Journaled<EmbeddedProxy>>);

    #[async_trait]
    impl ProxyHarness for Foreign {
        async fn fresh() -> Self {
            Self(Arc::new(Journaled::new(EmbeddedProxy::bind("127.0.0.1:0").await.unwrap())))
        }

        fn proxy(&self) -> Arc<dyn Proxy> {
            self.0.clone()
        }

        fn address(&self) -> SocketAddr {
            self.0.inner.local_addr()
        }
    }

    ployer_core::testing::proxy_suite!(Foreign);
}
