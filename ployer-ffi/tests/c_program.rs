//! The C program: compiled, linked and run under the address sanitizer.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the shared library is: beside the test, or one folder up.
fn library_folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folders = test.ancestors().skip(1).take(2);
    let found = folders.filter(|folder| folder.join("libployer_ffi.so").exists()).map(Path::to_owned).next();
    found.expect("the shared library was built with this test")
}

/// The C program, or `None` without a compiler; then the test is skipped, unless it must not be.
fn compiled(into: &Path) -> Option<PathBuf> {
    if let Err(error) = Command::new("cc").arg("--version").output() {
        assert!(std::env::var_os("PLOYER_TEST_REQUIRE").is_none(), "there must be a C compiler: {error}");
        eprintln!("SKIPPED: there is no C compiler here: {error}");
        return None;
    }
    let (program, library) = (into.join("deploy"), library_folder());
    let built = Command::new("cc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-g", "-fsanitize=address", "-fno-omit-frame-pointer"])
        .arg(root().join("c/deploy.c"))
        .arg("-I")
        .arg(root().join("include"))
        .arg("-L")
        .arg(&library)
        .arg(format!("-Wl,-rpath,{}", library.display()))
        .args(["-lployer_ffi", "-o"])
        .arg(&program)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Some(program)
}

fn run(program: &Path, arguments: [&Path; 3]) -> (Output, String, String) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    (output, stdout, stderr)
}

#[test]
fn a_c_program_deploys_a_folder_and_leaks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = compiled(folder.path()) else { return };
    let site = root().parent().unwrap().join("examples/apps/hello");

    let (output, stdout, stderr) = run(&program, [&folder.path().join("data"), Path::new("hello"), &site]);

    assert!(output.status.success(), "{stderr}");
    assert!(stdout.starts_with("http://hello.localhost:"), "{stdout}");
}

#[test]
fn a_c_program_is_told_why_a_deployment_failed() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = compiled(folder.path()) else { return };
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();

    let (output, _, stderr) = run(&program, [&folder.path().join("data"), Path::new("empty"), &empty]);

    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("deploy: `empty` was not deployed: ") && stderr.contains("(kind 10)"), "{stderr}");
    assert!(!stderr.contains("Sanitizer"), "{stderr}");
}
