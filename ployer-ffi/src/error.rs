//! Errors in C: a kind that a program can act on, and a text that a person can.

use std::ffi::{CString, c_char};

use ployer_core::{DeploymentFailed, Error, ErrorKind};

use crate::object::Mark;

/// What a call ended with. Numbers are never given to another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[allow(clippy::enum_variant_names, reason = "C has one namespace: there they are `PLOYER_OK` and so on")]
pub enum Kind {
    /// It went well.
    PloyerOk = 0,
    /// Something does not exist.
    PloyerNotFound = 1,
    /// Something of that name exists already.
    PloyerAlreadyExists = 2,
    /// It does not fit the present state: another engine runs on this data, say.
    PloyerConflict = 3,
    /// An argument is not acceptable.
    PloyerInvalid = 4,
    /// It is not allowed.
    PloyerForbidden = 5,
    /// Something that is needed does not answer.
    PloyerUnavailable = 6,
    /// It cannot be done here.
    PloyerUnsupported = 7,
    /// What is asked for is no longer kept.
    PloyerGone = 8,
    /// No engine runs on this data.
    PloyerNotRunning = 9,
    /// The work itself failed: a build, a command, a deployment.
    PloyerFailed = 10,
    /// A deadline passed.
    PloyerTimeout = 11,
    /// A bound was reached: disk, bytes, number.
    PloyerExhausted = 12,
    /// A defect of Ployer or of the machine.
    PloyerInternal = 13,
}

impl From<ErrorKind> for Kind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::NotFound => Self::PloyerNotFound,
            ErrorKind::AlreadyExists => Self::PloyerAlreadyExists,
            ErrorKind::Conflict => Self::PloyerConflict,
            ErrorKind::Invalid => Self::PloyerInvalid,
            ErrorKind::Forbidden => Self::PloyerForbidden,
            ErrorKind::Unavailable => Self::PloyerUnavailable,
            ErrorKind::Unsupported => Self::PloyerUnsupported,
            ErrorKind::Gone => Self::PloyerGone,
            ErrorKind::NotRunning => Self::PloyerNotRunning,
            ErrorKind::Failed => Self::PloyerFailed,
            ErrorKind::Timeout => Self::PloyerTimeout,
            ErrorKind::Exhausted => Self::PloyerExhausted,
            // `Internal`, and what a newer library may add.
            _ => Self::PloyerInternal,
        }
    }
}

/// What went wrong. Freed with ployer_free().
#[derive(Debug)]
#[repr(C)]
pub struct Failure {
    mark: Mark,
    text: CString,
}

impl Failure {
    pub(crate) fn new(error: &Error) -> Self {
        let mut text = error.chain();
        for line in DeploymentFailed::of(error).map(|failed| &failed.failure.output).into_iter().flatten() {
            text.push_str("\n  ");
            text.push_str(line);
        }
        if let Some(hint) = error.hint() {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        // What applications print may have any byte in it.
        text.retain(|c| c != '\0');
        Self { mark: Mark::FAILURE, text: CString::new(text).unwrap_or_default() }
    }
}

/// What an error says: what happened and why, the last lines of output of a deployment, and the next step.
///
/// \param error  borrowed; NULL is fine.
/// \return borrowed from the error and freed with it; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ployer_error_text(error: *const Failure) -> *const c_char {
    // Safety: the caller hands over NULL or an error of ours.
    match unsafe { error.as_ref() } {
        Some(error) => error.text.as_ptr(),
        None => std::ptr::null(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_never_renumbered_and_none_is_missing() {
        let table = ErrorKind::ALL.map(|kind| format!("{kind:?} {}", Kind::from(kind) as i32)).join(", ");

        assert_eq!(
            table,
            "NotFound 1, AlreadyExists 2, Conflict 3, Invalid 4, Forbidden 5, Unavailable 6, Unsupported 7, Gone 8, \
             NotRunning 9, Failed 10, Timeout 11, Exhausted 12, Internal 13"
        );
    }

    #[test]
    fn the_text_has_the_causes_and_the_hint_and_no_nul() {
        let error = Error::failed("it broke").with_source(std::io::Error::other("a\0b")).with_hint("try again");

        assert_eq!(Failure::new(&error).text.to_str(), Ok("it broke: ab\nhint: try again"));
    }
}
