//! The collection: which releases may go, and what goes with a deleted application.
//!
//! Mark in the store, remove, confirm: a rollback that pins a release and a collection that marks it change the same
//! row, so one of them loses.

use std::collections::BTreeSet;

use super::action::Action;
use super::decision::Decision;
use super::state::{OperationKind, Stage};
use crate::model::{Change, EventKind, Key, Release, ReleaseId, ReleaseState, SecretVersion, Wanted};

impl Decision<'_> {
    /// Marks one release that nothing needs any more, and removes those that are marked.
    pub(super) fn collect(&mut self) {
        self.confirm_collected();
        self.name_collections();
        if self.state.operation.is_none()
            && let Some(id) = self.next_to_collect()
        {
            self.set_release(id, |release| release.state = ReleaseState::Collecting);
        }
    }

    fn confirm_collected(&mut self) {
        let is_marked =
            |id: &&ReleaseId| self.release(**id).is_some_and(|release| release.state == ReleaseState::Collecting);
        let gone: Vec<ReleaseId> = self.seen.collected.iter().filter(is_marked).copied().collect();
        for id in gone {
            self.set_release(id, |release| release.state = ReleaseState::Collected);
            self.state.next_index.remove(&id);
            self.state.start_measured.remove(&id);
            self.event(EventKind::ReleaseCollected { release_id: id });
        }
    }

    fn name_collections(&mut self) {
        let facts = self.facts;
        for release in facts.releases.values() {
            if release.state == ReleaseState::Collecting && !self.seen.collected.contains(&release.id) {
                let others = || facts.releases.values().filter(|other| other.id != release.id);
                let shared = others().any(|other| other.artifact == release.artifact);
                let used: BTreeSet<SecretVersion> =
                    others().flat_map(|other| other.env.values()).chain(facts.env.values()).copied().collect();
                let secrets = release.env.values().filter(|version| !used.contains(version)).copied().collect();
                self.act(Action::Collect { release: release.id, shared, secrets });
            }
        }
    }

    fn next_to_collect(&self) -> Option<ReleaseId> {
        let mut ran: Vec<&Release> =
            self.facts.releases.values().filter(|release| release.state == ReleaseState::Ran).collect();
        ran.sort_by_key(|release| std::cmp::Reverse((release.activated_at, release.id)));
        let too_many = ran.into_iter().skip(self.ground.settings.engine.releases_kept);
        let is_waste = |release: &&Release| match release.state {
            ReleaseState::Made | ReleaseState::Discarded => true,
            ReleaseState::Ran | ReleaseState::Collecting | ReleaseState::Collected => false,
        };
        let waste = self.facts.releases.values().filter(is_waste);
        too_many.chain(waste).find(|release| !self.is_needed(release)).map(|release| release.id)
    }

    fn is_needed(&self, release: &Release) -> bool {
        let retires = self.state.retiring.iter().any(|retirement| retirement.release == release.id);
        let seen = self.seen.replicas.as_ref();
        let runs = seen.is_none_or(|replicas| replicas.values().any(|replica| replica.owner.release == release.id));
        self.state.active == Some(release.id) || release.pinned_by.is_some() || retires || runs
    }

    /// Removes what is left of an application that is being deleted, then its rows.
    pub(super) fn advance_forget(&mut self) {
        let Some(operation) = &self.state.operation else { return };
        if operation.kind != OperationKind::Delete || operation.stage != Stage::Forget {
            return;
        }
        let Wanted::Deleting { volumes } = self.facts.application.wanted else { return };
        let is_known = |replica: &crate::model::ReplicaSeen| self.facts.releases.contains_key(&replica.owner.release);
        let is_left = self.seen.replicas.as_ref().is_none_or(|replicas| replicas.values().any(is_known));
        if is_left || !self.state.retiring.is_empty() {
            return;
        }
        if !self.seen.forgotten {
            return self.act(Action::Forget { volumes });
        }
        if volumes {
            for (name, version) in &self.facts.volumes {
                let key = Key::Volume(self.facts.application.id, name.clone());
                self.change(Change::Delete(key, *version));
            }
        }
        let application = &self.facts.application;
        self.change(Change::Delete(Key::Application(application.id), application.version));
        self.event(EventKind::ApplicationDeleted);
    }
}
