//! Traffic: what became of the requests of a route, counted by each thread in a cell of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::Traffic;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Tally {
    served: AtomicU64,
    held: AtomicU64,
    failed: AtomicU64,
}

/// The counts of one route; they go on when its table is replaced.
#[derive(Debug)]
pub(super) struct Tallies(Box<[Tally]>);

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Served,
    Held,
    Failed,
}

impl Tallies {
    pub(super) fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| Tally::default()).collect())
    }

    pub(super) fn count(&self, thread: usize, outcome: Outcome) {
        let tally = &self.0[thread];
        let count = match outcome {
            Outcome::Served => &tally.served,
            Outcome::Held => &tally.held,
            Outcome::Failed => &tally.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sum(&self) -> Traffic {
        let sum = |of: fn(&Tally) -> &AtomicU64| self.0.iter().map(|t| of(t).load(Ordering::Relaxed)).sum();
        Traffic { served: sum(|t| &t.served), held: sum(|t| &t.held), failed: sum(|t| &t.failed) }
    }
}
