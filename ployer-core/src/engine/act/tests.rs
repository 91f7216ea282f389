//! Stories of a whole engine over the small world: deploy, crash, park, lose the lease, delete.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, EngineParts, stop_applications};
use super::fakes::Stand;
use crate::error::{ErrorKind, Result};
use crate::model::{
    Actor, Application, Deployment, DeploymentId, DeploymentKind, DeploymentStatus, EnvKey, EnvVar, EventKind,
    EventSeq, Exit, NewEvent, ReplicaName, ReplicaState, Secret, SecretScope, Step, Target, Version, Wanted,
};
use crate::store::{Applications, Commit, Deployments, Events, Store};

struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl Running {
    async fn start(stand: &Stand) -> Self {
        Self::with(stand.parts.clone()).await
    }

    async fn with(parts: EngineParts) -> Self {
        let stop = CancellationToken::new();
        let engine = Engine::start(parts).await.unwrap();
        Self { task: tokio::spawn(engine.run(stop.clone())), stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// What kill -9 looks like from here.
    async fn crash(self) {
        self.task.abort();
        self.task.await.unwrap_err();
    }
}

impl Stand {
    async fn deploy(&self) -> DeploymentId {
        self.enqueue(DeploymentKind::Deploy { commit: None, cache: crate::model::BuildCache::Use }).await
    }

    async fn enqueue(&self, kind: DeploymentKind) -> DeploymentId {
        let clock = self.parts.clock.as_ref();
        let id = DeploymentId::new(clock);
        let application = self.store.application(self.application.id).await.unwrap().unwrap();
        let of = (application.id, &application.name, self.server);
        let row = Deployment::queued(id, of, Actor::System, kind, clock.now());
        let status = EventKind::DeploymentStatus { deployment_id: id, status: row.status, message: None };
        self.commit(Commit::new(Actor::System, clock.now()).insert(row), status).await;
        id
    }

    async fn commit(&self, commit: Commit, event: EventKind) {
        let seq = self.store.commit(commit.event(NewEvent::of(self.application.id, event))).await.unwrap();
        self.parts.tell(seq);
    }

    async fn want(&self, wanted: Wanted) {
        let row = self.store.application(self.application.id).await.unwrap().unwrap();
        let commit = Commit::new(Actor::System, self.parts.clock.now()).update(Application { wanted, ..row });
        self.commit(commit, EventKind::ApplicationRequested { action: "change".to_owned() }).await;
    }

    /// Sets a variable of the application.
    async fn plant(&self, key: &str, value: &str) {
        let application_id = self.application.id;
        let scope = SecretScope::Application(application_id);
        let value = self.parts.secrets.put(scope, key, &Secret::from(value)).await.unwrap();
        let (key, now): (EnvKey, _) = (key.parse().unwrap(), self.parts.clock.now());
        let told = EventKind::VariableSet { key: key.clone() };
        let row = EnvVar { application_id, key, version: Version::NEW, value, locked: false, updated_at: now };
        self.commit(Commit::new(Actor::System, now).insert(row), told).await;
    }

    async fn ended(&self, id: DeploymentId) -> Deployment {
        until(async || self.store.deployment(id).await.unwrap().filter(|row| row.status.is_final())).await
    }

    fn target(&self) -> Option<Target> {
        self.world.things().table.routes.get(&self.application.id).map(|route| route.target.clone())
    }
}

/// Waits, with a deadline, until something is there.
async fn until<T>(look: impl AsyncFn() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(600), looking).await.expect("it should have come by now")
}

#[tokio::test(start_paused = true)]
async fn a_queued_deployment_is_built_and_served_and_has_a_receipt() {
    let stand = Stand::new().await;
    let engine = Running::start(&stand).await;

    let id = stand.deploy().await;
    let row = stand.ended(id).await;

    assert_eq!((row.status, row.failure), (DeploymentStatus::Running, None));
    assert!(matches!(stand.target(), Some(Target::Static { release, .. }) if release == id.into()));
    let receipt = row.receipt.unwrap();
    assert_eq!(receipt.answered_by, [id.to_string()]);
    assert_eq!(receipt.commit.unwrap().message, "A change");
    assert!(receipt.revision.is_some() && receipt.steps.iter().any(|times| times.step == Step::Switch));
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn equal_input_is_not_built_twice_and_the_log_says_so() {
    let stand = Stand::new().await;
    let engine = Running::start(&stand).await;
    let first = stand.deploy().await;
    stand.ended(first).await;

    let second = stand.deploy().await;
    let row = stand.ended(second).await;

    assert_eq!(row.receipt.unwrap().reused_from, Some(first.into()));
    assert_eq!(stand.world.calls().iter().filter(|call| call.starts_with("build ")).count(), 1);
    let log = crate::store::LogStore::log(stand.store.as_ref(), second, 0, 100).await.unwrap();
    assert!(log.lines.iter().any(|line| line.text.contains(&first.to_string())), "{log:?}");
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_build_that_fails_leaves_the_version_before_serving() {
    let stand = Stand::new().await;
    let engine = Running::start(&stand).await;
    let first = stand.deploy().await;
    stand.ended(first).await;

    stand.world.things().artifacts.clear();
    stand.world.fail_next("build", ErrorKind::Failed);
    let second = stand.deploy().await;
    let row = stand.ended(second).await;

    let failure = row.failure.unwrap();
    assert_eq!((row.status, failure.step), (DeploymentStatus::Failed, Step::Build));
    assert_eq!(failure.output.last().unwrap(), "building");
    assert!(matches!(stand.target(), Some(Target::Static { release, .. }) if release == first.into()));
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deployment_survives_a_crash_at_any_moment() {
    for moment in (0..400).step_by(20) {
        let stand = Stand::new().await;
        stand.world.things().delays.extend([
            ("checkout", Duration::from_millis(100)),
            ("build", Duration::from_millis(100)),
            ("apply", Duration::from_millis(50)),
            ("ask", Duration::from_millis(50)),
        ]);
        let engine = Running::start(&stand).await;
        let id = stand.deploy().await;
        sleep(Duration::from_millis(moment)).await;

        engine.crash().await;
        let engine = Running::with(EngineParts { alone: true, ..stand.parts.clone() }).await;
        let row = stand.ended(id).await;

        assert_eq!((row.status, row.failure), (DeploymentStatus::Running, None), "after a crash at {moment} ms");
        assert!(matches!(stand.target(), Some(Target::Static { release, .. }) if release == id.into()));
        engine.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_stops_parks_what_is_under_way_and_gives_the_lease_back() {
    let stand = Stand::new().await;
    stand.world.things().delays.insert("build", Duration::from_secs(60));
    let engine = Running::start(&stand).await;
    let id = stand.deploy().await;
    sleep(Duration::from_secs(1)).await;

    engine.stop().await;
    let machine = stand.store.machine(stand.application.id).await.unwrap().unwrap();
    let engine = Running::start(&stand).await;
    let row = stand.ended(id).await;

    assert!(machine.journal.contains("\"parked\":true"));
    assert_eq!(row.status, DeploymentStatus::Running);
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_lost_its_lease_ends_and_says_to_whom() {
    let stand = Stand::new().await;
    let engine = Running::start(&stand).await;
    sleep(Duration::from_secs(1)).await;

    let other = EngineParts { alone: true, holder: "other".to_owned(), ..stand.parts.clone() };
    let other = Running::with(other).await;
    let error = timeout(Duration::from_secs(60), engine.task).await.unwrap().unwrap().unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("`other`"), "{error}");
    other.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_was_stored_but_reported_lost_does_not_stop_an_application() {
    let stand = Stand::new().await;
    let engine = Running::start(&stand).await;
    let first = stand.deploy().await;
    stand.ended(first).await;
    sleep(Duration::from_secs(30)).await;

    let machine = stand.store.machine(stand.application.id).await.unwrap().unwrap();
    let epoch = stand.store.lease().await.unwrap().unwrap().epoch;
    let commit = Commit::new(Actor::System, stand.parts.clock.now()).update(machine).fenced(epoch);
    stand.store.commit(commit).await.unwrap();
    let second = stand.deploy().await;

    assert_eq!(stand.ended(second).await.status, DeploymentStatus::Running);
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_application_made_later_has_an_actor_too() {
    let mut stand = Stand::new().await;
    let engine = Running::start(&stand).await;
    sleep(Duration::from_secs(1)).await;

    stand.application = stand.insert("blog").await;
    let id = stand.deploy().await;

    assert_eq!(stand.ended(id).await.status, DeploymentStatus::Running);
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn commits_of_other_processes_are_found_within_a_second() {
    let stand = Stand::new().await;
    let engine = Running::start(&stand).await;
    sleep(Duration::from_secs(5)).await;

    let elsewhere = EngineParts { news: tokio::sync::watch::Sender::new(EventSeq(0)), ..stand.parts.clone() };
    let stand = Stand { parts: elsewhere, ..stand };
    let id = stand.deploy().await;
    sleep(Duration::from_millis(1_100)).await;

    assert_ne!(stand.store.deployment(id).await.unwrap().unwrap().status, DeploymentStatus::Queued);
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_application_leaves_nothing_behind() {
    let stand = Stand::new().await;
    let engine = Running::start(&stand).await;
    let id = stand.deploy().await;
    stand.ended(id).await;

    stand.want(Wanted::Deleting { volumes: false }).await;
    until(async || stand.store.application(stand.application.id).await.unwrap().is_none().then_some(())).await;
    sleep(Duration::from_secs(2)).await;

    assert_eq!(stand.target(), None);
    assert!(stand.world.things().artifacts.is_empty());
    assert!(stand.world.calls().contains(&format!("forget {}", stand.application.id)));
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_at_rest_applies_nothing_and_stores_nothing() {
    let stand = Stand::new().await;
    let engine = Running::start(&stand).await;
    let id = stand.deploy().await;
    stand.ended(id).await;
    sleep(Duration::from_secs(120)).await;
    let before = (stand.world.calls(), stand.store.machine(stand.application.id).await.unwrap());

    sleep(Duration::from_secs(600)).await;

    assert_eq!((stand.world.calls(), stand.store.machine(stand.application.id).await.unwrap()), before);
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn stopping_applications_takes_the_lease_and_keeps_the_replicas() {
    let stand = Stand::new().await;
    let replica = super::fakes::replica(&stand, "a", ReplicaState::Running);
    stand.world.things().replicas.insert(replica.name.clone(), replica.clone());
    let engine = Running::start(&stand).await;

    let refused = stop_applications(&stand.parts).await.unwrap_err();
    engine.stop().await;
    stop_applications(&stand.parts).await.unwrap();

    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert_eq!(stand.world.things().replicas[&replica.name].state, ReplicaState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn nothing_holds_the_store_once_an_engine_has_ended() {
    let stand = Stand::new().await;
    let before = Arc::strong_count(&stand.store);
    let engine = Running::start(&stand).await;
    let id = stand.deploy().await;
    stand.ended(id).await;

    engine.stop().await;
    tokio::task::yield_now().await;

    assert_eq!(Arc::strong_count(&stand.store), before);
}

/// A stand whose source is a Procfile application with a release command.
async fn procfile() -> Stand {
    let stand = Stand::new().await;
    stand.write("Procfile", "web: serve\nrelease: migrate\n");
    stand
}

fn replicas(stand: &Stand) -> Vec<String> {
    stand.world.things().replicas.keys().map(ToString::to_string).collect()
}

fn count(stand: &Stand, call: &str) -> usize {
    stand.world.calls().iter().filter(|made| made.starts_with(call)).count()
}

#[tokio::test(start_paused = true)]
async fn a_new_version_takes_over_and_the_old_one_is_removed() {
    let stand = procfile().await;
    let engine = Running::start(&stand).await;
    let first = stand.deploy().await;
    assert_eq!(stand.ended(first).await.failure, None);

    stand.world.things().artifacts.clear();
    let second = stand.deploy().await;
    let row = stand.ended(second).await;
    until(async || stand.store.deployment(first).await.unwrap().unwrap().retired_at).await;

    assert_eq!(row.status, DeploymentStatus::Running);
    assert_eq!(replicas(&stand), [format!("shop-{second}-web-1")]);
    assert_eq!(row.receipt.unwrap().answered_by, [format!("shop-{second}-web-1")]);
    assert_eq!(count(&stand, "run "), 2, "a release command for each deployment");
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_never_ready_fails_and_leaves_the_old_one_serving() {
    let stand = procfile().await;
    let engine = Running::start(&stand).await;
    let first = stand.deploy().await;
    stand.ended(first).await;

    stand.world.things().not_ready = Some("nothing listens on port 20001".to_owned());
    let second = stand.deploy().await;
    let row = stand.ended(second).await;
    sleep(Duration::from_secs(20)).await;

    let failure = row.failure.unwrap();
    assert_eq!((row.status, failure.step), (DeploymentStatus::Failed, Step::Gate));
    assert!(failure.cause.contains("nothing listens on port 20001"), "{}", failure.cause);
    assert_eq!(replicas(&stand), [format!("shop-{first}-web-1")]);
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_release_command_that_fails_starts_nothing_of_the_new_version() {
    let stand = procfile().await;
    let engine = Running::start(&stand).await;
    let id = stand.deploy().await;
    let name: crate::model::ReplicaName = format!("shop-{id}-release-command").parse().unwrap();
    stand.world.things().exits.insert(name.clone(), crate::model::Exit::Code(3));
    stand.world.things().output.insert(name, vec!["no such table".to_owned()]);

    let row = stand.ended(id).await;

    let failure = row.failure.unwrap();
    assert_eq!((row.status, failure.step), (DeploymentStatus::Failed, Step::ReleaseCommand));
    assert_eq!(failure.output.last().unwrap(), "no such table");
    assert_eq!(count(&stand, "start "), 0);
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_release_command_that_a_crash_interrupted_is_never_begun_again() {
    let stand = procfile().await;
    stand.world.things().delays.insert("run", Duration::from_secs(5));
    let engine = Running::start(&stand).await;
    let id = stand.deploy().await;
    sleep(Duration::from_secs(1)).await;

    engine.crash().await;
    let engine = Running::with(EngineParts { alone: true, ..stand.parts.clone() }).await;
    let row = stand.ended(id).await;

    assert_eq!((row.status, row.step), (DeploymentStatus::Failed, Step::ReleaseCommand));
    assert_eq!(count(&stand, "run "), 0, "the first never came so far, and there is no second");
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_with_the_present_variables_brings_in_replicas_of_its_own() {
    let stand = procfile().await;
    let engine = Running::start(&stand).await;
    let first = stand.deploy().await;
    stand.ended(first).await;
    let second = stand.deploy().await;
    stand.ended(second).await;

    let env = crate::model::RollbackEnv::Current;
    let id = stand.enqueue(DeploymentKind::Rollback { release: first.into(), env }).await;
    let row = stand.ended(id).await;

    assert_eq!((row.status, row.release), (DeploymentStatus::Running, Some(id.into())));
    assert!(matches!(stand.target(), Some(Target::Upstreams(set)) if !set.is_empty()), "{:?}", stand.target());
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_version_that_dies_before_it_is_ready_fails_with_its_last_lines() {
    let stand = procfile().await;
    stand.world.things().not_ready = Some("nothing listens".to_owned());
    let engine = Running::start(&stand).await;
    let id = stand.deploy().await;
    let name: crate::model::ReplicaName = format!("shop-{id}-web-1").parse().unwrap();
    until(async || stand.world.things().replicas.contains_key(&name).then_some(())).await;

    stand.world.things().output.insert(name.clone(), vec!["Traceback".to_owned()]);
    stand.world.things().replicas.get_mut(&name).unwrap().state = ReplicaState::Exited(crate::model::Exit::Code(1));
    let row = stand.ended(id).await;

    let failure = row.failure.unwrap();
    assert!(failure.cause.contains("exit code 1"), "{}", failure.cause);
    assert_eq!(failure.output, ["Traceback"]);
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_vanishes_is_started_again_and_the_route_is_right_within_two_ticks() {
    let stand = procfile().await;
    let engine = Running::start(&stand).await;
    let id = stand.deploy().await;
    stand.ended(id).await;
    sleep(Duration::from_secs(60)).await;

    stand.world.things().replicas.clear();
    sleep(stand.parts.settings.engine.tick_idle * 2).await;

    assert_eq!(replicas(&stand), [format!("shop-{id}-web-1")]);
    assert!(matches!(stand.target(), Some(Target::Upstreams(upstreams)) if upstreams.len() == 1));
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_build_is_dropped_and_what_it_left_is_removed() {
    let stand = procfile().await;
    stand.world.things().delays.insert("build", Duration::from_secs(600));
    let engine = Running::start(&stand).await;
    let id = stand.deploy().await;
    sleep(Duration::from_secs(1)).await;

    let row = stand.store.deployment(id).await.unwrap().unwrap();
    let now = stand.parts.clock.now();
    let cancel = crate::model::Cancel { by: Actor::System, at: now, reason: "a wish".to_owned() };
    let commit = Commit::new(Actor::System, now).update(Deployment { cancel: Some(cancel), ..row });
    let event = EventKind::CancelRequested { deployment_id: id, reason: "a wish".to_owned() };
    stand.commit(commit, event).await;
    sleep(Duration::from_secs(2)).await;

    let row = stand.store.deployment(id).await.unwrap().unwrap();
    assert_eq!(row.status, DeploymentStatus::Cancelled);
    assert_eq!(count(&stand, "build "), 0);
    assert_eq!((count(&stand, "discard "), count(&stand, "remove_artifact ")), (1, 1));
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_application_has_no_replicas_and_starts_again_when_wanted() {
    let stand = procfile().await;
    let engine = Running::start(&stand).await;
    let id = stand.deploy().await;
    stand.ended(id).await;

    stand.want(Wanted::Stopped).await;
    until(async || stand.world.things().replicas.is_empty().then_some(())).await;
    let while_stopped = stand.target();
    stand.want(Wanted::Running).await;
    until(async || matches!(stand.target(), Some(Target::Upstreams(_))).then_some(())).await;

    assert!(matches!(while_stopped, Some(Target::Unavailable { .. })));
    assert_eq!(replicas(&stand).len(), 1);
    engine.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_rollout_survives_a_crash_at_any_moment() {
    for moment in (0..800).step_by(25) {
        let stand = procfile().await;
        let engine = Running::start(&stand).await;
        let first = stand.deploy().await;
        stand.ended(first).await;
        let calls = ["checkout", "build", "run", "start", "apply", "ask", "stop", "remove"];
        stand.world.things().delays.extend(calls.map(|call| (call, Duration::from_millis(60))));
        stand.world.things().artifacts.clear();
        let second = stand.deploy().await;
        sleep(Duration::from_millis(moment)).await;

        engine.crash().await;
        let engine = Running::with(EngineParts { alone: true, ..stand.parts.clone() }).await;
        let row = stand.ended(second).await;
        sleep(Duration::from_secs(60)).await;

        let serving = if row.status == DeploymentStatus::Running { second } else { first };
        assert!(
            row.status == DeploymentStatus::Running || row.step == Step::ReleaseCommand,
            "after a crash at {moment} ms: {:?}",
            row.failure
        );
        assert_eq!(replicas(&stand), [format!("shop-{serving}-web-1")], "after a crash at {moment} ms");
        engine.stop().await;
    }
}

#[test]
fn the_same_story_is_told_the_same_way_twice() {
    let tell = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let stand = Stand::new().await;
            let engine = Running::start(&stand).await;
            let id = stand.deploy().await;
            stand.ended(id).await;
            engine.stop().await;
            let events = stand.store.events(EventSeq(0), 1_000).await.unwrap();
            (stand.world.calls(), events)
        })
    };

    assert_eq!(tell(), tell());
}

#[tokio::test(start_paused = true)]
async fn a_value_that_an_application_prints_is_nowhere_in_what_is_stored() {
    const PLANTED: &str = "hunter2-planted-hunter2";
    let stand = procfile().await;
    stand.plant("TOKEN", PLANTED).await;
    let engine = Running::start(&stand).await;
    let first = stand.deploy().await;
    let command: ReplicaName = format!("shop-{first}-release-command").parse().unwrap();
    stand.world.things().exits.insert(command.clone(), Exit::Code(3));
    stand.world.things().output.insert(command, vec![format!("using {PLANTED}")]);
    stand.ended(first).await;
    stand.world.things().not_ready = Some("nothing listens".to_owned());
    let second = stand.deploy().await;
    let web: ReplicaName = format!("shop-{second}-web-1").parse().unwrap();
    until(async || stand.world.things().replicas.contains_key(&web).then_some(())).await;

    stand.world.things().output.insert(web.clone(), vec![format!("TOKEN={PLANTED}")]);
    stand.world.things().replicas.get_mut(&web).unwrap().state = ReplicaState::Exited(Exit::Code(1));
    let row = stand.ended(second).await;

    let stored = format!("{:?}", stand.store);
    assert!(!stored.contains(PLANTED), "rows, journal, events and output");
    assert!(stored.contains("using [redacted]"), "the line itself is kept");
    assert_eq!(row.failure.unwrap().output, ["TOKEN=[redacted]"]);
    engine.stop().await;
}
