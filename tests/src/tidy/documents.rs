//! Documents: the files that must be there, and that the paths they name exist.

use super::Finding;
use super::tree::Tree;

/// What a stranger looks for at the top.
const TOP: [&str; 11] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "rustfmt.toml",
    ".ci/run",
];
/// The documents that speak of paths.
const SPEAKING: [&str; 4] = ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "benches/README.md"];
/// Where a path may begin besides the top.
const ROOTS: [&str; 2] = ["", "ployer-core/src/"];
/// How a file's name ends.
const ENDS: [&str; 7] = [".rs", ".toml", ".md", ".h", ".sql", ".sh", ".py"];

/// Files of an application that is deployed, not of this repository.
const OF_APPLICATIONS: [&str; 1] = ["ployer.toml"];

/// Nothing that a stranger looks for is missing.
pub fn the_top_of_the_tree_is_whole(tree: &Tree) -> Vec<Finding> {
    TOP.iter().filter(|path| tree.file(path).is_none()).map(|path| Finding::of_file(path, "it is missing")).collect()
}

/// A document that names a file which is gone misleads.
pub fn paths_in_documents_exist(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in SPEAKING.iter().filter_map(|path| tree.file(path)) {
        for (number, line) in file.text.lines().enumerate() {
            for path in paths(line) {
                if !ROOTS.iter().any(|root| tree.has(&format!("{root}{path}"))) && !OF_APPLICATIONS.contains(&path) {
                    findings.push(Finding::of_line(&file.path, number + 1, format!("`{path}` does not exist")));
                }
            }
        }
    }
    findings
}

/// What is set in backticks and looks like a path of this repository.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2);
    quoted.filter(|text| {
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        let file = ENDS.iter().any(|end| text.ends_with(end));
        plain && !text.starts_with(['/', '-', '.']) && (file || text.ends_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_missing_at_the_top_is_found() {
        let files: Vec<_> = TOP.iter().filter(|path| **path != "LICENSE").map(|path| (*path, "")).collect();

        let found = the_top_of_the_tree_is_whole(&Tree::of(&files));

        assert_eq!(found, [Finding::of_file("LICENSE", "it is missing")]);
    }

    #[test]
    fn a_path_that_does_not_exist_is_found() {
        let text = "The queue is `engine/decide/queue.rs`, its tests `tests/`; `engine/gone.rs` and `old/` are gone.\n\
            `GET /health`, `v0.1`, `ployer.toml` is not checked, nor is `/etc/x.toml`; `gone.toml` is.\n";
        let tree = Tree::of(&[
            ("ARCHITECTURE.md", text),
            ("ployer-core/src/engine/decide/queue.rs", ""),
            ("tests/tidy.rs", ""),
        ]);

        let found: Vec<_> = paths_in_documents_exist(&tree).iter().map(ToString::to_string).collect();

        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("engine/gone.rs") && found[1].contains("old/") && found[2].contains("gone.toml"));
    }
}
