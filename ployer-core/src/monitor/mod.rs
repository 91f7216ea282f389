//! The monitor: watches and records, never acts.

pub(crate) mod retention;
