//! A repository: made for a test, commit by commit, with whatever trees the test needs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::model::CommitSha;

/// A Git repository that a test fills. Needs `git` in the `PATH`.
#[derive(Debug)]
pub struct Repository {
    path: PathBuf,
}

/// What a commit has at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// A file with this text.
    Text(&'a str),
    /// A file with this text that may be executed.
    Executable(&'a str),
    /// A link to this target.
    Link(&'a str),
    /// A submodule at this commit.
    Submodule(&'a str),
}

/// How a commit follows the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// On top of the branch's head, if there is one.
    OnTop,
    /// In the place of it, as after a forced push.
    Forced,
}

/// The files of a commit.
pub type Files<'a> = &'a [(&'a str, Content<'a>)];

impl Repository {
    /// Makes an empty one whose default branch is `main`.
    pub fn create(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let repository = Self { path };
        std::fs::create_dir_all(&repository.path).unwrap();
        repository.git(&["init", "--quiet", "--bare", "--initial-branch=main"]);
        repository
    }

    /// Makes one with a working tree that has `files`, committed to `main`.
    pub fn with_work_tree(path: impl Into<PathBuf>, files: Files<'_>) -> Self {
        let repository = Self { path: path.into() };
        std::fs::create_dir_all(&repository.path).unwrap();
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.commit("main", files, Push::OnTop);
        repository.git(&["reset", "--quiet", "--hard"]);
        repository
    }

    /// One that is there already.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a commit with exactly `files` the head of `branch`.
    pub fn commit(&self, branch: &str, files: Files<'_>, how: Push) -> CommitSha {
        self.commit_at(&format!("refs/heads/{branch}"), files, how)
    }

    /// Makes a commit with exactly `files` the one that a tag names.
    pub fn tag(&self, tag: &str, files: Files<'_>) -> CommitSha {
        self.commit_at(&format!("refs/tags/{tag}"), files, Push::Forced)
    }

    /// Runs `git` in it; answers what it wrote.
    ///
    /// # Panics
    ///
    /// If Git fails.
    pub fn git(&self, args: &[&str]) -> String {
        self.run(args, b"")
    }

    fn commit_at(&self, reference: &str, files: Files<'_>, how: Push) -> CommitSha {
        let known = how == Push::OnTop && !self.git(&["for-each-ref", reference]).is_empty();
        let mut stream = format!("commit {reference}\ncommitter Ada <ada@example.com> 1700000000 +0000\n");
        stream.push_str(&data(&format!("change {} files\n\nfor a reason\n", files.len())));
        if known {
            stream.push_str(&format!("from {reference}^0\n"));
        }
        stream.push_str("deleteall\n");
        for (path, content) in files {
            stream.push_str(&match content {
                Content::Text(text) => format!("M 100644 inline {path}\n{}", data(text)),
                Content::Executable(text) => format!("M 100755 inline {path}\n{}", data(text)),
                Content::Link(target) => format!("M 120000 inline {path}\n{}", data(target)),
                Content::Submodule(commit) => format!("M 160000 {commit} {path}\n"),
            });
        }
        self.run(&["fast-import", "--quiet", "--force"], stream.as_bytes());
        self.git(&["rev-parse", reference]).parse().unwrap()
    }

    fn run(&self, args: &[&str], input: &[u8]) -> String {
        let mut git = Command::new("git")
            .args(args)
            .current_dir(&self.path)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        git.stdin.take().unwrap().write_all(input).unwrap();
        let output = git.wait_with_output().unwrap();
        assert!(output.status.success(), "git {args:?} failed");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

fn data(text: &str) -> String {
    format!("data {}\n{text}\n", text.len())
}
