//! The effects of one application that are under way: kept in step with what the machine names.
//!
//! New ones begin, those named again go on, those no longer named are dropped. An effect that changes a replica is
//! not dropped half-way: the next one on that replica begins when it has ended. One that failed begins again after a
//! growing pause; one that ended well but is still named, after the world was looked at again, a second later. They
//! begin in one place, right after a decision was stored, and run within the actor's own task.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Sleep, sleep};

use crate::engine::decide::action::Action;
use crate::engine::decide::seen::Seen;
use crate::error::{ErrorKind, Result};
use crate::model::ReplicaName;

/// The pause after a first failure; it doubles with each that follows.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// When an effect is performed anew although it ended well.
const PAUSE_ANEW: Duration = Duration::from_secs(1);

/// Makes the effect of an action: one try.
pub(super) trait Perform {
    /// The effect, not begun yet.
    fn perform(&self, action: &Action) -> BoxFuture<'static, Result<()>>;
}

/// The effects of one application that are under way.
#[derive(Default)]
pub(super) struct Effects {
    running: Vec<Effect>,
    /// Whether one ended, or may begin again, since a decision followed.
    has_news: bool,
}

struct Effect {
    action: Action,
    progress: Progress,
    failures: u32,
    /// Whether the last decision names it.
    is_named: bool,
}

enum Progress {
    /// It begins with the next decision that names it.
    Waiting,
    UnderWay(BoxFuture<'static, Result<()>>),
    /// It has ended; begins again when the pause is over and it is still named.
    Paused(Pin<Box<Sleep>>),
    /// It has ended well.
    Done,
}

impl Effects {
    /// Keeps the effects in step with the actions of a decision that was stored. None begins unless `may_begin`.
    pub(super) fn follow(&mut self, actions: Vec<Action>, seen: &Seen, may_begin: bool, performer: &dyn Perform) {
        self.has_news = false;
        self.forget(&actions);
        for action in actions {
            match self.running.iter_mut().find(|effect| effect.action == action) {
                Some(effect) => effect.name_again(seen),
                None => self.running.push(Effect::new(action)),
            }
        }
        if may_begin {
            self.begin(performer);
        }
    }

    /// Waits until an effect ends, or may begin again: until a decision is due.
    pub(super) async fn end(&mut self) {
        poll_fn(|context| if self.has_news { Poll::Ready(()) } else { self.poll(context) }).await;
    }

    /// Waits for something else while the effects go on.
    pub(super) async fn alongside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = std::pin::pin!(other);
        poll_fn(|context| {
            while self.poll(context).is_ready() {}
            other.as_mut().poll(context)
        })
        .await
    }

    /// The planted bug of effects that begin before the decision that names them is stored.
    #[cfg(sim_bugs)]
    pub(super) async fn begin_early(&mut self, actions: &[Action], scope: &super::scope::Scope) {
        if crate::planted::has(crate::planted::Bug::JournalAfterActing) {
            let seen = scope.picture.read();
            self.follow(actions.to_vec(), &seen, true, scope);
            self.alongside(sleep(Duration::from_millis(100))).await;
        }
    }

    fn forget(&mut self, actions: &[Action]) {
        self.running.retain_mut(|effect| {
            effect.is_named = actions.contains(&effect.action);
            effect.is_named || effect.must_end()
        });
    }

    fn begin(&mut self, performer: &dyn Perform) {
        for at in 0..self.running.len() {
            let effect = &self.running[at];
            if effect.is_waiting() && !effect.action.changes().is_some_and(|name| self.is_changing(name)) {
                let future = performer.perform(&effect.action);
                self.running[at].progress = Progress::UnderWay(future);
            }
        }
    }

    fn is_changing(&self, name: &ReplicaName) -> bool {
        self.running.iter().any(|effect| effect.must_end() && effect.action.changes() == Some(name))
    }

    /// Ready when an effect ended or a pause did.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for at in 0..self.running.len() {
            if self.running[at].poll(context).is_ready() {
                if !self.running[at].is_named {
                    self.running.remove(at);
                }
                self.has_news = true;
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

impl Effect {
    fn new(action: Action) -> Self {
        Self { action, progress: Progress::Waiting, failures: 0, is_named: true }
    }

    fn is_waiting(&self) -> bool {
        matches!(self.progress, Progress::Waiting)
    }

    /// Whether it changes a replica at this moment, and so is not dropped.
    fn must_end(&self) -> bool {
        self.action.changes().is_some() && matches!(self.progress, Progress::UnderWay(_))
    }

    /// It is named again: where it has ended and the world was looked at since, it is not what it should be.
    fn name_again(&mut self, seen: &Seen) {
        if matches!(self.progress, Progress::Done) && !is_settled(&self.action, seen) {
            self.progress = Progress::Paused(Box::pin(sleep(PAUSE_ANEW)));
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &mut self.progress {
            Progress::Waiting | Progress::Done => Poll::Pending,
            Progress::Paused(pause) => {
                std::task::ready!(pause.as_mut().poll(context));
                self.progress = Progress::Waiting;
                Poll::Ready(())
            }
            Progress::UnderWay(future) => {
                let result = std::task::ready!(future.as_mut().poll(context));
                self.finish(result);
                Poll::Ready(())
            }
        }
    }

    fn finish(&mut self, result: Result<()>) {
        match result {
            Ok(()) => {
                self.failures = 0;
                self.progress = Progress::Done;
            }
            Err(error) => {
                let pause = PAUSE.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
                self.failures += 1;
                if error.kind() != ErrorKind::Unavailable || self.failures == 1 {
                    tracing::warn!(action = ?self.action, error = %error.chain(), "an effect failed");
                }
                self.progress = Progress::Paused(Box::pin(sleep(pause)));
            }
        }
    }
}

/// Whether an effect that ended well is not done again: its result counts, or the world was not looked at yet.
fn is_settled(action: &Action, seen: &Seen) -> bool {
    match action {
        Action::Checkout { job, .. } | Action::Build { job, .. } | Action::ReleaseCommand { job, .. } => {
            seen.jobs.contains_key(job)
        }
        Action::Start { name, .. }
        | Action::KeepRunning { name }
        | Action::Stop { name, .. }
        | Action::Remove { name } => seen.busy.contains(name),
        Action::HoldSlot(_)
        | Action::FindAddresses { .. }
        | Action::Probe { .. }
        | Action::Route { .. }
        | Action::Ask { .. }
        | Action::WatchInFlight { .. }
        | Action::Discard { .. }
        | Action::Collect { .. }
        | Action::Forget { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::{Arc, Mutex};

    use tokio::sync::oneshot;
    use tokio::time::{advance, timeout};

    use super::*;
    use crate::engine::decide::seen::Slot;
    use crate::error::Error;

    /// Effects that end when the test says so.
    #[derive(Default)]
    struct Stage {
        begun: Mutex<Vec<String>>,
        ends: Mutex<BTreeMap<String, oneshot::Sender<Result<()>>>>,
        dropped: Arc<Mutex<Vec<String>>>,
    }

    struct OnDrop(String, Arc<Mutex<Vec<String>>>);

    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0.clone());
        }
    }

    impl Perform for Stage {
        fn perform(&self, action: &Action) -> BoxFuture<'static, Result<()>> {
            let name = name_of(action);
            let (send, receive) = oneshot::channel();
            self.begun.lock().unwrap().push(name.clone());
            self.ends.lock().unwrap().insert(name.clone(), send);
            let guard = OnDrop(name, Arc::clone(&self.dropped));
            Box::pin(async move {
                let _guard = guard;
                receive.await.unwrap_or(Ok(()))
            })
        }
    }

    impl Stage {
        fn end(&self, name: &str, result: Result<()>) {
            self.ends.lock().unwrap().remove(name).unwrap().send(result).unwrap();
        }

        fn begun(&self) -> Vec<String> {
            std::mem::take(&mut self.begun.lock().unwrap())
        }

        fn dropped(&self) -> Vec<String> {
            self.dropped.lock().unwrap().clone()
        }
    }

    fn name_of(action: &Action) -> String {
        match action {
            Action::Stop { name, .. } => format!("stop {name}"),
            Action::Remove { name } => format!("remove {name}"),
            Action::HoldSlot(_) => "hold".to_owned(),
            _ => "other".to_owned(),
        }
    }

    fn stop(name: &str) -> Action {
        Action::Stop { name: name.parse().unwrap(), grace: Duration::from_secs(10) }
    }

    fn remove(name: &str) -> Action {
        Action::Remove { name: name.parse().unwrap() }
    }

    async fn settle(effects: &mut Effects) -> bool {
        timeout(Duration::from_millis(1), effects.end()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn an_effect_that_is_named_again_goes_on_undisturbed() {
        let (stage, mut effects) = (Stage::default(), Effects::default());

        effects.follow(vec![Action::HoldSlot(Slot::Build)], &Seen::default(), true, &stage);
        settle(&mut effects).await;
        effects.follow(vec![Action::HoldSlot(Slot::Build)], &Seen::default(), true, &stage);

        assert_eq!(stage.begun(), ["hold"]);
        assert!(stage.dropped().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_effect_that_is_no_longer_named_is_dropped() {
        let (stage, mut effects) = (Stage::default(), Effects::default());
        effects.follow(vec![Action::HoldSlot(Slot::Build)], &Seen::default(), true, &stage);
        settle(&mut effects).await;

        effects.follow(Vec::new(), &Seen::default(), true, &stage);

        assert_eq!(stage.dropped(), ["hold"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_a_replica_is_ended_before_the_next_begins() {
        let (stage, mut effects) = (Stage::default(), Effects::default());
        effects.follow(vec![stop("a"), stop("b")], &Seen::default(), true, &stage);
        settle(&mut effects).await;

        effects.follow(vec![remove("a")], &Seen::default(), true, &stage);
        assert_eq!(stage.begun(), ["stop a", "stop b"]);
        assert!(stage.dropped().is_empty(), "what was begun on a replica is not dropped");
        stage.end("stop a", Ok(()));
        assert!(settle(&mut effects).await);
        effects.follow(vec![remove("a")], &Seen::default(), true, &stage);

        assert_eq!(stage.begun(), ["remove a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_effect_begins_again_after_growing_pauses() {
        let (stage, mut effects) = (Stage::default(), Effects::default());
        let mut pauses = Vec::new();

        for _ in 0..8 {
            effects.follow(vec![stop("a")], &Seen::default(), true, &stage);
            assert_eq!(stage.begun(), ["stop a"]);
            stage.end("stop a", Err(Error::unavailable("the runtime")));
            effects.end().await;
            effects.follow(vec![stop("a")], &Seen::default(), true, &stage);
            let failed_at = tokio::time::Instant::now();
            effects.end().await;
            pauses.push(failed_at.elapsed().as_millis());
        }

        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_effect_that_ended_well_begins_again_only_after_the_world_was_looked_at() {
        let (stage, mut effects) = (Stage::default(), Effects::default());
        let busy = Seen { busy: BTreeSet::from(["a".parse().unwrap()]), ..Seen::default() };
        effects.follow(vec![stop("a")], &busy, true, &stage);
        stage.end("stop a", Ok(()));
        effects.end().await;
        stage.begun();

        effects.follow(vec![stop("a")], &busy, true, &stage);
        advance(Duration::from_secs(60)).await;
        assert!(!settle(&mut effects).await, "while nothing can be said of the replica it is not done again");
        effects.follow(vec![stop("a")], &Seen::default(), true, &stage);
        effects.end().await;
        effects.follow(vec![stop("a")], &Seen::default(), true, &stage);

        assert_eq!(stage.begun(), ["stop a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_effect_begins_while_the_lease_is_in_doubt() {
        let (stage, mut effects) = (Stage::default(), Effects::default());

        effects.follow(vec![stop("a")], &Seen::default(), false, &stage);
        let begun_in_doubt = stage.begun();
        effects.follow(vec![stop("a")], &Seen::default(), true, &stage);

        assert!(begun_in_doubt.is_empty());
        assert_eq!(stage.begun(), ["stop a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn effects_go_on_while_something_else_is_awaited() {
        let (stage, mut effects) = (Stage::default(), Effects::default());
        effects.follow(vec![stop("a")], &Seen::default(), true, &stage);
        stage.end("stop a", Ok(()));

        let answer = effects.alongside(async {
            sleep(Duration::from_secs(1)).await;
            42
        });

        assert_eq!(answer.await, 42);
        assert_eq!(stage.dropped(), ["stop a"], "the effect ended meanwhile");
        assert!(settle(&mut effects).await, "and a decision is due");
    }
}
