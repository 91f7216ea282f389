//! Running: the engine started, seen to hold its lease, and ended in good order.
//!
//! Tasks begin here and nowhere else in the facade, and all of them end with the handle: by [`EngineHandle::stop`],
//! or in the background when it is dropped. Applications go on either way.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Ployer;
use crate::access::Action;
use crate::engine::{self, Engine, EngineParts};
use crate::error::{Error, ErrorKind, Result};

/// An engine of this process. Dropping it ends the engine in the background; applications go on.
#[derive(Debug)]
#[must_use = "dropping the handle ends the engine"]
pub struct EngineHandle {
    stop: CancellationToken,
    started: watch::Receiver<bool>,
    /// `None` once its end was told.
    task: Option<JoinHandle<Result<()>>>,
}

/// How many engines of this process are starting or run.
#[derive(Debug, Default)]
pub(super) struct Running(AtomicUsize);

impl Running {
    /// Whether one does.
    pub(super) fn here(&self) -> bool {
        self.0.load(Ordering::Acquire) > 0
    }
}

/// Counts an engine for as long as it lives.
struct Counted(Ployer);

impl Counted {
    fn new(ployer: &Ployer) -> Self {
        ployer.shared.running.0.fetch_add(1, Ordering::AcqRel);
        Self(ployer.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.shared.running.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Ployer {
    /// Starts the engine in a task: from now on what is queued is deployed, and what should run is kept running.
    ///
    /// It takes the lease first; [`EngineHandle::ready`] tells whether it could.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, as `tokio::spawn` does.
    pub fn spawn(&self) -> EngineHandle {
        let stop = CancellationToken::new();
        let (tell, started) = watch::channel(false);
        // Counted before this returns, so that a wait that begins at once finds an engine.
        let engine = self.clone().engine(Counted::new(self), stop.clone(), tell);
        EngineHandle { stop, started, task: Some(tokio::spawn(engine)) }
    }

    /// Runs the engine within this future until `until` is ready, then ends it in good order.
    ///
    /// Dropping the future is what a crash looks like: the next engine takes up what was open.
    ///
    /// # Errors
    ///
    /// `Forbidden` unless this handle acts as the system or an administrator, `Conflict` if another engine holds the
    /// lease, or took it over.
    pub async fn run(&self, until: impl Future<Output = ()>) -> Result<()> {
        let stop = CancellationToken::new();
        let (tell, _started) = watch::channel(false);
        let engine = self.clone().engine(Counted::new(self), stop.clone(), tell);
        tokio::pin!(engine);
        tokio::select! {
            ended = &mut engine => ended,
            () = until => {
                stop.cancel();
                engine.await
            }
        }
    }

    /// Ends the replicas of every application and keeps them: the next engine starts them again. Whether an
    /// application should run stays as it is.
    ///
    /// # Errors
    ///
    /// `Conflict` while an engine runs: it would start them again.
    pub async fn stop_applications(&self) -> Result<()> {
        self.allow(Action::Administer).await?;
        let lock = self.lock().await?;
        let parts = EngineParts { alone: lock.is_some(), ..self.shared.parts.clone() };
        engine::stop_applications(&parts).await
    }

    /// Keeps every other engine away for as long as the file is held; `None` where the lease alone must do.
    async fn lock(&self) -> Result<Option<File>> {
        let Some(path) = &self.shared.engine_lock else { return Ok(None) };
        let unusable = |error: io::Error| {
            Error::new(ErrorKind::Unavailable, format!("{} cannot be locked", path.display())).with_source(error)
        };
        let file = File::options().create(true).truncate(false).write(true).open(path).map_err(unusable)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK) => {
                let lease = self.store().lease().await?;
                let holder = lease.map_or_else(|| "another process".to_owned(), |lease| lease.holder);
                Err(Error::conflict(format!("an engine runs on this data already: {holder}"))
                    .with_hint("stop it first, or use another data directory"))
            }
            Err(error) => Err(unusable(error.into())),
        }
    }

    async fn engine(self, counted: Counted, stop: CancellationToken, tell: watch::Sender<bool>) -> Result<()> {
        let _counted = counted;
        self.allow(Action::Administer).await?;
        let lock = self.lock().await?;
        let parts = EngineParts { alone: lock.is_some(), ..self.shared.parts.clone() };
        let engine = Engine::start(parts).await?;
        tell.send_replace(true);
        let ended = engine.run(stop).await;
        if let Some(local) = &self.shared.local {
            local.stop_proxy().await;
        }
        ended
    }
}

impl EngineHandle {
    /// Returns once the engine holds the lease and works.
    ///
    /// # Errors
    ///
    /// `Conflict` if another engine holds it: the message names the holder. Told once; then this engine has ended.
    pub async fn ready(&mut self) -> Result<()> {
        let started = self.started.wait_for(|started| *started).await.is_ok();
        if started { Ok(()) } else { self.ended().await }
    }

    /// Returns when the engine has ended by itself.
    ///
    /// # Errors
    ///
    /// Why it has: `Conflict` if its lease could not be had or was lost. Told once.
    pub async fn ended(&mut self) -> Result<()> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let ended = task.await;
        self.task = None;
        ended.map_err(|error| Error::internal("the engine ended by a panic", error))?
    }

    /// Ends the engine and all of its tasks. Applications go on; what was under way is parked, and taken up by the
    /// next engine.
    ///
    /// # Errors
    ///
    /// Why it had ended before, if it had and that was not told yet.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        self.ended().await
    }
}

impl Drop for EngineHandle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
