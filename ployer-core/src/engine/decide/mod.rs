//! The machine of one application: from what is stored and seen to what should follow. Pure.
//!
//! `next` takes whole pictures and answers the next state, what to store with it, and every effect that should be
//! under way. It does no I/O, reads no clock, and iterates over ordered maps only, so a decision can be repeated.
//! The state is stored before any effect of it begins; that is why a crash at any line is safe.

pub(crate) mod action;
pub(crate) mod seen;
pub(crate) mod state;

use jiff::Timestamp;

use self::action::Action;
use self::seen::{Facts, Ground, Seen};
use self::state::State;
use crate::model::{Change, NewEvent};

/// What follows.
#[derive(Clone, Debug, Default)]
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
}

/// What follows from `state` when `facts` are stored and `seen` is seen at `now`.
pub(crate) fn next(state: State, _facts: &Facts, _seen: &Seen, _ground: &Ground, _now: Timestamp) -> Next {
    Next { state, ..Next::default() }
}
