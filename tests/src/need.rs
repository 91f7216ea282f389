//! Needs: what a test needs of the machine besides Rust.
//!
//! Where it is missing the test is skipped and says so on standard error; where `PLOYER_TEST_REQUIRE` is set, as in
//! CI, it fails instead.

use std::env;
use std::path::PathBuf;

use crate::app;

/// Whether the sample application and its repository can be had.
pub fn sample() -> bool {
    python() && program("git").is_some()
}

/// Whether there is a Python that runs the sample application.
pub fn python() -> bool {
    have(app::python().is_some(), "there is no python3 of at least 3.9")
}

/// Finds a program in the `PATH`, or where a system keeps its daemons. `None` ends the test that asked.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder: PathBuf| folder.join(name)).find(|file| file.is_file());
    have(found.is_some(), &format!("`{name}` is not installed")).then_some(found)?
}

/// Skips for `reason` unless it `is_here`.
///
/// # Panics
///
/// If it is not and `PLOYER_TEST_REQUIRE` is set.
pub fn have(is_here: bool, reason: &str) -> bool {
    if !is_here {
        assert!(env::var_os("PLOYER_TEST_REQUIRE").is_none(), "required here: {reason}");
        eprintln!("skipped: {reason}");
    }
    is_here
}

/// A number that a variable of the environment sets, or `default`.
///
/// # Panics
///
/// If the variable is no number.
pub fn number(variable: &str, default: u64) -> u64 {
    match env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => default,
    }
}
