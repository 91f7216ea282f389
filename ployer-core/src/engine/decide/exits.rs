//! Exits: replicas that end without being told to are told of and counted; the runtime brings them back.

use super::decision::Decision;
use crate::model::{EventKind, Exit, ReplicaName, ReplicaState};

impl Decision<'_> {
    /// Counts exits of replicas at rest since the last decision, and says when there are too many.
    pub(super) fn count_exits(&mut self) {
        let names: Vec<ReplicaName> = self.state.rest.replicas.keys().cloned().collect();
        for name in &names {
            self.count_exits_of(name);
        }
        self.state.restarts_counted.retain(|name, _| names.contains(name));
        let settings = &self.ground.settings.engine;
        let window = settings.degraded_window;
        let exits = std::mem::take(&mut self.state.exits);
        self.state.exits = exits.into_iter().filter(|at| !self.has_passed(*at, window)).collect();
        let degraded = self.state.exits.len() >= settings.degraded_exits;
        if degraded != self.state.degraded {
            self.state.degraded = degraded;
            self.event(EventKind::Degraded { degraded });
        }
    }

    fn count_exits_of(&mut self, name: &ReplicaName) {
        let Some(seen) = self.seen.replica(name).filter(|_| !self.seen.busy.contains(name)) else { return };
        let (ended, exit) = match seen.state {
            ReplicaState::Exited(exit) => (1, exit),
            ReplicaState::Running | ReplicaState::Stopped => (0, Exit::Unknown),
        };
        let (exits, process) = (seen.restarts + ended, seen.owner.process.clone());
        let counted = self.state.restarts_counted.entry(name.clone()).or_default();
        let new = exits.saturating_sub(*counted);
        *counted = exits;
        for _ in 0..new.min(self.ground.settings.engine.degraded_exits as u32) {
            self.state.exits.push(self.now);
        }
        if new > 0 {
            self.event(EventKind::ReplicaExited { replica: name.clone(), process, exit });
        }
    }
}
