//! A decision under way: the state and rows it changes, and what it collects on the way.
//!
//! The files beside this one add to it, each for its own concern; [`super::next`] calls them in order.

use std::time::Duration;

use jiff::Timestamp;

use super::Next;
use super::action::Action;
use super::seen::{Facts, Ground, Seen};
use super::state::{Operation, Stage, State};
use crate::config::Deadlines;
use crate::model::{
    Change, Deployment, DeploymentId, DeploymentStatus, EventKind, NewEvent, Record, Release, ReleaseId, Step,
    StepTimes,
};

/// A decision under way.
pub(super) struct Decision<'a> {
    pub(super) state: State,
    pub(super) facts: &'a Facts,
    pub(super) seen: &'a Seen,
    pub(super) ground: &'a Ground,
    pub(super) now: Timestamp,
    changed: Vec<Deployment>,
    changed_releases: Vec<Release>,
    changes: Vec<Change>,
    events: Vec<NewEvent>,
    actions: Vec<Action>,
    wake_at: Option<Timestamp>,
}

impl<'a> Decision<'a> {
    pub(super) fn new(state: State, facts: &'a Facts, seen: &'a Seen, ground: &'a Ground, now: Timestamp) -> Self {
        Self {
            state,
            facts,
            seen,
            ground,
            now,
            changed: Vec::new(),
            changed_releases: Vec::new(),
            changes: Vec::new(),
            events: Vec::new(),
            actions: Vec::new(),
            wake_at: None,
        }
    }

    pub(super) fn finish(mut self) -> Next {
        let rows = self.changed.into_iter().map(Record::Deployment);
        let releases = self.changed_releases.into_iter().map(Record::Release);
        self.changes.extend(rows.chain(releases).map(Change::Update));
        Next {
            serving: self.state.serves(self.seen),
            busy: !self.state.is_at_rest() || !self.actions.iter().all(|action| matches!(action, Action::Route { .. })),
            state: self.state,
            changes: self.changes,
            events: self.events,
            actions: self.actions,
            wake_at: self.wake_at,
        }
    }

    pub(super) fn deadlines(&self) -> &'a Deadlines {
        &self.ground.settings.deadlines
    }

    /// Has `change` stored with the decision.
    pub(super) fn change(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Has an event about the application stored with the decision.
    pub(super) fn event(&mut self, kind: EventKind) {
        self.events.push(NewEvent::of(self.facts.application.id, kind));
    }

    /// Names an effect that should be under way.
    pub(super) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Whether `since` is at least `lasting` ago; if not, a decision is made again when it will be.
    pub(super) fn has_passed(&mut self, since: Timestamp, lasting: Duration) -> bool {
        self.has_come(later(since, lasting))
    }

    /// Whether `at` has come; if not, a decision is made again when it has.
    pub(super) fn has_come(&mut self, at: Timestamp) -> bool {
        if self.now >= at {
            return true;
        }
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
        false
    }

    /// A deployment's row, with what this decision has changed of it.
    pub(super) fn row(&self, id: DeploymentId) -> Option<&Deployment> {
        self.changed.iter().find(|row| row.id == id).or_else(|| self.facts.deployments.get(&id))
    }

    /// Changes a deployment's row, and tells of a new status and step.
    pub(super) fn set_row(&mut self, id: DeploymentId, set: impl FnOnce(&mut Deployment)) {
        let Some(mut row) = self.row(id).cloned() else { return };
        let (status, step) = (row.status, row.step);
        set(&mut row);
        if row.step != step && !row.status.is_final() {
            self.event(EventKind::DeploymentStep { deployment_id: id, step: row.step });
        }
        if row.status != status {
            let message = row.failure.as_ref().map(|failure| failure.cause.clone());
            let message = message.or_else(|| row.cancel.as_ref().map(|cancel| cancel.reason.clone()));
            self.event(EventKind::DeploymentStatus { deployment_id: id, status: row.status, message });
        }
        match self.changed.iter_mut().find(|changed| changed.id == id) {
            Some(changed) => *changed = row,
            None => self.changed.push(row),
        }
    }

    /// The release of that id, as it was stored before this decision.
    pub(super) fn release(&self, id: ReleaseId) -> Option<&'a Release> {
        self.facts.releases.get(&id)
    }

    /// Changes what may change of a release's row.
    pub(super) fn set_release(&mut self, id: ReleaseId, set: impl FnOnce(&mut Release)) {
        if let Some(changed) = self.changed_releases.iter_mut().find(|release| release.id == id) {
            return set(changed);
        }
        let Some(mut release) = self.release(id).cloned() else { return };
        set(&mut release);
        self.changed_releases.push(release);
    }

    /// Moves the operation to another stage, at another step for a person.
    pub(super) fn enter(&mut self, stage: Stage, status: DeploymentStatus, step: Step) {
        let (now, epoch) = (self.now, self.ground.epoch);
        let Some(operation) = &mut self.state.operation else { return };
        operation.stage = stage;
        operation.entered_at = now;
        operation.epoch = epoch;
        self.tell(status, step);
    }

    /// Tells the operation's deployment that it is at `step`.
    pub(super) fn tell(&mut self, status: DeploymentStatus, step: Step) {
        let now = self.now;
        let Some(operation) = &mut self.state.operation else { return };
        note_step(operation, step, now);
        if let Some(id) = operation.kind.deployment()
            && self.row(id).is_some_and(|row| row.step != step || row.status != status)
        {
            self.set_row(id, |row| {
                row.status = status;
                row.step = step;
            });
        }
    }
}

/// Ends the step that the receipt has open, and opens `step`.
fn note_step(operation: &mut Operation, step: Step, now: Timestamp) {
    let steps = &mut operation.receipt.steps;
    if let Some(last) = steps.last_mut() {
        if last.step == step {
            return;
        }
        last.ended_at = now;
    }
    steps.push(StepTimes { step, began_at: now, ended_at: now });
}

/// The time `lasting` after `since`, at most the end of time.
pub(super) fn later(since: Timestamp, lasting: Duration) -> Timestamp {
    since.checked_add(lasting).unwrap_or(Timestamp::MAX)
}
