//! Showing: data goes to stdout, everything else to stderr, and all of it can be read without colour.

pub(crate) mod error;
pub(crate) mod log;
pub(crate) mod progress;

use std::io::Write as _;

/// A line of data. Where nobody reads it any more, nothing is lost.
pub(crate) fn data(line: &str) {
    let mut out = std::io::stdout().lock();
    drop(writeln!(out, "{line}").and_then(|()| out.flush()));
}

/// A line for the person who watches.
pub(crate) fn note(line: &str) {
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}
