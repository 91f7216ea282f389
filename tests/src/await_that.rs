//! Awaiting: a condition looked at again and again, and given up at a deadline that says what never came.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Long enough for whatever a loaded machine does at all.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Returns what `look` finds, once it finds something.
///
/// # Panics
///
/// If it finds nothing within [`PATIENCE`]: with `what` and the reason of the last look.
pub async fn eventually<T, E: fmt::Display>(what: &str, look: impl AsyncFnMut() -> Result<T, E>) -> T {
    within(PATIENCE, what, look).await
}

/// As [`eventually`], with a deadline of its own.
///
/// # Panics
///
/// If it finds nothing within `limit`.
pub async fn within<T, E: fmt::Display>(limit: Duration, what: &str, mut look: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match look().await {
            Ok(found) => return found,
            Err(reason) if Instant::now() >= deadline => panic!("{what}: not within {limit:?}: {reason}"),
            Err(_) => sleep(LOOK).await,
        }
    }
}
