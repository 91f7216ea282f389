//! A path of this machine: a repository, a folder inside of one, or a folder as it is.
//!
//! Only where the settings allow it. What was not committed is not deployed from a repository, and is said so.

use std::io;
use std::path::{Path, PathBuf};

use super::args::Remote;
use super::failure::Trouble;
use super::run::Run;
use crate::error::{Error, ErrorKind, Resource};
use crate::model::{RepoPath, Transport};

/// What is found at a path.
#[derive(Debug)]
pub(super) enum Found {
    /// A repository, and the folder of it that the path names.
    Repository { remote: Remote, folder: Option<RepoPath> },
    /// A folder that no repository holds.
    Folder(PathBuf),
}

/// Looks what is at `path`.
pub(super) fn find(run: &Run, path: &Path) -> Result<Found, Trouble> {
    let path = path.canonicalize().map_err(|error| absent(path, error))?;
    if !path.is_dir() {
        return Err(Trouble::Refused(Error::new(ErrorKind::Invalid, format!("`{}` is not a folder", path.display()))));
    }
    let answer = match run.git(run.git.locate(&path)) {
        Ok(answer) => answer,
        // Git finds no repository around it.
        Err(Trouble::Git(_)) => return Ok(Found::Folder(path)),
        Err(trouble) => return Err(trouble),
    };
    let answer = String::from_utf8(answer).map_err(|_| not_utf8(&path))?;
    let lines: Vec<&str> = answer.lines().collect();
    let [bare, in_git_dir, git_dir, prefix, ..] = lines[..] else { return Ok(Found::Folder(path)) };
    if bare == "true" || in_git_dir == "true" {
        let remote = Remote { address: git_dir.into(), transport: Transport::Local, ssh: None };
        return Ok(Found::Repository { remote, folder: None });
    }
    let folder = prefix.trim_end_matches('/');
    let depth = folder.split('/').filter(|part| !part.is_empty()).count();
    let root = path.ancestors().nth(depth).unwrap_or(&path);
    let remote = Remote { address: root.into(), transport: Transport::Local, ssh: None };
    let folder = (depth > 0).then(|| folder.parse()).transpose().map_err(Trouble::Refused)?;
    Ok(Found::Repository { remote, folder })
}

/// Says how much of a working tree is not deployed because it was not committed.
pub(super) fn say_changes(run: &Run, path: &Path) {
    // A hint only: where Git does not answer, nothing is said.
    let Ok(answer) = run.git(run.git.changes(path)) else { return };
    match answer.split(|byte| *byte == 0).filter(|item| !item.is_empty()).count() {
        0 => {}
        1 => run.say("1 change is not committed and is not deployed"),
        count => run.say(format!("{count} changes are not committed and are not deployed")),
    }
}

fn absent(path: &Path, error: io::Error) -> Trouble {
    if error.kind() == io::ErrorKind::NotFound {
        let error = Error::not_found(Resource::Repository, path.display());
        return Trouble::Refused(error.with_hint("check the path: it must exist on the machine that runs Ployer"));
    }
    Trouble::File { path: path.to_owned(), source: error }
}

fn not_utf8(path: &Path) -> Trouble {
    Trouble::Refused(Error::new(ErrorKind::Invalid, format!("the path `{}` is not UTF-8", path.display())))
}
