//! Effects: what the machine decided is done here, and what is seen is told back to it.

mod engine;

pub(crate) use self::engine::{Engine, EngineParts, stop_applications};
