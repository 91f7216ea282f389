//! Workloads: starts, keeps, stops and removes replicas. The only caller of these on the runtime.
//!
//! From before each effect until a listing that began after its end nothing can be said of the replica. Each may be
//! performed twice: the runtime promises that it then changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

use super::scope::Scope;
use crate::engine::decide::seen::StartFailure;
use crate::engine::decide::state::Wanted;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    Command, EnvKey, Limits, ProcessName, ProcessSpec, Release, ReplicaName, Secret, SecretVersion, Workload,
};

/// How long the runtime may take for a call that ends nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a replica. Its gate begins anew.
pub(super) async fn start(scope: &Scope, name: &ReplicaName, wanted: &Wanted) -> Result<()> {
    let begin = async {
        let release = scope.release(wanted.release).await?;
        let spec = release.spec.process(&wanted.process).ok_or_else(|| no_process(&release, &wanted.process))?;
        let workload = workload(scope, &release, spec).await?;
        scope.picture.restart(name, scope.context.parts.clock.now());
        scope.reach.runtime.start(&workload, &wanted.replica(name)).await
    };
    let result = changing(scope, name, scope.deadlines().start, begin).await;
    let failure = result.as_ref().err().and_then(failure);
    scope.picture.update(|seen| match failure {
        Some(failure) => seen.start_failures.insert(name.clone(), failure),
        None => seen.start_failures.remove(name),
    });
    result
}

/// Has the runtime start a replica again when it dies.
pub(super) async fn keep_running(scope: &Scope, name: &ReplicaName) -> Result<()> {
    changing(scope, name, PATIENCE, scope.reach.runtime.keep_running(name)).await
}

/// Ends a replica or one-off and keeps it.
pub(super) async fn stop(scope: &Scope, name: &ReplicaName, grace: Duration) -> Result<()> {
    changing(scope, name, grace.saturating_add(PATIENCE), scope.reach.runtime.stop(name, grace)).await
}

/// Removes a replica or one-off.
pub(super) async fn remove(scope: &Scope, name: &ReplicaName) -> Result<()> {
    changing(scope, name, PATIENCE, scope.reach.runtime.remove(name)).await
}

/// Performs an effect that changes a replica: nothing is said of it until it was looked at again.
async fn changing(
    scope: &Scope,
    name: &ReplicaName,
    patience: Duration,
    effect: impl Future<Output = Result<()>>,
) -> Result<()> {
    scope.picture.begin(name);
    let late = |_| Error::new(ErrorKind::Timeout, format!("the runtime took too long to change replica `{name}`"));
    let result = timeout(patience, effect).await.map_err(late).flatten();
    scope.picture.end(name, scope.reach.observer.begun());
    scope.reach.observer.look();
    result
}

/// What is told of a start that failed; nothing where the runtime could not even be asked: then it is tried again.
fn failure(error: &Error) -> Option<StartFailure> {
    if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) {
        return None;
    }
    let mut cause = error.chain();
    if let Some(hint) = error.hint() {
        cause = format!("{cause}; {hint}");
    }
    Some(StartFailure { address_taken: error.kind() == ErrorKind::Conflict, cause })
}

/// The replicas of a process type of a release, as the runtime needs to know them.
async fn workload(scope: &Scope, release: &Release, spec: &ProcessSpec) -> Result<Workload> {
    let base = one_off(scope, release, spec.name.clone(), spec.command.clone()).await?;
    Ok(Workload { limits: spec.limits, port: spec.port, ..base })
}

/// A command of a release that is no process type of it.
pub(super) async fn one_off(
    scope: &Scope,
    release: &Release,
    process: ProcessName,
    command: Option<Command>,
) -> Result<Workload> {
    Ok(Workload {
        instance: scope.context.parts.instance,
        application: scope.application,
        release: release.id,
        process,
        artifact: release.artifact.clone(),
        command,
        env: env(scope, &release.env).await?,
        limits: Limits::default(),
        volumes: release.spec.volumes.clone(),
        port: None,
    })
}

/// The values of these versions; one that cannot be read is an error, never an empty value.
pub(super) async fn env(scope: &Scope, versions: &BTreeMap<EnvKey, SecretVersion>) -> Result<BTreeMap<EnvKey, Secret>> {
    let mut values = BTreeMap::new();
    for (key, version) in versions {
        let unreadable = |error: Error| {
            let message = format!("the value of variable `{key}` cannot be read");
            let hint = format!("set `{key}` again");
            Error::new(error.kind(), message).with_source(error).with_hint(hint)
        };
        values.insert(key.clone(), scope.context.parts.secrets.get(*version).await.map_err(unreadable)?);
    }
    Ok(values)
}

fn no_process(release: &Release, process: &ProcessName) -> Error {
    Error::failed(format!("release `{}` has no process type `{process}`", release.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::act::context::Tasks;
    use crate::engine::act::fakes::Stand;
    use crate::engine::decide::state::Mode;
    use crate::model::{Actor, Artifact, Built, DeploymentId, ReleaseSpec};
    use crate::store::Commit;

    /// A scope with a release of one process type whose environment has these versions.
    async fn stand(env: &[(&str, SecretVersion)]) -> (Stand, Scope, Tasks, Wanted) {
        let stand = Stand::new().await;
        let (scope, tasks) = stand.scope().await;
        let web = ProcessSpec::new(ProcessName::web(), Some(Command(vec!["serve".to_owned()])));
        let spec = ReleaseSpec { processes: vec![web], ..ReleaseSpec::default() };
        let artifact = Artifact::Directory { path: "/artifacts/1".into() };
        let built = Built { artifact, spec, reuse_key: String::new(), reused_from: None };
        let now = stand.parts.clock.now();
        let id = DeploymentId::new(stand.parts.clock.as_ref());
        let mut release = Release::new(id, stand.application.id, stand.application.name.clone(), built, now);
        release.env = env.iter().map(|(key, version)| (key.parse().unwrap(), *version)).collect();
        let wanted = Wanted {
            release: release.id,
            process: ProcessName::web(),
            index: 1,
            address: Some("127.0.0.1:20000".parse().unwrap()),
            mode: Mode::Run,
            passed: false,
        };
        stand.parts.store.commit(Commit::new(Actor::System, now).insert(release)).await.unwrap();
        (stand, scope, tasks, wanted)
    }

    fn name() -> ReplicaName {
        "shop-1-web-1".parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_is_in_doubt_from_before_its_start_until_it_was_listed() {
        let (stand, scope, _tasks, wanted) = stand(&[]).await;
        stand.world.things().delays.insert("start", Duration::from_secs(1));

        let starting = async {
            start(&scope, &name(), &wanted).await.unwrap();
            scope.picture.read().busy
        };
        let during = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            scope.picture.read().busy
        };
        let (after, during) = tokio::join!(starting, during);
        tokio::time::sleep(Duration::from_millis(5)).await;

        assert!(during.contains(&name()) && after.contains(&name()));
        let seen = scope.picture.read();
        assert!(seen.busy.is_empty());
        assert_eq!(seen.replica(&name()).unwrap().address, wanted.address);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_is_taken_is_told_apart_from_other_failures() {
        let (stand, scope, _tasks, wanted) = stand(&[]).await;
        let mut told = Vec::new();

        for kind in [ErrorKind::Conflict, ErrorKind::Failed, ErrorKind::Unavailable] {
            stand.world.fail_next("start", kind);
            start(&scope, &name(), &wanted).await.unwrap_err();
            let failures = scope.picture.read().start_failures;
            told.push(failures.get(&name()).map(|failure| failure.address_taken));
        }

        assert_eq!(told, [Some(true), Some(false), None], "a runtime that does not answer is asked again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_that_succeeds_takes_its_earlier_failure_back() {
        let (stand, scope, _tasks, wanted) = stand(&[]).await;
        stand.world.fail_next("start", ErrorKind::Failed);
        start(&scope, &name(), &wanted).await.unwrap_err();

        start(&scope, &name(), &wanted).await.unwrap();

        assert!(scope.picture.read().start_failures.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_that_cannot_be_read_stops_the_start_and_is_named() {
        let missing = SecretVersion::from(uuid::Uuid::from_u128(99));
        let (stand, scope, _tasks, wanted) = stand(&[("DATABASE_URL", missing)]).await;

        start(&scope, &name(), &wanted).await.unwrap_err();

        let cause = scope.picture.read().start_failures[&name()].cause.clone();
        assert!(cause.contains("`DATABASE_URL`"), "{cause}");
        assert!(stand.world.calls().is_empty(), "nothing starts with an empty environment");
    }

    #[tokio::test(start_paused = true)]
    async fn a_runtime_that_never_answers_is_given_up() {
        let (stand, scope, _tasks, _wanted) = stand(&[]).await;
        stand.world.things().delays.insert("remove", Duration::from_secs(3600));

        let error = remove(&scope, &name()).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Timeout);
    }
}
