//! Turns: a story that measures loss has the machine to itself.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::const_new(());

/// The machine for this story alone.
pub(crate) async fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().await
}

/// The machine, shared with other stories.
pub(crate) async fn beside() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().await
}
