//! Upkeep: what should change of an application that has no deployment waiting.
//!
//! Start, restart and scale are rollouts of the active release, with the same phases and gate as a deployment. One
//! that failed is not tried again before somebody changes the application.

use std::collections::BTreeMap;

use super::decision::Decision;
use super::state::{OperationKind, State, WantedRoute};
use crate::model::{ProcessName, Release};

impl State {
    /// Whether anything of the application runs or is routed to at rest.
    pub(super) fn runs(&self) -> bool {
        !self.rest.replicas.is_empty() || matches!(self.rest.route, WantedRoute::Static(_))
    }
}

impl Decision<'_> {
    /// Begins a stop, where anything runs.
    pub(super) fn begin_stop(&mut self) {
        self.state.restarts_done = self.facts.application.restarts_wanted;
        if self.state.runs() {
            self.begin(OperationKind::Stop);
        }
    }

    /// Begins a start, a restart or a scale of the active release, where one is due.
    pub(super) fn begin_upkeep(&mut self) {
        let Some(release) = self.state.active.and_then(|active| self.release(active)) else {
            self.state.restarts_done = self.facts.application.restarts_wanted;
            return;
        };
        let wish = self.facts.application.restarts_wanted;
        if wish > self.state.restarts_done {
            self.state.gave_up_at = None;
        } else if self.state.gave_up_at == Some(self.facts.application.version.0) {
            return;
        }
        if !self.state.runs() {
            self.state.restarts_done = wish;
            if release.spec.static_root.is_some() || self.replicas_wanted(release).values().any(|count| *count > 0) {
                self.begin(OperationKind::Start);
            }
        } else if wish > self.state.restarts_done || self.has_lost_an_address() {
            self.begin(OperationKind::Restart { wish });
        } else if self.replicas_wanted(release) != self.replicas_at_rest(release) {
            self.begin(OperationKind::Scale);
        }
    }

    /// How many replicas each process type of `release` should have.
    pub(super) fn replicas_wanted(&self, release: &Release) -> BTreeMap<ProcessName, u32> {
        let counts = &self.facts.application.replicas;
        let wanted =
            |process: &crate::model::ProcessSpec| counts.get(&process.name).copied().unwrap_or(process.replicas);
        release.spec.processes.iter().map(|process| (process.name.clone(), wanted(process))).collect()
    }

    fn replicas_at_rest(&self, release: &Release) -> BTreeMap<ProcessName, u32> {
        let mut counts: BTreeMap<ProcessName, u32> =
            release.spec.processes.iter().map(|process| (process.name.clone(), 0)).collect();
        for wanted in self.state.rest.replicas.values() {
            *counts.entry(wanted.process.clone()).or_default() += 1;
        }
        counts
    }

    /// Whether a replica cannot return because something else has its address by now: after a reboot, say.
    fn has_lost_an_address(&self) -> bool {
        let lost = |name| self.seen.start_failures.get(name).is_some_and(|failure| failure.address_taken);
        self.state.rest.replicas.keys().any(lost)
    }
}
