//! The tree: every file of the repository that people write, with its text.

use std::fs;
use std::path::{Path, PathBuf};

use super::rust::RustFile;

/// Folders that nobody writes by hand, or that are not part of the repository.
const SKIPPED: [&str; 5] = [".git", "target", "node_modules", ".svelte-kit", "__pycache__"];

/// A file of the tree.
#[derive(Clone, Debug)]
pub struct File {
    /// From the root of the repository, with `/`.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// The files of a repository, in order of their paths.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    files: Vec<File>,
    rust: Vec<RustFile>,
}

impl Tree {
    /// Reads this repository.
    pub fn read() -> Self {
        let root = root();
        let mut files = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if path.is_symlink() || SKIPPED.contains(&&*name) {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(text) = fs::read_to_string(&path) {
                    let path = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                    files.push(File { path, text });
                }
            }
        }
        Self::new(files)
    }

    /// A tree of the given paths and texts.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
        Self::new(files.iter().map(file).collect())
    }

    fn new(mut files: Vec<File>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut rust: Vec<_> = files.iter().filter(|file| file.path.ends_with(".rs")).map(RustFile::read).collect();
        let for_tests: Vec<String> = rust.iter().flat_map(RustFile::test_modules).collect();
        for file in &mut rust {
            let within = |module: &String| {
                file.path.strip_prefix(module.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            };
            if for_tests.iter().any(within) {
                file.production.clear();
            }
        }
        Self { files, rust }
    }

    /// All files.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// The file at a path.
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// All files of Rust.
    pub fn rust(&self) -> impl Iterator<Item = &RustFile> {
        self.rust.iter()
    }

    /// Whether there is a file, or a folder with files, at a path.
    pub fn has(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.files
            .iter()
            .any(|file| file.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}
