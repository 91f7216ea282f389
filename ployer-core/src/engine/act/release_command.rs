//! The release command: a one-off of the new release that must succeed before anything of it starts.
//!
//! At most once per deployment: the runtime runs a one-off of one name once, and after a crash of the engine only one
//! that the runtime knows is waited for. Dropping this does not end it: the machine then names its stop.

use std::future::pending;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{sleep, timeout};

use super::build_log::BuildLog;
use super::checkout::failed;
use super::output::LINES;
use super::scope::Scope;
use super::workloads;
use crate::engine::decide::RELEASE_COMMAND;
use crate::engine::decide::seen::{Job, JobEnd};
use crate::error::Result;
use crate::model::{Exit, ProcessName, Release, ReleaseId, ReplicaName};
#[cfg(sim_bugs)]
use crate::planted::{Bug, has};
use crate::runtime::LogQuery;

/// When its output is looked for again, as long as there is none.
const RETRY: Duration = Duration::from_millis(200);
/// How long its last lines may take to come.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs it, or waits for one that was begun before, and tells how it ended.
pub(super) async fn perform(scope: &Scope, job: Job, release: ReleaseId, attach: bool) -> Result<()> {
    let release = scope.release(release).await?;
    let name = ReplicaName::release_command(&release.application_name, release.id);
    #[cfg(sim_bugs)]
    if attach && has(Bug::RunTheReleaseCommandAgain) {
        scope.reach.runtime.remove(&name).await?;
    }
    #[cfg(sim_bugs)]
    let attach = attach && !has(Bug::RunTheReleaseCommandAgain);
    if attach && !is_there(scope, &name).await? {
        scope.end(job, JobEnd::Lost);
        return Ok(());
    }
    let log = BuildLog::open(scope, job.deployment).await?;
    let _doubt = Doubt::begin(scope, &name);
    let result = log.during(run_and_log(scope, &release, &name, &log)).await;
    scope.end(
        job,
        match result {
            Ok(exit) => JobEnd::Exited { exit, output: log.last(LINES) },
            Err(error) => failed(&error, log.last(LINES)),
        },
    );
    Ok(())
}

/// While this lives nothing can be said of the one-off; nor afterwards, until a listing that began then.
struct Doubt<'a> {
    scope: &'a Scope,
    name: &'a ReplicaName,
}

impl<'a> Doubt<'a> {
    fn begin(scope: &'a Scope, name: &'a ReplicaName) -> Self {
        scope.picture.begin(name);
        Self { scope, name }
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        self.scope.picture.end(self.name, self.scope.reach.observer.begun());
        self.scope.reach.observer.look();
    }
}

/// Whether the runtime has it: it runs, or its exit is recorded.
async fn is_there(scope: &Scope, name: &ReplicaName) -> Result<bool> {
    let listing = scope.reach.runtime.list(scope.context.parts.instance).await?;
    Ok(listing.iter().any(|replica| replica.name == *name))
}

/// Runs it while its lines go into the deployment's output; those that came at its very end follow after it.
async fn run_and_log(scope: &Scope, release: &Release, name: &ReplicaName, log: &BuildLog) -> Result<Exit> {
    let mut logged = 0;
    let result = tokio::select! {
        biased;
        result = run(scope, release, name) => result,
        () = follow(scope, name, log, &mut logged) => pending().await,
    };
    let rest = LogQuery { tail: None, follow: false };
    if let Ok(lines) = scope.reach.runtime.logs(name, &rest).await {
        let lines = lines.skip(logged).filter_map(async |line| line.ok());
        timeout(PATIENCE, lines.for_each(async |line| log.add(&line.text))).await.unwrap_or_default();
    }
    result
}

/// Logs its lines as they come, once there is anything to follow.
async fn follow(scope: &Scope, name: &ReplicaName, log: &BuildLog, logged: &mut usize) {
    let query = LogQuery { tail: None, follow: true };
    loop {
        sleep(RETRY).await;
        let Ok(lines) = scope.reach.runtime.logs(name, &query).await else { continue };
        let mut lines = lines.skip(*logged);
        while let Some(Ok(line)) = lines.next().await {
            log.add(&line.text);
            *logged += 1;
        }
    }
}

async fn run(scope: &Scope, release: &Release, name: &ReplicaName) -> Result<Exit> {
    let process: ProcessName = RELEASE_COMMAND.parse()?;
    let workload = workloads::one_off(scope, release, process, release.spec.release_command.clone()).await?;
    scope.reach.runtime.run(&workload, name).await
}
