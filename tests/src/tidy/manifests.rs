//! Manifests: what every crate inherits, what every script begins with, and what the library must not depend on.

use std::process::Command;

use super::Finding;
use super::tree::{Tree, root};

/// The folders that are crates.
const CRATES: [&str; 7] = ["ployer-core", "ployer-http", "ployer-cli", "ployer-ffi", "examples", "benches", "tests"];
/// What the library never depends on, whatever is switched on: it knows no frontend.
const FRONTENDS: [&str; 6] = ["axum", "clap", "anstream", "crossterm", "indicatif", "tonic"];
/// What the default library does without: no TLS, and no C compiler beyond SQLite's.
const HEAVY: [&str; 8] =
    ["openssl", "openssl-sys", "native-tls", "rustls", "ring", "aws-lc-rs", "aws-lc-sys", "libssh2-sys"];

/// Lints stand in one place.
pub fn every_crate_inherits_the_lints(tree: &Tree) -> Vec<Finding> {
    let inherits = |text: &str| {
        let mut lines = text.lines().skip_while(|line| line.trim() != "[lints]").skip(1);
        lines.next().is_some_and(|line| line.trim() == "workspace = true")
    };
    let mut findings = Vec::new();
    for folder in CRATES {
        let path = format!("{folder}/Cargo.toml");
        match tree.file(&path) {
            None => findings.push(Finding::of_file(&path, "the crate is missing")),
            Some(file) if !inherits(&file.text) => {
                findings.push(Finding::of_file(&path, "it does not inherit the lints: `[lints]`, `workspace = true`"));
            }
            Some(_) => {}
        }
    }
    findings
}

/// A script ends at its first failure.
pub fn every_script_stops_at_a_failure(tree: &Tree) -> Vec<Finding> {
    let is_script = |path: &str| path.ends_with(".sh") || path == ".ci/run";
    let stops = |text: &str| text.lines().take(20).any(|line| line == "set -euo pipefail");
    let wrong = tree.files().filter(|file| is_script(&file.path) && !stops(&file.text));
    wrong.map(|file| Finding::of_file(&file.path, "it does not begin with `set -euo pipefail`")).collect()
}

/// Who adds the library adds no frontend, and by default no TLS.
pub fn the_library_stays_lean() -> Vec<Finding> {
    let by_default = unwanted(&dependencies(&[]), &[&FRONTENDS[..], &HEAVY[..]].concat());
    let with_all = unwanted(&dependencies(&["--all-features"]), &FRONTENDS);
    let about = |name: &String| Finding::of_file("ployer-core/Cargo.toml", format!("it depends on `{name}`"));
    by_default.iter().chain(&with_all).map(about).collect()
}

fn unwanted(dependencies: &str, unwanted: &[&str]) -> Vec<String> {
    let names = dependencies.lines().filter_map(|line| line.split_whitespace().next());
    let mut found: Vec<_> = names.filter(|name| unwanted.contains(name)).map(str::to_owned).collect();
    found.sort();
    found.dedup();
    found
}

fn dependencies(features: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "ployer-core", "--edges", "normal", "--prefix", "none", "--offline", "--locked"])
        .args(features)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_with_lints_of_its_own_or_none_is_found() {
        let good = "[package]\n\n[lints]\nworkspace = true\n";
        let mut files: Vec<_> = CRATES.iter().map(|name| (format!("{name}/Cargo.toml"), good)).collect();
        files[1].1 = "[lints.rust]\nmissing_docs = \"warn\"\n";
        files[2].1 = "[package]\n";
        files.pop();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();

        assert_eq!(every_crate_inherits_the_lints(&Tree::of(&files)).len(), 3);
    }

    #[test]
    fn a_script_that_goes_on_after_a_failure_is_found() {
        let tree = Tree::of(&[
            (".ci/run", "#!/usr/bin/env bash\n# Checks.\nset -euo pipefail\n"),
            ("a.sh", "#!/bin/sh\nset -e\n"),
        ]);

        assert_eq!(every_script_stops_at_a_failure(&tree).len(), 1);
    }

    #[test]
    fn an_unwanted_dependency_is_found_by_its_whole_name() {
        let listed = "ployer-core v0.1.0 (/x)\nring v0.17.0\nstring v1.0.0\nring v0.17.0 (*)\n";

        assert_eq!(unwanted(listed, &HEAVY), ["ring"]);
    }
}
