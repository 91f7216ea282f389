//! Errors: what happened to whose thing, the evidence, what is still true, and the next step. One exit code a kind.

use ployer_core::{DeploymentFailed, Error, ErrorKind};

/// Lines of output that are shown at most.
const OUTPUT_LINES_MAX: usize = 12;

/// The whole text of an error, without the end of its last line.
pub(crate) fn text(error: &Error) -> String {
    let mut text = format!("error: {}", error.chain());
    if let Some(failed) = DeploymentFailed::of(error) {
        evidence(&mut text, failed);
    }
    if let Some(hint) = error.hint() {
        text.push_str(&format!("\nhint: {hint}"));
    }
    text
}

fn evidence(text: &mut String, failed: &DeploymentFailed) {
    let failure = &failed.failure;
    text.push_str(&format!("\n  it ended at: {}", failure.step));
    if !failure.output.is_empty() {
        text.push_str("; last output:");
        let skipped = failure.output.len().saturating_sub(OUTPUT_LINES_MAX);
        for line in &failure.output[skipped..] {
            text.push_str(&format!("\n    {line}"));
        }
    }
    match (&failed.serving_commit, failed.still_serves) {
        (Some(commit), true) => {
            text.push_str(&format!("\n  the version before (commit {}) still serves", commit.short()))
        }
        (None, true) => text.push_str("\n  the version before still serves"),
        (_, false) => {}
    }
}

/// The exit code of a kind; never given to another one. 2 is also what bad arguments end with.
pub(crate) fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Failed => 1,
        ErrorKind::Invalid => 2,
        ErrorKind::NotFound => 3,
        ErrorKind::AlreadyExists => 4,
        ErrorKind::Forbidden => 6,
        ErrorKind::Unavailable => 7,
        ErrorKind::Unsupported => 8,
        ErrorKind::Conflict => 9,
        ErrorKind::Gone => 10,
        ErrorKind::NotRunning => 11,
        ErrorKind::Timeout => 12,
        ErrorKind::Exhausted => 13,
        // `Internal`, and what a newer library may add.
        _ => 70,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_an_exit_code_of_its_own_that_no_shell_uses() {
        let codes: BTreeSet<u8> = ErrorKind::ALL.into_iter().map(exit_code).collect();

        assert_eq!(codes.len(), ErrorKind::ALL.len());
        assert!(codes.iter().all(|code| (1..126).contains(code)));
    }

    #[test]
    fn exit_codes_are_never_given_to_another_kind() {
        let table = ErrorKind::ALL.map(|kind| format!("{kind:?} {}", exit_code(kind))).join(", ");

        assert_eq!(
            table,
            "NotFound 3, AlreadyExists 4, Conflict 9, Invalid 2, Forbidden 6, Unavailable 7, Unsupported 8, Gone 10, \
             NotRunning 11, Failed 1, Timeout 12, Exhausted 13, Internal 70"
        );
    }

    #[test]
    fn an_error_is_shown_with_its_causes_and_its_hint() {
        let cause = std::io::Error::other("permission denied");
        let error = Error::internal("the database cannot be opened", cause).with_hint("see who owns the directory");

        assert_eq!(
            text(&error),
            "error: the database cannot be opened: permission denied\nhint: see who owns the directory"
        );
    }
}
