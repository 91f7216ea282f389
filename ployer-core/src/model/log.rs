//! Build output: numbered lines, so that replay and live meet without gap or double.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A line of a deployment's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its place: rises by one from 1. A gap means that lines were left out.
    pub number: u64,
    /// When it was printed.
    pub at: Timestamp,
    /// The line without its end, redacted and cut to the longest line allowed.
    pub text: String,
}

/// Part of a deployment's output.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogPage {
    /// The lines, in order.
    pub lines: Vec<LogLine>,
    /// Lines left out of the middle of the whole output, because it was too long.
    pub left_out: u64,
}
