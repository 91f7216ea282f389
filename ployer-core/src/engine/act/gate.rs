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
        self.readiness.attempts += 1;
        self.readiness.ready_at = ready_at;
        self.readiness.reason = reason;
        self.scope.picture.judge(self.name, life, self.readiness.clone());
    }
}
