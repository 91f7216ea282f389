//! Places: one maker at a time of each release directory.
//!
//! Copying a tree is blocking work that goes on when its call is dropped. It is told so, and whoever makes or
//! removes the same directory next waits until it has stopped.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::model::DeploymentId;

/// The release directories that somebody is at.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<BTreeMap<DeploymentId, Arc<tokio::sync::Mutex<()>>>>);

impl Places {
    /// Waits until nobody else is at the directory of a deployment.
    pub(super) async fn take(&self, deployment: DeploymentId) -> Place {
        let lock = {
            let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            places.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(places.entry(deployment).or_default())
        };
        let work = Work { _lock: lock.lock_owned().await, is_dropped: AtomicBool::new(false) };
        Place(Arc::new(work))
    }
}

/// Being at a directory, until this and all blocking work on it have ended.
#[derive(Debug)]
pub(super) struct Place(Arc<Work>);

impl Place {
    /// For blocking work on the directory.
    pub(super) fn work(&self) -> Arc<Work> {
        Arc::clone(&self.0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.is_dropped.store(true, Ordering::Relaxed);
    }
}

/// Blocking work on a directory.
#[derive(Debug)]
pub(super) struct Work {
    _lock: OwnedMutexGuard<()>,
    is_dropped: AtomicBool,
}

impl Work {
    /// Asked between two files.
    ///
    /// # Errors
    ///
    /// `Interrupted` once the call is gone.
    pub(super) fn go_on(&self) -> io::Result<()> {
        if self.is_dropped.load(Ordering::Relaxed) { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn the_next_waits_for_work_that_was_dropped_and_is_told_to_stop() {
        let places = Places::default();
        let deployment = DeploymentId::new(&SystemClock);
        let place = places.take(deployment).await;
        let work = place.work();
        work.go_on().unwrap();

        drop(place);

        assert_eq!(work.go_on().unwrap_err().kind(), io::ErrorKind::Interrupted);
        let mut next = std::pin::pin!(places.take(deployment));
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        drop(work);
        next.await.work().go_on().unwrap();
    }

    #[tokio::test]
    async fn places_of_two_deployments_do_not_wait_for_each_other() {
        let places = Places::default();

        let _one = places.take(DeploymentId::new(&SystemClock)).await;
        let _other = places.take(DeploymentId::new(&SystemClock)).await;
    }
}
