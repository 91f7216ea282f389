//! Tidy: the rules of this repository that a machine can check.
//!
//! Each rule reads the tree and answers what it finds wrong; `tests/tidy.rs` holds the repository to all of them, and
//! each rule has a test of its own that shows that it can fail. What clippy checks is not checked again.

pub mod documents;
pub mod floors;
pub mod manifests;
pub mod purity;
pub mod rust;
pub mod shape;
pub mod tree;
pub mod words;

use std::fmt;

/// Something that a rule does not like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    /// About a whole file.
    pub fn of_file(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: 1, message: message.into() }
    }

    /// About a line, counted from 1.
    pub fn of_line(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Fails a test with all that was found.
///
/// # Panics
///
/// If anything was found.
#[track_caller]
pub fn assert_none(findings: &[Finding]) {
    let list: String = findings.iter().map(|finding| format!("\n  {finding}")).collect();
    assert!(findings.is_empty(), "{} findings:{list}", findings.len());
}
