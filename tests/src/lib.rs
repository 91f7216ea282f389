//! Test support: what the stories of `tests/e2e` are told with.
//!
//! A sample application whose versions are commits, clients that account for every request, and the program under
//! test with what it leaves in `/proc`. Everything here is real; nothing stands for something else.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "support of tests says what is broken by panicking")]

pub mod app;
pub mod await_that;
pub mod git_server;
pub mod installation;
pub mod load;
pub mod need;
pub mod processes;
pub mod program;
pub mod small_disk;
pub mod tidy;
