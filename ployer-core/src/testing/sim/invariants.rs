//! The invariants by number, checked before each effect, after each commit and whenever a request arrives.
//!
//! The numbers are those of ARCHITECTURE. The world tells what happens; a breach ends the history.

use std::collections::BTreeSet;
use std::time::Duration;

use super::faults::PointKind;
use super::routing::{Fate, named};
use super::world::{EngineNumber, World};
use crate::engine::decide::state::{Mode, Operation, Stage, State, WantedRoute};
use crate::model::{
    Answer, AnsweredBy, ApplicationId, Ask, DeploymentId, DeploymentKind, ReleaseId, Replica, ReplicaName, Route,
    RouteTable, SecretVersion, Step, Target, Upstream, VolumeName, Wanted, Workload,
};
use crate::runtime::ArtifactName;

/// How long after a jump of the clock nothing is said of times that the engine counts by the time of day.
const JUMP_FORGIVEN: Duration = Duration::from_secs(400);

impl World {
    /// 3: an effect begins: only the engine that holds the lease may.
    pub(super) fn effect_begins(&mut self, engine: EngineNumber, kind: PointKind, what: &'static str) {
        let holds = match &self.judge.stored.lease {
            Some(lease) => self.judge.epochs.get(&engine) == Some(&lease.epoch),
            None => false,
        };
        // A commit that lost its lease is refused by the store; letting go is allowed to everybody.
        if kind == PointKind::Effect && !holds && !self.has_jumped() && what != "detach" {
            self.breach(3, format!("engine {} begins `{what}` without holding the lease", engine.0));
        }
    }

    fn has_jumped(&self) -> bool {
        self.judge.jumped_at.is_some_and(|at| self.now < at + JUMP_FORGIVEN)
    }

    /// 3, 4: a checkout or build begins: it is journaled, and no deployment goes on for ever by crashing its engine.
    pub(super) fn job_begins(&mut self, deployment: DeploymentId) {
        let journaled =
            self.judge.stored.states.values().filter_map(|state| state.operation.as_ref()).any(|operation| {
                let at_job = matches!(operation.stage, Stage::Checkout { .. } | Stage::Build { .. });
                at_job && operation.kind.deployment() == Some(deployment)
            });
        if !journaled {
            self.breach(3, format!("a job of {deployment} begins that no journal names"));
        }
        self.goes_on(deployment, false);
    }

    /// 3: a deployment goes on; one that was left open by too many crashes may not.
    fn goes_on(&mut self, deployment: DeploymentId, is_built: bool) {
        self.judge.acted.insert(deployment);
        let crashes = self.judge.crashes.get(&(deployment, is_built)).copied().unwrap_or_default();
        if crashes >= self.judge.settings.engine.crashes_max {
            self.breach(3, format!("{deployment} goes on after {crashes} crashes"));
        }
    }

    /// 6: a release command begins: once per deployment, never for a rollback.
    pub(super) fn before_one_off(&mut self, workload: &Workload) {
        let runs = self.judge.command_runs.entry(workload.release).or_default();
        *runs += 1;
        if *runs > 1 {
            self.breach(6, format!("the release command of {} runs again", workload.release));
        }
        let deployment = self.judge.stored.deployments.get(&workload.release.into());
        if deployment.is_some_and(|row| matches!(row.kind, DeploymentKind::Rollback { .. })) {
            self.breach(6, format!("the release command runs for the rollback {}", workload.release));
        }
    }

    /// 5, 6: a replica starts: it is journaled, and its address is nobody else's.
    pub(super) fn start_begins(&mut self, workload: &Workload, replica: &Replica) {
        let desired = self.judge.stored.states.get(&workload.application).map(State::desired);
        let wanted = desired.and_then(|desired| desired.replicas.get(&replica.name).cloned());
        if wanted.is_none_or(|wanted| wanted.address != replica.address) {
            self.breach(3, format!("{} starts, and no journal says so", replica.name));
        }
        let open = self.judge.stored.states.get(&workload.application).and_then(|state| state.operation.as_ref());
        let open = open.and_then(|operation| match &operation.stage {
            Stage::Rollout(rollout) if !rollout.back && rollout.new.contains(&replica.name) => {
                operation.kind.deployment()
            }
            _ => None,
        });
        if let Some(deployment) = open {
            self.goes_on(deployment, true);
        }
        if let Some(address) = replica.address {
            self.address_is_given(address, &replica.name);
        }
    }

    /// 6: an address is given to a replica.
    fn address_is_given(&mut self, address: std::net::SocketAddr, name: &ReplicaName) {
        if self.judge.stored.owners_of(address).into_iter().any(|owner| owner != name) {
            self.breach(6, format!("{address} is given to {name} and to another replica"));
        }
        if self.routing.names(address).is_some_and(|upstream| upstream.replica != *name) {
            self.breach(6, format!("{address} is given to {name} while a route names it for another"));
        }
        let rest = self.judge.settings.engine.address_rest;
        let named = self.routing.named_until.get(&address).filter(|(other, _)| other != name);
        let rests = named.is_some_and(|(_, until)| self.now < *until + rest);
        if rests && !self.has_jumped() {
            self.breach(6, format!("{address} is given to {name} before it has rested"));
        }
    }

    /// An engine has gone: which addresses of deleted applications rest, nobody knows any more.
    pub(super) fn forget_rests(&mut self) {
        let known: BTreeSet<_> = self.judge.stored.states.values().flat_map(State::addresses).collect();
        self.routing.named_until.retain(|address, _| known.contains(address));
    }

    /// 2, 5: a replica is about to be told to end: it is ours, and the journal says so.
    pub(super) fn stop_begins(&mut self, name: &ReplicaName) {
        if !self.replicas.all.contains_key(name) {
            return;
        }
        self.is_ours_to_end(name);
        if let Some((_, state)) = self.judge.state_with(name)
            && state.desired().replicas.get(name).is_some_and(|wanted| wanted.mode == Mode::Run)
        {
            self.breach(2, format!("{name} is told to end, and the journal wants it"));
        }
    }

    /// 1, 2: a replica is told to end: nothing is lost by that.
    pub(super) fn before_stop(&mut self, name: &ReplicaName) {
        if !self.replicas.all.get(name).is_some_and(|replica| replica.listens()) {
            return;
        }
        if self.routing.upstreams().any(|upstream| upstream.replica == *name) && !self.routing.is_void {
            self.breach(1, format!("{name} is told to end while a route names it"));
        }
        self.successor_answers(name, true);
        self.has_drained(name);
    }

    /// 5: only objects of our instance whose release the store knows are touched.
    fn is_ours_to_end(&mut self, name: &ReplicaName) {
        let Some(replica) = self.replicas.all.get(name) else { return };
        let owner = replica.owner.clone();
        let is_known = self.judge.stored.releases.contains_key(&owner.release);
        if self.judge.instance.is_some_and(|ours| owner.instance != ours) {
            self.breach(5, format!("{name} belongs to another installation"));
        } else if !is_known {
            self.breach(5, format!("{name} is of a release that the store does not know"));
        }
    }

    /// 2: what has served ends only when something else has answered, or requests are held, or a user wished it.
    pub(super) fn successor_answers(&mut self, name: &ReplicaName, hold_is_enough: bool) {
        let Some(replica) = self.replicas.all.get(name) else { return };
        let application = replica.owner.application;
        let served = self.judge.served.contains(name) && !self.judge.deaths.contains_key(name);
        if !served || self.judge.may_end(application) || self.routing.is_void {
            return;
        }
        let answers = match self.routing.table.routes.get(&application).map(|route| &route.target) {
            Some(Target::Upstreams(set)) => set.iter().any(|upstream| self.judge.answered.contains(&upstream.replica)),
            Some(Target::Static { release, .. }) => self.judge.answered_static.contains(release),
            Some(Target::Hold { until }) => hold_is_enough && !self.until_time(*until).is_zero(),
            Some(_) | None => false,
        };
        if !answers && !self.has_answered_successor(name, application) {
            self.breach(2, format!("{name} ends before anything else has answered through the proxy"));
        }
    }

    /// Whether what the application has at rest has answered once: whatever became of it, the switch was confirmed.
    fn has_answered_successor(&self, name: &ReplicaName, application: ApplicationId) -> bool {
        match self.judge.stored.states.get(&application).map(|state| &state.rest.route) {
            Some(WantedRoute::Replicas(names)) => {
                !names.contains(name) && names.iter().any(|other| self.judge.answered.contains(other))
            }
            Some(WantedRoute::Static(release)) => self.judge.answered_static.contains(release),
            // A user had it stopped before, and wishes something else by now.
            Some(WantedRoute::Nowhere | WantedRoute::Unavailable { .. }) => true,
            Some(WantedRoute::Hold { .. }) | None => false,
        }
    }

    /// 1: requests under way get their time before a replica ends.
    fn has_drained(&mut self, name: &ReplicaName) {
        let Some(replica) = self.replicas.all.get(name) else { return };
        let (Some(address), application) = (replica.address, replica.owner.application) else { return };
        let upstream = crate::model::Upstream { replica: name.clone(), address };
        let flight = self.routing.in_flight(&upstream, self.now);
        let since = self.routing.named_until.get(&address).map_or(Duration::ZERO, |(_, since)| *since);
        let waited = self.now.saturating_sub(since);
        let deadlines = &self.judge.settings.deadlines;
        let holds = self.judge.stored.states.get(&application).is_some_and(is_holding);
        let (requests, upgraded) = match holds {
            true => (deadlines.hold_drain, Duration::ZERO),
            false => (deadlines.drain, deadlines.drain_upgraded),
        };
        let voided = self.routing.voided_at.is_some_and(|at| self.now < at + Duration::from_secs(60));
        let crowded = self.judge.many_retired_at.is_some_and(|at| self.now < at + Duration::from_secs(60));
        // A replica that was taken back and then given up is no longer waited for.
        let is_new = self.judge.stored.states.get(&application).is_some_and(|state| is_given_up(state, name));
        let short = flight.requests > 0 && waited < requests || flight.upgraded > 0 && waited < upgraded && !is_new;
        if short && !crowded && !voided && !self.has_jumped() {
            self.breach(1, format!("{name} is told to end with {flight:?} after {waited:?} of draining"));
        }
    }

    /// 5: a replica or one-off is about to be removed: it is ours, and nothing wants it.
    pub(super) fn removal_begins(&mut self, name: &ReplicaName) {
        let Some(replica) = self.replicas.all.get(name) else { return };
        let (application, one_off, release) = (replica.owner.application, replica.one_off, replica.owner.release);
        self.is_ours_to_end(name);
        let Some(state) = self.judge.stored.states.get(&application) else { return };
        let wanted = match one_off {
            false => state.desired().replicas.contains_key(name),
            true => state.operation.as_ref().is_some_and(|operation| {
                operation.release == Some(release) && matches!(operation.stage, Stage::ReleaseCommand { .. })
            }),
        };
        if wanted {
            self.breach(5, format!("{name} is removed, and the journal wants it"));
        }
    }

    /// 5: a persistent directory is removed.
    pub(super) fn volume_goes(&mut self, application: ApplicationId, volume: &VolumeName) {
        let wished = self.judge.stored.applications.get(&application).map(|row| row.wanted);
        if wished != Some(Wanted::Deleting { volumes: true }) {
            self.breach(5, format!("the volume {volume} is removed, and no user said so"));
        }
    }

    /// 5: an artifact is removed: nothing needs it.
    pub(super) fn artifact_goes(&mut self, name: &ArtifactName) {
        let Some(release) = self.judge.stored.releases.get(&name.deployment.into()) else { return };
        let (application, id, pinned) = (release.application_id, release.id, release.pinned_by);
        let deleting = self.judge.stored.applications.get(&application).map(|row| row.wanted);
        if matches!(deleting, None | Some(Wanted::Deleting { .. })) {
            return;
        }
        let state = self.judge.stored.states.get(&application);
        let active = state.and_then(|state| state.active) == Some(id);
        let retires = state.is_some_and(|state| state.retiring.iter().any(|retirement| retirement.release == id));
        let runs = self.replicas.all.values().any(|replica| replica.runs() && replica.owner.release == id);
        let shared =
            self.judge.stored.releases.values().any(|other| other.id != id && other.artifact == release.artifact);
        if pinned.is_some() || active || retires || runs || shared {
            self.breach(5, format!("the artifact of {id} is removed, and something needs it"));
        }
    }

    /// 5: a version of a secret is removed: no release names it that may still start.
    pub(super) fn secret_goes(&mut self, version: SecretVersion) {
        let user = self.judge.stored.releases.values().find(|release| {
            let may_start = !matches!(
                release.state,
                crate::model::ReleaseState::Collecting | crate::model::ReleaseState::Collected
            );
            may_start && release.env.values().any(|used| *used == version)
        });
        let deleting = user.and_then(|release| self.judge.stored.applications.get(&release.application_id));
        if let Some(row) = deleting
            && !matches!(row.wanted, Wanted::Deleting { .. })
        {
            self.breach(5, format!("secret {version} is purged, and a release names it"));
        }
    }

    /// 1, 3: a table is applied.
    pub(super) fn table_comes(&mut self, engine: EngineNumber, table: &RouteTable) {
        if table.revision == self.routing.table.revision {
            return;
        }
        if self.judge.epochs.get(&engine).is_some_and(|epoch| *epoch != table.revision.epoch) {
            self.breach(3, format!("engine {} applies a table of another epoch: {}", engine.0, table.revision));
        }
        let applications: Vec<_> = self.routing.table.routes.keys().chain(table.routes.keys()).copied().collect();
        for application in applications {
            self.before_route(application, table.routes.get(&application));
        }
    }

    fn before_route(&mut self, application: ApplicationId, new: Option<&Route>) {
        let Some(old) = self.routing.table.routes.get(&application) else { return };
        let lives = |name: &ReplicaName| self.judge.revived.get(name).is_none_or(|since| self.is_overdue(*since));
        let serves =
            |upstream: &Upstream| matches!(self.fate_at(upstream), Fate::Served(_)) && lives(&upstream.replica);
        let before = named(old).any(serves) || matches!(old.target, Target::Static { .. });
        let rest = self.judge.stored.states.get(&application).map(|state| &state.rest.route);
        // A first deployment that is turned back has nothing to turn to.
        let is_first = matches!(rest, Some(WantedRoute::Nowhere | WantedRoute::Unavailable { .. }));
        if !before || is_first || self.judge.may_end(application) || self.judge.is_ending(application) {
            return;
        }
        let after = match new.map(|route| &route.target) {
            Some(Target::Static { .. }) => true,
            Some(Target::Hold { until }) => !self.until_time(*until).is_zero(),
            // One that has just died may still be named: nobody has told of it.
            Some(Target::Upstreams(set)) => set.iter().any(|upstream| self.judge.listened.contains(&upstream.replica)),
            Some(_) | None => false,
        };
        if !after {
            self.breach(1, format!("the last ready upstream of {application} is taken from its route"));
        }
    }

    /// 1, 6: a request was not answered.
    pub(super) fn request_failed(&mut self, application: ApplicationId, fate: &Fate) {
        match fate {
            Fate::Misrouted(upstream) if self.is_overdue(Duration::ZERO) => {
                self.breach(6, format!("a request for {} is answered by somebody else", upstream.replica));
            }
            Fate::Lost(upstream) => self.request_lost(application, &upstream.replica.clone()),
            Fate::Refused => self.request_refused(application),
            Fate::Misrouted(_) | Fate::Served(_) | Fate::Held(_) | Fate::Files => self.judge.excused += 1,
        }
    }

    fn request_lost(&mut self, application: ApplicationId, name: &ReplicaName) {
        let died = self.judge.deaths.get(name).copied();
        let others_live = self
            .routing
            .table
            .routes
            .get(&application)
            .is_some_and(|route| named(route).any(|upstream| matches!(self.fate_at(upstream), Fate::Served(_))));
        match died {
            _ if self.routing.is_void && !self.is_overdue(self.routing.voided_at.unwrap_or_default()) => {
                self.judge.excused += 1
            }
            Some(since) if !self.is_overdue(since) || !others_live => self.judge.excused += 1,
            Some(since) => {
                let ago = self.now.saturating_sub(since);
                self.breach(1, format!("a route names {name}, which died {ago:?} ago, while another is ready"));
            }
            None => self.breach(1, format!("a request is lost: {name} does not answer, and did not die by itself")),
        }
    }

    /// The proxy says that nothing serves: for a while that may be so.
    fn request_refused(&mut self, application: ApplicationId) {
        let could = !self.judge.may_end(application) && self.could_serve(application);
        if !could {
            self.judge.idle_since.remove(&application);
            self.judge.excused += 1;
            return;
        }
        let since = *self.judge.idle_since.entry(application).or_insert(self.now);
        if self.is_overdue(since) {
            self.breach(1, format!("requests of {application} are refused while a replica is ready"));
        }
    }

    /// Whether a replica that the journal wants to serve is ready.
    fn could_serve(&self, application: ApplicationId) -> bool {
        let Some(state) = self.judge.stored.states.get(&application) else { return false };
        let WantedRoute::Replicas(names) = state.desired().route else { return false };
        names.iter().any(|name| self.replicas.all.get(name).is_some_and(|replica| replica.listens()))
    }

    /// A request has outlasted the hold of its route.
    pub(super) fn hold_was_too_short(&mut self, _application: ApplicationId) {
        self.judge.outlasted += 1;
    }

    /// A replica has ended.
    pub(super) fn replica_ended(&mut self, name: &ReplicaName, was_told: bool) {
        if let Some(address) = self.replicas.all.get(name).and_then(|replica| replica.address) {
            self.routing.cut(&crate::model::Upstream { replica: name.clone(), address });
        }
        if !was_told {
            self.judge.deaths.insert(name.clone(), self.now);
        }
    }

    /// A replica listens.
    pub(super) fn replica_listens(&mut self, name: &ReplicaName) {
        self.judge.listened.insert(name.clone());
        if self.judge.deaths.remove(name).is_some() {
            self.judge.revived.insert(name.clone(), self.now);
        }
    }

    /// The engine has looked at the table.
    pub(super) fn table_was_read(&mut self) {
        self.judge.read_back = self.judge.read_back.max(self.routing.table.revision);
    }

    /// The engine has asked through the proxy.
    pub(super) fn was_asked(&mut self, ask: &Ask, answer: &Answer) {
        match &answer.by {
            AnsweredBy::Replica(name) if ask.wanted.as_ref().is_none_or(|wanted| wanted.replica == *name) => {
                self.judge.answered.insert(name.clone());
            }
            AnsweredBy::Static(release) => drop(self.judge.answered_static.insert(*release)),
            AnsweredBy::Replica(_) | AnsweredBy::Proxy => {}
        }
    }

    /// A table is in force.
    pub(super) fn table_changed(&mut self, before: &RouteTable) {
        self.routing.is_void = false;
        let upstreams: Vec<_> = self.routing.upstreams().map(|upstream| upstream.replica.clone()).collect();
        self.judge.served.extend(upstreams);
        let revision = self.routing.table.revision;
        for (application, route) in &self.routing.table.routes {
            if before.routes.get(application) != Some(route) {
                self.judge.route_changed.insert(*application, revision);
            }
        }
    }
}

/// Whether a hold and switch is under way.
fn is_holding(state: &State) -> bool {
    let Some(Stage::Rollout(rollout)) = state.operation.as_ref().map(|operation| &operation.stage) else {
        return false;
    };
    rollout.phases.iter().any(|phase| matches!(phase.desired.route, WantedRoute::Hold { .. }))
}

/// Whether a rollout that is turned back had brought in that replica.
fn is_given_up(state: &State, name: &ReplicaName) -> bool {
    let stage = state.operation.as_ref().map(|operation| &operation.stage);
    matches!(stage, Some(Stage::Rollout(rollout)) if rollout.back && rollout.new.contains(name))
}

/// Whether crashes no longer count against an operation.
pub(super) fn is_past_the_gate(operation: &Operation) -> bool {
    match &operation.stage {
        Stage::Checkout { .. } | Stage::BuildSlot { .. } | Stage::Build { .. } => false,
        Stage::Rollout(rollout) => rollout.back || rollout.phase().step == Step::Switch,
        Stage::ReleaseCommand { .. } | Stage::Addresses | Stage::Discard | Stage::Forget => true,
    }
}

/// A replica of that release that still runs.
pub(super) fn running_replicas(world: &World, release: ReleaseId) -> Option<ReplicaName> {
    let runs = world.replicas.all.iter().find(|(_, replica)| replica.owner.release == release && replica.runs());
    runs.map(|(name, _)| name.clone())
}
