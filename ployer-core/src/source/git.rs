//! Git: the source that calls the system's `git`.
//!
//! Each checkout works on a thread of its own and is ended when its future is dropped. Work on one application, and
//! on one deployment, waits for its turn; all other work does not meet. What a checkout does is in `checkout`.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::args::{Git, names};
use super::checkout::Job;
use super::failure::Trouble;
use super::lock::Locks;
use super::places::Places;
use super::run::{EndOnDrop, Run, Wanted};
use super::{Checkout, CheckoutRequest, Progress, Source, ssh};
use crate::clock::Clock;
use crate::config::{Deadlines, SourceSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ApplicationId, DeploymentId};

/// Lines that may wait for whoever follows.
const LINES_MAX: usize = 256;

/// What a [`GitSource`] needs to know. The environment is handed in: a library does not read it.
#[derive(Clone)]
pub struct GitConfig {
    /// Where mirrors (`sources`) and checkouts (`checkouts`) are kept.
    pub data_dir: PathBuf,
    /// What may be deployed and how large it may be.
    pub settings: SourceSettings,
    /// How long a checkout may take.
    pub deadline: Duration,
    /// The `PATH` in which `git`, `ssh` and `git-lfs` are found.
    pub path_env: OsString,
    /// Further variables for `git`: `https_proxy`, `SSL_CERT_FILE` and the like. Those of Git and SSH themselves are
    /// left out, but for `GIT_SSL_*`.
    pub env: Vec<(OsString, OsString)>,
    /// The user's home directory, which is not taken as an application by mistake.
    pub home: Option<PathBuf>,
    /// Names files.
    pub clock: Arc<dyn Clock>,
}

/// Of the variables only the names: a value may be a password, as that of a proxy's address.
impl fmt::Debug for GitConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitConfig")
            .field("data_dir", &self.data_dir)
            .field("settings", &self.settings)
            .field("deadline", &self.deadline)
            .field("path_env", &self.path_env)
            .field("env", &names(&self.env))
            .field("home", &self.home)
            .finish_non_exhaustive()
    }
}

impl GitConfig {
    /// The defaults, with the usual `PATH` of a system.
    pub fn new(data_dir: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self {
            data_dir: data_dir.into(),
            settings: SourceSettings::default(),
            deadline: Deadlines::default().checkout,
            path_env: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into(),
            env: Vec::new(),
            home: None,
            clock,
        }
    }
}

/// Fetches source with the system's `git`, version 2.32 or newer.
#[derive(Clone, Debug)]
pub struct GitSource(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: GitConfig,
    git: Git,
    places: Places,
    locks: Locks,
}

impl GitSource {
    /// Makes its folders, and removes the keys that a crash has left.
    ///
    /// # Errors
    ///
    /// `Failed` if the data directory cannot be written.
    pub fn open(config: GitConfig) -> Result<Self> {
        let data_dir = config.data_dir.clone();
        let unusable = |source| {
            Error::failed(format!("the folders for sources cannot be made in `{}`", data_dir.display()))
                .with_source(source)
        };
        let places = Places::open(&config.data_dir).map_err(unusable)?;
        ssh::sweep(&places.keys()).map_err(unusable)?;
        let git = Git::new(config.path_env.clone(), places.home(), config.env.clone(), &config.settings);
        Ok(Self(Arc::new(Inner { config, git, places, locks: Locks::default() })))
    }

    async fn check_out(&self, request: &CheckoutRequest, progress: &dyn Progress) -> Result<Checkout> {
        let deployment = self.0.locks.hold(request.deployment.as_uuid()).await;
        let application = self.0.locks.hold(request.application.as_uuid()).await;
        let wanted = Arc::new(Wanted::default());
        let _end = EndOnDrop(wanted.clone());
        let (lines, mut news) = mpsc::channel(LINES_MAX);
        let (inner, request) = (self.0.clone(), request.clone());
        let work = tokio::task::spawn_blocking(move || {
            let _held = (deployment, application);
            inner.work(&request, wanted, lines)
        });
        while let Some(line) = news.recv().await {
            progress.line(&line);
        }
        work.await.map_err(|error| Error::internal("the checkout broke", error))?
    }

    async fn remove(
        &self,
        id: uuid::Uuid,
        what: impl FnOnce(&Places) -> std::io::Result<()> + Send + 'static,
    ) -> Result<()> {
        let held = self.0.locks.hold(id).await;
        let inner = self.0.clone();
        let work = tokio::task::spawn_blocking(move || {
            let _held = held;
            what(&inner.places)
        });
        let removed = work.await.map_err(|error| Error::internal("the removal broke", error))?;
        removed.map_err(|error| Error::failed("a source cannot be removed").with_source(error))
    }
}

impl Inner {
    fn work(&self, request: &CheckoutRequest, wanted: Arc<Wanted>, lines: mpsc::Sender<String>) -> Result<Checkout> {
        let clock = &self.config.clock;
        let folder = self.places.application(request.application);
        let lock = self.places.lock(request.application, &**clock).map_err(Trouble::file(&folder));
        let checkout = lock.and_then(|lock| {
            let run = Run { git: self.git.clone(), wanted, lines, lock };
            let (settings, home) = (&self.config.settings, self.config.home.as_deref());
            Job { request, run: &run, places: &self.places, settings, home, clock }.work()
        });
        checkout.map_err(|trouble| trouble.into_error(&request.url, &self.places.known_hosts()))
    }
}

#[async_trait]
impl Source for GitSource {
    async fn checkout(&self, request: &CheckoutRequest, progress: &dyn Progress) -> Result<Checkout> {
        let deadline = self.0.config.deadline;
        tokio::time::timeout(deadline, self.check_out(request, progress)).await.unwrap_or_else(|_| {
            let message = format!("the checkout of `{}` took longer than {} s", request.url, deadline.as_secs());
            Err(Error::new(ErrorKind::Timeout, message)
                .with_hint("check that this machine reaches it well, then deploy again"))
        })
    }

    async fn discard(&self, deployment: DeploymentId) -> Result<()> {
        self.remove(deployment.as_uuid(), move |places| places.remove_checkout(deployment)).await
    }

    async fn forget(&self, application: ApplicationId) -> Result<()> {
        self.remove(application.as_uuid(), move |places| places.remove_application(application)).await
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::super::sample::Local;
    use super::*;
    use crate::model::Secret;
    use crate::testing::Content;
    use crate::testing::source::SourceHarness;

    crate::source_suite!(Local);

    /// An address where somebody listens and never answers.
    fn silent() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[tokio::test]
    async fn a_checkout_that_takes_too_long_says_so_and_leaves_nothing() {
        let local = Local::with(|config| config.deadline = Duration::from_millis(300));
        let (_listener, port) = silent();
        let mut wanted = local.request("x");
        wanted.url = format!("git://127.0.0.1:{port}/shop").parse().unwrap();

        let error = local.check_out(&wanted).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(error.to_string().contains(wanted.url.as_str()), "{error}");
        // Waits for the checkout's end.
        local.source().discard(wanted.deployment).await.unwrap();
        assert_eq!(std::fs::read_dir(local.path("data/checkouts")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_dropped_checkout_ends_its_git_and_removes_its_key() {
        let local = Local::new();
        let (listener, port) = silent();
        let mut wanted = local.request("x");
        wanted.url = format!("ssh://git@127.0.0.1:{port}/shop").parse().unwrap();
        wanted.deploy_key = Some(Secret::from("PRIVATE"));
        let source = local.source();
        let request = wanted.clone();
        let checkout =
            tokio::spawn(async move { source.checkout(&request, &crate::testing::source::Heard::default()).await });
        let mut connection = tokio::task::spawn_blocking(move || listener.accept().unwrap().0).await.unwrap();
        assert_eq!(std::fs::read_dir(local.path("data/sources/.keys")).unwrap().count(), 1);

        checkout.abort();

        local.source().discard(wanted.deployment).await.unwrap();
        assert_eq!(std::fs::read_dir(local.path("data/sources/.keys")).unwrap().count(), 0);
        // `ssh` has gone, or this would never end.
        let read = tokio::task::spawn_blocking(move || connection.read_to_end(&mut Vec::new()));
        tokio::time::timeout(Duration::from_secs(5), read).await.unwrap().unwrap().ok();
    }

    #[tokio::test]
    async fn progress_comes_line_by_line_in_order() {
        let local = Local::new();
        local.repository("shop", &[("f", Content::Text("text"))]);

        local.check_out(&local.request("shop")).await.unwrap();

        assert!(local.heard().contains("remote: Counting objects"), "{}", local.heard());
    }

    #[test]
    fn a_data_directory_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();

        let error = GitSource::open(GitConfig::new(file.path(), Arc::new(crate::clock::SystemClock))).unwrap_err();

        assert!(error.to_string().contains(file.path().to_str().unwrap()), "{error}");
    }
}
