//! The proof: conformance suites that every implementation of a trait passes, ours and a stranger's alike.
//!
//! Each suite is a macro that makes every case a test of its own in the crate that calls it. A case is filed under
//! the promise it checks, by the name that the trait's documentation gives it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a suite says that a promise is broken by panicking")]

#[cfg(all(test, feature = "proxy"))]
mod broken;
pub mod proxy;
mod repository;
pub mod runtime;
pub mod secrets;
pub mod sim;
pub mod source;
pub mod store;

pub use self::repository::{Content, Files, Push, Repository};
pub use crate::{proxy_suite, runtime_suite, secrets_suite, source_suite, store_suite};
