//! The export: the files of one commit, in a folder without a `.git`.
//!
//! Written by `git checkout` with an index of its own: `git archive` would leave out what `export-ignore` names,
//! and line ends, LFS and submodules follow the repository's attributes. Sizes are known, and refused, before
//! anything is written. Which submodules are fetched is decided in `submodule`.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::args::Workspace;
use super::failure::Trouble;
use super::mirror::Mirror;
use super::places::Partial;
use super::run::Run;
use super::ssh::Access;
use super::submodule::{self, Submodule};
use super::tree::{self, Entry, Kind};
use super::{lfs, links};
use crate::config::SourceSettings;
use crate::error::{Error, ErrorKind};
use crate::model::{CommitSha, GitUrl, RepoPath};
use crate::source::Wish;

/// How deep submodules may have submodules.
const DEPTH_MAX: u32 = 8;

/// Writes commits to folders, and counts what they take.
#[derive(Debug)]
pub(super) struct Export<'a> {
    pub(super) run: &'a Run,
    pub(super) partial: &'a Partial,
    pub(super) settings: &'a SourceSettings,
    pub(super) access: &'a Access,
    /// Where the mirrors of submodules are.
    pub(super) mirrors: PathBuf,
    pub(super) taken: Taken,
}

/// What has been written so far, or will be in a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    bytes: u64,
    files: usize,
    submodules: usize,
}

/// A commit of a mirror, or a folder of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) mirror: &'a Mirror<'a>,
    pub(super) commit: &'a CommitSha,
    pub(super) folder: Option<&'a RepoPath>,
}

impl Export<'_> {
    /// Writes a part of a repository below `to`, at its own path; answers the id of its tree.
    pub(super) fn write(&mut self, part: Part<'_>, to: &Path) -> Result<(), Trouble> {
        self.write_at(part, to, 0)
    }

    fn write_at(&mut self, part: Part<'_>, to: &Path, depth: u32) -> Result<(), Trouble> {
        let entries = self.entries(part)?;
        self.count(&entries)?;
        let index = self.partial.join(&format!("index-{}", self.taken.submodules));
        let at = Workspace { mirror: &part.mirror.path, index: &index, folder: to };
        let below = part.folder.map_or_else(|| to.to_owned(), |folder| to.join(folder.as_str()));
        fs::create_dir_all(&below).map_err(Trouble::file(&below))?;
        if entries.iter().any(|entry| !matches!(entry.kind, Kind::Submodule(_))) {
            self.run.git(self.run.git.read_tree(at, part.commit))?;
            self.run.git(self.run.git.checkout(at, part.folder))?;
            let pointers = lfs::pointers(&below, &entries);
            self.take_bytes(pointers.iter().map(|pointer| pointer.bytes).sum())?;
            lfs::replace(self.run, at, part, &pointers)?;
        }
        self.write_submodules(part, &entries, &below, depth)
    }

    fn entries(&self, part: Part<'_>) -> Result<Vec<Entry>, Trouble> {
        let top = part.tree(self.run)?;
        Ok(tree::parse(&self.run.git(self.run.git.entries(&part.mirror.path, &top))?))
    }

    fn count(&mut self, entries: &[Entry]) -> Result<(), Trouble> {
        self.taken.files += entries.len();
        let max = self.settings.files_max;
        if self.taken.files > max {
            return Err(Trouble::too_large(format!("it has more than {max} files")));
        }
        self.take_bytes(entries.iter().map(|entry| if let Kind::File { bytes } = entry.kind { bytes } else { 0 }).sum())
    }

    fn take_bytes(&mut self, bytes: u64) -> Result<(), Trouble> {
        self.taken.bytes = self.taken.bytes.saturating_add(bytes);
        let max = self.settings.checkout_bytes_max;
        if self.taken.bytes <= max {
            return Ok(());
        }
        Err(Trouble::too_large(format!(
            "its files have {} MB, more than {} MB",
            self.taken.bytes / 1_000_000,
            max / 1_000_000
        )))
    }

    fn write_submodules(&mut self, part: Part<'_>, entries: &[Entry], below: &Path, depth: u32) -> Result<(), Trouble> {
        let wanted: Vec<_> = entries
            .iter()
            .filter_map(|entry| if let Kind::Submodule(commit) = &entry.kind { Some((entry, commit)) } else { None })
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let described = match self.run.git(self.run.git.submodules(&part.mirror.path, part.commit)) {
            Ok(answer) => submodule::parse(&answer),
            // No `.gitmodules`, or none that says anything.
            Err(Trouble::Git(_)) => Vec::new(),
            Err(trouble) => return Err(trouble),
        };
        for (entry, commit) in wanted {
            let path = part.folder.map_or_else(PathBuf::new, |folder| folder.as_str().into()).join(&entry.path);
            let submodule = described.iter().find(|submodule| Path::new(&submodule.path) == path);
            if !links::is_plain_folder(below, &entry.path) {
                return Err(refused(&path, "a link stands in its way", part.mirror.url));
            }
            self.write_submodule(part.mirror.url, submodule, (&path, commit), &below.join(&entry.path), depth)?;
        }
        Ok(())
    }

    fn write_submodule(
        &mut self,
        parent: &GitUrl,
        submodule: Option<&Submodule>,
        (path, commit): (&Path, &CommitSha),
        to: &Path,
        depth: u32,
    ) -> Result<(), Trouble> {
        let Some(text) = submodule.filter(|submodule| !submodule.off).and_then(|submodule| submodule.url.as_deref())
        else {
            self.run.say(format!("the submodule `{}` has no address to fetch and stays empty", path.display()));
            return fs::create_dir_all(to).map_err(Trouble::file(to));
        };
        self.taken.submodules += 1;
        if depth >= DEPTH_MAX || self.taken.submodules > self.settings.submodules_max {
            return Err(refused(path, "there are too many, or they contain each other", parent));
        }
        let url =
            submodule::address(parent, text).map_err(|reason| refused(path, &format!("`{text}`: {reason}"), parent))?;
        self.run.say(format!("fetching the submodule `{}`", path.display()));
        let remote = self.access.remote(&url);
        let (run, settings) = (self.run, self.settings);
        let mirror = self.mirrors.join(name_of(&url));
        let taken = self.taken;
        Mirror::with(run, &mirror, (&url, &remote), settings, &mut |mirror| {
            // A second attempt writes over the first.
            self.taken = taken;
            mirror.bring(&Wish::Commit(commit.clone()))?;
            self.write_at(Part { mirror, commit, folder: None }, to, depth + 1)
        })
    }
}

impl Part<'_> {
    /// The id of the tree that is written.
    pub(super) fn tree(self, run: &Run) -> Result<String, Trouble> {
        let Some(folder) = self.folder else { return Ok(self.commit.to_string()) };
        match self.folder_entry(run)? {
            Some(Entry { kind: Kind::Folder, object, .. }) => Ok(object),
            found => {
                let what = if found.is_some() { "is not a folder" } else { "does not exist" };
                let message =
                    format!("the folder `{folder}` {what} in commit {} of `{}`", self.commit.short(), self.mirror.url);
                Err(Trouble::Refused(
                    Error::new(ErrorKind::NotFound, message).with_hint("check the application's base directory"),
                ))
            }
        }
    }

    /// What the commit has at the path of the folder.
    pub(super) fn folder_entry(self, run: &Run) -> Result<Option<Entry>, Trouble> {
        let Some(folder) = self.folder else { return Ok(None) };
        let answer = run.git(run.git.folder_entry(&self.mirror.path, self.commit, folder))?;
        Ok(tree::parse(&answer).pop())
    }
}

fn refused(path: &Path, reason: &str, parent: &GitUrl) -> Trouble {
    let message = format!("the submodule `{}` of `{parent}` is not fetched: {reason}", path.display());
    let hint = "give it an `https` address or a relative one in `.gitmodules`, or set its `update` to `none`";
    Trouble::Refused(Error::new(ErrorKind::Invalid, message).with_hint(hint))
}

fn name_of(url: &GitUrl) -> String {
    Sha256::digest(url.as_str()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
