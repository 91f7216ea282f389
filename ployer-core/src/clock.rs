//! The clock: time, new ids and randomness as values that a test can own.
//!
//! Nothing else in this library asks the operating system for the time of day or for entropy. Waiting goes
//! through tokio's timer, which a test can pause; a [`Clock`] of its own makes the rest repeatable too.

use std::fmt;

pub use jiff::Timestamp;
use uuid::Uuid;

use crate::error::{Error, Result};

/// The time of day, fresh ids and random bytes.
///
/// Implementors promise: ids are UUIDs of version 7 and differ from each other.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> Timestamp;

    /// A new UUID of version 7 (RFC 9562), which sorts by the time it was made.
    fn new_id(&self) -> Uuid;

    /// Fills `bytes` with randomness that is fit for keys and nonces.
    ///
    /// # Errors
    ///
    /// `Internal` if the operating system has none to give.
    fn random(&self, bytes: &mut [u8]) -> Result<()>;
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the system's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    #[allow(clippy::disallowed_methods, reason = "this is the one place that makes ids")]
    fn new_id(&self) -> Uuid {
        Uuid::now_v7()
    }

    fn random(&self, bytes: &mut [u8]) -> Result<()> {
        getrandom::fill(bytes).map_err(|e| Error::internal("the system gives no random bytes", std::io::Error::from(e)))
    }
}
