//! Adoption: what a program before left behind is taken over, or found to have ended.
//!
//! A record says `Running` with an identity, or `Starting` where that program crashed before it knew one: then the
//! marks in the environment tell. How a process ended that is no child of ours cannot be known.

use tokio::time::Instant;

use super::files::blocking;
use super::kin;
use super::pidfd::Held;
use super::record::{Identity, Phase, Record};
use super::supervise::Supervisor;
use crate::error::{Error, Result};
use crate::model::Exit;

impl Supervisor {
    /// Takes over what a program before left behind.
    pub(super) async fn adopt(&mut self, record: Record) -> Result<()> {
        let phase = record.phase.clone();
        self.noted = self.output.last_noted();
        self.view.send_replace(Some(record));
        match phase {
            Phase::Ended(_) => {}
            Phase::Running(identity) => self.adopt_process(Some(identity)).await?,
            Phase::Starting => {
                let marks = self.marks.clone();
                let found = blocking(move || Ok(kin::leader(&marks))).await?;
                self.adopt_process(found.map(|kin| kin.identity(&self.shared.boot))).await?;
            }
        }
        match self.record() {
            Some(record) if !record.wanted && self.running.is_some() => self.end(self.shared.pauses.grace).await,
            Some(record) if record.starts_again() => self.restart_at = Some(Instant::now()),
            _ => {}
        }
        Ok(())
    }

    async fn adopt_process(&mut self, identity: Option<Identity>) -> Result<()> {
        let identity = identity.filter(|identity| identity.boot == self.shared.boot);
        let held = match &identity {
            Some(identity) => Held::open(identity).map_err(|e| Error::internal("a process cannot be watched", e))?,
            None => None,
        };
        let Some((held, identity)) = held.zip(identity) else {
            kin::kill(&self.name, &self.marks, None).await?;
            return self.change(|record| record.phase = Phase::Ended(Exit::Unknown)).await;
        };
        self.watch(held, identity).await
    }
}
