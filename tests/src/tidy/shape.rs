//! Shape: how a file is called, how it opens and how long it is, and what a test is called.

use super::Finding;
use super::rust::RustFile;
use super::tree::Tree;

/// Lines of a file, tests in it not counted.
const LINES_MAX: usize = 600;
/// Wiring grows where everything meets: these hold nothing else.
const CROSSROADS: [&str; 4] = ["engine/decide/mod.rs", "engine/act/actor.rs", "facade/ployer.rs", "store/commit.rs"];
/// Lines of a crossroads.
const CROSSROADS_LINES_MAX: usize = 300;
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 13] = [
    "util", "utils", "helper", "helpers", "common", "manager", "managers", "misc", "data", "info", "types", "base",
    "stuff",
];
/// Words of a test's name.
const TEST_WORDS_MIN: usize = 5;

/// The first line of a file says what the file is for.
pub fn every_file_opens_with_its_reason(tree: &Tree) -> Vec<Finding> {
    let opens = |file: &&RustFile| {
        let first = file.text.lines().next().unwrap_or_default();
        let sentence = first.strip_prefix("//! ").unwrap_or_default();
        sentence.starts_with(|c: char| c.is_uppercase() || c == '`') && sentence.split_whitespace().count() >= 3
    };
    let wrong = tree.rust().filter(|file| !opens(file));
    wrong
        .map(|file| Finding::of_file(&file.path, "its first line is not `//! Noun: what it does for the reader`"))
        .collect()
}

/// No file is too long to be read in one go.
pub fn no_file_is_too_long(tree: &Tree) -> Vec<Finding> {
    let bound = |path: &str| {
        if CROSSROADS.iter().any(|name| path.ends_with(name)) { CROSSROADS_LINES_MAX } else { LINES_MAX }
    };
    tree.rust()
        .map(|file| (file, file.counted_lines(), bound(&file.path)))
        .filter(|(_, lines, bound)| lines > bound)
        .map(|(file, lines, bound)| Finding::of_file(&file.path, format!("it has {lines} lines, more than {bound}")))
        .collect()
}

/// A file is called by what it holds.
pub fn no_name_says_nothing(tree: &Tree) -> Vec<Finding> {
    let says_nothing = |path: &str| {
        let parts = path.trim_end_matches(".rs").split('/');
        parts.into_iter().any(|part| part.split(['_', '-']).any(|word| EMPTY_NAMES.contains(&word)))
    };
    let wrong = tree.rust().filter(|file| says_nothing(&file.path));
    wrong.map(|file| Finding::of_file(&file.path, "its name says nothing about what it holds")).collect()
}

/// The name of a test is a sentence.
pub fn every_test_is_called_by_a_sentence(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let mut is_test = false;
        for (number, line) in file.code.lines().enumerate() {
            let line = line.trim();
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            let Some(name) = function(line).filter(|_| std::mem::take(&mut is_test)) else { continue };
            if name.split('_').filter(|word| !word.is_empty()).count() < TEST_WORDS_MIN && !name.contains('$') {
                let message = format!("`{name}` is no sentence of {TEST_WORDS_MIN} words or more");
                findings.push(Finding::of_line(&file.path, number + 1, message));
            }
        }
    }
    findings
}

fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split('(').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_its_reason_is_found() {
        let tree =
            Tree::of(&[("a.rs", "//! Names: where they come from.\n"), ("b.rs", "use a;\n"), ("c.rs", "//! b\n")]);

        assert_eq!(every_file_opens_with_its_reason(&tree).len(), 2);
    }

    #[test]
    fn a_file_that_is_too_long_is_found_but_its_tests_do_not_count() {
        let long = "fn a() {}\n".repeat(LINES_MAX + 1);
        let tested = format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
        let actor = "fn a() {}\n".repeat(CROSSROADS_LINES_MAX + 1);
        let tree = Tree::of(&[
            ("long.rs", &long),
            ("tested.rs", &tested),
            ("ployer-core/src/engine/act/actor.rs", &actor),
            ("ployer-core/src/engine/act/other.rs", &actor),
        ]);

        let found = no_file_is_too_long(&tree);

        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].to_string().starts_with("long.rs") || found[1].to_string().starts_with("long.rs"));
    }

    #[test]
    fn a_name_that_says_nothing_is_found_also_in_a_folder() {
        let tree = Tree::of(&[
            ("src/utils.rs", ""),
            ("src/string_helper.rs", ""),
            ("common/a.rs", ""),
            ("src/database.rs", ""),
        ]);

        assert_eq!(no_name_says_nothing(&tree).len(), 3);
    }

    #[test]
    fn a_test_without_a_sentence_is_found() {
        let text = "#[test]\nfn parse_works() {}\n#[tokio::test]\nasync fn a_name_is_parsed_once() {}\nfn free() {}\n";

        let found = every_test_is_called_by_a_sentence(&Tree::of(&[("a.rs", text)]));

        assert_eq!(found, [Finding::of_line("a.rs", 2, "`parse_works` is no sentence of 5 words or more")]);
    }
}
