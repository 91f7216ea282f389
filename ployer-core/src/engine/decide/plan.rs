//! The plan: which replicas a rollout brings in, under which names and addresses.
//!
//! Everything is fixed here, once addresses were found free, and stored before anything starts: execution has no
//! choice left. Indexes rise and are never used again within a release; addresses come from a search that reserved
//! them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::action::Action;
use super::decision::{Decision, later};
use super::rollout::{Change, HoldPlan, phases};
use super::state::{Desired, Mode, OperationKind, Outcome, RetireStage, Rollout, Stage, Wanted, WantedRoute};
use crate::model::{Failure, ProcessName, Release, ReleaseId, ReplicaName, Rollout as RolloutKind, Step};

type Replicas = BTreeMap<ReplicaName, Wanted>;

/// What a rollout keeps, replaces and brings in, before the new replicas have addresses.
struct Draft {
    keep: Replicas,
    old: Replicas,
    /// Replicas that retire and are taken back as they are.
    taken_back: Replicas,
    /// How many new replicas of which process type.
    missing: BTreeMap<ProcessName, u32>,
}

impl Decision<'_> {
    /// Waits for addresses, then fixes the rollout.
    pub(super) fn advance_plan(&mut self) {
        let Some(operation) = &self.state.operation else { return };
        if operation.stage != Stage::Addresses {
            return;
        }
        if operation.release.is_some_and(|release| self.release(release).is_none()) {
            // Made by this very decision: planned once it is stored, else there would be nothing to bring in.
            return;
        }
        let draft = self.draft(operation.kind, operation.release);
        let count: u32 = draft.missing.iter().filter(|(process, _)| process.is_web()).map(|(_, count)| count).sum();
        if count == 0 {
            return self.plan(draft, Vec::new());
        }
        let attempt = self.state.searches;
        match &self.seen.addresses {
            Some((of, Ok(addresses))) if *of == attempt && addresses.len() >= count as usize => {
                self.plan(draft, addresses.clone());
            }
            Some((of, Err(cause))) if *of == attempt => {
                self.turn_back(Outcome::Failed(Failure::new(Step::Start, cause.clone())));
            }
            Some(_) | None => self.find_addresses(attempt, count as usize),
        }
    }

    fn find_addresses(&mut self, attempt: u32, count: usize) {
        let Some(operation) = &self.state.operation else { return };
        let timeout = self.deadlines().start;
        if self.has_passed(operation.entered_at, timeout) {
            let cause = format!("no free address was found within {} s", timeout.as_secs());
            return self.turn_back(Outcome::Failed(Failure::new(Step::Start, cause)));
        }
        let spares = self.ground.settings.engine.address_attempts.saturating_sub(1) as usize;
        self.act(Action::FindAddresses { attempt, count: count + spares });
    }

    fn draft(&self, kind: OperationKind, release: Option<ReleaseId>) -> Draft {
        let rest = self.state.rest.replicas.clone();
        let release = release.and_then(|release| self.release(release));
        let wanted = release.map(|release| self.replicas_wanted(release)).unwrap_or_default();
        let nothing = Replicas::new();
        match kind {
            OperationKind::Deployment(_) => {
                let taken_back = release.map(|release| self.draining(release.id)).unwrap_or_default();
                let missing = missing(&wanted, &taken_back);
                Draft { keep: nothing, old: rest, taken_back, missing }
            }
            OperationKind::Start | OperationKind::Restart { .. } => {
                Draft { keep: nothing.clone(), old: rest, taken_back: nothing, missing: wanted }
            }
            OperationKind::Scale => {
                let (keep, old) = split(&wanted, rest);
                let missing = missing(&wanted, &keep);
                Draft { keep, old, taken_back: nothing, missing }
            }
            OperationKind::Stop | OperationKind::Delete => {
                Draft { keep: nothing, old: rest, taken_back: Replicas::new(), missing: BTreeMap::new() }
            }
        }
    }

    /// The replicas of `release` that retire and still drain: a rollback takes them back as they are.
    fn draining(&self, release: ReleaseId) -> Replicas {
        let drains = |stage| stage == RetireStage::Drain;
        let retiring = self.state.retiring.iter().filter(|retiring| retiring.release == release);
        let runs = |(_, wanted): &(&ReplicaName, &Wanted)| wanted.mode == Mode::Run;
        retiring
            .filter(|retiring| drains(retiring.stage) && retiring.deployment.is_some())
            .flat_map(|retiring| retiring.replicas.iter().filter(runs))
            .map(|(name, wanted)| (name.clone(), wanted.clone()))
            .collect()
    }

    fn plan(&mut self, draft: Draft, addresses: Vec<SocketAddr>) {
        let Some(operation) = self.state.operation.clone() else { return };
        let release = operation.release.and_then(|release| self.release(release));
        let mut addresses = addresses.into_iter();
        let mut new = draft.taken_back.clone();
        if let Some(release) = release {
            for (process, count) in &draft.missing {
                for _ in 0..*count {
                    let address = if process.is_web() { addresses.next() } else { None };
                    let (name, wanted) = self.new_replica(release, process, address);
                    new.insert(name, wanted);
                }
            }
        }
        self.take_back(&draft.taken_back);
        let after_route = self.route_after(operation.kind, release, &draft.keep, &new);
        let hold = self.hold_plan(release, &draft, &new);
        let change = Change {
            keep: draft.keep,
            old: draft.old,
            new,
            before: self.state.rest.route.clone(),
            after: after_route,
            hold,
        };
        let rollout = Rollout {
            phases: phases(&change, self.deadlines()),
            at: 0,
            new: change.new.keys().cloned().collect(),
            after: change.at_rest(),
            before: self.state.rest.clone(),
            turn_back_at: hold.and_then(|hold| hold.turn_back_at),
            back: false,
        };
        if let Some(operation) = &mut self.state.operation {
            operation.spares = addresses.collect();
        }
        self.enter_rollout(rollout);
    }

    fn new_replica(
        &mut self,
        release: &Release,
        process: &ProcessName,
        address: Option<SocketAddr>,
    ) -> (ReplicaName, Wanted) {
        let indexes = self.state.next_index.entry(release.id).or_default();
        let next = indexes.entry(process.clone()).or_insert(1);
        let index = *next;
        *next += 1;
        let name = ReplicaName::new(&release.application_name, release.id, process, index);
        let process = process.clone();
        (name, Wanted { release: release.id, process, index, address, mode: Mode::Run, passed: false })
    }

    fn take_back(&mut self, replicas: &Replicas) {
        for retirement in &mut self.state.retiring {
            retirement.replicas.retain(|name, _| !replicas.contains_key(name));
        }
        self.state.retiring.retain(|retirement| !retirement.replicas.is_empty());
    }

    fn route_after(
        &self,
        kind: OperationKind,
        release: Option<&Release>,
        keep: &Replicas,
        new: &Replicas,
    ) -> WantedRoute {
        let name = &self.facts.application.name;
        if matches!(kind, OperationKind::Stop | OperationKind::Delete) {
            return match self.state.rest.route {
                WantedRoute::Nowhere => WantedRoute::Nowhere,
                _ => WantedRoute::Unavailable { reason: format!("`{name}` is stopped") },
            };
        }
        if let Some(release) = release
            && release.spec.static_root.is_some()
        {
            return WantedRoute::Static(release.id);
        }
        let web: Desired = Desired { replicas: keep.iter().chain(new).map(clone_pair).collect(), ..Desired::default() };
        match (web.web(), release.and_then(|release| release.spec.process(&ProcessName::web()))) {
            (web, Some(_)) if web.is_empty() => {
                WantedRoute::Unavailable { reason: format!("`{name}` has no replicas of `web`") }
            }
            (web, Some(_)) => WantedRoute::Replicas(web),
            (_, None) => WantedRoute::Nowhere,
        }
    }

    /// The hold of a stop-first change of `web`; `None` where the new replicas start beside the old ones.
    fn hold_plan(&self, release: Option<&Release>, draft: &Draft, new: &Replicas) -> Option<HoldPlan> {
        let is_web = |replicas: &Replicas| replicas.values().any(|wanted| wanted.process.is_web());
        let release = release.filter(|release| release.spec.rollout == RolloutKind::StopFirst)?;
        if !is_web(&draft.old) || !is_web(new) {
            return None;
        }
        let deadlines = self.deadlines();
        let until = later(self.now, deadlines.hold);
        let measured = self.state.active.and_then(|active| self.state.start_measured.get(&active)).copied();
        let back = measured.unwrap_or_default().max(deadlines.hold_return);
        let own = self.state.start_measured.get(&release.id).copied().or(measured).unwrap_or_default();
        let fits = own + back + deadlines.hold_drain < deadlines.hold;
        let turn_back_at = fits.then(|| later(self.now, deadlines.hold.saturating_sub(back)));
        Some(HoldPlan { until, turn_back_at })
    }

    /// Replaces a new replica whose address turned out to be taken by one with a spare address.
    pub(super) fn replace_taken(&mut self, name: &ReplicaName) -> bool {
        let Some(operation) = &mut self.state.operation else { return false };
        let Some(spare) = operation.spares.pop() else { return false };
        let Stage::Rollout(rollout) = &operation.stage else { return false };
        let Some(taken) = rollout.phase().desired.replicas.get(name).cloned() else { return false };
        let Some(release) = self.release(taken.release) else { return false };
        let (new_name, wanted) = self.new_replica(release, &taken.process, Some(spare));
        let Some(operation) = &mut self.state.operation else { return false };
        if let Stage::Rollout(rollout) = &mut operation.stage {
            rollout.replace(name, &new_name, &wanted);
        }
        true
    }
}

fn clone_pair((name, wanted): (&ReplicaName, &Wanted)) -> (ReplicaName, Wanted) {
    (name.clone(), wanted.clone())
}

fn missing(wanted: &BTreeMap<ProcessName, u32>, present: &Replicas) -> BTreeMap<ProcessName, u32> {
    let count = |process: &ProcessName| present.values().filter(|replica| replica.process == *process).count();
    wanted
        .iter()
        .map(|(process, count_wanted)| (process.clone(), count_wanted.saturating_sub(count(process) as u32)))
        .collect()
}

/// Splits the present replicas into those that stay and those that are too many: the newest go.
fn split(wanted: &BTreeMap<ProcessName, u32>, present: Replicas) -> (Replicas, Replicas) {
    let mut by_age: Vec<(ReplicaName, Wanted)> = present.into_iter().collect();
    by_age.sort_by_key(|(_, replica)| replica.index);
    let mut left = wanted.clone();
    let (mut keep, mut old) = (Replicas::new(), Replicas::new());
    for (name, replica) in by_age {
        match left.get_mut(&replica.process) {
            Some(count) if *count > 0 => {
                *count -= 1;
                keep.insert(name, replica);
            }
            Some(_) | None => {
                old.insert(name, replica);
            }
        }
    }
    (keep, old)
}
