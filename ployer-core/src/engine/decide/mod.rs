//! The machine of one application: from what is stored and seen to what should follow. Pure.
//!
//! `next` takes whole pictures and answers the next state, what to store with it, and every effect that should be
//! under way. It does no I/O, reads no clock, and iterates over ordered maps only, so a decision can be repeated.
//! The state is stored before any effect of it begins; that is why a crash at any line is safe.

pub(crate) mod action;
mod close;
mod collect;
mod converge;
mod decision;
mod exits;
mod jobs;
mod plan;
#[cfg(test)]
mod puppet;
pub(crate) mod queue;
mod recovery;
mod retire;
mod rollout;
mod route;
pub(crate) mod seen;
pub(crate) mod state;
#[cfg(test)]
mod tests;
mod upkeep;
mod walk;

use jiff::Timestamp;

use self::action::Action;
pub(crate) use self::converge::RELEASE_COMMAND;
use self::decision::Decision;
use self::seen::{Facts, Ground, Seen};
use self::state::State;
use crate::model::{Change, NewEvent};

/// What follows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Next {
    /// The state from now on; stored with the changes.
    pub(crate) state: State,
    /// Rows to store with it. The machine's own row is not among them: it follows from the state.
    pub(crate) changes: Vec<Change>,
    /// Events to store with it.
    pub(crate) events: Vec<NewEvent>,
    /// Every effect that should be under way once it is stored.
    pub(crate) actions: Vec<Action>,
    /// When to decide again at the latest, because a deadline passes.
    pub(crate) wake_at: Option<Timestamp>,
    /// Whether anything is in a transient state, so that it is looked at more often.
    pub(crate) busy: bool,
    /// Whether requests reach the active release.
    pub(crate) serving: bool,
}

/// What follows from `state` when `facts` are stored and `seen` is seen at `now`.
///
/// It goes at most one step: whoever calls it stores the answer and calls it again until nothing changes.
pub(crate) fn next(state: State, facts: &Facts, seen: &Seen, ground: &Ground, now: Timestamp) -> Next {
    let mut decision = Decision::new(state, facts, seen, ground, now);
    decision.recover();
    decision.end_rests();
    decision.count_exits();
    decision.advance_retirements();
    decision.take_from_queue();
    decision.advance_operation();
    decision.collect();
    decision.converge();
    decision.finish()
}

impl Decision<'_> {
    /// Takes the operation one step on.
    fn advance_operation(&mut self) {
        let before = self.state.operation.as_ref().map(|operation| operation.stage.clone());
        self.advance_jobs();
        if before != self.state.operation.as_ref().map(|operation| operation.stage.clone()) {
            return;
        }
        self.advance_plan();
        if before != self.state.operation.as_ref().map(|operation| operation.stage.clone()) {
            return;
        }
        self.advance_rollout();
        self.advance_forget();
    }
}
