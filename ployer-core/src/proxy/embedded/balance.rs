//! Balance: which upstream gets the next request, and how much is under way on each.
//!
//! Every thread counts in a cell of its own; a reader adds the cells up. A request is counted before the thread looks
//! whether its table is still the present one (see `view`), so that an upstream that has left the table and reads
//! zero is sent nothing more.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::{InFlight, Upstream};

/// What one thread has under way on an upstream; a cache line of its own, so that threads do not slow each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Tally {
    requests: AtomicU64,
    upgraded: AtomicU64,
}

/// An upstream with its counts, shared by all threads and by all tables that name it.
#[derive(Debug)]
pub(super) struct Peer {
    upstream: Upstream,
    tallies: Box<[Tally]>,
}

impl Peer {
    pub(super) fn new(upstream: Upstream, threads: usize) -> Self {
        Self { upstream, tallies: (0..threads).map(|_| Tally::default()).collect() }
    }

    pub(super) fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// What is under way. Requests are read first: one that becomes an upgraded connection meanwhile is seen twice
    /// rather than not at all.
    pub(super) fn in_flight(&self) -> InFlight {
        let requests = self.tallies.iter().map(|t| t.requests.load(Ordering::SeqCst)).sum();
        let upgraded = self.tallies.iter().map(|t| t.upgraded.load(Ordering::SeqCst)).sum();
        InFlight { requests, upgraded }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight() == InFlight::default()
    }

    fn load(&self) -> u64 {
        let busy = |t: &Tally| t.requests.load(Ordering::Relaxed) + t.upgraded.load(Ordering::Relaxed);
        self.tallies.iter().map(busy).sum()
    }
}

/// The place of one thread at an upstream. Guards share it without touching what other threads share.
#[derive(Debug)]
pub(super) struct Seat {
    peer: Arc<Peer>,
    thread: usize,
}

impl Seat {
    pub(super) fn new(peer: Arc<Peer>, thread: usize) -> Rc<Self> {
        Rc::new(Self { peer, thread })
    }

    pub(super) fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// Counts a request; it ends with the guard.
    pub(super) fn begin(self: &Rc<Self>) -> UnderWay {
        self.tally().requests.fetch_add(1, Ordering::SeqCst);
        UnderWay { seat: Rc::clone(self), upgraded: false }
    }

    fn tally(&self) -> &Tally {
        &self.peer.tallies[self.thread]
    }
}

/// A request or an upgraded connection that is under way on an upstream, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay {
    seat: Rc<Seat>,
    upgraded: bool,
}

impl UnderWay {
    /// From now on it counts as an upgraded connection.
    pub(super) fn upgrade(mut self) -> Self {
        if !self.upgraded {
            self.seat.tally().upgraded.fetch_add(1, Ordering::SeqCst);
            self.seat.tally().requests.fetch_sub(1, Ordering::SeqCst);
        }
        self.upgraded = true;
        self
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let tally = self.seat.tally();
        let count = if self.upgraded { &tally.upgraded } else { &tally.requests };
        count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The position of the open peer with the least under way; equals take turns by `turn`.
pub(super) fn least(peers: &[Arc<Peer>], open: impl Fn(&Arc<Peer>) -> bool, turn: usize) -> Option<usize> {
    let from = if peers.is_empty() { 0 } else { turn % peers.len() };
    (from..peers.len()).chain(0..from).filter(|&i| open(&peers[i])).min_by_key(|&i| peers[i].load())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> Arc<Peer> {
        let replica = format!("shop-web-{port}").parse().unwrap();
        Arc::new(Peer::new(Upstream { replica, address: ([127, 0, 0, 1], port).into() }, 2))
    }

    fn begin(peer: &Arc<Peer>, thread: usize) -> UnderWay {
        Seat::new(Arc::clone(peer), thread).begin()
    }

    #[test]
    fn the_upstream_with_the_least_under_way_is_chosen() {
        let peers = [peer(1), peer(2), peer(3)];
        let _busy = [begin(&peers[0], 0), begin(&peers[1], 1), begin(&peers[1], 0)];

        assert_eq!(least(&peers, |_| true, 0), Some(2));
        assert_eq!(least(&peers, |p| !Arc::ptr_eq(p, &peers[2]), 0), Some(0));
        assert_eq!(least(&peers, |_| false, 0), None);
    }

    #[test]
    fn equally_loaded_upstreams_take_turns() {
        let peers = [peer(1), peer(2), peer(3)];

        let chosen: Vec<_> = (0..4).filter_map(|turn| least(&peers, |_| true, turn)).collect();

        assert_eq!(chosen, [0, 1, 2, 0]);
    }

    #[test]
    fn what_threads_have_under_way_is_added_up() {
        let peer = peer(1);
        let request = begin(&peer, 0);
        let upgraded = begin(&peer, 1).upgrade();

        assert_eq!(peer.in_flight(), InFlight { requests: 1, upgraded: 1 });

        drop((request, upgraded));
        assert!(peer.is_idle());
    }
}
