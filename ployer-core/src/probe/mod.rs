//! The probe: is this replica ready? Asked by the gate and by the monitor.
//!
//! A connection that opens proves nothing: a stranger may be on the port. So each form of the question begins with
//! whether the listener belongs to the replica.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{Replica, RequestPath};
use crate::runtime::ContainerRuntime;

mod ask;

pub use self::ask::NetworkProbe;

/// What makes a replica ready.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Check {
    /// A status of 200 to 399 on this path.
    Http {
        /// The path asked for.
        path: RequestPath,
        /// How long an answer may take.
        timeout: Duration,
    },
    /// A listening socket of its own.
    Listening,
}

/// What a probe saw.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is ready.
    Ready,
    /// It is not, and why: "nothing listens on port 20001", "GET /health answered 500".
    NotReady(String),
}

/// Asks replicas whether they are ready.
#[async_trait]
pub trait Probe: fmt::Debug + Send + Sync + 'static {
    /// Asks once.
    ///
    /// # Errors
    ///
    /// Only where it could not ask; a replica that does not answer is [`Verdict::NotReady`].
    async fn probe(&self, runtime: &dyn ContainerRuntime, replica: &Replica, check: &Check) -> Result<Verdict>;
}
