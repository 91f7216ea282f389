//! The route: from the replicas that an application wants to serve to the upstreams that are alive.
//!
//! A replica that is known to be dead is left out while another one is alive (invariant 1); which one is known to be
//! dead follows from what was seen, never from how long nothing was heard.

use std::collections::BTreeSet;

use super::action::Action;
use super::decision::Decision;
use super::seen::{Facts, Ground, Seen};
use super::state::{Mode, State, WantedRoute};
use crate::model::{DomainName, ReplicaName, ReplicaState, Route, Target, Upstream};

impl State {
    /// Whether requests reach the active release.
    pub(super) fn serves(&self, seen: &Seen) -> bool {
        let routed = seen.route.as_ref().and_then(|seen| seen.route.as_ref()).map(|route| &route.target);
        match routed {
            Some(Target::Upstreams(_) | Target::Static { .. } | Target::Hold { .. }) => true,
            Some(_) => false,
            None => self.rest.route == WantedRoute::Nowhere && !self.rest.replicas.is_empty(),
        }
    }
}

impl WantedRoute {
    /// What it names, for a person.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Nowhere => "nothing".to_owned(),
            Self::Replicas(names) => names.iter().map(ReplicaName::as_str).collect::<Vec<_>>().join(", "),
            Self::Static(release) => format!("static release {release}"),
            Self::Hold { .. } => "a hold".to_owned(),
            Self::Unavailable { reason } => reason.clone(),
        }
    }
}

impl Decision<'_> {
    /// Names the route that the application should have now.
    pub(super) fn name_route(&mut self) {
        let wanted = self.state.desired().route;
        if matches!(wanted, WantedRoute::Replicas(_)) && self.seen.replicas.is_none() {
            return;
        }
        let route = resolve(self.facts, self.seen, &self.state, self.ground, &wanted);
        self.act(Action::Route { route });
    }

    /// The generated domain, where this application has none for its name yet and nobody else has it.
    pub(super) fn generated_domain(&self) -> Option<DomainName> {
        generated_domain(self.facts, &self.state, self.ground)
    }
}

/// The route as a proxy is asked for it; `None` where there is none.
pub(super) fn resolve(
    facts: &Facts,
    seen: &Seen,
    state: &State,
    ground: &Ground,
    wanted: &WantedRoute,
) -> Option<Route> {
    let mut hosts: BTreeSet<DomainName> = facts.domains.iter().map(|domain| domain.domain.clone()).collect();
    hosts.extend(generated_domain(facts, state, ground));
    let target = match wanted {
        WantedRoute::Nowhere => return None,
        WantedRoute::Replicas(names) => upstreams(facts, seen, state, names),
        WantedRoute::Static(release) => static_target(facts, *release),
        WantedRoute::Hold { until } => Target::Hold { until: *until },
        WantedRoute::Unavailable { reason } => Target::Unavailable { reason: reason.clone() },
    };
    Some(Route { hosts, target })
}

fn upstreams(facts: &Facts, seen: &Seen, state: &State, names: &BTreeSet<ReplicaName>) -> Target {
    let desired = state.desired();
    let upstream = |name: &ReplicaName| desired.replicas.get(name).and_then(|wanted| wanted.upstream(name));
    let all: BTreeSet<Upstream> = names.iter().filter_map(upstream).collect();
    let alive: BTreeSet<Upstream> = all.into_iter().filter(|upstream| is_alive(seen, &upstream.replica)).collect();
    if alive.is_empty() {
        let reason = format!("`{}` does not run at the moment: its replicas have ended", facts.application.name);
        return Target::Unavailable { reason };
    }
    Target::Upstreams(alive)
}

/// Whether requests may go to a replica: it runs, and if it was seen to exit before, it has been ready since.
pub(super) fn is_alive(seen: &Seen, name: &ReplicaName) -> bool {
    if seen.busy.contains(name) && seen.is_ready(name) {
        return true;
    }
    let runs = seen.replica(name).is_some_and(|replica| replica.state == ReplicaState::Running);
    runs && seen.readiness.get(name).is_none_or(|readiness| readiness.ready_at.is_some())
}

fn static_target(facts: &Facts, release: crate::model::ReleaseId) -> Target {
    let found = facts.releases.get(&release);
    let root = found.and_then(|found| match (&found.artifact, &found.spec.static_root) {
        (crate::model::Artifact::Directory { path }, Some(root)) => Some(path.join(root)),
        _ => None,
    });
    match root {
        Some(root) => Target::Static { release, root },
        None => Target::Unavailable { reason: format!("the files of release {release} are gone") },
    }
}

fn generated_domain(facts: &Facts, state: &State, ground: &Ground) -> Option<DomainName> {
    let name = &facts.application.name;
    let taken = facts.subdomain.is_some() || state.domain_of.as_ref() == Some(name);
    if taken { None } else { format!("{name}.{}", ground.settings.base_domain).parse().ok() }
}

/// The upstreams of replicas that drain.
pub(super) fn draining(state: &State, names: &BTreeSet<ReplicaName>) -> BTreeSet<Upstream> {
    let desired = state.desired();
    let runs = |name: &&ReplicaName| desired.replicas.get(*name).is_some_and(|wanted| wanted.mode == Mode::Run);
    let upstream = |name: &ReplicaName| desired.replicas.get(name).and_then(|wanted| wanted.upstream(name));
    names.iter().filter(runs).filter_map(upstream).collect()
}
