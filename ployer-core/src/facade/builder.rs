//! The builder: from a data directory and what replaces the defaults to a handle. The only place that names
//! implementations.
//!
//! Building opens and migrates the store and looks at nothing that runs: no task, no thread and no listener begins
//! here. It refuses a data directory that belongs to another database, since what runs there would be unknown to
//! this one.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::local::Local;
use super::ployer::Shared;
use super::{Ployer, installation};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::engine::EngineParts;
use crate::error::{Error, Result};
use crate::model::{EventSeq, RuntimeKind, Secret, Vantage};
use crate::probe::Probe;
use crate::proxy::Proxy;
use crate::runtime::{Builder, ContainerRuntime};
use crate::secrets::SecretStore;
use crate::servers::Servers;
use crate::source::Source;
use crate::store::Store;

/// Builds a [`Ployer`]. Everything has a default but the data directory, and that is needed only by defaults.
#[derive(Debug, Default)]
#[must_use = "nothing is opened before `build`"]
pub struct PloyerBuilder {
    data_dir: Option<PathBuf>,
    settings: Settings,
    holder: Option<String>,
    listener: Option<TcpListener>,
    secret_key: Option<Secret>,
    store: Option<Arc<dyn Store>>,
    secrets: Option<Arc<dyn SecretStore>>,
    servers: Option<Arc<dyn Servers>>,
    runtime: Option<(Arc<dyn ContainerRuntime>, Arc<dyn Builder>)>,
    proxy: Option<Arc<dyn Proxy>>,
    source: Option<Arc<dyn Source>>,
    probe: Option<Arc<dyn Probe>>,
    clock: Option<Arc<dyn Clock>>,
}

impl PloyerBuilder {
    /// Where everything is kept: the database, secrets' key, sources, releases, persistent directories.
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// Deadlines, limits and names instead of the defaults.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// What a second engine is told of this one; by default the program, its process and the host.
    pub fn holder(mut self, holder: impl Into<String>) -> Self {
        self.holder = Some(holder.into());
        self
    }

    /// Where the embedded proxy listens, bound already. By default port 8080 of the loopback interface, or the next
    /// that is free, bound when the engine begins.
    pub fn listener(mut self, listener: TcpListener) -> Self {
        self.listener = Some(listener);
        self
    }

    /// The key that secrets are encrypted with, 32 bytes, instead of the one in the data directory.
    pub fn secret_key(mut self, key: Secret) -> Self {
        self.secret_key = Some(key);
        self
    }

    /// A store instead of SQLite in the data directory.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// A secret store instead of encryption in the store.
    pub fn secrets(mut self, secrets: Arc<dyn SecretStore>) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// How servers are reached: the general form of [`PloyerBuilder::runtime`] and [`PloyerBuilder::proxy`], which
    /// have no effect beside it.
    pub fn servers(mut self, servers: Arc<dyn Servers>) -> Self {
        self.servers = Some(servers);
        self
    }

    /// What runs workloads on this machine, instead of plain processes.
    pub fn runtime<R: ContainerRuntime + Builder>(mut self, runtime: Arc<R>) -> Self {
        self.runtime = Some((runtime.clone(), runtime));
        self
    }

    /// What sends requests to applications, instead of the embedded proxy.
    pub fn proxy(mut self, proxy: Arc<dyn Proxy>) -> Self {
        self.proxy = Some(proxy);
        self
    }

    /// Where source comes from, instead of Git.
    pub fn source(mut self, source: Arc<dyn Source>) -> Self {
        self.source = Some(source);
        self
    }

    /// What asks replicas whether they are ready.
    pub fn probe(mut self, probe: Arc<dyn Probe>) -> Self {
        self.probe = Some(probe);
        self
    }

    /// The time of day, new ids and randomness.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Opens the installation, made on first use.
    ///
    /// # Errors
    ///
    /// `Invalid` if a default needs a data directory and none is given, or the runtime and the proxy cannot meet;
    /// `Conflict` if the data directory belongs to another database, or the secrets to another key.
    pub async fn build(self) -> Result<Ployer> {
        let clock = self.clock.clone().unwrap_or_else(|| Arc::new(SystemClock));
        let settings = Arc::new(self.settings.clone());
        let store = self.open_store().await?;
        let Ground { local, servers, kind } = self.open_servers()?;
        let instance = installation::identify(&*store, &*clock, self.data_dir.as_deref()).await?;
        let server = installation::local_server(&*store, &*clock, kind).await?;
        let parts = EngineParts {
            secrets: self.open_secrets(&store, &clock).await?,
            source: self.open_source(&clock)?,
            probe: self.open_probe()?,
            holder: self.holder.clone().unwrap_or_else(installation::holder),
            alone: false,
            news: watch::Sender::new(EventSeq::default()),
            store,
            servers,
            clock,
            settings,
            instance,
        };
        Ok(Ployer::new(Shared { parts, server, local, running: super::run::Running::default() }))
    }
}

impl PloyerBuilder {
    async fn open_store(&self) -> Result<Arc<dyn Store>> {
        match &self.store {
            Some(store) => Ok(Arc::clone(store)),
            None => Err(missing("store")),
        }
    }

    async fn open_secrets(&self, _store: &Arc<dyn Store>, _clock: &Arc<dyn Clock>) -> Result<Arc<dyn SecretStore>> {
        match &self.secrets {
            Some(secrets) => Ok(Arc::clone(secrets)),
            None => Err(missing("secrets")),
        }
    }

    fn open_servers(&self) -> Result<Ground> {
        if let Some(servers) = &self.servers {
            return Ok(Ground { local: None, servers: Arc::clone(servers), kind: RuntimeKind::Custom });
        }
        let Some((runtime, builder)) = self.runtime.clone() else { return Err(missing("runtime")) };
        let Some(proxy) = self.proxy.clone() else { return Err(missing("proxy")) };
        self.check_reach(&*proxy)?;
        let local = Arc::new(Local { runtime, builder, proxy });
        Ok(Ground { kind: local.kind(), servers: local.clone(), local: Some(local) })
    }

    /// Replicas of this machine listen where the settings say: the proxy must get there.
    fn check_reach(&self, proxy: &dyn Proxy) -> Result<()> {
        let host = self.settings.engine.addresses.host;
        match proxy.vantage() {
            Vantage::Host => Ok(()),
            Vantage::Remote if host.is_loopback() || host.is_unspecified() => {
                let reason = format!("it is on another machine, and replicas listen on {host}");
                Err(Error::invalid("proxy", reason).with_hint("set `engine.addresses.host` to one that it can reach"))
            }
            Vantage::Remote => Ok(()),
        }
    }

    fn open_source(&self, _clock: &Arc<dyn Clock>) -> Result<Arc<dyn Source>> {
        match &self.source {
            Some(source) => Ok(Arc::clone(source)),
            None => Err(missing("source")),
        }
    }

    fn open_probe(&self) -> Result<Arc<dyn Probe>> {
        match &self.probe {
            Some(probe) => Ok(Arc::clone(probe)),
            None => Err(missing("probe")),
        }
    }
}

/// Where workloads run.
struct Ground {
    local: Option<Arc<Local>>,
    servers: Arc<dyn Servers>,
    /// The kind of the row of this machine.
    kind: RuntimeKind,
}

fn missing(part: &'static str) -> Error {
    Error::invalid(part, "none is given, and none is built in")
        .with_hint(format!("hand one in with `.{part}()`, or switch the feature on that brings it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::facade::stand::Still;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn a_runtime_and_a_proxy_that_cannot_meet_are_refused() {
        let still = Arc::new(Still::default());
        let builder = Ployer::builder().store(Arc::new(MemoryStore::new())).secrets(still.clone());
        let builder = builder.source(still.clone()).probe(still.clone());

        let refused = builder.runtime(still.clone()).proxy(still).build().await.unwrap_err();

        assert_eq!((refused.kind(), refused.field()), (ErrorKind::Invalid, Some("proxy")));
        assert!(refused.hint().is_some());
    }
}
