//! The workshop: repositories, checkouts and artifacts of the world, as state; and the values of secrets.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::trace::fingerprint;
use super::version::{Effort, Version};
use crate::error::{Error, ErrorKind, Resource, Result};
use crate::model::{
    ApplicationId, Artifact, CommitInfo, CommitSha, DeploymentId, GitUrl, RepoPath, Secret, SecretVersion,
};
use crate::source::{Checkout, CheckoutRequest, Wish};

/// The branch that is taken where none is named.
pub(super) const DEFAULT_BRANCH: &str = "main";

/// What a source and a builder have.
#[derive(Debug)]
pub(super) struct Workshop {
    /// Where checkouts are written: the library reads them as it reads real ones.
    folder: PathBuf,
    repositories: BTreeMap<String, Repository>,
    /// What is checked out, also half of it.
    pub(super) checkouts: BTreeMap<DeploymentId, ApplicationId>,
    /// What was built, also half of it (`false`).
    pub(super) artifacts: BTreeMap<PathBuf, bool>,
    pub(super) secrets: BTreeMap<SecretVersion, Secret>,
}

#[derive(Debug, Default)]
struct Repository {
    branches: BTreeMap<String, CommitSha>,
    commits: BTreeMap<CommitSha, Commit>,
}

/// What a repository has at a commit.
#[derive(Clone, Debug)]
pub(super) struct Commit {
    pub(super) message: String,
    pub(super) files: BTreeMap<String, File>,
    /// How fetching it goes.
    pub(super) effort: Effort,
}

/// What a commit has at a path.
#[derive(Clone, Debug, Hash)]
#[cfg_attr(not(test), allow(dead_code, reason = "histories need text alone, the suite of sources all of them"))]
pub(super) enum File {
    Text(String),
    Executable(String),
    Link(String),
}

impl Workshop {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            repositories: BTreeMap::new(),
            checkouts: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }
    }

    /// Makes an empty repository.
    #[cfg(test)]
    pub(super) fn create(&mut self, url: &GitUrl) {
        self.repositories.entry(url.to_string()).or_default();
    }

    /// Makes `commit` the head of a branch.
    pub(super) fn push(&mut self, url: &GitUrl, branch: &str, sha: CommitSha, commit: Commit) {
        let repository = self.repositories.entry(url.to_string()).or_default();
        repository.branches.insert(branch.to_owned(), sha.clone());
        repository.commits.insert(sha, commit);
    }

    /// Makes `version` the head of the default branch.
    pub(super) fn push_version(&mut self, url: &GitUrl, version: &Version) -> Result<()> {
        let files = version.files().into_iter().map(|(path, text)| (path, File::Text(text))).collect();
        let commit = Commit { message: format!("version {}", version.number), files, effort: version.checkout };
        self.push(url, DEFAULT_BRANCH, version.sha().parse()?, commit);
        Ok(())
    }

    /// Deletes a branch.
    #[cfg(test)]
    pub(super) fn remove_branch(&mut self, url: &GitUrl, branch: &str) {
        if let Some(repository) = self.repositories.get_mut(url.as_str()) {
            repository.branches.remove(branch);
        }
    }

    /// The commit that is wished of a repository.
    pub(super) fn find(&self, url: &GitUrl, wish: &Wish) -> Result<(CommitSha, Commit)> {
        let repository = self.repositories.get(url.as_str());
        let repository =
            repository.ok_or_else(|| Error::not_found(Resource::Repository, url).with_hint("check its address"))?;
        let sha = match wish {
            Wish::Commit(sha) => sha,
            Wish::Branch(branch) => repository.head(url, branch.as_str())?,
            Wish::DefaultBranch => repository.head(url, DEFAULT_BRANCH)?,
        };
        let commit = repository.commits.get(sha);
        let missing = || Error::not_found(Resource::Commit, sha).with_hint("push it first");
        commit.map(|commit| (sha.clone(), commit.clone())).ok_or_else(missing)
    }

    /// Writes the files of a commit down for a deployment, in the place of what is there.
    pub(super) fn write_down(&self, request: &CheckoutRequest, sha: CommitSha, commit: &Commit) -> Result<Checkout> {
        let directory = self.directory(request.deployment);
        let files = below(&commit.files, request.base_directory.as_ref())?;
        let written = clear(&directory).and_then(|()| write(&directory, &files));
        written.map_err(|error| Error::internal("a checkout cannot be written", error))?;
        if let Err(refused) = crate::source::refuse_links_out(&directory) {
            self.clear(request.deployment)?;
            return Err(refused);
        }
        let tree = format!("{:016x}", fingerprint(format!("{files:?}").as_bytes()));
        let info =
            CommitInfo { sha: Some(sha), message: commit.message.clone(), author: "Ada Lovelace".to_owned(), tree };
        Ok(Checkout { directory, commit: info })
    }

    /// Removes the files of a deployment's checkout.
    pub(super) fn clear(&self, deployment: DeploymentId) -> Result<()> {
        clear(&self.directory(deployment)).map_err(|error| Error::internal("a checkout cannot be removed", error))
    }

    fn directory(&self, deployment: DeploymentId) -> PathBuf {
        self.folder.join(deployment.to_string())
    }

    /// Refuses what is not built, or only half.
    pub(super) fn check_artifact(&self, artifact: &Artifact) -> Result<()> {
        match self.has(artifact) {
            true => Ok(()),
            false => Err(Error::failed(format!("{} is not there", place(artifact).display()))),
        }
    }

    pub(super) fn has(&self, artifact: &Artifact) -> bool {
        self.artifacts.get(&place(artifact)).copied().unwrap_or_default()
    }

    /// Whether files under that path belong to something built.
    pub(super) fn has_files(&self, root: &Path) -> bool {
        root.ancestors().any(|path| self.artifacts.get(path).copied().unwrap_or_default())
    }
}

impl Repository {
    fn head(&self, url: &GitUrl, branch: &str) -> Result<&CommitSha> {
        if self.branches.is_empty() {
            let empty = Error::new(ErrorKind::NotFound, format!("repository `{url}` is empty"));
            return Err(empty.with_hint("push a commit first"));
        }
        let missing = || Error::not_found(Resource::Branch, branch).with_hint("push it first");
        self.branches.get(branch).ok_or_else(missing)
    }
}

/// The files below a folder of a repository, as if it were the whole.
fn below(files: &BTreeMap<String, File>, folder: Option<&RepoPath>) -> Result<BTreeMap<String, File>> {
    let Some(folder) = folder else { return Ok(files.clone()) };
    let prefix = format!("{folder}/");
    let inside = files.iter().filter_map(|(path, file)| Some((path.strip_prefix(&prefix)?.to_owned(), file.clone())));
    let inside: BTreeMap<_, _> = inside.collect();
    if inside.is_empty() {
        let missing = Error::new(ErrorKind::NotFound, format!("the repository has no folder `{folder}`"));
        return Err(missing.with_hint("check the base directory"));
    }
    Ok(inside)
}

fn write(directory: &Path, files: &BTreeMap<String, File>) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for (path, file) in files {
        let path = directory.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match file {
            File::Text(text) => fs::write(&path, text)?,
            File::Executable(text) => {
                fs::write(&path, text)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            }
            File::Link(target) => symlink(target, &path)?,
        }
    }
    Ok(())
}

fn clear(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Where an artifact is kept.
pub(super) fn place(artifact: &Artifact) -> PathBuf {
    match artifact {
        Artifact::Directory { path } => path.clone(),
        Artifact::Image { reference, .. } => PathBuf::from(reference),
    }
}
