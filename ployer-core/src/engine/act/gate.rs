//! The gate: asks a replica until it is ready, and keeps what it found.
//!
//! It asks at once, then again and again with growing pauses. An answer counts only for the life of the replica in
//! which it was asked for: one that died meanwhile is asked anew.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::output;
use super::scope::Scope;
use crate::engine::decide::action::Gate;
use crate::engine::decide::seen::Readiness;
use crate::engine::decide::state::Wanted;
use crate::error::Result;
use crate::model::{ReplicaName, ReplicaState};
use crate::probe::{Check, Verdict};

/// The first pause between two questions; it grows by a tenth each time.
const PAUSE: Duration = Duration::from_millis(2);
/// The longest pause between two questions.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often the last lines of a replica that is not ready are read.
const OUTPUT: Duration = Duration::from_secs(1);

/// Asks a replica until it is ready.
pub(super) async fn probe(scope: &Scope, name: &ReplicaName, wanted: &Wanted, gate: &Gate) -> Result<()> {
    match gate {
        Gate::Http { path, timeout, threshold } => {
            let check = Check::Http { path: path.clone(), timeout: *timeout };
            Asking::of(scope, name, wanted).until_ready(&check, *threshold).await
        }
        Gate::Listening => Asking::of(scope, name, wanted).until_ready(&Check::Listening, 1).await,
        Gate::Steady { lasting } => Asking::of(scope, name, wanted).until_steady(*lasting).await,
    }
}

struct Asking<'a> {
    scope: &'a Scope,
    name: &'a ReplicaName,
    wanted: &'a Wanted,
    readiness: Readiness,
    output_at: Option<Instant>,
}

impl<'a> Asking<'a> {
    fn of(scope: &'a Scope, name: &'a ReplicaName, wanted: &'a Wanted) -> Self {
        let asked_at = scope.context.parts.clock.now();
        let readiness = Readiness { asked_at, attempts: 0, ready_at: None, reason: None };
        Self { scope, name, wanted, readiness, output_at: None }
    }

    async fn until_ready(mut self, check: &Check, threshold: u32) -> Result<()> {
        let replica = self.wanted.replica(self.name);
        let (mut pause, mut in_a_row) = (PAUSE, 0);
        loop {
            let life = self.scope.picture.life(self.name);
            self.readiness.attempts += 1;
            let runtime = self.scope.reach.runtime.as_ref();
            let asked = self.scope.context.parts.probe.probe(runtime, &replica, check).await;
            match asked.unwrap_or_else(|error| Verdict::NotReady(error.chain())) {
                Verdict::Ready => {
                    in_a_row += 1;
                    pause = PAUSE;
                    if in_a_row >= threshold && self.pass(life).await {
                        return Ok(());
                    }
                }
                Verdict::NotReady(reason) => {
                    in_a_row = 0;
                    self.fail(life, reason).await;
                }
            }
            sleep(pause).await;
            pause = (pause * 11 / 10).min(PAUSE_MAX);
        }
    }

    /// Waits until it has run so long without an exit.
    async fn until_steady(mut self, lasting: Duration) -> Result<()> {
        loop {
            let life = self.scope.picture.life(self.name);
            self.readiness.attempts += 1;
            self.fail(life, format!("it has not run for {} s yet", lasting.as_secs())).await;
            sleep(lasting).await;
            if self.runs() && self.pass(life).await {
                return Ok(());
            }
        }
    }

    fn runs(&self) -> bool {
        let is_running = |seen: &crate::engine::decide::seen::Seen| {
            seen.replica(self.name).is_some_and(|replica| replica.state == ReplicaState::Running)
        };
        self.scope.picture.look(is_running)
    }

    /// Says that it is ready, with the traffic of now; `false` if that life of it is over.
    async fn pass(&mut self, life: u64) -> bool {
        self.scope.reach.routes.count(self.scope.application, &self.scope.picture).await;
        self.judge(life, Some(self.scope.context.parts.clock.now()), None);
        self.scope.picture.look(|seen| seen.is_ready(self.name))
    }

    async fn fail(&mut self, life: u64, reason: String) {
        self.judge(life, None, Some(reason));
        if self.output_at.is_some_and(|read_at| read_at.elapsed() < OUTPUT) {
            return;
        }
        self.output_at = Some(Instant::now());
        let runtime = self.scope.reach.runtime.as_ref();
        let lines = output::tail(&self.scope.context.parts, runtime, self.name, self.wanted.release).await;
        self.scope.picture.update(|seen| seen.output.insert(self.name.clone(), lines));
    }

    fn judge(&mut self, life: u64, ready_at: Option<Timestamp>, reason: Option<String>) {
        self.readiness.ready_at = ready_at;
        self.readiness.reason = reason;
        self.scope.picture.judge(self.name, life, self.readiness.clone());
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::engine::act::fakes::{Stand, replica};
    use crate::engine::decide::state::Mode;

    const A: &str = "a";

    fn wanted() -> Wanted {
        Wanted {
            release: uuid::Uuid::from_u128(77).into(),
            process: "web".parse().unwrap(),
            index: 1,
            address: None,
            mode: Mode::Run,
            passed: false,
        }
    }

    async fn stand() -> (Stand, Scope, super::super::context::Tasks) {
        let stand = Stand::new().await;
        stand.world.things().replicas.insert(A.parse().unwrap(), replica(&stand, A, ReplicaState::Running));
        let (scope, tasks) = stand.scope().await;
        sleep(Duration::from_millis(1)).await;
        (stand, scope, tasks)
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_is_asked_soon_at_first_and_less_often_later() {
        let (stand, scope, _tasks) = stand().await;
        stand.world.things().not_ready = Some("nothing listens".to_owned());
        let (name, wanted) = (A.parse().unwrap(), wanted());

        let asking = probe(&scope, &name, &wanted, &Gate::Listening);
        assert!(timeout(Duration::from_secs(60), asking).await.is_err());

        let readiness = scope.picture.read().readiness[&name].clone();
        assert_eq!((readiness.ready_at, readiness.reason.as_deref()), (None, Some("nothing listens")));
        assert!((100..200).contains(&readiness.attempts), "{}", readiness.attempts);
    }

    #[tokio::test(start_paused = true)]
    async fn a_path_must_answer_well_as_often_in_a_row_as_it_should() {
        let (_stand, scope, _tasks) = stand().await;
        let name = A.parse().unwrap();
        let path = "/health".parse().unwrap();
        let gate = Gate::Http { path, timeout: Duration::from_secs(1), threshold: 3 };

        probe(&scope, &name, &wanted(), &gate).await.unwrap();

        let readiness = scope.picture.read().readiness[&name].clone();
        assert_eq!(readiness.attempts, 3);
        assert!(readiness.ready_at.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_without_a_port_is_ready_after_running_so_long() {
        let (_stand, scope, _tasks) = stand().await;
        let name = A.parse().unwrap();
        let began_at = Instant::now();

        probe(&scope, &name, &wanted(), &Gate::Steady { lasting: Duration::from_secs(5) }).await.unwrap();

        assert_eq!(began_at.elapsed(), Duration::from_secs(5));
        assert!(scope.picture.read().is_ready(&name));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_started_again_meanwhile_has_its_whole_time_before_it() {
        let (_stand, scope, _tasks) = stand().await;
        let name: ReplicaName = A.parse().unwrap();
        let began_at = Instant::now();
        let wanted = wanted();
        let gate = Gate::Steady { lasting: Duration::from_secs(5) };

        let dying = async {
            sleep(Duration::from_secs(4)).await;
            scope.picture.restart(&name, scope.context.parts.clock.now());
        };
        let (result, ()) = tokio::join!(probe(&scope, &name, &wanted, &gate), dying);

        result.unwrap();
        assert_eq!(began_at.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_lines_of_a_replica_that_is_not_ready_are_kept() {
        let (stand, scope, _tasks) = stand().await;
        stand.world.things().not_ready = Some("nothing listens".to_owned());
        let name: ReplicaName = A.parse().unwrap();
        stand.world.things().output.insert(name.clone(), vec!["listening on 3000".to_owned()]);

        let wanted = wanted();
        let asking = probe(&scope, &name, &wanted, &Gate::Listening);
        assert!(timeout(Duration::from_secs(2), asking).await.is_err());

        assert_eq!(scope.picture.read().output[&name], ["listening on 3000"]);
    }
}
