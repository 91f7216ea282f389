//! Checkout: fetches the source of a deployment into a folder of its own.
//!
//! Repeatable: the same deployment may be checked out again over what a crash left behind. Undone by
//! [`super::clear::discard`].

use super::build_log::BuildLog;
use super::output::LINES;
use super::scope::Scope;
use crate::engine::decide::seen::{Job, JobEnd};
use crate::error::{Error, Result};
use crate::model::{Application, CommitSha, DeploymentId};
use crate::source::{Checkout, CheckoutRequest, Wish};

/// Fetches the source, and tells how it ended.
pub(super) async fn perform(scope: &Scope, job: Job, commit: Option<CommitSha>) -> Result<()> {
    let application = scope.application().await?;
    let log = BuildLog::open(scope, job.deployment).await?;
    let end = match log.during(fetch(scope, &application, job.deployment, commit, &log)).await {
        Ok(checkout) => JobEnd::CheckedOut { commit: checkout.commit, directory: checkout.directory },
        Err(error) => failed(&error, log.last(LINES)),
    };
    scope.end(job, end);
    Ok(())
}

/// Fetches the source of an application for a deployment.
pub(super) async fn fetch(
    scope: &Scope,
    application: &Application,
    deployment: DeploymentId,
    commit: Option<CommitSha>,
    log: &BuildLog,
) -> Result<Checkout> {
    let Some(url) = application.git_url.clone() else {
        let message = format!("application `{}` has no source", application.name);
        return Err(Error::failed(message).with_hint("give it the address of a Git repository"));
    };
    let what = match (commit, application.git_branch.clone()) {
        (Some(commit), _) => Wish::Commit(commit),
        (None, Some(branch)) => Wish::Branch(branch),
        (None, None) => Wish::DefaultBranch,
    };
    let request = CheckoutRequest {
        application: application.id,
        deployment,
        url,
        what,
        base_directory: application.base_directory.clone(),
        deploy_key: None,
    };
    scope.context.parts.source.checkout(&request, log).await
}

/// How a job ended that failed.
pub(super) fn failed(error: &Error, output: Vec<String>) -> JobEnd {
    JobEnd::Failed { cause: error.chain(), output, hint: error.hint().map(str::to_owned) }
}
