//! Ployer: deploys applications from Git onto your own machines.

pub mod clock;
pub mod config;
mod engine;
pub mod error;
pub mod model;
pub mod probe;
pub mod proxy;
pub mod runtime;
pub mod secrets;
pub mod servers;
pub mod source;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use crate::error::{Error, ErrorKind, Result};
