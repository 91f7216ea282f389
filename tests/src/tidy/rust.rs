//! Rust, read line by line: what is code, what is comment or text, and what is there for tests only.
//!
//! No parser: enough to tell a path in code from one in a sentence. Everything that is taken out leaves its line ends,
//! so that a line keeps its number.

use super::tree::File;

/// A file of Rust.
#[derive(Clone, Debug)]
pub struct RustFile {
    /// From the root of the repository.
    pub path: String,
    /// As it is.
    pub text: String,
    /// Without comments and the contents of literals.
    pub code: String,
    /// The same without what is there for tests only.
    pub production: String,
}

impl RustFile {
    /// Reads a file.
    pub fn read(file: &File) -> Self {
        let code = code(&file.text);
        let production = if is_test_by_place(&file.path) { String::new() } else { without_tests(&code) };
        Self { path: file.path.clone(), text: file.text.clone(), code, production }
    }

    /// Paths, without `.rs`, of the modules that this file declares for tests only.
    pub fn test_modules(&self) -> Vec<String> {
        let folder = match self.path.rsplit_once('/') {
            Some((folder, "mod.rs" | "lib.rs" | "main.rs")) => folder.to_owned(),
            _ => self.path.trim_end_matches(".rs").to_owned(),
        };
        let mut found = Vec::new();
        for (at, _) in self.code.match_indices(TEST_ONLY) {
            let item = self.code[at + TEST_ONLY.len()..].trim_start();
            if let Some(name) = item.split(';').next().and_then(|item| item.strip_prefix("mod ")) {
                found.push(format!("{folder}/{}", name.trim()));
            }
        }
        found
    }

    /// Lines that count for the length of a file: all but those of tests inside of it.
    pub fn counted_lines(&self) -> usize {
        let tests_inside = without_tests(&self.code).matches(TAKEN_OUT).count();
        self.text.lines().count() - tests_inside
    }
}

const TEST_ONLY: &str = "#[cfg(test)]";
/// Stands for each line that belongs to a test.
const TAKEN_OUT: char = '\u{1}';

/// Integration tests, benches and the crate of tests are no production code.
fn is_test_by_place(path: &str) -> bool {
    path.starts_with("tests/") || path.starts_with("benches/") || path.contains("/tests/") || path.contains("/benches/")
}

/// Replaces comments and the contents of literals by blanks.
pub fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, kept) = token(rest, first);
        let (token, after) = rest.split_at(length);
        if kept {
            out.push_str(token);
        } else {
            out.extend(token.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = after;
    }
    out
}

/// The length of what `rest` begins with, and whether it is code.
fn token(rest: &str, first: char) -> (usize, bool) {
    let until = |end: Option<usize>| end.unwrap_or(rest.len());
    match first {
        '/' if rest.starts_with("//") => (until(rest.find('\n')), false),
        '/' if rest.starts_with("/*") => (until(rest.find("*/").map(|at| at + 2)), false),
        '"' => (until(closing_quote(&rest[1..]).map(|at| at + 2)), false),
        'r' if rest[1..].trim_start_matches('#').starts_with('"') => {
            let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = hashes + 2;
            (until(rest[begin..].find(&end).map(|at| begin + at + end.len())), false)
        }
        '\'' => match char_literal(rest) {
            Some(length) => (length, false),
            None => (1, true),
        },
        _ if first.is_alphanumeric() || first == '_' => {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
            // A prefix of a text, as in `b"x"`, is a word of its own.
            (until(end).max(1), true)
        }
        _ => (first.len_utf8(), true),
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })
}

/// The length of a character literal; `None` for a lifetime.
fn char_literal(rest: &str) -> Option<usize> {
    let mut inner = rest[1..].char_indices();
    let (_, first) = inner.next()?;
    if first == '\\' {
        inner.next()?;
        return rest[3..].find('\'').map(|at| at + 4);
    }
    inner.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at + 2)
}

/// Takes out every item under `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(TEST_ONLY) {
        out.push_str(&rest[..at]);
        let end = at + TEST_ONLY.len();
        let item = &rest[end..];
        let length = item_length(item);
        out.extend(rest[at..end + length].chars().filter(|c| *c == '\n').flat_map(|end| [TAKEN_OUT, end]));
        // The line on which the item ends.
        out.push(TAKEN_OUT);
        rest = &item[length..];
    }
    out.push_str(rest);
    out
}

/// To the `;` or the closing brace of the item that begins here.
fn item_length(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> RustFile {
        RustFile::read(&File { path: path.to_owned(), text: text.to_owned() })
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "let a = \"x::y \\\" z\"; // crate::a\n/* crate::b\n*/ let c: &'static str = r#\"\"crate::c\"\"#; 'q' '\\n'";

        let code = code(text);

        assert!(!code.contains("crate") && !code.contains("x::y") && !code.contains('q'), "{code}");
        assert!(code.contains("&'static str") && code.contains("let a ="), "{code}");
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn what_is_for_tests_only_is_no_production_code() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { if x { y } }\n}\nfn c() {}\n";

        let file = file("ployer-core/src/a.rs", text);

        assert!(file.production.contains("fn a") && file.production.contains("fn c"));
        assert!(!file.production.contains("fn b"));
        assert_eq!(file.production.lines().position(|line| line.contains("fn c")), Some(5));
        assert_eq!(file.counted_lines(), 2);
    }

    #[test]
    fn modules_that_are_declared_for_tests_are_found() {
        let parent = file("ployer-core/src/a/mod.rs", "mod b;\n#[cfg(test)]\nmod sample;\n");

        assert_eq!(parent.test_modules(), ["ployer-core/src/a/sample"]);
        let parent = file("ployer-core/src/a.rs", "#[cfg(test)]\nmod sample;\n");
        assert_eq!(parent.test_modules(), ["ployer-core/src/a/sample"]);
    }
}
