//! The commit: changes and events that stand or fall together, with the lease's epoch.

use jiff::Timestamp;

use crate::model::{Actor, Change, Key, NewEvent, Record, Version};

/// Changes and events that are stored whole or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// On whose behalf.
    pub actor: Actor,
    /// When: the events' time.
    pub at: Timestamp,
    /// The engine's epoch; `None` for a commit that is not the engine's. Refused if the lease has another one.
    pub epoch: Option<u64>,
    /// What changes, in this order.
    pub changes: Vec<Change>,
    /// What happens, in this order.
    pub events: Vec<NewEvent>,
}

impl Commit {
    /// An empty commit.
    pub fn new(actor: Actor, at: Timestamp) -> Self {
        Self { actor, at, epoch: None, changes: Vec::new(), events: Vec::new() }
    }

    /// The same commit, adding `record`.
    #[must_use]
    pub fn insert(mut self, record: impl Into<Record>) -> Self {
        self.changes.push(Change::Insert(record.into()));
        self
    }

    /// The same commit, replacing the stored record, if it still has the version at which `record` was read.
    #[must_use]
    pub fn update(mut self, record: impl Into<Record>) -> Self {
        self.changes.push(Change::Update(record.into()));
        self
    }

    /// The same commit, removing the record of that key, if it still has that version.
    #[must_use]
    pub fn delete(mut self, key: Key, version: Version) -> Self {
        self.changes.push(Change::Delete(key, version));
        self
    }

    /// The same commit with another event.
    #[must_use]
    pub fn event(mut self, event: NewEvent) -> Self {
        self.events.push(event);
        self
    }

    /// The same commit as the engine's of that epoch.
    #[must_use]
    pub fn fenced(mut self, epoch: u64) -> Self {
        self.epoch = Some(epoch);
        self
    }
}
