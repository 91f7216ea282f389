//! Servers: from a server's row to what can be done there.
//!
//! The engine never holds *the* runtime: it asks for that of the application's server.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::Result;
use crate::model::Server;
use crate::proxy::Proxy;
use crate::runtime::{Builder, ContainerRuntime};

/// What can be done on a server.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    /// Runs workloads there.
    pub runtime: Arc<dyn ContainerRuntime>,
    /// Builds what the runtime runs.
    pub builder: Arc<dyn Builder>,
    /// Sends requests there. Rows of one machine share one.
    pub proxy: Arc<dyn Proxy>,
}

/// Reaches servers.
#[async_trait]
pub trait Servers: fmt::Debug + Send + Sync + 'static {
    /// What can be done on `server`; the same handle for the same row.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it cannot be reached now, `Unsupported` if it is of a kind that is not built in.
    async fn connect(&self, server: &Server) -> Result<ServerHandle>;
}
