//! The walk: from phase to phase of a rollout, and back where a replica ends, a deadline passes or a wish to cancel
//! comes before the intent.
//!
//! Entering the switch is the intent: it is stored with the deployment's row before the route goes over, so a wish
//! to cancel and the intent are changes of one row, and one of them loses.

use std::collections::BTreeSet;

use super::decision::{Decision, later};
use super::rollout::phases_back;
use super::route::resolve;
use super::state::{Late, Mode, OperationKind, Outcome, Phase, Rollout, Stage, State, Until, WantedRoute};
use crate::model::{DeploymentStatus, EventKind, Failure, GateResult, ReplicaName, ReplicaState, Step};
#[cfg(sim_bugs)]
use crate::planted::{Bug, has};

impl State {
    /// Whether the intent to switch is stored: from here there is no cancel.
    pub(super) fn has_intent(&self) -> bool {
        match self.operation.as_ref().map(|operation| &operation.stage) {
            Some(Stage::Rollout(rollout)) => rollout.back || rollout.phase().step == Step::Switch,
            Some(Stage::Forget) => true,
            Some(_) | None => false,
        }
    }
}

impl Decision<'_> {
    /// Puts the operation at the first phase of `rollout`.
    pub(super) fn enter_rollout(&mut self, rollout: Rollout) {
        let step = rollout.phase().step;
        self.enter(Stage::Rollout(rollout), DeploymentStatus::Deploying, step);
        self.note_traffic();
    }

    /// Takes the rollout one phase on, where what it waits for is seen, or back.
    pub(super) fn advance_rollout(&mut self) {
        let Some(Stage::Rollout(rollout)) = self.state.operation.as_ref().map(|operation| &operation.stage) else {
            return;
        };
        let rollout = rollout.clone();
        if !rollout.back
            && let Some(failure) = self.failure(&rollout)
        {
            return self.turn_back(Outcome::Failed(failure));
        }
        if self.is_seen(&rollout.phase().until, rollout.phase()) {
            self.note_passed(&rollout);
            return self.next_phase(rollout);
        }
        if self.is_phase_late(&rollout) {
            match rollout.phase().late {
                Late::GoOn => self.next_phase(rollout),
                Late::TurnBack => {
                    let failure = self.why_late(&rollout);
                    self.turn_back(Outcome::Failed(failure));
                }
            }
        }
    }

    fn next_phase(&mut self, mut rollout: Rollout) {
        if rollout.at + 1 == rollout.phases.len() {
            return if rollout.back { self.close_turned_back() } else { self.close_done(rollout) };
        }
        rollout.at += 1;
        let step = rollout.phase().step;
        let back = rollout.back;
        if let Some(operation) = &mut self.state.operation {
            operation.stage = Stage::Rollout(rollout);
            operation.entered_at = self.now;
        }
        if !back {
            self.tell(DeploymentStatus::Deploying, step);
            self.note_traffic();
        }
    }

    /// Keeps the proxy's counts at the intent, or at the hold before it: the receipt tells what came after.
    fn note_traffic(&mut self) {
        let (traffic, has_intent) = (self.seen.traffic, self.state.has_intent());
        let Some(operation) = &mut self.state.operation else { return };
        let Stage::Rollout(rollout) = &operation.stage else { return };
        let holds = rollout.at > 0 && matches!(rollout.phase().desired.route, WantedRoute::Hold { .. });
        if has_intent || holds {
            operation.traffic_before = operation.traffic_before.or(traffic);
        }
    }

    /// Turns the operation back: through the phases back where a rollout has begun, else by removing what jobs made.
    pub(super) fn turn_back(&mut self, outcome: Outcome) {
        let (now, deadlines) = (self.now, self.deadlines());
        let Some(operation) = &mut self.state.operation else { return };
        operation.outcome.get_or_insert(outcome);
        operation.entered_at = now;
        match &mut operation.stage {
            Stage::Rollout(rollout) => {
                rollout.phases = phases_back(rollout, now, deadlines);
                rollout.at = 0;
                rollout.back = true;
            }
            Stage::Checkout { .. } | Stage::BuildSlot { .. } | Stage::Build { .. } => operation.stage = Stage::Discard,
            Stage::ReleaseCommand { .. } | Stage::Addresses => match operation.kind {
                OperationKind::Deployment(_) => operation.stage = Stage::Discard,
                _ => self.close_turned_back(),
            },
            Stage::Discard | Stage::Forget => {}
        }
    }

    /// A replica of the rollout that ended or could not be started.
    fn failure(&mut self, rollout: &Rollout) -> Option<Failure> {
        let phase = rollout.phase();
        for name in rollout.new.clone() {
            if let Some(failed) = self.seen.start_failures.get(&name) {
                if failed.address_taken && phase.desired.replicas.contains_key(&name) && self.replace_taken(&name) {
                    return None;
                }
                return Some(self.with_output(Failure::new(Step::Start, failed.cause.clone()), &name));
            }
            let is_before_switch = phase.step != Step::Switch && phase.desired.replicas.contains_key(&name);
            if is_before_switch && let Some(ReplicaState::Exited(exit)) = self.settled_state(&name) {
                let cause = format!("replica `{name}` ended with {exit} before it was ready");
                return Some(self.with_output(Failure::new(phase.step, cause), &name));
            }
        }
        None
    }

    fn settled_state(&self, name: &ReplicaName) -> Option<ReplicaState> {
        if self.seen.busy.contains(name) {
            return None;
        }
        self.seen.replica(name).map(|seen| seen.state.clone())
    }

    fn with_output(&self, mut failure: Failure, name: &ReplicaName) -> Failure {
        failure.output = self.seen.output.get(name).cloned().unwrap_or_default();
        failure
    }

    fn is_seen(&self, until: &Until, phase: &Phase) -> bool {
        match until {
            Until::Started(names) => names.iter().all(|name| self.settled_state(name) == Some(ReplicaState::Running)),
            Until::Ready(names) => names.iter().all(|name| self.runs_ready(name)),
            Until::Routed(names) => self.is_routed(names, &phase.desired.route),
            Until::Drained { replicas, upgraded } => self.is_drained(replicas, !upgraded.is_zero(), phase),
            Until::Stopped(names) => names.iter().all(|name| self.has_stopped(name)),
            Until::Gone(names) => names.iter().all(|name| self.seen.is_gone(name)),
        }
    }

    fn runs_ready(&self, name: &ReplicaName) -> bool {
        self.seen.is_ready(name) && self.settled_state(name) == Some(ReplicaState::Running)
    }

    /// Whether the route was read back as it should be, and every new replica (or the static release) has answered.
    fn is_routed(&self, names: &BTreeSet<ReplicaName>, wanted: &WantedRoute) -> bool {
        #[cfg(sim_bugs)]
        if has(Bug::SkipTheReadBack) {
            return true;
        }
        if self.seen.route_in_doubt {
            return false;
        }
        let Some(read_back) = &self.seen.route else {
            return matches!(wanted, WantedRoute::Nowhere);
        };
        if read_back.route != resolve(self.facts, self.seen, &self.state, self.ground, wanted) {
            return false;
        }
        match wanted {
            WantedRoute::Static(release) => self.seen.answered_static == Some(*release),
            WantedRoute::Replicas(_) => names.iter().all(|name| self.seen.answered.contains(name)),
            WantedRoute::Nowhere | WantedRoute::Hold { .. } | WantedRoute::Unavailable { .. } => true,
        }
    }

    fn is_drained(&self, names: &BTreeSet<ReplicaName>, with_upgraded: bool, phase: &Phase) -> bool {
        let with_address = |name: &&ReplicaName| {
            phase.desired.replicas.get(*name).is_some_and(|wanted| wanted.address.is_some() && wanted.mode == Mode::Run)
        };
        names.iter().filter(with_address).all(|name| {
            let idle =
                |flight: &crate::model::InFlight| flight.requests == 0 && (!with_upgraded || flight.upgraded == 0);
            self.seen.in_flight.get(name).is_some_and(idle) || self.has_stopped(name)
        })
    }

    /// Whether a replica does nothing any more: it has stopped, ended for good, or is not there.
    pub(super) fn has_stopped(&self, name: &ReplicaName) -> bool {
        if self.seen.busy.contains(name) || self.seen.replicas.is_none() {
            return false;
        }
        match self.seen.replica(name) {
            None => true,
            Some(seen) => match seen.state {
                ReplicaState::Stopped => true,
                ReplicaState::Exited(_) => !seen.keeps_running,
                ReplicaState::Running => false,
            },
        }
    }

    fn is_phase_late(&mut self, rollout: &Rollout) -> bool {
        let phase = rollout.phase();
        let Some(operation) = &self.state.operation else { return false };
        let began = match &phase.until {
            Until::Started(_) => match self.seen.slots.get(&super::seen::Slot::Start) {
                Some(granted) => operation.entered_at.max(*granted),
                None => return false,
            },
            _ => operation.entered_at,
        };
        let turns = rollout.turn_back_at.filter(|_| !rollout.back && phase.step != Step::Switch);
        let at = turns.map_or(later(began, phase.timeout), |at| at.min(later(began, phase.timeout)));
        self.has_come(at)
    }

    fn why_late(&self, rollout: &Rollout) -> Failure {
        let phase = rollout.phase();
        let held = rollout.turn_back_at.is_some_and(|at| self.now >= at) && phase.step != Step::Switch;
        let waited = match held {
            true => "within what the hold leaves".to_owned(),
            false => format!("within {} s", phase.timeout.as_secs()),
        };
        match &phase.until {
            Until::Ready(names) => self.why_not_ready(names, &waited),
            Until::Routed(names) => {
                let silent = names.iter().find(|name| !self.seen.answered.contains(*name));
                let who = silent.map_or("the route was not confirmed".to_owned(), |name| {
                    format!("replica `{name}` did not answer through the proxy")
                });
                Failure::new(phase.step, format!("{who} {waited}"))
            }
            Until::Started(_) => Failure::new(phase.step, format!("the replicas did not start {waited}")),
            Until::Stopped(_) | Until::Gone(_) | Until::Drained { .. } => {
                Failure::new(phase.step, format!("the replicas before did not end {waited}"))
            }
        }
    }

    fn why_not_ready(&self, names: &BTreeSet<ReplicaName>, waited: &str) -> Failure {
        let Some(name) = names.iter().find(|name| !self.runs_ready(name)) else {
            return Failure::new(Step::Gate, format!("the replicas were not ready {waited}"));
        };
        let readiness = self.seen.readiness.get(name);
        let reason = readiness.and_then(|readiness| readiness.reason.as_deref()).unwrap_or("it was not ready");
        let attempts = readiness.map_or(0, |readiness| readiness.attempts);
        let cause = format!("replica `{name}`: {reason}; gave up {waited}, {attempts} attempts");
        let mut failure = self.with_output(Failure::new(Step::Gate, cause), name);
        if reason.contains("listens on") {
            failure.hint = Some("listen on $PORT".to_owned());
        }
        failure
    }

    /// Keeps what the passed phase showed: who was ready when, and how long the start took.
    fn note_passed(&mut self, rollout: &Rollout) {
        let Until::Ready(names) = &rollout.phase().until else { return };
        for name in names {
            let Some(readiness) = self.seen.readiness.get(name) else { continue };
            let Some(wanted) = rollout.phase().desired.replicas.get(name) else { continue };
            let ready_at = readiness.ready_at.unwrap_or(self.now);
            let result = GateResult {
                replica: name.clone(),
                process: wanted.process.clone(),
                attempts: readiness.attempts,
                asked_at: readiness.asked_at,
                ready_at,
            };
            self.event(EventKind::ReplicaReady { replica: name.clone(), process: wanted.process.clone() });
            let took = ready_at.duration_since(readiness.asked_at);
            self.state.start_measured.insert(wanted.release, took.try_into().unwrap_or_default());
            if let Some(operation) = &mut self.state.operation {
                operation.receipt.gate.push(result);
            }
        }
    }
}
