//! Locks by name: two pieces of work on the same thing wait for each other, all others do not meet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use uuid::Uuid;

/// Locks that exist while somebody holds them or waits.
#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<Uuid, Weak<AsyncMutex<()>>>>);

impl Locks {
    /// Waits for the lock of `id`.
    pub(super) async fn hold(&self, id: Uuid) -> OwnedMutexGuard<()> {
        let lock = self.of(id);
        lock.lock_owned().await
    }

    fn of(&self, id: Uuid) -> Arc<AsyncMutex<()>> {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(&id).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        locks.insert(id, Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_thing_is_held_once_and_others_at_the_same_time() {
        let locks = Locks::default();
        let (shop, blog) = (Uuid::from_u128(1), Uuid::from_u128(2));

        let held = locks.hold(shop).await;

        assert!(tokio::time::timeout(Duration::from_secs(1), locks.hold(shop)).await.is_err());
        locks.hold(blog).await;
        drop(held);
        locks.hold(shop).await;
    }

    #[tokio::test]
    async fn locks_that_nobody_holds_are_not_kept() {
        let locks = Locks::default();
        for id in 0..100 {
            locks.hold(Uuid::from_u128(id)).await;
        }

        assert_eq!(locks.0.lock().unwrap().len(), 1);
    }
}
