//! The rollout: the list of phases by which one set of replicas takes over from another, and the list back.
//!
//! Each phase is what the application should have for a while, and what must be seen before the next. That no phase
//! takes the last ready replica from the route, except into a hold whose deadline runs, is a property of these lists
//! (invariants 1 and 2) and is tested here, without a simulator. Walking them is `walk`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::state::{Desired, Late, Mode, Phase, Rollout, Until, Wanted, WantedRoute};
use crate::config::Deadlines;
use crate::model::{ReplicaName, Step};

type Replicas = BTreeMap<ReplicaName, Wanted>;

/// What is kept, what goes and what comes.
pub(super) struct Change {
    pub(super) keep: Replicas,
    pub(super) old: Replicas,
    pub(super) new: Replicas,
    pub(super) before: WantedRoute,
    pub(super) after: WantedRoute,
    /// Where the old replicas of `web` must end before the new ones start.
    pub(super) hold: Option<HoldPlan>,
}

/// The times of a hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct HoldPlan {
    /// When it ends.
    pub(super) until: Timestamp,
    /// When the rollout is turned back at the latest; `None` where its own start does not fit the hold anyway.
    pub(super) turn_back_at: Option<Timestamp>,
}

impl Change {
    /// What the application has once the old replicas are handed to their retirement.
    pub(super) fn at_rest(&self) -> Desired {
        let replicas = union(&[&self.keep, &passed(&self.new)]);
        Desired { replicas, route: self.after.clone() }
    }
}

/// The phases of a change.
pub(super) fn phases(change: &Change, deadlines: &Deadlines) -> Vec<Phase> {
    match change.hold {
        Some(hold) => hold_and_switch(change, hold, deadlines),
        None => start_first(change, deadlines),
    }
}

/// The new replicas of `web` start beside the old ones; then process types without a route stop, start and pass; then
/// the route goes over.
fn start_first(change: &Change, deadlines: &Deadlines) -> Vec<Phase> {
    let (web, others): (Replicas, Replicas) = change.new.clone().into_iter().partition(|(_, new)| new.process.is_web());
    let old_others = replaced(&change.old, &others);
    let list = &mut List { phases: Vec::new(), deadlines };
    let with = |parts: &[&Replicas]| Desired { replicas: union(parts), route: change.before.clone() };
    if !web.is_empty() {
        list.bring_in(&with(&[&change.keep, &change.old, &web]), &web);
    }
    let web = passed(&web);
    let stopped = kept(&change.old, &old_others);
    if !old_others.is_empty() {
        list.stop(&with(&[&change.keep, &stopped, &web]), &old_others);
    }
    if !others.is_empty() {
        list.bring_in(&with(&[&change.keep, &stopped, &web, &others]), &others);
    }
    list.switch(change, &stopped);
    std::mem::take(&mut list.phases)
}

/// The proxy holds new requests, the old replicas end but are kept, the new ones start and pass, and the route to
/// them ends the hold.
fn hold_and_switch(change: &Change, hold: HoldPlan, deadlines: &Deadlines) -> Vec<Phase> {
    let list = &mut List { phases: Vec::new(), deadlines };
    let route = WantedRoute::Hold { until: hold.until };
    let with = |parts: &[&Replicas]| Desired { replicas: union(parts), route: route.clone() };
    let old = names(&change.old);
    let before = with(&[&change.keep, &change.old]);
    list.push(&before, Until::Routed(BTreeSet::new()), Step::Start, deadlines.switch, Late::TurnBack);
    let drained = Until::Drained { replicas: old.clone(), upgraded: Duration::ZERO };
    list.push(&before, drained, Step::Start, deadlines.hold_drain, Late::GoOn);
    let stopped = kept(&change.old, &old);
    list.stop(&with(&[&change.keep, &stopped]), &old);
    list.bring_in(&with(&[&change.keep, &stopped, &change.new]), &change.new);
    list.switch(change, &stopped);
    std::mem::take(&mut list.phases)
}

/// The phases back from the present one: what was stopped starts again, the route returns, the new replicas go.
///
/// Each phase goes on when it takes too long: the way back must end, and what is left over is removed at rest.
pub(super) fn phases_back(rollout: &Rollout, now: Timestamp, deadlines: &Deadlines) -> Vec<Phase> {
    let present = &rollout.phase().desired;
    let new: Replicas = present.replicas.clone().into_iter().filter(|(name, _)| rollout.new.contains(name)).collect();
    let is_kept = |(name, _): &(&ReplicaName, &Wanted)| {
        present.replicas.get(*name).is_some_and(|wanted| wanted.mode == Mode::Kept)
    };
    let stopped: Replicas =
        rollout.before.replicas.iter().filter(is_kept).map(|(n, w)| (n.clone(), w.clone())).collect();
    let switched = present.route == rollout.after.route && rollout.after.route != rollout.before.route;
    let list = &mut List { phases: Vec::new(), deadlines };
    if stopped.values().any(|wanted| wanted.process.is_web()) {
        back_through_hold(list, rollout, &new, &stopped, switched, now);
    } else {
        back_beside(list, rollout, &new, &stopped, switched);
    }
    list.go_on(&rollout.before, Until::Gone(names(&new)), Step::Start, list.deadlines.grace * 3);
    std::mem::take(&mut list.phases)
}

/// The old replicas of `web` run: the route returns to them first, then what was stopped of the others starts again.
fn back_beside(list: &mut List<'_>, rollout: &Rollout, new: &Replicas, stopped: &Replicas, switched: bool) {
    let before = &rollout.before;
    let stopped_names = names(stopped);
    let route = |replicas: Replicas| Desired { replicas, route: before.route.clone() };
    let old = kept(&before.replicas, &stopped_names);
    if switched {
        let both = route(union(&[&old, new]));
        list.go_on(&both, Until::Routed(before.web()), Step::Switch, list.deadlines.switch);
        let drained = Until::Drained { replicas: names(new), upgraded: Duration::ZERO };
        list.go_on(&both, drained, Step::Switch, list.deadlines.drain);
    }
    list.go_on(
        &route(union(&[&old, &all_kept(new)])),
        Until::Stopped(names(new)),
        Step::Start,
        list.deadlines.grace * 2,
    );
    if !stopped.is_empty() {
        list.return_to(&route(union(&[&before.replicas, &all_kept(new)])), &stopped_names);
    }
}

/// The old replicas of `web` have stopped: the new ones end inside the hold, the old ones return, the route to them
/// ends the hold.
fn back_through_hold(
    list: &mut List<'_>,
    rollout: &Rollout,
    new: &Replicas,
    stopped: &Replicas,
    switched: bool,
    now: Timestamp,
) {
    let before = &rollout.before;
    let route = match &rollout.phase().desired.route {
        WantedRoute::Hold { until } if !switched => WantedRoute::Hold { until: *until },
        _ => WantedRoute::Hold { until: super::decision::later(now, list.deadlines.hold) },
    };
    let with = |replicas: Replicas| Desired { replicas, route: route.clone() };
    let old = kept(&before.replicas, &names(stopped));
    if switched {
        let held = with(union(&[&old, new]));
        list.go_on(&held, Until::Routed(BTreeSet::new()), Step::Switch, list.deadlines.switch);
        let drained = Until::Drained { replicas: names(new), upgraded: Duration::ZERO };
        list.go_on(&held, drained, Step::Switch, list.deadlines.hold_drain);
    }
    list.go_on(
        &with(union(&[&old, &all_kept(new)])),
        Until::Stopped(names(new)),
        Step::Start,
        list.deadlines.grace * 2,
    );
    list.return_to(&with(union(&[&before.replicas, &all_kept(new)])), &names(stopped));
    let back = Desired { replicas: union(&[&before.replicas, &all_kept(new)]), route: before.route.clone() };
    list.go_on(&back, Until::Routed(before.web()), Step::Switch, list.deadlines.switch);
}

struct List<'a> {
    phases: Vec<Phase>,
    deadlines: &'a Deadlines,
}

impl List<'_> {
    fn push(&mut self, desired: &Desired, until: Until, step: Step, timeout: Duration, late: Late) {
        self.phases.push(Phase { desired: desired.clone(), until, step, timeout, late });
    }

    fn go_on(&mut self, desired: &Desired, until: Until, step: Step, timeout: Duration) {
        self.push(desired, until, step, timeout, Late::GoOn);
    }

    fn bring_in(&mut self, desired: &Desired, new: &Replicas) {
        self.push(desired, Until::Started(names(new)), Step::Start, self.deadlines.start, Late::TurnBack);
        self.push(desired, Until::Ready(names(new)), Step::Gate, self.deadlines.gate, Late::TurnBack);
    }

    fn return_to(&mut self, desired: &Desired, old: &BTreeSet<ReplicaName>) {
        self.go_on(desired, Until::Started(old.clone()), Step::Start, self.deadlines.start);
        self.go_on(desired, Until::Ready(old.clone()), Step::Gate, self.deadlines.gate);
    }

    fn stop(&mut self, desired: &Desired, old: &BTreeSet<ReplicaName>) {
        self.push(desired, Until::Stopped(old.clone()), Step::Start, self.deadlines.grace * 2, Late::TurnBack);
    }

    fn switch(&mut self, change: &Change, old: &Replicas) {
        let new = passed(&change.new);
        let replicas = union(&[&change.keep, old, &new]);
        let web = Desired { replicas: new, ..Desired::default() }.web();
        let desired = Desired { replicas, route: change.after.clone() };
        self.push(&desired, Until::Routed(web), Step::Switch, self.deadlines.switch, Late::TurnBack);
    }
}

impl Rollout {
    /// Puts another replica in the place of one.
    pub(super) fn replace(&mut self, name: &ReplicaName, by: &ReplicaName, wanted: &Wanted) {
        let swap = |set: &mut BTreeSet<ReplicaName>| {
            if set.remove(name) {
                set.insert(by.clone());
            }
        };
        let swap_desired = |desired: &mut Desired| {
            if let Some(old) = desired.replicas.remove(name) {
                let wanted = Wanted { mode: old.mode, passed: old.passed, ..wanted.clone() };
                desired.replicas.insert(by.clone(), wanted);
            }
            if let WantedRoute::Replicas(names) = &mut desired.route {
                swap(names);
            }
        };
        swap(&mut self.new);
        swap_desired(&mut self.after);
        for phase in &mut self.phases {
            swap_desired(&mut phase.desired);
            match &mut phase.until {
                Until::Started(set)
                | Until::Ready(set)
                | Until::Routed(set)
                | Until::Stopped(set)
                | Until::Gone(set) => {
                    swap(set);
                }
                Until::Drained { replicas, .. } => swap(replicas),
            }
        }
    }
}

/// Old replicas of process types without a route that end before new ones of the change start.
fn replaced(old: &Replicas, new: &Replicas) -> BTreeSet<ReplicaName> {
    let others = old.iter().filter(|(_, wanted)| !wanted.process.is_web());
    if new.is_empty() {
        return BTreeSet::new();
    }
    others.map(|(name, _)| name.clone()).collect()
}

fn names(replicas: &Replicas) -> BTreeSet<ReplicaName> {
    replicas.keys().cloned().collect()
}

fn union(parts: &[&Replicas]) -> Replicas {
    parts.iter().flat_map(|part| part.iter()).map(|(name, wanted)| (name.clone(), wanted.clone())).collect()
}

fn passed(replicas: &Replicas) -> Replicas {
    let passed = |wanted: &Wanted| Wanted { passed: true, ..wanted.clone() };
    replicas.iter().map(|(name, wanted)| (name.clone(), passed(wanted))).collect()
}

fn all_kept(replicas: &Replicas) -> Replicas {
    kept(replicas, &names(replicas))
}

fn kept(replicas: &Replicas, stopped: &BTreeSet<ReplicaName>) -> Replicas {
    let mode = |name: &ReplicaName, wanted: &Wanted| match stopped.contains(name) {
        true => Wanted { mode: Mode::Kept, ..wanted.clone() },
        false => wanted.clone(),
    };
    replicas.iter().map(|(name, wanted)| (name.clone(), mode(name, wanted))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::model::{ProcessName, ReleaseId};

    fn replicas(release: ReleaseId, web: u32, workers: u32, passed: bool) -> Replicas {
        let one = |process: &str, index: u32| {
            let process: ProcessName = process.parse().unwrap();
            let address = process.is_web().then(|| format!("127.0.0.1:{}", 20_000 + index).parse().unwrap());
            let name = ReplicaName::new(&"shop".parse().unwrap(), release, &process, index);
            (name, Wanted { release, process, index, address, mode: Mode::Run, passed })
        };
        (1..=web).map(|index| one("web", index)).chain((1..=workers).map(|index| one("worker", index))).collect()
    }

    fn route(replicas: &Replicas) -> WantedRoute {
        let web = Desired { replicas: replicas.clone(), ..Desired::default() }.web();
        if web.is_empty() { WantedRoute::Nowhere } else { WantedRoute::Replicas(web) }
    }

    /// Every change of up to two replicas of `web` and one worker, start-first and as hold and switch.
    fn changes() -> Vec<Change> {
        let mut changes = Vec::new();
        for case in 0..(3 * 2 * 3 * 2) {
            let (old_web, old_workers, new_web, new_workers) = (case % 3, case / 3 % 2, case / 6 % 3, case / 18);
            let old = replicas(ReleaseId::new(&SystemClock), old_web, old_workers, true);
            let new = replicas(ReleaseId::new(&SystemClock), new_web, new_workers, false);
            let hold = HoldPlan { until: Timestamp::MAX, turn_back_at: None };
            let holds: &[Option<HoldPlan>] = if old_web > 0 && new_web > 0 { &[None, Some(hold)] } else { &[None] };
            for hold in holds {
                let (before, after) = (route(&old), route(&new));
                let keep = Replicas::new();
                changes.push(Change { keep, old: old.clone(), new: new.clone(), before, after, hold: *hold });
            }
        }
        changes
    }

    fn rollout(change: &Change) -> Rollout {
        Rollout {
            phases: phases(change, &Deadlines::default()),
            at: 0,
            new: names(&change.new),
            after: change.at_rest(),
            before: Desired { replicas: change.old.clone(), route: change.before.clone() },
            turn_back_at: None,
            back: false,
        }
    }

    fn routed(desired: &Desired) -> BTreeSet<ReplicaName> {
        match &desired.route {
            WantedRoute::Replicas(names) => names.clone(),
            _ => BTreeSet::new(),
        }
    }

    /// What is wrong with going through `phases` from `before`, with `ready` already ready.
    fn wrong(before: &Desired, phases: &[Phase], mut ready: BTreeSet<ReplicaName>) -> Option<String> {
        let mut last = before.clone();
        for (at, phase) in phases.iter().enumerate() {
            let now = routed(&phase.desired);
            for name in &now {
                let runs = phase.desired.replicas.get(name).is_some_and(|wanted| wanted.mode == Mode::Run);
                if !runs || !ready.contains(name) {
                    return Some(format!("phase {at} routes to {name}, which is not ready"));
                }
            }
            for name in routed(&last).difference(&now) {
                let runs = phase.desired.replicas.get(name).is_some_and(|wanted| wanted.mode == Mode::Run);
                if !runs {
                    return Some(format!("phase {at} ends {name} before the route without it was read back"));
                }
            }
            let keeps_last = now.is_empty() && !routed(&last).is_empty();
            if keeps_last && !matches!(phase.desired.route, WantedRoute::Hold { .. } | WantedRoute::Nowhere) {
                return Some(format!("phase {at} takes the last replica from the route"));
            }
            let stopped = phase.desired.replicas.iter().filter(|(_, wanted)| wanted.mode == Mode::Kept);
            for (name, _) in stopped {
                ready.remove(name);
            }
            if let Until::Ready(names) = &phase.until {
                ready.extend(names.iter().cloned());
            }
            last = phase.desired.clone();
        }
        None
    }

    #[test]
    fn invariant_1_no_phase_routes_to_what_is_not_ready_or_ends_what_is_routed() {
        for change in changes() {
            let rollout = rollout(&change);

            assert_eq!(wrong(&rollout.before, &rollout.phases, names(&change.old)), None, "{:#?}", rollout.phases);
        }
    }

    #[test]
    fn invariant_2_old_replicas_are_kept_until_the_last_phase_is_over() {
        for change in changes() {
            for phase in rollout(&change).phases {
                assert!(change.old.keys().all(|name| phase.desired.replicas.contains_key(name)));
            }
        }
    }

    #[test]
    fn invariant_1_holds_on_the_way_back_from_every_phase() {
        for change in changes() {
            let there = rollout(&change);
            for at in 0..there.phases.len() {
                let present = Rollout { at, ..there.clone() };
                let desired = &present.phase().desired;
                let runs = |name: &&ReplicaName| desired.replicas[*name].mode == Mode::Run;
                let passed = there.phases[..at].iter().filter_map(|phase| match &phase.until {
                    Until::Ready(names) => Some(names.clone()),
                    _ => None,
                });
                let mut ready: BTreeSet<ReplicaName> = passed.flatten().collect();
                ready.extend(change.old.keys().filter(runs).cloned());

                let back = phases_back(&present, Timestamp::UNIX_EPOCH, &Deadlines::default());

                assert_eq!(wrong(desired, &back, ready), None, "from phase {at}: {back:#?}");
                let last = back.last().unwrap();
                assert_eq!(last.desired, there.before);
                assert!(back.iter().all(|phase| phase.late == Late::GoOn));
            }
        }
    }
}
