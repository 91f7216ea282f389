//! The collection: which releases may go, and what goes with a deleted application.
//!
//! Mark in the store, remove, confirm: a rollback that pins a release and a collection that marks it change the same
//! row, so one of them loses.

use std::collections::BTreeSet;

use super::action::Action;
use super::decision::Decision;
use super::state::{OperationKind, Stage};
use crate::model::{Change, EventKind, Key, Release, ReleaseId, ReleaseState, SecretVersion, Wanted};
#[cfg(sim_bugs)]
use crate::planted::{Bug, has};

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
        for release in self.facts.releases.values() {
            if release.state == ReleaseState::Collecting && !self.seen.collected.contains(&release.id) {
                let shared = self.others(release).any(|other| other.artifact == release.artifact);
                let used: BTreeSet<SecretVersion> = self
                    .others(release)
                    .flat_map(|other| other.env.values())
                    .chain(self.facts.env.values())
                    .copied()
                    .collect();
                let secrets = release.env.values().filter(|version| !used.contains(version)).copied().collect();
                self.act(Action::Collect { release: release.id, shared, secrets });
            }
        }
    }

    /// The releases that outlive `release`: what is gone, or marked and older, needs nothing any more.
    fn others(&self, release: &Release) -> impl Iterator<Item = &Release> {
        let id = release.id;
        self.facts.releases.values().filter(move |other| match other.state {
            ReleaseState::Made | ReleaseState::Ran | ReleaseState::Discarded => other.id != id,
            ReleaseState::Collecting => other.id > id,
            ReleaseState::Collected => false,
        })
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
        let is_pinned = release.pinned_by.is_some();
        #[cfg(sim_bugs)]
        let is_pinned = is_pinned && !has(Bug::CollectAPinnedRelease);
        self.state.active == Some(release.id) || is_pinned || retires || runs
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::puppet::Puppet;
    use super::*;
    use crate::clock::SystemClock;
    use crate::model::{DeploymentKind, RollbackEnv};

    fn deploy_later(shop: &mut Puppet) -> ReleaseId {
        shop.now = shop.now.checked_add(Duration::from_secs(1)).unwrap();
        shop.deployed().into()
    }

    #[test]
    fn a_value_goes_with_the_last_release_that_names_it() {
        let mut shop = Puppet::new();
        let (old, new) = (SecretVersion::new(&SystemClock), SecretVersion::new(&SystemClock));
        shop.facts.env.insert("TOKEN".parse().unwrap(), old);
        deploy_later(&mut shop);
        deploy_later(&mut shop);
        shop.facts.env.insert("TOKEN".parse().unwrap(), new);

        for _ in 0..7 {
            deploy_later(&mut shop);
        }

        let purged = shop.collected.iter().flat_map(|(_, _, secrets)| secrets.clone()).collect::<Vec<_>>();
        assert_eq!(purged, [old], "once, and only what nothing names any more");
    }

    #[test]
    fn an_artifact_goes_with_the_last_release_that_has_it() {
        let mut shop = Puppet::new();
        let first = deploy_later(&mut shop);
        deploy_later(&mut shop);
        shop.now = shop.now.checked_add(Duration::from_secs(1)).unwrap();
        let env = RollbackEnv::Current;
        let copy: ReleaseId = shop.queue_kind(DeploymentKind::Rollback { release: first, env }).into();
        shop.settle();

        for _ in 0..8 {
            deploy_later(&mut shop);
        }

        let shared = |of| shop.collected.iter().find(|(release, ..)| *release == of).map(|(_, shared, _)| *shared);
        assert_eq!((shared(first), shared(copy)), (Some(true), Some(false)));
    }

    #[test]
    fn of_two_releases_that_go_at_once_one_takes_what_they_share_along() {
        let mut shop = Puppet::new();
        let value = SecretVersion::new(&SystemClock);
        shop.facts.env.insert("TOKEN".parse().unwrap(), value);
        let first = deploy_later(&mut shop);
        deploy_later(&mut shop);
        let env = RollbackEnv::Current;
        let copy: ReleaseId = shop.queue_kind(DeploymentKind::Rollback { release: first, env }).into();
        shop.settle();
        shop.facts.env.clear();
        deploy_later(&mut shop);
        let other = deploy_later(&mut shop);
        shop.facts.releases.retain(|id, _| [first, copy, other].contains(id));
        for id in [first, copy] {
            shop.facts.releases.get_mut(&id).unwrap().state = ReleaseState::Collecting;
        }

        shop.settle();

        let taken: Vec<_> = shop.collected.iter().filter(|(_, shared, _)| !shared).map(|(id, ..)| *id).collect();
        let purged: Vec<_> = shop.collected.iter().flat_map(|(_, _, secrets)| secrets.clone()).collect();
        assert_eq!((taken, purged), (vec![copy], vec![value]));
    }
}
