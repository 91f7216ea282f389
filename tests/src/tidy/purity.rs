//! Purity: the rooms that decide do no input and output, wait for nothing and ask no clock.

use super::Finding;
use super::tree::Tree;

/// Rooms of values and decisions.
const PURE: [&str; 6] = [
    "ployer-core/src/model/",
    "ployer-core/src/model.rs",
    "ployer-core/src/engine/decide/",
    "ployer-core/src/engine/decide.rs",
    "ployer-core/src/access.rs",
    "ployer-core/src/webhook/",
];

/// What has no place there.
const IMPURE: [&str; 21] = [
    "tokio",
    "sqlx",
    "bollard",
    "hyper",
    "reqwest",
    "rustix",
    "std::fs",
    "std::process",
    "std::thread",
    "std::env",
    "std::io::std",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "ToSocketAddrs",
    "Instant",
    "SystemTime",
    "now()",
    ".await",
    "async fn",
];

/// Their order is another in each run.
const UNORDERED: [&str; 2] = ["HashMap", "HashSet"];

/// Values and decisions touch nothing.
pub fn pure_rooms_touch_nothing(tree: &Tree) -> Vec<Finding> {
    find(tree, &PURE, &IMPURE, "has no place in a room that only decides")
}

/// A decision is the same each time.
pub fn decisions_iterate_in_order(tree: &Tree) -> Vec<Finding> {
    let message = "has another order in each run: a seed would not be a history";
    find(tree, &["ployer-core/src/engine/", "ployer-core/src/testing/sim/"], &UNORDERED, message)
}

fn find(tree: &Tree, rooms: &[&str], words: &[&str], message: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| rooms.iter().any(|room| file.path.starts_with(room))) {
        for (number, line) in file.production.lines().enumerate() {
            for word in words.iter().filter(|word| has_word(line, word)) {
                findings.push(Finding::of_line(&file.path, number + 1, format!("`{word}` {message}")));
            }
        }
    }
    findings
}

/// Whether `word` stands in `line` and is not a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(in_name) && word.starts_with(in_name);
        let after = line[at + word.len()..].chars().next().is_some_and(in_name) && word.ends_with(in_name);
        !before && !after
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_touches_the_world_is_found_in_a_pure_room() {
        for text in [
            "use tokio::sync::Mutex;",
            "fn a() { std::fs::read(x) }",
            "use std::net::TcpStream;",
            "let t = clock.now();",
            "async fn a() {}",
            "a.await;",
            "use std::time::Instant;",
        ] {
            let tree = Tree::of(&[("ployer-core/src/model/a.rs", text)]);

            assert_eq!(pure_rooms_touch_nothing(&tree).len(), 1, "{text}");
        }
    }

    #[test]
    fn values_comments_and_tests_are_pure_and_other_rooms_may_touch() {
        for (path, text) in [
            ("ployer-core/src/model/a.rs", "use std::net::{IpAddr, SocketAddr}; // tokio"),
            ("ployer-core/src/model/a.rs", "fn known(now: Timestamp) { unknown(now) }"),
            ("ployer-core/src/model/a.rs", "#[cfg(test)]\nmod tests { use tokio::time; }"),
            ("ployer-core/src/engine/act/a.rs", "use tokio::sync::Mutex;"),
        ] {
            assert!(pure_rooms_touch_nothing(&Tree::of(&[(path, text)])).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_map_without_order_is_found_in_the_engine() {
        let tree = Tree::of(&[
            ("ployer-core/src/engine/act/a.rs", "use std::collections::{BTreeMap, HashMap};"),
            ("ployer-core/src/store/a.rs", "use std::collections::HashMap;"),
        ]);

        assert_eq!(decisions_iterate_in_order(&tree).len(), 1);
    }
}
