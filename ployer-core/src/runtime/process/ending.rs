//! The end of a replica: told, given its grace, killed, laid to rest, removed.
//!
//! The first process is laid to rest last: until then its number, and that of its group, cannot become somebody
//! else's, and the group may be signalled by it.

use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::files::{self, blocking, failed};
use super::kin;
use super::record::Phase;
use super::supervise::{Order, Running, Supervisor, answer};
use crate::error::{Error, Result};
use crate::model::Exit;

impl Supervisor {
    /// Tells it to end; what is left after `grace` is killed. A shorter grace wins over one that runs.
    pub(super) async fn end(&mut self, grace: Duration) {
        self.restart_at = None;
        let Some(running) = &self.running else { return };
        let is_told = self.kill_at.is_some();
        let kill_at = Instant::now() + grace;
        self.kill_at = Some(self.kill_at.map_or(kill_at, |before| before.min(kill_at)));
        if is_told || grace.is_zero() {
            return;
        }
        // Who has left the group is looked for before it ends: what is left of its family may not be found after.
        let (marks, leader) = (self.marks.clone(), running.identity.clone());
        let kin = blocking(move || Ok(kin::find(&marks, Some(&leader)))).await.unwrap_or_default();
        let Some(running) = &self.running else { return };
        if let Err(error) = running.held.signal_group(Signal::TERM) {
            tracing::warn!(replica = %self.name, %error, "a replica cannot be told to end");
        }
        let group = running.identity.pid;
        kin.iter().filter(|kin| kin.group != group).for_each(|kin| kin::signal_one(kin, Signal::TERM));
    }

    /// Its first process ended: of itself, then the others go too; or as it was told, then they have their grace.
    pub(super) async fn leader_ended(&mut self, exit: Exit) -> Result<()> {
        if let Some(running) = &mut self.running {
            running.ended = Some(exit);
        }
        if self.kill_at.is_some() { self.look_at_group().await } else { self.kill().await }
    }

    pub(super) async fn look_at_group(&mut self) -> Result<()> {
        let Some(running) = &self.running else { return Ok(()) };
        let (marks, identity) = (self.marks.clone(), running.identity.clone());
        let left = blocking(move || Ok(kin::find(&marks, Some(&identity)).len())).await?;
        if left == 0 { self.settle().await } else { Ok(()) }
    }

    pub(super) async fn kill(&mut self) -> Result<()> {
        self.kill_at = None;
        let Some(running) = &mut self.running else { return Ok(()) };
        if let Err(error) = kin::kill(&self.name, &self.marks, Some(&running.identity)).await {
            self.kill_at = Some(Instant::now() + self.shared.pauses.grace);
            self.wait_end.drain(..).for_each(|reply| answer(reply, Err(again(&error))));
            return Err(error);
        }
        if running.ended.is_none() {
            running.ended = Some(running.held.ended().await);
        }
        self.settle().await
    }

    /// Nothing of it runs any more.
    async fn settle(&mut self) -> Result<()> {
        let Some(Running { held, ended: Some(exit), since, .. }) = self.running.take() else { return Ok(()) };
        (self.kill_at, self.slot) = (None, None);
        self.note_output();
        let result = self.change(|record| record.phase = Phase::Ended(exit)).await;
        held.bury();
        for reply in self.wait_exit.drain(..) {
            answer(reply, Ok(exit));
        }
        if self.is_removing {
            return result;
        }
        for reply in self.wait_end.drain(..) {
            answer(reply, result.as_ref().map_or_else(|error| Err(again(error)), |()| Ok(())));
        }
        if self.record().is_some_and(|record| record.starts_again()) {
            self.restart_later(since.elapsed());
        }
        if let Some(order) = self.next.take() {
            Box::pin(self.obey(order)).await;
        }
        result
    }

    /// Removes what is left of it, then tells those who wait.
    pub(super) async fn leave(mut self, mut orders: mpsc::Receiver<Order>) {
        let (folder, tmp) = (self.folder.clone(), self.shared.tmp(&self.name));
        let (limiter, name) = (self.shared.limiter.clone(), self.name.clone());
        // Commands that run beside it, and whatever a crash has left.
        let killed = kin::kill(&self.name, &self.marks, None).await;
        let removed = blocking(move || {
            folder.remove()?;
            limiter.remove(name.as_str()).map_err(failed(format!("the cgroup of `{name}` cannot be removed")))?;
            files::remove_dir(&tmp).map_err(failed(format!("{} cannot be removed", tmp.display())))
        })
        .await;
        // Closed before anybody is told: who asks from now on finds nothing here and begins anew.
        orders.close();
        self.view.send_replace(None);
        let result = killed.and(removed);
        for reply in self.wait_end.drain(..) {
            answer(reply, result.as_ref().map_or_else(|error| Err(again(error)), |()| Ok(())));
        }
    }
}

/// The same error for another one who waits.
fn again(error: &Error) -> Error {
    Error::new(error.kind(), error.chain())
}
