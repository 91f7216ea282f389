//! The world of one seed: everything outside the engine, as one value that outlives it.
//!
//! Nothing in it waits: what takes time stands in a calendar, and each step brings the world up to the present
//! before it looks or changes anything. One task keeps the calendar while nobody calls. So a history is a list of
//! steps, and after each of them the invariants are checked.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::clock::SimClock;
use super::faults::{Fault, Faults, Mishap, PointKind};
use super::judge::Judge;
use super::random::Random;
use super::replicas::Replicas;
use super::routing::Routing;
use super::trace::Trace;
use super::workshop::Workshop;
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::model::ReplicaName;

/// Calls without time passing that show a loop that nothing ends.
const CALLS_AT_ONCE_MAX: u32 = 20_000;

/// The world of one seed. Clones are the same world.
#[derive(Clone)]
pub struct SimWorld {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<World>,
    clock: SimClock,
    /// Something happened that somebody may wait for.
    changed: Notify,
    /// The calendar has an earlier date than the one that is waited for.
    sooner: Notify,
}

/// Everything outside the engine.
#[derive(Debug)]
pub(super) struct World {
    /// How long the history has lasted.
    pub(super) now: Duration,
    pub(super) clock: SimClock,
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(super) trace: Trace,
    pub(super) replicas: Replicas,
    pub(super) routing: Routing,
    pub(super) workshop: Workshop,
    pub(super) judge: Judge,
    pub(super) engines: BTreeMap<EngineNumber, EngineLife>,
    /// What happened that only the director of the history can do something about.
    pub(super) orders: VecDeque<Order>,
    calendar: BTreeMap<(Duration, u64), Due>,
    entries: u64,
    calls_at_once: u32,
}

/// Which engine makes a call: counts the starts of engines in a history. Zero is nobody's: the hand of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct EngineNumber(pub(super) u32);

/// What is known of an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EngineLife {
    /// It was killed: whatever of it still runs reaches the world no more.
    pub(super) dead: bool,
}

/// Something for the director of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// This engine was killed.
    Killed(EngineNumber),
    /// Something happens that takes more than the world.
    Mishap(Mishap),
}

/// What stands in the calendar.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Due {
    /// A replica listens from now on.
    Listens(ReplicaName, u64),
    /// A replica ends by itself, or after a signal.
    Ends(ReplicaName, u64),
    /// The runtime starts a replica again.
    Revives(ReplicaName, u64),
    /// News of a replica reaches the engine.
    News(ReplicaName),
    /// A hold of the proxy ends.
    HoldEnds,
    /// A client sends its next request.
    Arrival(crate::model::ApplicationId),
}

impl SimWorld {
    /// The world of `seed`; checkouts are written below `folder`. It begins now, within a tokio runtime whose time
    /// is paused.
    pub fn new(seed: u64, settings: Settings, folder: PathBuf) -> Self {
        let clock = SimClock::new(seed);
        let mut random = Random::new(seed);
        let state = World {
            now: Duration::ZERO,
            clock: clock.clone(),
            faults: Faults::default(),
            trace: Trace::default(),
            replicas: Replicas::new(&mut random),
            routing: Routing::new(&mut random),
            workshop: Workshop::new(folder),
            judge: Judge::new(settings),
            engines: BTreeMap::new(),
            orders: VecDeque::new(),
            calendar: BTreeMap::new(),
            entries: 0,
            calls_at_once: 0,
            random,
        };
        let shared = Shared { state: Mutex::new(state), clock, changed: Notify::new(), sooner: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// The clock of this world.
    pub fn clock(&self) -> &SimClock {
        &self.shared.clock
    }

    /// From now on these faults strike.
    pub fn set_faults(&self, faults: Faults) {
        self.with(|world| world.faults = faults);
    }

    /// What happened so far.
    pub fn trace(&self) -> Trace {
        self.with(|world| world.trace.clone())
    }

    /// Lets a new engine into the world; its calls are made through the port.
    pub(super) fn admit(&self) -> Port {
        let engine = self.with(|world| {
            let engine = EngineNumber(u32::try_from(world.engines.len()).unwrap_or(u32::MAX) + 1);
            world.engines.insert(engine, EngineLife::default());
            engine
        });
        Port { world: self.clone(), engine }
    }

    /// A port for calls that are no engine's: nothing strikes them.
    pub fn outside(&self) -> Port {
        Port { world: self.clone(), engine: EngineNumber::default() }
    }

    /// One step: the world is brought up to the present, and then `step` happens.
    pub(super) fn with<T>(&self, step: impl FnOnce(&mut World) -> T) -> T {
        let answer = self.step(step);
        self.shared.changed.notify_waiters();
        answer
    }

    fn step<T>(&self, step: impl FnOnce(&mut World) -> T) -> T {
        let elapsed = self.shared.clock.elapsed();
        let mut world = self.lock();
        let date = world.next_date();
        if world.advance(elapsed) {
            self.shared.changed.notify_waiters();
        }
        let answer = step(&mut world);
        if world.next_date().is_some_and(|new| date.is_none_or(|old| new < old)) {
            self.shared.sooner.notify_one();
        }
        answer
    }

    /// Waits until `look` has an answer; it is asked again whenever something happened.
    pub(super) async fn until<T>(&self, mut look: impl FnMut(&mut World) -> Option<T>) -> T {
        loop {
            let mut changed = std::pin::pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            if let Some(answer) = self.step(&mut look) {
                return answer;
            }
            changed.await;
        }
    }

    /// Keeps the calendar: whoever owns the history spawns it and ends it.
    pub async fn keep_calendar(self) {
        loop {
            let date = self.lock().next_date();
            let sleep = async {
                match date {
                    Some(date) => tokio::time::sleep_until(self.shared.clock.instant(date)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = sleep => self.with(|_| ()),
                () = self.shared.sooner.notified() => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SimWorld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimWorld").finish_non_exhaustive()
    }
}

impl World {
    /// Has something happen later.
    pub(super) fn schedule(&mut self, after: Duration, due: Due) {
        self.entries += 1;
        self.calendar.insert((self.now + after, self.entries), due);
    }

    /// Adds a line to the trace.
    pub(super) fn note(&mut self, what: fmt::Arguments<'_>) {
        self.trace.line(self.now, what);
    }

    /// How long from now until that time of day; zero if it is past.
    pub(super) fn until_time(&self, time: jiff::Timestamp) -> Duration {
        Duration::try_from(time.duration_since(self.clock.now())).unwrap_or(Duration::ZERO)
    }

    fn next_date(&self) -> Option<Duration> {
        self.calendar.first_key_value().map(|((date, _), _)| *date)
    }

    /// Lets happen what is due; answers whether anything was.
    fn advance(&mut self, elapsed: Duration) -> bool {
        let mut happened = false;
        while let Some(entry) = self.calendar.first_entry().filter(|entry| entry.key().0 <= elapsed) {
            let ((date, _), due) = entry.remove_entry();
            self.now = self.now.max(date);
            self.happens(due);
            happened = true;
        }
        if self.now < elapsed {
            self.now = elapsed;
            self.calls_at_once = 0;
        }
        happened
    }

    fn happens(&mut self, due: Due) {
        match due {
            Due::Listens(name, life) => self.listens(&name, life),
            Due::Ends(name, life) => self.ends(&name, life),
            Due::Revives(name, life) => self.revives(&name, life),
            Due::News(name) => self.replicas.tell(&name),
            Due::HoldEnds => self.hold_ends(),
            Due::Arrival(application) => self.arrival(application),
        }
    }

    /// Kills an engine: nothing of it reaches the world any more.
    pub(super) fn kill(&mut self, engine: EngineNumber) {
        if let Some(life) = self.engines.get_mut(&engine).filter(|life| !life.dead) {
            life.dead = true;
            self.note(format_args!("!! engine {} is killed", engine.0));
            self.replicas.engine_is_gone(engine);
            self.forget_rests();
            self.count_crash();
            if self.routing.in_process {
                self.proxy_is_gone();
            }
            self.orders.push_back(Order::Killed(engine));
        }
    }

    pub(super) fn is_dead(&self, engine: EngineNumber) -> bool {
        self.engines.get(&engine).is_some_and(|life| life.dead)
    }

    pub(super) fn mishap(&mut self, mishap: Mishap) {
        self.note(format_args!("!! {mishap:?}"));
        match mishap {
            Mishap::ReplicaDies => self.a_replica_dies(),
            Mishap::ProxyRestarts => self.proxy_restarts(),
            Mishap::ClockJumps => self.clock_jumps(),
            Mishap::NewsIsLost => self.replicas.lose_next(),
            Mishap::NewsIsLate => self.replicas.delay_next(),
            Mishap::EngineRestarts | Mishap::SecondEngine | Mishap::UserCancels | Mishap::UserRollsBack => {
                self.orders.push_back(Order::Mishap(mishap));
            }
        }
    }

    fn clock_jumps(&mut self) {
        let hours = [-25, -1, 1, 25];
        let by = self.random.pick(&hours).copied().unwrap_or_default();
        self.clock.jump(SignedDuration::from_hours(by));
        self.judge.jumped_at = Some(self.now);
    }
}

/// The way of one engine into the world. Each call is numbered, and a fault may strike it.
#[derive(Clone)]
pub struct Port {
    pub(super) world: SimWorld,
    pub(super) engine: EngineNumber,
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Port").field(&self.engine.0).finish()
    }
}

/// A call: what it is and of what, as the trace tells it.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) kind: PointKind,
    pub(super) what: &'static str,
    pub(super) of: &'a (dyn fmt::Display + Sync),
}

impl Port {
    /// Makes a call: what goes wrong before it, `effect` as one step of the world, what goes wrong after it.
    pub(super) async fn call<T: Send>(
        &self,
        call: Call<'_>,
        effect: impl FnOnce(&mut World) -> Result<T> + Send,
    ) -> Result<T> {
        self.judged(call, |_| (), effect).await
    }

    /// Makes a call that is judged when it begins: what an engine decided then counts, whatever it has decided since.
    pub(super) async fn judged<T: Send>(
        &self,
        call: Call<'_>,
        judge: impl FnOnce(&mut World) + Send,
        effect: impl FnOnce(&mut World) -> Result<T> + Send,
    ) -> Result<T> {
        self.world.with(|world| {
            if self.engine != EngineNumber::default() && !world.is_dead(self.engine) {
                judge(world);
            }
        });
        let (number, fault) = self.before(call).await?;
        let answer = self.world.with(|world| {
            if world.is_dead(self.engine) {
                return None;
            }
            let answer = effect(world);
            if call.kind != PointKind::Look || answer.is_err() {
                self.tell(world, number, call, &answer);
            }
            Some(answer)
        });
        self.after(call, fault, answer).await
    }

    async fn before(&self, call: Call<'_>) -> Result<(u64, Option<Fault>)> {
        let (number, fault, latency) = self.world.with(|world| self.count(world, call));
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let dead = self.world.with(|world| {
            match fault {
                Some(Fault::CrashBefore) => world.kill(self.engine),
                Some(Fault::Meanwhile(mishap)) => world.mishap(mishap),
                Some(Fault::Refused) => world.note(format_args!("!! #{number} {} {} is refused", call.what, call.of)),
                Some(Fault::AnswerLost | Fault::Slow(_) | Fault::CrashAfter) | None => {}
            }
            world.is_dead(self.engine)
        });
        match fault {
            _ if dead => std::future::pending().await,
            Some(Fault::Refused) => Err(Error::unavailable(call.what)),
            _ => Ok((number, fault)),
        }
    }

    /// The number of the call, what strikes it and how long it takes.
    fn count(&self, world: &mut World, call: Call<'_>) -> (u64, Option<Fault>, Duration) {
        if self.engine == EngineNumber::default() {
            return (0, None, Duration::ZERO);
        }
        world.calls_at_once += 1;
        if world.calls_at_once > CALLS_AT_ONCE_MAX {
            world.note(format_args!("!! engine {} never rests", self.engine.0));
            world.kill(self.engine);
        }
        world.effect_begins(self.engine, call.kind, call.what);
        let (number, fault) = world.faults.next(call.kind);
        if fault.is_some() {
            world.trouble(Duration::ZERO);
        }
        let latency = match (fault, call.kind) {
            (Some(Fault::Slow(by)), _) => {
                world.note(format_args!("!! #{number} {} {} is slow", call.what, call.of));
                world.trouble(by);
                by
            }
            (_, PointKind::Look) => Duration::ZERO,
            (_, PointKind::Commit) => world.random.millis(0..3),
            (_, PointKind::Effect) => world.random.millis(1..30),
        };
        (number, fault, latency)
    }

    fn tell<T>(&self, world: &mut World, number: u64, call: Call<'_>, answer: &Result<T>) {
        let Call { what, of, .. } = call;
        match answer {
            Ok(_) => world.note(format_args!("e{} #{number} {what} {of}", self.engine.0)),
            Err(error) => world.note(format_args!("e{} #{number} {what} {of}: {error}", self.engine.0)),
        }
    }

    async fn after<T>(&self, call: Call<'_>, fault: Option<Fault>, answer: Option<Result<T>>) -> Result<T> {
        if fault == Some(Fault::CrashAfter) {
            self.world.with(|world| world.kill(self.engine));
        }
        match answer {
            None => std::future::pending().await,
            Some(_) if fault == Some(Fault::CrashAfter) => std::future::pending().await,
            Some(Ok(_)) if fault == Some(Fault::AnswerLost) => {
                self.world.with(|world| world.note(format_args!("!! the answer is lost")));
                Err(Error::unavailable(call.what))
            }
            Some(answer) => answer,
        }
    }
}

impl SimClock {
    /// The moment that long after the beginning, for tokio's timers.
    pub(super) fn instant(&self, elapsed: Duration) -> Instant {
        Instant::now() + elapsed.saturating_sub(self.elapsed())
    }
}
