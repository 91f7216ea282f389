//! Samples for the tests of this room: a source of its own, with repositories in a folder of this machine.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;

use super::{Checkout, CheckoutRequest, GitConfig, GitSource, Source, Wish};
use crate::clock::SystemClock;
use crate::error::Result;
use crate::model::{CommitSha, GitUrl};
use crate::testing::source::{Heard, SourceHarness, request};
use crate::testing::{Files, Push, Repository};

/// A source that may take local paths.
pub(super) struct Local {
    source: GitSource,
    folder: TempDir,
    heard: Heard,
}

impl Local {
    pub(super) fn new() -> Self {
        Self::with(|_| {})
    }

    /// With a configuration that differs from the usual one.
    pub(super) fn with(change: impl FnOnce(&mut GitConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = GitConfig::new(folder.path().join("data"), Arc::new(SystemClock));
        config.settings.allow_local = true;
        change(&mut config);
        Self { source: GitSource::open(config).unwrap(), folder, heard: Heard::default() }
    }

    /// A path of the folder that is the test's own.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A repository whose branch `main` has `files`.
    pub(super) fn repository(&self, name: &str, files: Files<'_>) -> Repository {
        let repository = Repository::create(self.path(name));
        repository.commit("main", files, Push::OnTop);
        repository
    }

    /// A request for the default branch of what is at `name`.
    pub(super) fn request(&self, name: &str) -> CheckoutRequest {
        request(self.url(name), Wish::DefaultBranch)
    }

    pub(super) async fn check_out(&self, request: &CheckoutRequest) -> Result<Checkout> {
        self.source.checkout(request, &self.heard).await
    }

    /// What was said so far, in one text.
    pub(super) fn heard(&self) -> String {
        self.heard.lines().join("\n")
    }
}

#[async_trait]
impl SourceHarness for Local {
    async fn fresh() -> Self {
        Self::new()
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.source.clone())
    }

    fn url(&self, repository: &str) -> GitUrl {
        self.path(repository).to_str().unwrap().parse().unwrap()
    }

    async fn create(&self, repository: &str) {
        Repository::create(self.path(repository));
    }

    async fn push(&self, repository: &str, branch: &str, files: Files<'_>, how: Push) -> CommitSha {
        Repository::at(self.path(repository)).commit(branch, files, how)
    }

    async fn remove_branch(&self, repository: &str, branch: &str) {
        Repository::at(self.path(repository)).git(&["branch", "--delete", "--force", branch]);
    }
}
