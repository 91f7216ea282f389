//! The mirror: a bare copy of a repository that is brought up to date instead of cloned again.
//!
//! It has all branches and tags and what `HEAD` names; forced pushes are followed, removed branches go. It is a
//! cache: one of another address, or one that a crash or a full disk has damaged, is thrown away and made anew.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::args::{Refs, Remote, Rev};
use super::failure::{self, Trouble};
use super::places;
use super::run::Run;
use crate::config::SourceSettings;
use crate::error::{Error, Resource};
use crate::model::{CommitSha, GitUrl};
use crate::source::Wish;

/// The file in a mirror that names its repository; written last, so that half a mirror has none.
const ADDRESS: &str = "ployer-address";

/// A bare repository of ours.
#[derive(Debug)]
pub(super) struct Mirror<'a> {
    run: &'a Run,
    pub(super) path: PathBuf,
    /// As it was given, for messages.
    pub(super) url: &'a GitUrl,
    pub(super) remote: &'a Remote,
    bytes_max: u64,
}

impl<'a> Mirror<'a> {
    /// Opens or makes the mirror at `path`, and answers `work` with it. If the mirror was there before and may be
    /// at fault when `work` fails, `work` gets a new one, once.
    pub(super) fn with<T>(
        run: &'a Run,
        path: &Path,
        (url, remote): (&'a GitUrl, &'a Remote),
        settings: &SourceSettings,
        work: &mut dyn FnMut(&Self) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mirror = Self { run, path: path.to_owned(), url, remote, bytes_max: settings.mirror_bytes_max };
        if mirror.is_of(&remote.address) {
            mirror.sweep()?;
            match work(&mirror) {
                Err(trouble) if trouble.suspects_the_mirror() => {
                    tracing::warn!(?trouble, path = %path.display(), "the mirror is thrown away");
                    run.say("the copy of the repository on this machine is damaged; fetching it anew");
                }
                result => return result,
            }
        }
        mirror.make()?;
        work(&mirror)
    }

    /// Fetches, and finds the commit that is wanted.
    pub(super) fn bring(&self, wish: &Wish) -> Result<CommitSha, Trouble> {
        match wish {
            Wish::DefaultBranch => self.bring_head(),
            Wish::Branch(name) => {
                self.fetch(&Refs::All)?;
                let found = match self.resolve(&Rev::Branch(name))? {
                    None => self.resolve(&Rev::Tag(name))?,
                    found => found,
                };
                found.map_or_else(|| Err(self.missing(Resource::Branch, name.as_str())), Ok)
            }
            Wish::Commit(sha) => self.bring_commit(sha),
        }
    }

    fn bring_head(&self) -> Result<CommitSha, Trouble> {
        match self.fetch(&Refs::AllAndHead) {
            Err(trouble) if trouble.is_without_head() => {
                self.fetch(&Refs::All)?;
                return Err(Trouble::Refused(if self.is_empty()? {
                    failure::empty(self.url)
                } else {
                    failure::no_head(self.url)
                }));
            }
            fetched => fetched?,
        }
        self.resolve(&Rev::Head)?.ok_or_else(|| Trouble::Refused(failure::no_head(self.url)))
    }

    /// A commit never changes: one that is here already needs no fetch.
    fn bring_commit(&self, sha: &CommitSha) -> Result<CommitSha, Trouble> {
        if let Some(found) = self.resolve(&Rev::Commit(sha))? {
            return Ok(found);
        }
        self.fetch(&Refs::All)?;
        if self.resolve(&Rev::Commit(sha))?.is_none() {
            // No branch names it any more; many hosts hand it out all the same.
            match self.fetch(&Refs::Commit(sha)) {
                Err(Trouble::Git(_)) => return Err(self.missing(Resource::Commit, sha.as_str())),
                fetched => fetched?,
            }
        }
        self.resolve(&Rev::Commit(sha))?.map_or_else(|| Err(self.missing(Resource::Commit, sha.as_str())), Ok)
    }

    fn fetch(&self, refs: &Refs<'_>) -> Result<(), Trouble> {
        let call = self.run.git.fetch(&self.path, self.remote, refs);
        self.run.git_watched(call, &|| self.check_size()).map(drop)
    }

    fn resolve(&self, rev: &Rev<'_>) -> Result<Option<CommitSha>, Trouble> {
        match self.run.git(self.run.git.resolve(&self.path, rev)) {
            Ok(answer) => Ok(String::from_utf8_lossy(&answer).trim().parse().ok()),
            Err(Trouble::Git(failure)) if failure.is_silent() => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    fn is_empty(&self) -> Result<bool, Trouble> {
        Ok(self.run.git(self.run.git.any_ref(&self.path))?.is_empty())
    }

    fn missing(&self, what: Resource, name: &str) -> Trouble {
        match self.is_empty() {
            Ok(true) => Trouble::Refused(failure::empty(self.url)),
            Ok(false) => Trouble::Refused(
                Error::not_found(what, name).with_hint(format!("check that it was pushed to `{}`", self.url)),
            ),
            Err(trouble) => trouble,
        }
    }

    fn is_of(&self, address: &std::ffi::OsStr) -> bool {
        fs::read(self.path.join(ADDRESS)).is_ok_and(|known| known == address.as_encoded_bytes())
    }

    fn make(&self) -> Result<(), Trouble> {
        places::remove(&self.path).map_err(Trouble::file(&self.path))?;
        self.run.git(self.run.git.init(&self.path))?;
        let address = self.path.join(ADDRESS);
        fs::write(&address, self.remote.address.as_encoded_bytes()).map_err(Trouble::file(&address))
    }

    /// Removes half packs that a killed fetch has left: they would stay for good.
    fn sweep(&self) -> Result<(), Trouble> {
        let packs = self.path.join("objects/pack");
        for (path, _) in files_of(&packs).map_err(Trouble::file(&packs))? {
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"tmp_")) {
                places::remove(&path).map_err(Trouble::file(&path))?;
            }
        }
        Ok(())
    }

    fn check_size(&self) -> Result<(), Trouble> {
        // Files come and go while Git writes: what cannot be read now is read the next time.
        let bytes: u64 =
            files_of(&self.path.join("objects/pack")).unwrap_or_default().iter().map(|(_, size)| size).sum();
        if bytes <= self.bytes_max {
            return Ok(());
        }
        Err(Trouble::too_large(format!("the history of `{}` has more than {} bytes", self.url, self.bytes_max)))
    }
}

fn files_of(folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries
        .map(|entry| {
            let entry = entry?;
            Ok((entry.path(), entry.metadata()?.len()))
        })
        .collect()
}
