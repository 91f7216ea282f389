//! Effects: what the machine decided is done here, and what is seen is told back to it.

mod actor;
mod addresses;
mod ask;
mod build;
mod build_log;
mod checkout;
mod clear;
mod context;
mod crew;
mod effects;
mod engine;
mod facts;
#[cfg(test)]
mod fakes;
mod gate;
mod lease;
mod observe;
mod output;
mod picture;
mod reach;
mod redact;
mod release_command;
mod routes;
mod scope;
mod slots;
#[cfg(test)]
mod tests;
mod workloads;

pub(crate) use self::engine::{Engine, EngineParts, stop_applications};
