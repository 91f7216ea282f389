//! The release command: a one-off of the new release that must succeed before anything of it starts.
//!
//! At most once per deployment: the runtime runs a one-off of one name once, and after a crash of the engine only one
//! that the runtime knows is waited for. Dropping this does not end it: the machine then names its stop.

use super::build_log::BuildLog;
use super::checkout::failed;
use super::output::{self, LINES};
use super::scope::Scope;
use super::workloads;
use crate::engine::decide::RELEASE_COMMAND;
use crate::engine::decide::seen::{Job, JobEnd};
use crate::error::Result;
use crate::model::{Exit, ProcessName, Release, ReleaseId, ReplicaName};

/// How many of its lines go into the deployment's output.
const LINES_LOGGED: u32 = 1000;

/// Runs it, or waits for one that was begun before, and tells how it ended.
pub(super) async fn perform(scope: &Scope, job: Job, release: ReleaseId, attach: bool) -> Result<()> {
    let release = scope.release(release).await?;
    let name = ReplicaName::release_command(&release.application_name, release.id);
    if attach && !is_there(scope, &name).await? {
        scope.end(job, JobEnd::Lost);
        return Ok(());
    }
    let log = BuildLog::open(scope, job.deployment).await?;
    let result = log.during(run(scope, &release, &name)).await;
    let lines = output::read(scope.reach.runtime.as_ref(), &name, LINES_LOGGED).await.unwrap_or_default();
    lines.iter().for_each(|line| log.add(line));
    log.flush().await?;
    scope.end(
        job,
        match result {
            Ok(exit) => JobEnd::Exited { exit, output: log.last(LINES) },
            Err(error) => failed(&error, log.last(LINES)),
        },
    );
    Ok(())
}

/// Whether the runtime has it: it runs, or its exit is recorded.
async fn is_there(scope: &Scope, name: &ReplicaName) -> Result<bool> {
    let listing = scope.reach.runtime.list(scope.context.parts.instance).await?;
    Ok(listing.iter().any(|replica| replica.name == *name))
}

async fn run(scope: &Scope, release: &Release, name: &ReplicaName) -> Result<Exit> {
    let process: ProcessName = RELEASE_COMMAND.parse()?;
    let workload = workloads::one_off(scope, release, process, release.spec.release_command.clone()).await?;
    scope.reach.runtime.run(&workload, name).await
}
