//! The supervisor: one task per replica, which alone starts it, ends it and watches it.
//!
//! Orders come through a mailbox, so that whoever asked may go away at any moment: what was begun is finished. What
//! is true is on disk before it is told, and a crash at any line is found out by [`Supervisor::adopt`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::files::{blocking, failed};
use super::kin::{self, Marks};
use super::output::{Note, Output};
use super::pidfd::Held;
use super::record::{Folder, Identity, Kind, Phase, Record, absent};
use super::shared::Shared;
use super::start;
use crate::error::{Error, Result};
use crate::model::{Exit, ReplicaName, ReplicaState, RuntimeEvent};

/// How often output is looked after.
const TICK: Duration = Duration::from_secs(1);
/// How often a group whose leader has ended is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long a replica that starts again may keep others waiting.
const STARTING: Duration = Duration::from_secs(5);

/// What a supervisor is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Run what the record says, unless it runs.
    Start {
        fresh: Box<Fresh>,
        reply: Reply<()>,
    },
    /// Run what the record says once, and tell how it ended.
    Run {
        fresh: Box<Fresh>,
        reply: Reply<Exit>,
    },
    Keep {
        reply: Reply<()>,
    },
    Stop {
        grace: Duration,
        reply: Reply<()>,
    },
    Remove {
        reply: Reply<()>,
    },
}

/// A record as it begins, and its sealed environment.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) record: Record,
    pub(super) env: Vec<u8>,
}

pub(super) type Reply<T> = oneshot::Sender<Result<T>>;

/// Looks after one replica or one-off.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) shared: Arc<Shared>,
    pub(super) name: ReplicaName,
    pub(super) folder: Folder,
    pub(super) output: Output,
    /// How much of it is noted.
    pub(super) noted: [u64; 2],
    pub(super) marks: Marks,
    /// What is on disk; `None` before the first start.
    pub(super) view: watch::Sender<Option<Record>>,
    pub(super) running: Option<Running>,
    /// Told to end: what is left then is killed.
    pub(super) kill_at: Option<Instant>,
    pub(super) restart_at: Option<Instant>,
    pub(super) backoff: Backoff,
    /// Held while it starts again: not all begin at once.
    pub(super) slot: Option<OwnedSemaphorePermit>,
    pub(super) is_removing: bool,
    /// A start that came while it was ending.
    pub(super) next: Option<Order>,
    pub(super) wait_end: Vec<Reply<()>>,
    pub(super) wait_exit: Vec<Reply<Exit>>,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) held: Held,
    pub(super) identity: Identity,
    pub(super) since: Instant,
    /// How its first process ended, while others of its group still run.
    pub(super) ended: Option<Exit>,
}

enum Happened {
    Order(Order),
    Ended(Exit),
    Tick,
    KillDue,
    LookAgain,
    RestartDue,
    LetGo,
}

impl Supervisor {
    pub(super) fn new(shared: Arc<Shared>, name: ReplicaName) -> Self {
        let folder = shared.folder(&name);
        Self {
            output: shared.output(&folder),
            marks: shared.marks().replica(&name),
            backoff: Backoff::new(shared.pauses.restart, shared.pauses.restart_max),
            view: watch::Sender::new(None),
            name,
            folder,
            shared,
            noted: [0, 0],
            running: None,
            kill_at: None,
            restart_at: None,
            slot: None,
            is_removing: false,
            next: None,
            wait_end: Vec::new(),
            wait_exit: Vec::new(),
        }
    }

    /// What is known of it, now and later.
    pub(super) fn view(&self) -> watch::Receiver<Option<Record>> {
        self.view.subscribe()
    }

    /// Looks after it until it is removed or `let_go` says so; then what runs goes on.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>, let_go: CancellationToken) {
        loop {
            let happened = self.next(&mut orders, &let_go).await;
            let result = match happened {
                Happened::LetGo => return,
                Happened::Order(order) => {
                    self.obey(order).await;
                    Ok(())
                }
                Happened::Ended(exit) => self.leader_ended(exit).await,
                Happened::KillDue => self.kill().await,
                Happened::LookAgain => self.look_at_group().await,
                Happened::RestartDue => self.restart().await,
                Happened::Tick => self.tick().await,
            };
            if let Err(error) = result {
                tracing::warn!(replica = %self.name, error = %error.chain(), "a replica cannot be looked after");
            }
            if self.is_removing && self.running.is_none() {
                return self.leave(orders).await;
            }
            if self.record().is_none() {
                return;
            }
        }
    }

    async fn next(&self, orders: &mut mpsc::Receiver<Order>, let_go: &CancellationToken) -> Happened {
        let group_ends = self.running.as_ref().is_some_and(|running| running.ended.is_some());
        let leader = self.running.as_ref().filter(|running| running.ended.is_none());
        tokio::select! {
            biased;
            () = let_go.cancelled() => Happened::LetGo,
            order = orders.recv() => order.map_or(Happened::LetGo, Happened::Order),
            exit = ended(leader) => Happened::Ended(exit),
            () = until(self.kill_at) => Happened::KillDue,
            () = tokio::time::sleep(LOOK_AGAIN), if group_ends => Happened::LookAgain,
            () = until(self.restart_at) => Happened::RestartDue,
            () = tokio::time::sleep(TICK), if self.running.is_some() => Happened::Tick,
        }
    }

    pub(super) async fn obey(&mut self, order: Order) {
        match order {
            Order::Start { .. } | Order::Run { .. } if self.kill_at.is_some() => self.next = Some(order),
            Order::Start { fresh, reply } => answer(reply, self.start(*fresh).await),
            Order::Run { fresh, reply } => self.run_once(*fresh, reply).await,
            Order::Keep { reply } => answer(reply, self.keep().await),
            Order::Stop { grace, reply } => self.stop(grace, reply).await,
            Order::Remove { reply } => self.remove(reply).await,
        }
    }

    async fn start(&mut self, fresh: Fresh) -> Result<()> {
        if self.running.is_some() {
            return Ok(());
        }
        self.restart_at = None;
        self.backoff.reset();
        let before = self.record();
        let restarts = before.as_ref().map_or(0, |record| record.restarts);
        let keep = before.is_some_and(|record| record.keep);
        self.launch(Record { restarts, keep, ..fresh.record }, Some(fresh.env)).await
    }

    async fn run_once(&mut self, fresh: Fresh, reply: Reply<Exit>) {
        match self.record().map(|record| record.phase) {
            Some(Phase::Ended(exit)) => return answer(reply, Ok(exit)),
            Some(Phase::Running(_) | Phase::Starting) => {}
            None => {
                if let Err(error) = self.launch(fresh.record, Some(fresh.env)).await {
                    return answer(reply, Err(error));
                }
            }
        }
        match self.record().map(|record| record.phase) {
            Some(Phase::Ended(exit)) => answer(reply, Ok(exit)),
            _ => self.wait_exit.push(reply),
        }
    }

    /// Makes the process: recorded before and after.
    async fn launch(&mut self, record: Record, env: Option<Vec<u8>>) -> Result<()> {
        let launching = start::prepare(&self.shared, &record, env.as_deref()).await?;
        let before = self.record();
        if let Err(error) = self.write(Record { phase: Phase::Starting, wanted: true, ..record }, env).await {
            self.view.send_replace(before);
            return Err(error);
        }
        match start::spawn(&self.shared, &self.output, launching).await {
            Ok(start::Started::Process(spawned)) => {
                let identity = spawned.identity;
                let held = match Held::from_fd(spawned.fd, identity.pid) {
                    Ok(held) => held,
                    Err(cause) => return self.abandon(cause).await,
                };
                self.watch(held, identity).await
            }
            Ok(start::Started::Refused(exit)) => self.change(|record| record.phase = Phase::Ended(exit)).await,
            Err(error) => {
                self.change(|record| record.phase = Phase::Ended(Exit::Unknown)).await?;
                Err(error)
            }
        }
    }

    pub(super) async fn watch(&mut self, held: Held, identity: Identity) -> Result<()> {
        self.running = Some(Running { held, identity: identity.clone(), since: Instant::now(), ended: None });
        self.change(|record| record.phase = Phase::Running(identity)).await
    }

    /// A process that cannot be watched must not run.
    async fn abandon(&mut self, cause: std::io::Error) -> Result<()> {
        kin::kill(&self.name, &self.marks, None).await?;
        self.change(|record| record.phase = Phase::Ended(Exit::Unknown)).await?;
        Err(Error::internal(format!("the process of `{}` cannot be watched", self.name), cause))
    }

    async fn keep(&mut self) -> Result<()> {
        match self.record() {
            None => return Err(absent(&self.name)),
            Some(record) if record.kind == Kind::OneOff => {
                return Err(Error::invalid("replica", "a one-off is never started again"));
            }
            Some(record) if record.keep => {}
            Some(_) => self.change(|record| record.keep = true).await?,
        }
        if self.record().is_some_and(|record| record.starts_again()) && self.restart_at.is_none() {
            self.restart_later(Duration::ZERO);
        }
        Ok(())
    }

    async fn stop(&mut self, grace: Duration, reply: Reply<()>) {
        self.restart_at = None;
        let is_over = self.running.is_none() && self.record().is_none_or(|record| record.kind == Kind::OneOff);
        let told = if is_over { Ok(()) } else { self.change(|record| record.wanted = false).await };
        if self.running.is_none() {
            return answer(reply, told);
        }
        // On a full disk it ends all the same; what could not be recorded now is with its end.
        self.wait_end.push(reply);
        self.end(grace).await;
    }

    async fn remove(&mut self, reply: Reply<()>) {
        self.is_removing = true;
        self.wait_end.push(reply);
        if self.running.is_some()
            && let Err(error) = self.change(|record| record.wanted = false).await
        {
            tracing::warn!(replica = %self.name, error = %error.chain(), "a removal cannot be recorded");
        }
        self.end(Duration::ZERO).await;
    }

    /// It ran for `lasted` and is to run again.
    pub(super) fn restart_later(&mut self, lasted: Duration) {
        self.restart_at = Some(Instant::now() + self.backoff.pause_after(lasted));
    }

    async fn restart(&mut self) -> Result<()> {
        self.restart_at = None;
        let Some(record) = self.record() else { return Ok(()) };
        let Ok(slot) = self.shared.starts.clone().try_acquire_owned() else {
            self.restart_at = Some(Instant::now() + LOOK_AGAIN);
            return Ok(());
        };
        let restarts = record.restarts.saturating_add(1);
        let result = self.launch(Record { restarts, ..record }, None).await;
        self.slot = self.running.is_some().then_some(slot);
        if self.running.is_none() {
            self.restart_later(Duration::ZERO);
        }
        result
    }

    async fn tick(&mut self) -> Result<()> {
        self.note_output();
        if let Some(running) = self.running.as_ref().filter(|_| self.slot.is_some()) {
            let address = self.view.borrow().as_ref().and_then(|record| record.address);
            let listens = start::listens(&self.marks, &running.identity, address).await?;
            if listens || running.since.elapsed() > STARTING {
                self.slot = None;
            }
        }
        if !self.output.is_too_long() {
            return Ok(());
        }
        let output = self.output.clone();
        blocking(move || output.trim().map_err(failed("output cannot be shortened"))).await
    }

    /// Notes when output came, if any did.
    pub(super) fn note_output(&mut self) {
        let lengths = self.output.lengths();
        if lengths == self.noted {
            return;
        }
        self.noted = lengths;
        if let Err(error) = self.output.note(Note { at: self.shared.clock.now(), lengths }) {
            tracing::warn!(replica = %self.name, %error, "the time of output cannot be noted");
        }
    }

    pub(super) fn record(&self) -> Option<Record> {
        self.view.borrow().clone()
    }

    /// Changes the record, on disk first, and tells what it means.
    pub(super) async fn change(&mut self, change: impl FnOnce(&mut Record)) -> Result<()> {
        let Some(mut record) = self.record() else { return Ok(()) };
        change(&mut record);
        self.write(record, None).await
    }

    async fn write(&mut self, record: Record, env: Option<Vec<u8>>) -> Result<()> {
        let (folder, copy) = (self.folder.clone(), record.clone());
        let result = blocking(move || folder.write(&copy, env.as_deref())).await;
        let before = self.record().map(|record| record.state());
        // What happened has happened, also where the disk is full: it is told either way.
        let state = record.state();
        if before.as_ref() != Some(&state) && !matches!(record.phase, Phase::Starting) {
            self.tell(&record, state);
        }
        self.view.send_replace(Some(record));
        result
    }

    fn tell(&self, record: &Record, state: ReplicaState) {
        let event = RuntimeEvent { name: record.name.clone(), owner: record.owner.clone(), state };
        // Nobody may be listening.
        let _listeners = self.shared.events.send(event);
    }
}

/// The end of a process; never, if there is none.
async fn ended(running: Option<&Running>) -> Exit {
    match running {
        Some(running) => running.held.ended().await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

pub(super) fn answer<T>(reply: Reply<T>, result: Result<T>) {
    // Whoever asked may be gone.
    let _gone = reply.send(result);
}
