//! One checkout, from the request to the folder: blocking, in order, on a thread of its own.
//!
//! The folder is made under another name and renamed when it is whole, so that a crash at any line leaves nothing
//! that looks like a checkout. A key's file lives as long as the job.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::Remote;
use super::export::{Export, Part, Taken};
use super::failure::Trouble;
use super::local::{self, Found};
use super::mirror::Mirror;
use super::places::{Partial, Places};
use super::run::Run;
use super::snapshot::{self, Bounds};
use super::ssh::Access;
use super::{links, places};
use crate::clock::Clock;
use crate::config::SourceSettings;
use crate::error::{Error, ErrorKind, Resource};
use crate::model::{CommitInfo, CommitSha, RepoPath};
use crate::source::{Checkout, CheckoutRequest, Wish};

/// What a checkout works with.
#[derive(Debug)]
pub(super) struct Job<'a> {
    pub(super) request: &'a CheckoutRequest,
    pub(super) run: &'a Run,
    pub(super) places: &'a Places,
    pub(super) settings: &'a SourceSettings,
    pub(super) home: Option<&'a Path>,
    pub(super) clock: &'a Arc<dyn Clock>,
}

impl Job<'_> {
    /// Does it.
    pub(super) fn work(&self) -> Result<Checkout, Trouble> {
        let directory = self.places.checkout(self.request.deployment);
        self.places.remove_checkout(self.request.deployment).map_err(Trouble::file(&directory))?;
        let partial = Partial::make(self.places, self.request.deployment, &**self.clock)?;
        let (folder, commit) = match self.request.url.local_path() {
            Some(path) => self.take_path(path, &partial)?,
            None => {
                let access = self.access()?;
                let remote = access.remote(&self.request.url);
                self.take_repository(&remote, self.request.base_directory.as_ref(), &access, &partial)?
            }
        };
        links::check(&folder)?;
        self.run.wanted.check()?;
        fs::rename(&folder, &directory).map_err(Trouble::file(&directory))?;
        Ok(Checkout { directory, commit })
    }

    fn access(&self) -> Result<Access, Trouble> {
        let keys = self.places.keys();
        Access::open(self.request, self.places.known_hosts(), &keys, &**self.clock).map_err(Trouble::file(&keys))
    }

    fn take_path(&self, path: &Path, partial: &Partial) -> Result<(PathBuf, CommitInfo), Trouble> {
        if !self.settings.allow_local {
            let error = Error::new(ErrorKind::Forbidden, format!("`{}` is a path of this machine", path.display()));
            return Err(Trouble::Refused(
                error.with_hint("give the address of a repository, or allow local paths in the configuration"),
            ));
        }
        match local::find(self.run, path)? {
            Found::Folder(folder) => self.take_folder(&folder, partial),
            Found::Repository { remote, folder } => self.take_local_repository(path, &remote, folder.as_ref(), partial),
        }
    }

    fn take_local_repository(
        &self,
        path: &Path,
        remote: &Remote,
        folder: Option<&RepoPath>,
        partial: &Partial,
    ) -> Result<(PathBuf, CommitInfo), Trouble> {
        let base = joined(folder, self.request.base_directory.as_ref())?;
        if self.request.what == Wish::DefaultBranch {
            if folder.is_some() && !local::is_committed(self.run, path)? {
                return self.take_folder(path, partial);
            }
            local::say_changes(self.run, path);
        }
        self.take_repository(remote, base.as_ref(), &self.access()?, partial)
    }

    fn take_repository(
        &self,
        remote: &Remote,
        base: Option<&RepoPath>,
        access: &Access,
        partial: &Partial,
    ) -> Result<(PathBuf, CommitInfo), Trouble> {
        let mirrors = self.places.application(self.request.application);
        let to = partial.join("tree");
        Mirror::with(
            self.run,
            &mirrors.join("repository.git"),
            (&self.request.url, remote),
            self.settings,
            &mut |mirror| {
                let commit = mirror.bring(&self.request.what)?;
                let part = Part { mirror, commit: &commit, folder: base };
                let info = self.describe(part)?;
                places::remove(&to).map_err(Trouble::file(&to))?;
                let mut export = Export {
                    run: self.run,
                    partial,
                    settings: self.settings,
                    access,
                    mirrors: mirrors.join("submodules"),
                    taken: Taken::default(),
                    used: BTreeSet::new(),
                };
                export.write(part, &to)?;
                Ok((base.map_or_else(|| to.clone(), |base| to.join(base.as_str())), info))
            },
        )
    }

    /// What is recorded of a commit.
    fn describe(&self, part: Part<'_>) -> Result<CommitInfo, Trouble> {
        let answer = self.run.git(self.run.git.describe(&part.mirror.path, part.commit))?;
        let answer = String::from_utf8_lossy(&answer);
        let mut lines = answer.lines().map(str::to_owned);
        let mut next = || lines.next().unwrap_or_default();
        let (whole, message, author) = (next(), next(), next());
        let tree = if part.folder.is_some() { part.tree(self.run)? } else { whole };
        Ok(CommitInfo { sha: Some(part.commit.clone()), message, author, tree })
    }

    fn take_folder(&self, folder: &Path, partial: &Partial) -> Result<(PathBuf, CommitInfo), Trouble> {
        match &self.request.what {
            Wish::DefaultBranch => {}
            Wish::Branch(name) => return Err(no_repository(folder, Resource::Branch, name.as_str())),
            Wish::Commit(sha) => return Err(no_repository(folder, Resource::Commit, sha.as_str())),
        }
        let folder = match &self.request.base_directory {
            Some(base) => folder.join(base.as_str()),
            None => folder.to_owned(),
        };
        self.run.say(format!("`{}` is no repository: taking it as it is now", folder.display()));
        let to = partial.join("tree");
        let bounds = Bounds { settings: self.settings, home: self.home, data_dir: self.places.data_dir() };
        let tree = snapshot::take(self.run, &folder, &to, &bounds)?;
        Ok((to, CommitInfo { sha: None::<CommitSha>, message: String::new(), author: String::new(), tree }))
    }
}

fn joined(folder: Option<&RepoPath>, base: Option<&RepoPath>) -> Result<Option<RepoPath>, Trouble> {
    match (folder, base) {
        (Some(folder), Some(base)) => format!("{folder}/{base}").parse().map(Some).map_err(Trouble::Refused),
        (folder, base) => Ok(folder.or(base).cloned()),
    }
}

fn no_repository(folder: &Path, what: Resource, name: &str) -> Trouble {
    let error = Error::not_found(what, name);
    Trouble::Refused(error.with_hint(format!("`{}` is no repository: deploy it without naming one", folder.display())))
}
