//! The engine: from "deploy this" to "it serves", and keeping it so.

#![allow(dead_code, reason = "its performers arrive in the next commits")]

mod decide;
