//! The engine: from "deploy this" to "it serves", and keeping it so.

#![allow(dead_code, unused_imports, reason = "its performers and its callers arrive in the next commits")]

mod act;
pub(crate) mod decide;

pub(crate) use self::act::{Engine, EngineParts, stop_applications};
