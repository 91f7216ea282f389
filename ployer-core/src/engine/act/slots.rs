//! Slots: a server builds and starts a few things at a time, first come, first served.
//!
//! A slot is held as long as the machine names it; dropping the effect gives it back.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::picture::Picture;
use crate::clock::Clock;
use crate::config::EngineSettings;
use crate::engine::decide::seen::Slot;
use crate::error::{Error, Result};

/// The slots of one server.
#[derive(Debug)]
pub(super) struct Slots {
    build: Semaphore,
    start: Semaphore,
}

impl Slots {
    pub(super) fn new(settings: &EngineSettings) -> Self {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            build: Semaphore::new(settings.build_slots.max(1)),
            start: Semaphore::new(settings.start_slots.unwrap_or_else(cores).max(1)),
        }
    }

    /// Waits for the slot, then holds it until it is dropped.
    pub(super) async fn hold(&self, slot: Slot, picture: &Arc<Picture>, clock: &dyn Clock) -> Result<()> {
        let semaphore = match slot {
            Slot::Build => &self.build,
            Slot::Start => &self.start,
        };
        let _permit = semaphore.acquire().await.map_err(|e| Error::internal("the slots of the server are gone", e))?;
        let _held = Held { slot, picture };
        picture.update(|seen| seen.slots.insert(slot, clock.now()));
        pending().await
    }
}

/// Forgets the slot when it is given back.
struct Held<'a> {
    slot: Slot,
    picture: &'a Picture,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.picture.update(|seen| seen.slots.remove(&self.slot));
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn a_slot_goes_to_the_next_when_it_is_given_back() {
        let slots = Slots::new(&EngineSettings { build_slots: 1, ..EngineSettings::default() });
        let (first, second) = (Arc::new(Picture::default()), Arc::new(Picture::default()));
        let mut holding = Box::pin(slots.hold(Slot::Build, &first, &SystemClock));
        let mut waiting = Box::pin(slots.hold(Slot::Build, &second, &SystemClock));
        assert!(holding.as_mut().now_or_never().is_none());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!((first.read().slots.len(), second.read().slots.len()), (1, 0));

        drop(holding);
        assert!(waiting.as_mut().now_or_never().is_none());

        assert_eq!((first.read().slots.len(), second.read().slots.len()), (0, 1));
    }
}
