//! Ployer as a C library: open, deploy, wait, the text of an error, free.
//!
//! Each function checks its pointers, calls the library, converts and hands over; a panic becomes an error. What the
//! header says is generated from here. There are no rules here: those are the library's.
#![allow(unsafe_code, reason = "C hands over pointers; each is checked for NULL before it is read")]
#![allow(clippy::missing_safety_doc, reason = "the documentation of each argument says what C must keep to")]

mod error;
mod guard;
mod handle;
mod object;

pub use self::error::{Failure, Kind, ployer_error_text};
pub use self::handle::{Deployment, Handle, ployer_deploy, ployer_open, ployer_wait};
pub use self::object::ployer_free;
