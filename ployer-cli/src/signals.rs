//! Signals: the wish of whoever runs the program that it ends.

use ployer_core::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears Ctrl-C and SIGTERM from the moment it is made.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on the signals end nothing by themselves.
    pub(crate) fn new() -> Result<Self> {
        let hear = |kind| signal(kind).map_err(|error| Error::internal("signals cannot be heard", error));
        Ok(Self { interrupt: hear(SignalKind::interrupt())?, terminate: hear(SignalKind::terminate())? })
    }

    /// Returns when the program was asked to end.
    pub(crate) async fn end(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
