//! The workshop: repositories, checkouts and artifacts of the world, as state; and the values of secrets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::source::commit_info;
use super::version::Version;
use crate::error::{Error, Resource, Result};
use crate::model::{ApplicationId, Artifact, CommitSha, DeploymentId, GitUrl, Secret, SecretVersion};
use crate::source::Checkout;

/// What a source and a builder have.
#[derive(Debug, Default)]
pub(super) struct Workshop {
    /// Commits of each repository, the head last.
    repositories: BTreeMap<String, Vec<Version>>,
    /// What is checked out, also half of it.
    pub(super) checkouts: BTreeMap<DeploymentId, ApplicationId>,
    /// What was built, also half of it (`false`).
    pub(super) artifacts: BTreeMap<PathBuf, bool>,
    pub(super) secrets: BTreeMap<SecretVersion, Secret>,
}

impl Workshop {
    /// Makes `version` the head of a repository.
    pub(super) fn push(&mut self, url: &GitUrl, version: Version) {
        self.repositories.entry(url.to_string()).or_default().push(version);
    }

    pub(super) fn version(&self, url: &GitUrl, commit: Option<&CommitSha>) -> Result<Version> {
        let commits = self.repositories.get(&url.to_string());
        let commits = commits.ok_or_else(|| Error::not_found(Resource::Repository, url))?;
        let found = match commit {
            Some(sha) => commits.iter().rev().find(|version| version.sha() == sha.as_str()),
            None => commits.last(),
        };
        found.cloned().ok_or_else(|| match commit {
            Some(sha) => Error::not_found(Resource::Commit, sha),
            None => Error::not_found(Resource::Branch, "main"),
        })
    }

    /// Writes the files of a version down where a checkout has them.
    pub(super) fn write_down(&self, deployment: DeploymentId, version: &Version) -> Result<Checkout> {
        let directory = PathBuf::from(format!("/sim/checkouts/{deployment}"));
        Ok(Checkout { directory, commit: commit_info(version) })
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

/// Where an artifact is kept.
pub(super) fn place(artifact: &Artifact) -> PathBuf {
    match artifact {
        Artifact::Directory { path } => path.clone(),
        Artifact::Image { reference, .. } => PathBuf::from(reference),
    }
}
