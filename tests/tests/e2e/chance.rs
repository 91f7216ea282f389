//! Chance: the choices of a story, repeatable by its seed.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use tests::need;

/// Numbers that follow from a seed (xorshift).
pub(crate) struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    /// From `PLOYER_TEST_SEED`, else from the time.
    pub(crate) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = need::number("PLOYER_TEST_SEED", now) | 1;
        Self { seed, state: seed }
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number from 0 to 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        self.next() as f64 / u64::MAX as f64
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }
}

impl fmt::Display for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PLOYER_TEST_SEED={}", self.seed)
    }
}
