//! The embedded proxy: the suite of its trait, and raw sockets, on which clients, upstreams and attackers send what
//! they like, byte by byte.

mod support;

mod asking;
mod balancing;
mod bodies;
mod files;
mod holding;
mod lifecycle;
mod limits;
mod reuse;
mod routing;
mod smuggling;
mod stress;
mod upgrading;

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;

use super::EmbeddedProxy;
use crate::proxy::Proxy;
use crate::testing::proxy::ProxyHarness;

struct Embedded(Arc<EmbeddedProxy>);

#[async_trait]
impl ProxyHarness for Embedded {
    async fn fresh() -> Self {
        Self(Arc::new(EmbeddedProxy::bind("127.0.0.1:0").await.unwrap()))
    }

    fn proxy(&self) -> Arc<dyn Proxy> {
        self.0.clone()
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr()
    }
}

mod suite {
    use super::*;

    crate::proxy_suite!(Embedded);
}
