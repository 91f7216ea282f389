//! Hold: requests wait here, unread, until the next table says where they go.
//!
//! The body of a held request stays with its client: nothing of it is lost, and little of it is in memory. What may
//! be there already, at most one buffer a request, is bounded for the route together with the number of requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;

use super::route::Live;
use crate::config::ProxySettings;

/// What waits on one route, on all threads together.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// The place of one request among those that wait.
#[derive(Debug)]
pub(super) struct Place {
    waiting: Arc<Waiting>,
    bytes: usize,
}

impl Place {
    /// A place for a request of whose body up to `bytes` may be in memory; `None` if too much waits already.
    pub(super) fn take(waiting: &Arc<Waiting>, bytes: usize, settings: &ProxySettings) -> Option<Self> {
        let place = Self { waiting: Arc::clone(waiting), bytes };
        let requests = waiting.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes = waiting.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (requests <= settings.held_max && bytes <= settings.held_bytes_max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.requests.fetch_sub(1, Ordering::Relaxed);
        self.waiting.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Waits for a table that is later than `generation`, at most from `now` until `until`; answers whether one came.
pub(super) async fn wait(live: &Live, generation: u64, now: Timestamp, until: Timestamp) -> bool {
    let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
    let mut generations = live.follow();
    timeout(left, generations.wait_for(|present| *present > generation)).await.is_ok_and(|seen| seen.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_bounded_in_number_and_in_bytes() {
        let settings = ProxySettings { held_max: 2, held_bytes_max: 100, ..ProxySettings::default() };
        let waiting = Arc::default();
        let first = Place::take(&waiting, 60, &settings);

        assert!(first.is_some());
        assert!(Place::take(&waiting, 60, &settings).is_none(), "the bytes");
        let second = Place::take(&waiting, 40, &settings);
        assert!(second.is_some());
        assert!(Place::take(&waiting, 0, &settings).is_none(), "the number");

        drop((first, second));
        assert!(Place::take(&waiting, 100, &settings).is_some(), "places come back");
    }
}
