//! The local server: this machine's runtime and proxy, as the engine finds them behind its row.
//!
//! Whoever only reads and enqueues never starts the proxy: it begins when the engine first speaks to it, and ends
//! with the engine.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{RuntimeKind, Server};
use crate::proxy::Proxy;
use crate::runtime::{Builder, ContainerRuntime};
use crate::servers::{ServerHandle, Servers};

/// This machine's runtime and proxy.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) runtime: Arc<dyn ContainerRuntime>,
    pub(super) builder: Arc<dyn Builder>,
    pub(super) proxy: Arc<dyn Proxy>,
}

impl Local {
    /// What the row of this machine says of its runtime.
    pub(super) fn kind(&self) -> RuntimeKind {
        self.runtime.capabilities().kind
    }

    /// The port of this machine that requests come in at, where it is known.
    pub(super) fn port(&self) -> Option<u16> {
        None
    }

    /// Ends the proxy, if it began with the engine.
    pub(super) async fn stop_proxy(&self) {}
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
