//! Components: what a test needs of the machine besides Rust and Git.
//!
//! Where one is missing the test is skipped and says so on standard error; where `PLOYER_TEST_REQUIRE` is set, as in
//! CI, it fails instead.

use std::path::PathBuf;

/// Finds a program in the `PATH`, or where a system keeps its daemons. `None` ends the test that asked.
///
/// # Panics
///
/// If it is missing and `PLOYER_TEST_REQUIRE` is set.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into(), "/sbin".into()]);
    let found = folders.map(|folder: PathBuf| folder.join(program)).find(|file| file.is_file());
    if found.is_none() {
        missing(program);
    }
    found
}

fn missing(program: &str) {
    assert!(std::env::var_os("PLOYER_TEST_REQUIRE").is_none(), "`{program}` is required here and is not installed");
    eprintln!("skipped: `{program}` is not installed");
}
