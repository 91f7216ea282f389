//! Floors: imports inside of `ployer-core` run downward only.
//!
//! Rust does not check floors inside of a crate; this reads every path that begins with `crate::`, or that climbs to
//! the crate by `super::`, outside of tests.

use super::Finding;
use super::rust::RustFile;
use super::tree::Tree;

const SOURCES: &str = "ployer-core/src/";

/// From the ground up; rooms of one floor do not see each other.
const FLOORS: [&[&str]; 9] = [
    &["error"],
    &["config", "clock", "planted"],
    &["model"],
    &["store", "runtime", "proxy", "source", "webhook", "access"],
    &["build", "secrets", "probe", "servers"],
    &["monitor"],
    &["engine"],
    &["facade"],
    &["testing"],
];

/// What the deciding half of the engine may see.
const SEEN_BY_DECIDE: [&str; 4] = ["model", "config", "error", "planted"];

/// Implementations, and the room whose own they are.
const IMPLEMENTATIONS: [(&str, &str); 18] = [
    ("store", "sql"),
    ("store", "memory"),
    ("store", "SqlStore"),
    ("store", "MemoryStore"),
    ("runtime", "docker"),
    ("runtime", "process"),
    ("runtime", "DockerRuntime"),
    ("runtime", "ProcessRuntime"),
    ("proxy", "caddy"),
    ("proxy", "embedded"),
    ("proxy", "CaddyProxy"),
    ("proxy", "EmbeddedProxy"),
    ("secrets", "encrypted"),
    ("secrets", "keyring"),
    ("secrets", "EncryptedSecrets"),
    ("source", "git"),
    ("source", "GitSource"),
    ("source", "GitConfig"),
];

/// No room imports from above, or from beside.
pub fn imports_run_downward_only(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, room) in rooms(tree) {
        for import in imports(file) {
            let Some(target) = import.segments.first().map(String::as_str) else { continue };
            let (Some(from), Some(to)) = (floor(room), floor(target)) else {
                if floor(room).is_none() {
                    findings.push(Finding::of_file(&file.path, format!("`{room}` is on no floor")));
                }
                continue;
            };
            if target != room && to >= from {
                let message = format!("`{room}` may not see `{target}`: imports run downward only");
                findings.push(Finding::of_line(&file.path, import.line, message));
            }
        }
    }
    findings.dedup();
    findings
}

/// The deciding half of the engine sees values only.
pub fn decide_sees_values_only(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, _) in rooms(tree).filter(|(file, _)| file.path.starts_with("ployer-core/src/engine/decide")) {
        for import in imports(file) {
            let path: Vec<_> = import.segments.iter().map(String::as_str).collect();
            let fits = matches!(path[..], [room, ..] if SEEN_BY_DECIDE.contains(&room))
                || matches!(path[..], ["engine", "decide", ..]);
            if !fits {
                let message = format!("`engine/decide` may not see `{}`", path.join("::"));
                findings.push(Finding::of_line(&file.path, import.line, message));
            }
        }
    }
    findings
}

/// Who composes the defaults is one place.
pub fn implementations_are_named_by_the_builder_alone(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, room) in rooms(tree) {
        if room == "testing" || file.path == "ployer-core/src/facade/builder.rs" {
            continue;
        }
        for import in imports(file) {
            let named = IMPLEMENTATIONS.iter().find(|(home, name)| {
                *home != room
                    && import.segments.first().is_some_and(|s| s == home)
                    && import.segments[1..].iter().any(|s| s == name)
            });
            if let Some((home, name)) = named {
                let message = format!("`{home}::{name}` is an implementation: only `facade/builder.rs` names it");
                findings.push(Finding::of_line(&file.path, import.line, message));
            }
        }
    }
    findings
}

/// The files below a room of the library, with the room's name.
fn rooms(tree: &Tree) -> impl Iterator<Item = (&RustFile, &str)> {
    tree.rust().filter_map(|file| {
        let room = file.path.strip_prefix(SOURCES)?.split('/').next()?.trim_end_matches(".rs");
        (room != "lib").then_some((file, room))
    })
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// A path from the root of the crate.
struct Import {
    line: usize,
    segments: Vec<String>,
}

/// Every path of a file that begins at the root of the crate, tests aside.
fn imports(file: &RustFile) -> Vec<Import> {
    let inside = file.path.strip_prefix(SOURCES).unwrap_or_default().trim_end_matches(".rs");
    let depth = inside.trim_end_matches("/mod").split('/').count();
    let climb = "super::".repeat(depth);
    let code = &file.production;
    let mut found = Vec::new();
    for root in ["crate::", climb.as_str()] {
        for (at, _) in code.match_indices(root) {
            let before = &code[..at];
            let whole = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            if whole && !code[at + root.len()..].starts_with("super::") {
                let line = before.lines().count().max(1);
                let paths = expand(&code[at + root.len()..]);
                found.extend(paths.into_iter().map(|segments| Import { line, segments }));
            }
        }
    }
    found
}

/// The paths that begin here: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(text: &str) -> Vec<Vec<String>> {
    let mut segments = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if let Some(group) = rest.strip_prefix('{') {
            return alternatives(group)
                .into_iter()
                .flat_map(expand)
                .map(|path| [segments.clone(), path].concat())
                .collect();
        }
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        if end == 0 {
            return vec![segments];
        }
        segments.push(rest[..end].to_owned());
        match rest[end..].strip_prefix("::") {
            Some(more) => rest = more,
            None => return vec![segments],
        }
    }
}

/// The parts of a group, up to its closing brace.
fn alternatives(group: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut parts) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' if depth == 0 => {
                parts.push(&group[begin..at]);
                begin = at + 1;
            }
            '}' if depth == 0 => {
                parts.push(&group[begin..at]);
                break;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(rule: fn(&Tree) -> Vec<Finding>, path: &str, text: &str) -> usize {
        rule(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn an_import_from_above_or_beside_is_found() {
        for (path, text) in [
            ("ployer-core/src/store/mod.rs", "use crate::engine::Input;"),
            ("ployer-core/src/store/sql/mod.rs", "use crate::proxy::Proxy;"),
            ("ployer-core/src/model/id.rs", "fn a() { crate::store::Store::new() }"),
            ("ployer-core/src/model/id.rs", "use crate::{\n    clock::Clock,\n    store::{Store, Commit},\n};"),
            ("ployer-core/src/error.rs", "use super::model::Id;"),
            ("ployer-core/src/store/sql/mod.rs", "use super::super::super::facade::Ployer;"),
            ("ployer-core/src/store/sql/mod.rs", "use super::super::facade::Ployer;"),
            ("ployer-core/src/nowhere.rs", "use crate::model::Id;"),
        ] {
            let expected = usize::from(!text.contains("super::super::super"));
            assert_eq!(findings(imports_run_downward_only, path, text), expected, "{path} {text}");
        }
    }

    #[test]
    fn imports_from_below_from_home_and_in_tests_are_fine() {
        for (path, text) in [
            ("ployer-core/src/engine/mod.rs", "use crate::{store::Store, model::{Id, Name}, engine::act};"),
            ("ployer-core/src/store/sql/mod.rs", "use super::Store; use crate::store::Commit;"),
            (
                "ployer-core/src/store/mod.rs",
                "/// See [`crate::engine`].\n#[cfg(test)]\nmod tests { use crate::testing::X; }",
            ),
            ("ployer-http/src/routes/mod.rs", "use crate::anything;"),
            ("ployer-core/src/lib.rs", "pub use crate::testing::X;"),
        ] {
            assert_eq!(findings(imports_run_downward_only, path, text), 0, "{path} {text}");
        }
    }

    #[test]
    fn what_decide_may_not_see_is_found() {
        let path = "ployer-core/src/engine/decide/plan.rs";
        for (text, expected) in [
            ("use crate::model::Id; use crate::config::Deadlines; use crate::engine::decide::queue;", 0),
            ("use crate::clock::Clock;", 1),
            ("use crate::engine::act::Actor;", 1),
            ("use crate::store::{Store, Commit};", 2),
        ] {
            assert_eq!(findings(decide_sees_values_only, path, text), expected, "{text}");
        }
    }

    #[test]
    fn an_implementation_named_elsewhere_is_found() {
        for (path, text, expected) in [
            ("ployer-core/src/engine/act/actor.rs", "use crate::store::memory::MemoryStore;", 1),
            ("ployer-core/src/engine/act/actor.rs", "use crate::source::{Source, GitSource};", 1),
            ("ployer-core/src/facade/builder.rs", "use crate::source::{Source, GitSource};", 0),
            ("ployer-core/src/store/mod.rs", "pub use crate::store::memory::MemoryStore;", 0),
            ("ployer-core/src/testing/sim/world.rs", "use crate::store::memory::MemoryStore;", 0),
        ] {
            assert_eq!(findings(implementations_are_named_by_the_builder_alone, path, text), expected, "{path} {text}");
        }
    }
}
