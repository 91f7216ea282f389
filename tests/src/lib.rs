//! Test support: what the stories of `tests/e2e` are told with.
//!
//! Everything here is real; nothing stands for something else.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "support of tests says what is broken by panicking")]

pub mod component;
pub mod git_server;
pub mod tidy;
