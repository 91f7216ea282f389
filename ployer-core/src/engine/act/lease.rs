//! The lease: one engine acts on a store at a time, and the store refuses what an earlier one still writes.
//!
//! The epoch rises with each holder, and every commit of the engine carries it. A holder that could not renew for a
//! while begins no further effect, well before another engine may take the lease; one that lost it ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use super::engine::EngineParts;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Actor, EventKind, Lease, NewEvent, Record, Version};
use crate::store::Commit;

/// How soon a renewal that failed is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// The lease, as long as this engine holds it.
#[derive(Debug)]
pub(super) struct HeldLease {
    parts: Arc<EngineParts>,
    epoch: u64,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    row: Lease,
    renewed_at: Instant,
}

impl HeldLease {
    /// Takes the lease, with an epoch of its own.
    ///
    /// # Errors
    ///
    /// `Conflict` if another engine holds it; the message names it, and until when.
    pub(super) async fn take(parts: Arc<EngineParts>) -> Result<Self> {
        let stored = vacant(&parts).await?;
        let (version, last) = stored.map_or((Version::NEW, 0), |lease| (lease.version, lease.epoch));
        let renewed_at = Instant::now();
        let row = Lease { version, holder: parts.holder.clone(), epoch: last + 1, expires_at: expiry(&parts) };
        let event = NewEvent::global(EventKind::EngineStarted { epoch: row.epoch });
        let commit = Commit::new(Actor::System, parts.clock.now()).event(event);
        let commit = if version == Version::NEW { commit.insert(row.clone()) } else { commit.update(row.clone()) };
        match parts.store.commit(commit).await {
            Ok(seq) => parts.tell(seq),
            Err(error) if error.kind() == ErrorKind::Conflict || error.kind() == ErrorKind::AlreadyExists => {
                return Err(parts.store.lease().await?.map_or(error, |lease| held_by(&lease)));
            }
            Err(error) => return Err(error),
        }
        let row = Lease { version: version.next(), ..row };
        Ok(Self { parts, epoch: row.epoch, held: Mutex::new(Held { row, renewed_at }) })
    }

    /// Rises with each holder.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether effects may begin: the lease was renewed a short while ago.
    pub(super) fn is_fresh(&self) -> bool {
        self.held().renewed_at.elapsed() < self.parts.settings.engine.lease_doubt
    }

    /// Renews the lease until it is lost, and answers to whom.
    pub(super) async fn keep(&self) -> Error {
        let mut pause = self.parts.settings.engine.lease_renewal;
        loop {
            sleep(pause).await;
            pause = match timeout(self.parts.settings.engine.lease_doubt, self.renew()).await {
                Ok(Ok(Renewed::Yes)) => self.parts.settings.engine.lease_renewal,
                Ok(Ok(Renewed::Lost(error))) => return error,
                Ok(Err(error)) => {
                    tracing::warn!(error = %error.chain(), "the engine's lease could not be renewed");
                    RETRY
                }
                Err(_) => RETRY,
            };
        }
    }

    /// Holds the lease while `work` goes on.
    pub(super) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let keeping = async {
            self.keep().await;
            std::future::pending().await
        };
        tokio::select! {
            biased;
            result = work => result,
            never = keeping => never,
        }
    }

    async fn renew(&self) -> Result<Renewed> {
        let began_at = Instant::now();
        let row = Lease { expires_at: expiry(&self.parts), ..self.held().row.clone() };
        let commit = Commit::new(Actor::System, self.parts.clock.now()).update(row.clone()).fenced(self.epoch);
        match self.parts.store.commit(commit).await {
            Ok(_) => {
                let row = Lease { version: row.version.next(), ..row };
                *self.held() = Held { row, renewed_at: began_at };
                Ok(Renewed::Yes)
            }
            Err(error) if error.kind() == ErrorKind::Conflict => self.read_again(error).await,
            Err(error) => Err(error),
        }
    }

    /// After a commit that lost: an earlier renewal may have been stored although it reported an error.
    async fn read_again(&self, error: Error) -> Result<Renewed> {
        match self.parts.store.lease().await? {
            Some(lease) if lease.epoch == self.epoch => {
                self.held().row = lease;
                Err(error)
            }
            Some(lease) => Ok(Renewed::Lost(held_by(&lease))),
            None => Ok(Renewed::Lost(error)),
        }
    }

    /// Gives the lease back, so that the next engine need not wait for its end.
    pub(super) async fn give_back(&self) -> Result<()> {
        let now = self.parts.clock.now();
        let row = Lease { expires_at: now, ..self.held().row.clone() };
        let event = NewEvent::global(EventKind::EngineStopped { epoch: self.epoch });
        let commit = Commit::new(Actor::System, now).update(Record::from(row)).event(event).fenced(self.epoch);
        let seq = self.parts.store.commit(commit).await?;
        self.parts.tell(seq);
        Ok(())
    }

    /// Every write leaves the row whole, so a panic elsewhere cannot have broken it.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Renewed {
    Yes,
    Lost(Error),
}

/// The stored lease, if nobody holds it.
async fn vacant(parts: &EngineParts) -> Result<Option<Lease>> {
    let stored = parts.store.lease().await?;
    let now = parts.clock.now();
    match stored {
        Some(lease) if parts.alone || lease.expires_at <= now => Ok(Some(lease)),
        Some(lease) if lease.expires_at > expiry(parts) => abandoned(parts, lease).await.map(Some),
        Some(lease) => Err(held_by(&lease)),
        None => Ok(None),
    }
}

/// A lease that ends later than any could be taken for: the clock was set back, so only watching tells.
async fn abandoned(parts: &EngineParts, lease: Lease) -> Result<Lease> {
    sleep(parts.settings.engine.lease).await;
    match parts.store.lease().await? {
        Some(after) if after == lease => Ok(lease),
        Some(after) => Err(held_by(&after)),
        None => Err(held_by(&lease)),
    }
}

fn expiry(parts: &EngineParts) -> Timestamp {
    parts.clock.now().checked_add(parts.settings.engine.lease).unwrap_or(Timestamp::MAX)
}

fn held_by(lease: &Lease) -> Error {
    let message = format!("the engine of `{}` holds the lease until {}", lease.holder, lease.expires_at);
    Error::conflict(message).with_hint("stop it, or wait until its lease has ended")
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::engine::act::fakes::Stand;
    use crate::store::Store;

    async fn take(stand: &Stand, holder: &str) -> Result<HeldLease> {
        HeldLease::take(Arc::new(EngineParts { holder: holder.to_owned(), ..stand.parts.clone() })).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_engine_is_told_who_holds_the_lease() {
        let stand = Stand::new().await;
        take(&stand, "first").await.unwrap();

        let error = take(&stand, "second").await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("`first`"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_was_given_back_is_taken_at_once_with_a_later_epoch() {
        let stand = Stand::new().await;
        let first = take(&stand, "first").await.unwrap();

        first.give_back().await.unwrap();

        assert_eq!(take(&stand, "second").await.unwrap().epoch(), first.epoch() + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_a_crash_left_behind_ends_by_itself() {
        let stand = Stand::new().await;
        drop(take(&stand, "first").await.unwrap());

        advance(stand.parts.settings.engine.lease).await;

        assert_eq!(take(&stand, "second").await.unwrap().epoch(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_certain_to_be_alone_takes_over_at_once() {
        let stand = Stand::new().await;
        drop(take(&stand, "first").await.unwrap());

        let alone = EngineParts { alone: true, ..stand.parts.clone() };

        assert_eq!(HeldLease::take(Arc::new(alone)).await.unwrap().epoch(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_from_a_clock_that_was_set_back_is_taken_once_nobody_renews_it() {
        let stand = Stand::new().await;
        let held = take(&stand, "first").await.unwrap();
        let row = Lease { expires_at: Timestamp::MAX, ..held.held().row.clone() };
        stand.store.commit(Commit::new(Actor::System, stand.parts.clock.now()).update(row)).await.unwrap();

        assert_eq!(take(&stand, "second").await.unwrap().epoch(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_kept_as_long_as_it_is_renewed() {
        let stand = Stand::new().await;
        let held = take(&stand, "first").await.unwrap();

        let lost = timeout(Duration::from_secs(3600), held.keep()).await;

        assert!(lost.is_err());
        assert!(held.is_fresh());
        assert!(take(&stand, "second").await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_renewed_is_in_doubt_before_it_ends() {
        let stand = Stand::new().await;
        let held = take(&stand, "first").await.unwrap();

        advance(stand.parts.settings.engine.lease_doubt).await;

        assert!(!held.is_fresh());
        assert!(take(&stand, "second").await.is_err(), "nobody else may have it yet");
    }

    #[tokio::test(start_paused = true)]
    async fn who_lost_the_lease_is_told_to_whom() {
        let stand = Stand::new().await;
        let first = take(&stand, "first").await.unwrap();
        advance(stand.parts.settings.engine.lease).await;
        take(&stand, "second").await.unwrap();

        let error = first.keep().await;

        assert!(error.to_string().contains("`second`"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_was_stored_but_reported_lost_does_not_end_the_engine() {
        let stand = Stand::new().await;
        let held = take(&stand, "first").await.unwrap();
        let renewed = held.held().row.clone();
        let commit = Commit::new(Actor::System, stand.parts.clock.now()).update(renewed).fenced(held.epoch());
        stand.store.commit(commit).await.unwrap();

        let lost = timeout(Duration::from_secs(60), held.keep()).await;

        assert!(lost.is_err() && held.is_fresh());
    }
}
