//! The source: from an address and a branch to a folder with exactly the files of one commit.
//!
//! [`GitSource`] asks the system's `git`: `git` has the locks and the deadline, `checkout` the order of one checkout,
//! `mirror` what is kept between them, `export` how files get into the folder, and `local` and `snapshot` what a path of
//! this machine is. `args` alone builds command lines, `run` alone starts processes, `failure` alone reads what they
//! said. What a folder's files mean is not known here: that is `build`.
//!
//! For another kind of source implement [`Source`] and pass its suite, `testing::source`.

mod args;
mod checkout;
mod export;
mod failure;
mod git;
mod lfs;
mod links;
mod local;
mod lock;
mod mirror;
mod places;
mod progress;
mod run;
#[cfg(test)]
mod sample;
mod snapshot;
mod ssh;
mod submodule;
mod tree;

use std::fmt;
use std::path::PathBuf;

use async_trait::async_trait;

pub use self::git::{GitConfig, GitSource};
use crate::error::Result;
use crate::model::{ApplicationId, BranchName, CommitInfo, CommitSha, DeploymentId, GitUrl, RepoPath, Secret};

/// Refuses a folder that has a link which leads out of it.
///
/// # Errors
///
/// `Invalid`, naming the link.
#[cfg(feature = "testing")]
pub(crate) fn refuse_links_out(folder: &std::path::Path) -> Result<()> {
    links::check(folder).map_err(|trouble| match trouble {
        failure::Trouble::Refused(refusal) => refusal,
        other => crate::error::Error::failed(format!("{} cannot be looked through: {other:?}", folder.display())),
    })
}

/// What to check out.
#[derive(Clone, Debug)]
pub struct CheckoutRequest {
    /// For which application: its mirror is kept between deployments.
    pub application: ApplicationId,
    /// For which deployment: names the folder.
    pub deployment: DeploymentId,
    /// Where from.
    pub url: GitUrl,
    /// What.
    pub what: Wish,
    /// The folder of the repository that is the application; `None`: the whole.
    pub base_directory: Option<RepoPath>,
    /// The private key for an SSH address, in OpenSSH format.
    pub deploy_key: Option<Secret>,
}

/// What of a repository is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wish {
    /// The head of the default branch.
    DefaultBranch,
    /// The head of a branch, or a tag.
    Branch(BranchName),
    /// One commit.
    Commit(CommitSha),
}

/// A folder with exactly the files of one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// The folder; it is the application's own (its base directory) and has no `.git`.
    pub directory: PathBuf,
    /// What it holds.
    pub commit: CommitInfo,
}

/// Takes lines of progress, as they come. They are redacted, numbered and stored further on.
pub trait Progress: Send + Sync {
    /// One line without its end.
    fn line(&self, text: &str);
}

/// Fetches source.
///
/// Dropping the future of a checkout ends what it started.
///
/// Implementors promise, and `testing::source` checks under the same names:
/// - **exact**: the folder has the files of the commit, all of them and no other;
/// - **head**: a branch is taken at its head at this moment, also after a forced push;
/// - **repeatable**: the same deployment may be checked out again, over what a crash left behind;
/// - **contained**: no link of the tree leads out of the folder;
/// - **clear**: a repository, branch or commit that is not there is `NotFound`, and names it.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync + 'static {
    /// Checks out.
    async fn checkout(&self, request: &CheckoutRequest, progress: &dyn Progress) -> Result<Checkout>;

    /// Removes what [`Source::checkout`] made for a deployment, also half of it. Absence is no error.
    async fn discard(&self, deployment: DeploymentId) -> Result<()>;

    /// Removes all that is kept for an application. Absence is no error.
    async fn forget(&self, application: ApplicationId) -> Result<()>;
}
