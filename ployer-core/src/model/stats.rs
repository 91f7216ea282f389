//! What a replica uses at one moment.

use serde::{Deserialize, Serialize};

/// What a replica uses at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stats {
    /// Processor time since its start, in nanoseconds of one core.
    pub cpu_ns: u64,
    /// Memory in bytes, without the page cache.
    pub memory_bytes: u64,
    /// The limit of its memory in bytes, where it has one.
    pub memory_bytes_max: Option<u64>,
    /// Bytes received, where known.
    pub network_rx_bytes: Option<u64>,
    /// Bytes sent, where known.
    pub network_tx_bytes: Option<u64>,
}

impl Stats {
    /// Processor time and memory; nothing known of limits and network.
    pub fn new(cpu_ns: u64, memory_bytes: u64) -> Self {
        Self { cpu_ns, memory_bytes, ..Self::default() }
    }
}
