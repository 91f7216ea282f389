//! The actor: one task an application, which alone decides about its workloads.
//!
//! It reads the facts, asks the machine, stores what follows, and only then has the effects follow: journal, act, look,
//! decide again. A commit that loses is decided anew on what is stored. It wakes when the picture changes, when the
//! store has news of the application, when a deadline passes, and once in a while. A crash at any line is safe: what
//! is stored says what was meant, and the next engine goes on from there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::effects::Effects;
use super::facts;
use super::scope::Scope;
use crate::engine::decide::action::Action;
use crate::engine::decide::seen::Facts;
use crate::engine::decide::state::{JOURNAL_VERSION, State};
use crate::engine::decide::{Next, next};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Actor as OnBehalf, Change, EventSeq, Key, Machine, Record, ReleaseId, Version};
#[cfg(sim_bugs)]
use crate::planted::{Bug, has};
use crate::store::Commit;

/// Decisions in a row, before others have their turn.
const STEPS_MAX: usize = 64;
/// Commits in a row that may lose before others have their turn.
const LOSSES_MAX: usize = 8;
/// The pause after the store could not be read or written.
const RETRY: Duration = Duration::from_millis(500);
/// The shortest pause before a deadline.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// How long storing that the engine stops may take.
const PARKING: Duration = Duration::from_secs(5);

/// Wakes an actor because the store has news of its application.
#[derive(Debug, Default)]
pub(super) struct Bell {
    event: AtomicU64,
    news: Notify,
}

impl Bell {
    /// Tells of an event.
    pub(super) fn ring(&self, event: EventSeq) {
        self.event.fetch_max(event.0, Ordering::SeqCst);
        self.news.notify_one();
    }
}

/// Decides about one application.
pub(super) struct Actor {
    scope: Scope,
    bell: Arc<Bell>,
    state: State,
    /// Of the machine's row.
    version: Version,
    /// Whether requests reach the active release, as it was last stored.
    serving: bool,
    facts: Option<Facts>,
    /// The newest event whose rows the facts have.
    known: u64,
    effects: Effects,
}

/// When the next decision is due.
enum Due {
    /// At the latest after that pause.
    After(Duration),
    /// Never: the application is deleted.
    Never,
}

impl Actor {
    /// The actor of an application, as the store left it.
    pub(super) async fn new(scope: Scope, bell: Arc<Bell>) -> Result<Self> {
        let mut actor = Self {
            scope,
            bell,
            state: State::default(),
            version: Version::NEW,
            serving: false,
            facts: None,
            known: 0,
            effects: Effects::default(),
        };
        actor.read_machine().await?;
        Ok(actor)
    }

    /// Decides until the engine stops or the application is deleted. A decision is stored or not, never left in doubt
    /// by a stop: only waiting is cut short.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        self.watch();
        loop {
            let waiting = match self.settle().await {
                Ok(Due::Never) => return self.leave(),
                Ok(Due::After(pause)) => stop.run_until_cancelled(self.wait(pause)).await,
                Err(error) => {
                    tracing::warn!(application = %self.scope.application, error = %error.chain(), "nothing decided");
                    self.facts = None;
                    stop.run_until_cancelled(self.effects.alongside(sleep(RETRY))).await
                }
            };
            if waiting.is_none() {
                return self.park().await;
            }
        }
    }

    /// Has everybody tell this actor what they see.
    fn watch(&self) {
        let Scope { reach, picture, application, .. } = &self.scope;
        reach.observer.watch(*application, Arc::clone(picture));
        reach.routes.watch(*application, Arc::clone(picture));
    }

    /// Ends watching, once the application is deleted.
    fn leave(&self) {
        let Scope { context, reach, application, .. } = &self.scope;
        reach.observer.forget(*application);
        reach.routes.forget(*application);
        context.addresses.forget(*application, context.parts.settings.engine.address_rest);
        context.has_said(*application);
    }

    /// Waits for the next occasion to decide.
    async fn wait(&mut self, pause: Duration) {
        tokio::select! {
            biased;
            () = self.effects.end() => {}
            () = self.scope.picture.changed() => {}
            () = self.bell.news.notified() => {}
            () = sleep(pause) => {}
        }
    }

    /// Decides until nothing changes any more, then has the effects follow.
    async fn settle(&mut self) -> Result<Due> {
        let mut losses = 0;
        for _ in 0..STEPS_MAX {
            if !self.read_facts().await? {
                return Ok(Due::Never);
            }
            let Some(decision) = self.decide() else { return Ok(Due::Never) };
            if !self.is_news(&decision) {
                return Ok(self.follow(decision));
            }
            #[cfg(sim_bugs)]
            self.effects.begin_early(&decision.actions, &self.scope).await;
            match self.store(decision).await {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Conflict && losses < LOSSES_MAX => {
                    losses += 1;
                    self.read_machine().await?;
                }
                Err(error) => {
                    self.read_machine().await?;
                    return Err(error);
                }
            }
        }
        Err(Error::new(ErrorKind::Internal, "the machine does not come to rest"))
    }

    fn decide(&self) -> Option<Next> {
        let context = &self.scope.context;
        let seen = self.scope.picture.read();
        Some(next(self.state.clone(), self.facts.as_ref()?, &seen, &context.ground, context.parts.clock.now()))
    }

    fn is_news(&self, decision: &Next) -> bool {
        decision.state != self.state || !decision.changes.is_empty() || !decision.events.is_empty()
    }

    /// Has the effects follow a decision that is stored, and says when the next one is due.
    fn follow(&mut self, decision: Next) -> Due {
        let context = &self.scope.context;
        let is_searching = decision.actions.iter().any(|action| matches!(action, Action::FindAddresses { .. }));
        context.addresses.follow(self.scope.application, self.state.addresses(), is_searching);
        self.forget_past();
        let seen = self.scope.picture.read();
        self.effects.follow(decision.actions, &seen, context.lease.is_fresh(), &self.scope);
        let settings = &context.parts.settings.engine;
        let tick = if decision.busy { settings.tick_busy } else { settings.tick_idle };
        self.scope.reach.observer.look_if_older(tick);
        let now = context.parts.clock.now();
        Due::After(decision.wake_at.map_or(tick, |at| until(now, at).min(tick)))
    }

    /// Forgets what was seen of replicas, deployments and releases that nothing is decided about any more.
    fn forget_past(&self) {
        let wanted = self.state.desired().replicas;
        let deployment = self.state.operation.as_ref().and_then(|operation| operation.kind.deployment());
        let is_kept = |id: &ReleaseId| self.facts.as_ref().is_some_and(|facts| facts.releases.contains_key(id));
        self.scope.picture.tidy(|seen| {
            seen.start_failures.retain(|name, _| wanted.contains_key(name));
            seen.jobs.retain(|job, _| Some(job.deployment) == deployment);
            seen.discarded.retain(|id| Some(*id) == deployment || self.state.checkouts.contains(id));
            seen.collected.retain(is_kept);
        });
    }

    /// Stores a decision; the effects of the one before go on meanwhile.
    async fn store(&mut self, decision: Next) -> Result<()> {
        let parts = &self.scope.context.parts;
        let mut commit = Commit::new(OnBehalf::System, parts.clock.now()).fenced(self.scope.context.lease.epoch());
        #[cfg(sim_bugs)]
        commit.epoch.take_if(|_| has(Bug::ForgetTheFence));
        commit.changes.clone_from(&decision.changes);
        commit.events.clone_from(&decision.events);
        if !deletes(&decision.changes) {
            commit.changes.push(self.machine(&decision)?);
        }
        let store = Arc::clone(&parts.store);
        let seq = self.effects.alongside(store.commit(commit)).await?;
        self.scope.context.parts.tell(seq);
        self.bell.event.fetch_max(seq.0, Ordering::SeqCst);
        self.version = self.version.next();
        self.state = decision.state;
        self.serving = decision.serving;
        self.facts = None;
        Ok(())
    }

    /// The machine's row, as it follows from a decision.
    fn machine(&self, decision: &Next) -> Result<Change> {
        let broken = |e| Error::internal("the engine's state cannot be written as JSON", e);
        let machine = Machine {
            application_id: self.scope.application,
            version: self.version,
            active: decision.state.active,
            degraded: decision.state.degraded,
            serving: decision.serving,
            journal_version: JOURNAL_VERSION,
            journal: serde_json::to_string(&decision.state).map_err(broken)?,
        };
        let record = Record::from(machine);
        Ok(if self.version == Version::NEW { Change::Insert(record) } else { Change::Update(record) })
    }

    /// Takes over what is stored: also what was stored although it was reported to have failed.
    async fn read_machine(&mut self) -> Result<()> {
        self.facts = None;
        if let Some(machine) = self.scope.context.parts.store.machine(self.scope.application).await? {
            if machine.version != self.version {
                self.state = State::from_machine(&machine);
            }
            self.version = machine.version;
            self.serving = machine.serving;
        }
        Ok(())
    }

    /// Reads the facts where they may be old; `false` once the application is deleted.
    async fn read_facts(&mut self) -> Result<bool> {
        let event = self.bell.event.load(Ordering::SeqCst);
        #[cfg(sim_bugs)]
        if self.facts.is_some() && has(Bug::DropALateEvent) {
            return Ok(true);
        }
        if self.facts.is_some() && event <= self.known {
            return Ok(true);
        }
        let Scope { context, application, .. } = &self.scope;
        let parts = Arc::clone(&context.parts);
        let reading = facts::read(parts.store.as_ref(), &parts.settings, *application, &self.state);
        self.facts = self.effects.alongside(reading).await?;
        self.known = event;
        Ok(self.facts.is_some())
    }

    /// Ends all effects, and stores that the engine stops in good order.
    async fn park(mut self) {
        self.effects = Effects::default();
        self.state.parked = true;
        let decision = Next { state: self.state.clone(), serving: self.serving, ..Next::default() };
        match timeout(PARKING, self.store(decision)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(application = %self.scope.application, error = %error.chain(), "not parked");
            }
            Err(_) => tracing::warn!(application = %self.scope.application, "parking took too long"),
        }
    }
}

/// Whether the application itself goes, and with it the machine's row.
fn deletes(changes: &[Change]) -> bool {
    changes.iter().any(|change| matches!(change, Change::Delete(Key::Application(_), _)))
}

fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or_default().max(PAUSE_MIN)
}
