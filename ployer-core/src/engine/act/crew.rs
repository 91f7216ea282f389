//! The crew: an actor for each application, woken when the store has news of it.
//!
//! One that panics begins again from what is stored, as after a crash, a little later; the others do not notice.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::actor::{Actor, Bell};
use super::context::Context;
use super::picture::Picture;
use super::scope::Scope;
use crate::engine::decide::state::State;
use crate::error::{ErrorKind, Result};
use crate::model::{ApplicationId, EventSeq};

/// How often the event log is looked at for commits of other processes.
const LOOK: Duration = Duration::from_secs(1);
/// Events read at once.
const PAGE: u32 = 500;
/// The pause after the store or a server could not be reached.
const RETRY: Duration = Duration::from_millis(500);
/// The longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// When an actor that panicked begins again.
const AGAIN: Duration = Duration::from_secs(10);
/// How long all actors may take to park.
const PARKING: Duration = Duration::from_secs(10);

/// The actors of an engine.
pub(super) struct Crew {
    context: Arc<Context>,
    stop: CancellationToken,
    actors: JoinSet<()>,
    members: BTreeMap<ApplicationId, Member>,
}

struct Member {
    bell: Arc<Bell>,
    task: Id,
}

impl Crew {
    pub(super) fn new(context: Arc<Context>, stop: CancellationToken) -> Self {
        Self { context, stop, actors: JoinSet::new(), members: BTreeMap::new() }
    }

    /// Has an actor work for each application, also for those that are made later.
    pub(super) async fn work(&mut self) -> Infallible {
        let context = Arc::clone(&self.context);
        let mut news = context.parts.news.subscribe();
        let mut seen = retried(|| context.parts.store.last_event()).await;
        let applications = retried(|| enlist(&context)).await;
        applications.into_iter().for_each(|id| self.hire(id, Duration::ZERO));
        loop {
            seen = match self.feed(seen).await {
                Ok(seen) => seen,
                Err(error) if error.kind() == ErrorKind::Gone => self.feed_anew().await,
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "the event log could not be read");
                    seen
                }
            };
            self.wait(&mut news).await;
        }
    }

    /// Waits until every actor has parked.
    pub(super) async fn park(&mut self) {
        let parking = async { while self.actors.join_next().await.is_some() {} };
        if timeout(PARKING, parking).await.is_err() {
            tracing::warn!("not all applications were parked in time");
        }
    }

    /// Ends every actor that is left.
    pub(super) async fn end(&mut self) {
        self.actors.shutdown().await;
    }

    /// Waits for news, and sees to actors that have ended meanwhile.
    async fn wait(&mut self, news: &mut watch::Receiver<EventSeq>) {
        loop {
            tokio::select! {
                biased;
                Some(ended) = self.actors.join_next_with_id() => self.see_to(ended),
                _ = news.changed() => return,
                () = sleep(LOOK) => return,
            }
        }
    }

    fn see_to(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (task, has_panicked) = match ended {
            Ok((task, ())) => (task, false),
            Err(error) => (error.id(), error.is_panic()),
        };
        let member = self.members.iter().find(|(_, member)| member.task == task).map(|(id, _)| *id);
        let Some(application) = member else { return };
        self.members.remove(&application);
        if has_panicked {
            tracing::error!(%application, "an actor panicked; it begins again shortly");
            self.hire(application, AGAIN);
        }
    }

    /// Wakes the actors of the applications that events after `seen` are about, and answers the last.
    async fn feed(&mut self, mut seen: EventSeq) -> Result<EventSeq> {
        loop {
            let events = self.context.parts.store.events(seen, PAGE).await?;
            let Some(last) = events.last() else { return Ok(seen) };
            seen = last.seq;
            for event in events {
                if let Some(application) = event.application_id {
                    self.wake(application, event.seq);
                }
            }
        }
    }

    /// Events were removed before they were read: everybody looks.
    async fn feed_anew(&mut self) -> EventSeq {
        let parts = Arc::clone(&self.context.parts);
        let seen = retried(|| parts.store.last_event()).await;
        for application in retried(|| parts.store.applications()).await {
            self.wake(application.id, seen);
        }
        seen
    }

    fn wake(&mut self, application: ApplicationId, event: EventSeq) {
        match self.members.get(&application) {
            Some(member) => member.bell.ring(event),
            None => self.hire(application, Duration::ZERO),
        }
    }

    fn hire(&mut self, application: ApplicationId, pause: Duration) {
        let bell = Arc::new(Bell::default());
        let (context, stop) = (Arc::clone(&self.context), self.stop.clone());
        let task = self.actors.spawn(work(context, application, Arc::clone(&bell), stop, pause)).id();
        self.members.insert(application, Member { bell, task });
    }
}

/// Before any actor begins: enters the addresses of all stored states, and expects all to say what they want.
async fn enlist(context: &Context) -> Result<Vec<ApplicationId>> {
    let Context { parts, addresses, .. } = context;
    for machine in parts.store.machines().await? {
        addresses.follow(machine.application_id, State::from_machine(&machine).addresses(), false);
    }
    let applications = parts.store.applications().await?;
    let ids: Vec<ApplicationId> = applications.into_iter().map(|application| application.id).collect();
    context.expect(ids.iter().copied());
    Ok(ids)
}

/// Works for one application, as soon as its server is reached.
async fn work(
    context: Arc<Context>,
    application: ApplicationId,
    bell: Arc<Bell>,
    stop: CancellationToken,
    mut pause: Duration,
) {
    let beginning = async {
        loop {
            sleep(pause).await;
            match begin(&context, application, &bell).await {
                Ok(actor) => return actor,
                Err(error) => {
                    tracing::warn!(%application, error = %error.chain(), "nobody can act for it yet");
                    pause = (pause * 2).clamp(RETRY, RETRY_MAX);
                }
            }
        }
    };
    match stop.run_until_cancelled(beginning).await {
        Some(Some(actor)) => actor.run(stop).await,
        Some(None) => context.has_said(application),
        None => {}
    }
}

/// The actor of an application; `None` if there is no such application any more.
async fn begin(context: &Arc<Context>, application: ApplicationId, bell: &Arc<Bell>) -> Result<Option<Actor>> {
    let Some(row) = context.parts.store.application(application).await? else { return Ok(None) };
    let reach = context.reach(row.server_id).await?;
    let picture = Arc::new(Picture::default());
    let scope = Scope { context: Arc::clone(context), reach, picture, application };
    Actor::new(scope, Arc::clone(bell)).await.map(Some)
}

/// Tries a call of the store until it answers.
async fn retried<T, F: Future<Output = Result<T>>>(call: impl Fn() -> F) -> T {
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => {
                tracing::warn!(error = %error.chain(), "the store does not answer");
                sleep(RETRY).await;
            }
        }
    }
}
