//! The builder: from a data directory and what replaces the defaults to a handle. The only place that names
//! implementations.
//!
//! Building opens and migrates the store and looks at nothing that runs: no task, no thread and no listener begins
//! here. It refuses a data directory that belongs to another database, since what runs there would be unknown to
//! this one.

use std::collections::BTreeMap;
use std::fmt;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

#[cfg(feature = "proxy")]
use super::listen::listen;
#[cfg(feature = "proxy")]
use super::local::Begun;
use super::local::{Local, OnDemand};
use super::ployer::Shared;
use super::run::Running;
use super::{Ployer, installation};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::engine::EngineParts;
use crate::error::{Error, Result};
use crate::model::{EventSeq, InstanceId, RuntimeKind, Vantage};
use crate::probe::{NetworkProbe, Probe};
use crate::proxy::Proxy;
#[cfg(feature = "proxy")]
use crate::proxy::embedded::{EmbeddedConfig, EmbeddedProxy};
#[cfg(feature = "process")]
use crate::runtime::process::{ProcessConfig, ProcessRuntime};
use crate::runtime::{Builder, ContainerRuntime};
use crate::secrets::SecretStore;
use crate::secrets::encrypted::{EncryptedSecrets, MasterKey};
use crate::servers::Servers;
use crate::source::{GitConfig, GitSource, Source};
use crate::store::Store;
#[cfg(feature = "sqlite")]
use crate::store::sql::SqlStore;

/// Builds a [`Ployer`]. Everything has a default but the data directory, and that is needed only by defaults.
#[derive(Default)]
#[must_use = "nothing is opened before `build`"]
pub struct PloyerBuilder {
    data_dir: Option<PathBuf>,
    settings: Settings,
    holder: Option<String>,
    listener: Option<TcpListener>,
    secret_key: Option<MasterKey>,
    environment: BTreeMap<String, String>,
    store: Option<Arc<dyn Store>>,
    secrets: Option<Arc<dyn SecretStore>>,
    servers: Option<Arc<dyn Servers>>,
    runtime: Option<RuntimeAndBuilder>,
    proxy: Option<Arc<dyn Proxy>>,
    source: Option<Arc<dyn Source>>,
    probe: Option<Arc<dyn Probe>>,
    clock: Option<Arc<dyn Clock>>,
}

/// Of the environment only the names: a value may be a password, as that of a proxy's address.
impl fmt::Debug for PloyerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PloyerBuilder")
            .field("data_dir", &self.data_dir)
            .field("settings", &self.settings)
            .field("holder", &self.holder)
            .field("environment", &self.environment.keys())
            .finish_non_exhaustive()
    }
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

    /// The key that secrets are encrypted with, instead of the one in the data directory.
    pub fn secret_key(mut self, key: MasterKey) -> Self {
        self.secret_key = Some(key);
        self
    }

    /// What build commands, processes and Git find in their environment beside what Ployer sets: `PATH`, `HOME`,
    /// `LANG`, `https_proxy` and the like. Nothing is read from the environment of this process.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(variables);
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
        let store = self.open_store().await?;
        let instance = installation::identify(&*store, &*clock, self.data_dir.as_deref()).await?;
        let secrets = self.open_secrets(&store, &clock).await?;
        let source = self.open_source(&clock)?;
        let engine_lock = self.engine_lock();
        let holder = self.holder.clone().unwrap_or_else(installation::holder);
        let settings = Arc::new(self.settings.clone());
        let probe = self.probe.clone().unwrap_or_else(|| Arc::new(NetworkProbe));
        let Ground { local, servers, kind } = self.open_servers(instance, &clock)?;
        let server = installation::local_server(&*store, &*clock, kind).await?;
        let news = watch::Sender::new(EventSeq::default());
        let parts = EngineParts {
            store,
            secrets,
            servers,
            source,
            probe,
            clock,
            settings,
            instance,
            holder,
            alone: false,
            news,
        };
        Ok(Ployer::new(Shared { parts, server, local, engine_lock, running: Running::default() }))
    }

    fn data_dir_of(&self, what: &'static str) -> Result<&Path> {
        self.data_dir.as_deref().ok_or_else(|| {
            Error::invalid("data_dir", format!("none is given, and {what} needs one"))
                .with_hint("name a directory with `.data_dir()`")
        })
    }

    async fn open_store(&self) -> Result<Arc<dyn Store>> {
        if let Some(store) = &self.store {
            return Ok(Arc::clone(store));
        }
        #[cfg(feature = "sqlite")]
        {
            let data_dir = self.data_dir_of("the database")?;
            installation::make_dir(data_dir)?;
            Ok(Arc::new(SqlStore::open(&data_dir.join("ployer.db")).await?))
        }
        #[cfg(not(feature = "sqlite"))]
        Err(missing("store"))
    }

    /// SQLite is a file of this machine: a lock beside it says for certain whether another engine runs.
    fn engine_lock(&self) -> Option<PathBuf> {
        let local = cfg!(feature = "sqlite") && self.store.is_none();
        self.data_dir.as_ref().filter(|_| local).map(|data_dir| data_dir.join("engine.lock"))
    }

    async fn open_secrets(&self, store: &Arc<dyn Store>, clock: &Arc<dyn Clock>) -> Result<Arc<dyn SecretStore>> {
        if let Some(secrets) = &self.secrets {
            return Ok(Arc::clone(secrets));
        }
        let key = self.key(clock)?;
        Ok(Arc::new(EncryptedSecrets::open(Arc::clone(store), Arc::clone(clock), key).await?))
    }

    fn key(&self, clock: &Arc<dyn Clock>) -> Result<MasterKey> {
        match &self.secret_key {
            Some(key) => Ok(key.clone()),
            None => MasterKey::from_file(&self.data_dir_of("the key of the secrets")?.join("secret.key"), &**clock),
        }
    }

    fn open_source(&self, clock: &Arc<dyn Clock>) -> Result<Arc<dyn Source>> {
        if let Some(source) = &self.source {
            return Ok(Arc::clone(source));
        }
        let mut config = GitConfig::new(self.data_dir_of("the source")?, Arc::clone(clock));
        config.settings = self.settings.source.clone();
        config.deadline = self.settings.deadlines.checkout;
        for (name, value) in &self.environment {
            match name.as_str() {
                "PATH" => config.path_env = value.into(),
                "HOME" => config.home = Some(value.into()),
                _ => config.env.push((name.into(), value.into())),
            }
        }
        Ok(Arc::new(GitSource::open(config)?))
    }

    fn open_servers(mut self, instance: InstanceId, clock: &Arc<dyn Clock>) -> Result<Ground> {
        if let Some(servers) = self.servers {
            return Ok(Ground { local: None, servers, kind: RuntimeKind::Custom });
        }
        let (runtime, builder) = match self.runtime.take() {
            Some(given) => given,
            None => self.processes(instance, clock)?,
        };
        let (proxy, on_demand) = match self.proxy.take() {
            Some(given) => (given, None),
            None => {
                let embedded = self.embedded(clock)?;
                (Arc::clone(&embedded) as Arc<dyn Proxy>, Some(embedded))
            }
        };
        self.check_reach(&*proxy)?;
        let local = Arc::new(Local { runtime, builder, proxy, on_demand });
        Ok(Ground { kind: local.kind(), servers: local.clone(), local: Some(local) })
    }

    #[cfg(feature = "process")]
    fn processes(&self, instance: InstanceId, clock: &Arc<dyn Clock>) -> Result<RuntimeAndBuilder> {
        let key = self.key(clock)?.derived("process environments");
        let data_dir = self.data_dir_of("the process runtime")?;
        let mut config = ProcessConfig::new(data_dir, instance, key, Arc::clone(clock));
        config.settings = self.settings.clone();
        config.environment.extend(self.environment.clone());
        let runtime = Arc::new(ProcessRuntime::open(config)?);
        Ok((runtime.clone(), runtime))
    }

    #[cfg(not(feature = "process"))]
    fn processes(&self, _: InstanceId, _: &Arc<dyn Clock>) -> Result<RuntimeAndBuilder> {
        Err(missing("runtime"))
    }

    #[cfg(feature = "proxy")]
    fn embedded(&mut self, clock: &Arc<dyn Clock>) -> Result<Arc<OnDemand>> {
        let (settings, clock) = (self.settings.proxy.clone(), Arc::clone(clock));
        let table_file = self.data_dir.as_ref().map(|data_dir| data_dir.join("routes.json"));
        let given = self.listener.take();
        let start = move || {
            let listener = match &given {
                Some(listener) => listener.try_clone(),
                None => listen(),
            };
            let listener = listener.map_err(|error| {
                Error::unavailable("the proxy's listener")
                    .with_source(error)
                    .with_hint("hand one in with `.listener()`")
            })?;
            let mut config = EmbeddedConfig::new(vec![listener]);
            (config.settings, config.table_file) = (settings.clone(), table_file.clone());
            config.clock = Arc::clone(&clock);
            let proxy = Arc::new(EmbeddedProxy::start(config)?);
            Ok(Begun {
                proxy: proxy.clone(),
                port: proxy.local_addr().port(),
                close: Box::new(move |within| Box::pin(async move { proxy.close(within).await })),
            })
        };
        Ok(Arc::new(OnDemand::new(Vantage::Host, start)))
    }

    #[cfg(not(feature = "proxy"))]
    fn embedded(&mut self, _: &Arc<dyn Clock>) -> Result<Arc<OnDemand>> {
        Err(missing("proxy"))
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
}

type RuntimeAndBuilder = (Arc<dyn ContainerRuntime>, Arc<dyn Builder>);

/// Where workloads run.
struct Ground {
    local: Option<Arc<Local>>,
    servers: Arc<dyn Servers>,
    /// The kind of the row of this machine.
    kind: RuntimeKind,
}

/// Only with a default feature off.
#[cfg(not(all(feature = "sqlite", feature = "process", feature = "proxy")))]
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

    #[cfg(feature = "process")]
    #[test]
    fn no_value_that_was_handed_in_shows_in_debug_output() {
        const PLANTED: &str = "hunter2-planted-hunter2";
        let dir = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let secret = || crate::model::Secret::from(PLANTED);
        let variable = ("https_proxy".to_owned(), format!("http://user:{PLANTED}@host"));
        let key: [u8; 32] = std::array::from_fn(|at| PLANTED.as_bytes()[at % PLANTED.len()]);
        let builder = Ployer::builder().environment([variable.clone()]).secret_key(MasterKey::from_bytes(key));
        let mut process = ProcessConfig::new(dir.path(), InstanceId::new(&SystemClock), secret(), clock.clone());
        process.environment.extend([variable.clone()]);
        let mut git = GitConfig::new(dir.path(), clock);
        git.env.push((variable.0.into(), variable.1.into()));
        let source = GitSource::open(git.clone()).unwrap();

        let shown = [
            format!("{builder:?}"),
            format!("{process:?}"),
            format!("{git:?} {source:?}"),
            format!("{:?}", crate::facade::NewVariable::new(PLANTED)),
            format!("{:?}", secret()),
        ];

        for text in shown {
            assert!(!text.contains(PLANTED) && !text.contains("104, 117, 110"), "{text}");
        }
        assert!(format!("{builder:?}").contains("https_proxy"), "the name helps");
    }

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
