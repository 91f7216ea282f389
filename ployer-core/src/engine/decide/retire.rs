//! The retirement: requests under way on old replicas end, then the replicas end, then they are removed.
//!
//! It begins only once the route that left them out was read back. Until SIGTERM it can be reversed. Their addresses
//! rest before they are given out again (invariant 6).

use std::collections::BTreeSet;

use super::action::Action;
use super::decision::{Decision, later};
use super::route::draining;
use super::state::{Mode, RetireStage, Retirement};
use crate::model::{EventKind, ReplicaName, Target};
#[cfg(sim_bugs)]
use crate::planted::{Bug, has};

impl Decision<'_> {
    /// Takes every retirement on.
    pub(super) fn advance_retirements(&mut self) {
        let max = self.ground.settings.engine.retiring_max;
        let excess = self.state.retiring.len().saturating_sub(max);
        let retiring = std::mem::take(&mut self.state.retiring);
        let mut left = Vec::new();
        for (at, retirement) in retiring.into_iter().enumerate() {
            left.extend(self.advance_retirement(retirement, at < excess));
        }
        self.state.retiring = left;
    }

    fn advance_retirement(&mut self, mut retirement: Retirement, at_once: bool) -> Option<Retirement> {
        let names: BTreeSet<ReplicaName> = retirement.replicas.keys().cloned().collect();
        match retirement.stage {
            RetireStage::Drain => {
                if self.is_unrouted(&names) && (at_once || self.is_drained_for_good(&retirement)) {
                    retirement.stage = RetireStage::Terminate;
                    retirement.replicas.values_mut().for_each(|wanted| wanted.mode = Mode::Kept);
                }
            }
            RetireStage::Terminate => {
                if names.iter().all(|name| self.has_stopped(name)) {
                    retirement.stage = RetireStage::Remove;
                }
            }
            RetireStage::Remove => {
                if names.iter().all(|name| self.seen.is_gone(name)) {
                    self.retired(&retirement);
                    return None;
                }
            }
        }
        Some(retirement)
    }

    /// Whether the route that was read back names none of these.
    fn is_unrouted(&self, names: &BTreeSet<ReplicaName>) -> bool {
        let Some(read_back) = self.seen.route.as_ref().filter(|_| !self.seen.route_in_doubt) else {
            return false;
        };
        match read_back.route.as_ref().map(|route| &route.target) {
            Some(Target::Upstreams(upstreams)) => upstreams.iter().all(|upstream| !names.contains(&upstream.replica)),
            Some(_) | None => true,
        }
    }

    fn is_drained_for_good(&mut self, retirement: &Retirement) -> bool {
        #[cfg(sim_bugs)]
        if has(Bug::StopBeforeDrain) {
            return true;
        }
        let deadlines = self.deadlines();
        let requests_late = self.has_passed(retirement.began_at, deadlines.drain);
        let upgraded_late = self.has_passed(retirement.began_at, deadlines.drain_upgraded);
        let runs =
            retirement.replicas.iter().filter(|(_, wanted)| wanted.mode == Mode::Run && wanted.address.is_some());
        let mut drains = runs.map(|(name, _)| name);
        drains.all(|name| {
            let flight = self.seen.in_flight.get(name);
            let requests = requests_late || flight.is_some_and(|flight| flight.requests == 0);
            let upgraded = upgraded_late || flight.is_some_and(|flight| flight.upgraded == 0);
            requests && upgraded || self.has_stopped(name)
        })
    }

    fn retired(&mut self, retirement: &Retirement) {
        self.rest(retirement.replicas.values().filter_map(|wanted| wanted.address).collect());
        let Some(deployment) = retirement.deployment else { return };
        let now = self.now;
        self.set_row(deployment, |row| row.retired_at = Some(now));
        self.event(EventKind::ReleaseRetired { release_id: retirement.release });
    }

    /// Keeps addresses from being given out again for a while.
    pub(super) fn rest(&mut self, addresses: Vec<std::net::SocketAddr>) {
        #[cfg(sim_bugs)]
        if has(Bug::ReuseAnAddressAtOnce) {
            return;
        }
        let until = later(self.now, self.ground.settings.engine.address_rest);
        self.state.resting.extend(addresses.into_iter().map(|address| (address, until)));
    }

    /// Names the counting of what is under way on replicas that drain.
    pub(super) fn watch_draining(&mut self) {
        let mut names: BTreeSet<ReplicaName> = BTreeSet::new();
        for retirement in &self.state.retiring {
            if retirement.stage == RetireStage::Drain {
                names.extend(retirement.replicas.keys().cloned());
            }
        }
        names.extend(self.draining_in_phase());
        let upstreams = draining(&self.state, &names);
        if !upstreams.is_empty() {
            self.act(Action::WatchInFlight { upstreams });
        }
    }

    /// Lets go of addresses that have rested long enough.
    pub(super) fn end_rests(&mut self) {
        let resting = std::mem::take(&mut self.state.resting);
        self.state.resting = resting.into_iter().filter(|(_, until)| !self.has_come(*until)).collect();
    }
}
