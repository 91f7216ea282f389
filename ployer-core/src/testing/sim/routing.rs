//! Routing: the proxy of the world and the clients that send requests through it, as state.
//!
//! Clients send all the time, to every application that has a route. A request that is not answered is lost, and
//! somebody has to answer for that: `invariants` judges. The trait that an engine calls is in `proxy`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::random::Random;
use super::world::{Due, World};
use crate::error::{Error, Result};
use crate::model::{
    Answer, AnsweredBy, ApplicationId, Ask, DomainName, InFlight, ReplicaName, Revision, Route, RouteTable, Target,
    Traffic, Upstream,
};

/// The proxy and its clients.
#[derive(Debug)]
pub(super) struct Routing {
    pub(super) table: RouteTable,
    /// The table before, which a proxy that restarts may come back with.
    previous: RouteTable,
    /// Whether the proxy lives in the engine's process, and ends with it.
    pub(super) in_process: bool,
    /// Nothing answers: the process of the proxy is gone.
    pub(super) down: bool,
    /// Everything is held until the engine has applied a table for the first time.
    holds_all: bool,
    /// Whether the clients of this world send requests by themselves.
    pub(super) is_busy: bool,
    pub(super) requests: Vec<Request>,
    held: Vec<Held>,
    pub(super) traffic: BTreeMap<ApplicationId, Traffic>,
    clients: BTreeSet<ApplicationId>,
    /// For whom an address was last named by a table that is past, and when that ended.
    pub(super) named_until: BTreeMap<SocketAddr, (ReplicaName, Duration)>,
    /// Whether the table is not the one that was applied last.
    pub(super) is_void: bool,
    /// When that was last so.
    pub(super) voided_at: Option<Duration>,
}

/// A request on its way.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) upstream: Upstream,
    pub(super) ends_at: Duration,
    pub(super) upgraded: bool,
}

/// A request that waits.
#[derive(Clone, Debug)]
struct Held {
    application: ApplicationId,
    until: Duration,
}

/// What becomes of a request that arrives at this moment.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Fate {
    /// That upstream answers it.
    Served(Upstream),
    /// The proxy answers from files.
    Files,
    /// It waits so long at most.
    Held(Duration),
    /// The proxy says that nothing serves.
    Refused,
    /// It is sent to a replica that does not answer.
    Lost(Upstream),
    /// Somebody else answers it.
    Misrouted(Upstream),
}

impl Routing {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            table: RouteTable::default(),
            previous: RouteTable::default(),
            in_process: random.chance(500),
            down: false,
            holds_all: false,
            is_busy: true,
            requests: Vec::new(),
            held: Vec::new(),
            traffic: BTreeMap::new(),
            clients: BTreeSet::new(),
            named_until: BTreeMap::new(),
            is_void: false,
            voided_at: None,
        }
    }

    /// The upstreams that the table names.
    pub(super) fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        self.table.routes.values().flat_map(named)
    }

    /// The application whose route names that address.
    pub(super) fn names(&self, address: SocketAddr) -> Option<&Upstream> {
        self.upstreams().find(|upstream| upstream.address == address)
    }

    pub(super) fn in_flight(&self, upstream: &Upstream, now: Duration) -> InFlight {
        let there = self.requests.iter().filter(|one| one.upstream == *upstream && one.ends_at > now);
        there.fold(InFlight::default(), |mut sum, one| {
            if one.upgraded {
                sum.upgraded += 1;
            } else {
                sum.requests += 1;
            }
            sum
        })
    }

    pub(super) fn traffic(&self, application: ApplicationId) -> Traffic {
        self.traffic.get(&application).copied().unwrap_or_default()
    }

    pub(super) fn route_of(&self, host: &DomainName) -> Option<(ApplicationId, &Route)> {
        let named = self.table.routes.iter().find(|(_, route)| route.hosts.contains(host));
        let fallback = || self.table.fallback.and_then(|id| self.table.routes.get_key_value(&id));
        named.or_else(fallback).map(|(id, route)| (*id, route))
    }

    /// Requests on an upstream that is no more are gone with it.
    pub(super) fn cut(&mut self, upstream: &Upstream) {
        self.requests.retain(|request| request.upstream != *upstream);
    }
}

/// The upstreams that a route names.
pub(super) fn named(route: &Route) -> impl Iterator<Item = &Upstream> {
    let set = match &route.target {
        Target::Upstreams(set) => Some(set),
        Target::Static { .. } | Target::Hold { .. } | Target::Redirect { .. } | Target::Unavailable { .. } => None,
    };
    set.into_iter().flatten()
}

impl World {
    /// Replaces the table, where its revision allows.
    pub(super) fn apply(&mut self, table: &RouteTable, expected: Revision) -> Result<Revision> {
        let present = self.routing.table.revision;
        self.routing.holds_all = false;
        if table.revision == present {
            return Ok(present);
        }
        if present != expected || table.revision < present {
            return Err(Error::conflict(format!("the present table is {present}, not {expected}")));
        }
        let mut hosts = BTreeSet::new();
        if let Some(twice) = table.routes.values().flat_map(|route| &route.hosts).find(|host| !hosts.insert(*host)) {
            return Err(Error::invalid("routes", format!("two applications want `{twice}`")));
        }
        let before = std::mem::replace(&mut self.routing.table, table.clone());
        for upstream in before.routes.values().flat_map(named) {
            if self.routing.upstreams().all(|other| other != upstream) {
                self.routing.named_until.insert(upstream.address, (upstream.replica.clone(), self.now));
            }
        }
        self.table_changed(&before);
        self.routing.previous = before;
        for application in table.routes.keys().copied().collect::<Vec<_>>() {
            if self.routing.is_busy && self.routing.clients.insert(application) {
                self.schedule(Duration::ZERO, Due::Arrival(application));
            }
        }
        self.release_held();
        Ok(table.revision)
    }

    /// Requests that wait go on where the table says now; those of a new hold wait for its end.
    fn release_held(&mut self) {
        for held in std::mem::take(&mut self.routing.held) {
            let fate = self.fate(held.application);
            self.meets(held.application, fate);
        }
    }

    /// The next request of a client.
    pub(super) fn arrival(&mut self, application: ApplicationId) {
        if !self.routing.table.routes.contains_key(&application) {
            self.routing.clients.remove(&application);
            return;
        }
        let pause = self.random.millis(50..1500);
        self.schedule(pause, Due::Arrival(application));
        if !self.routing.down {
            let fate = self.fate(application);
            self.meets(application, fate);
        }
    }

    /// What becomes of a request that arrives at this moment.
    pub(super) fn fate(&self, application: ApplicationId) -> Fate {
        if self.routing.holds_all {
            return Fate::Held(Duration::from_secs(30));
        }
        let Some(route) = self.routing.table.routes.get(&application) else { return Fate::Refused };
        match &route.target {
            Target::Upstreams(set) => {
                let least = set.iter().min_by_key(|upstream| self.routing.in_flight(upstream, self.now).requests);
                least.map_or(Fate::Refused, |upstream| self.fate_at(upstream))
            }
            Target::Static { .. } | Target::Redirect { .. } => Fate::Files,
            Target::Hold { until } => match self.until_time(*until) {
                Duration::ZERO => Fate::Refused,
                left => Fate::Held(left),
            },
            Target::Unavailable { .. } => Fate::Refused,
        }
    }

    /// What becomes of a request that is sent to that upstream at this moment.
    pub(super) fn fate_at(&self, upstream: &Upstream) -> Fate {
        match self.replicas.holder(upstream.address) {
            Some(holder) if *holder != upstream.replica => Fate::Misrouted(upstream.clone()),
            Some(_) if self.replicas.all.get(&upstream.replica).is_some_and(|one| one.listens()) => {
                Fate::Served(upstream.clone())
            }
            Some(_) => Fate::Lost(upstream.clone()),
            None if self.replicas.strangers.contains(&upstream.address) => Fate::Misrouted(upstream.clone()),
            None => Fate::Lost(upstream.clone()),
        }
    }

    fn meets(&mut self, application: ApplicationId, fate: Fate) {
        let traffic = self.routing.traffic.entry(application).or_default();
        match &fate {
            Fate::Served(_) | Fate::Files => traffic.served += 1,
            Fate::Held(_) => traffic.held += 1,
            Fate::Refused | Fate::Lost(_) | Fate::Misrouted(_) => traffic.failed += 1,
        }
        match fate {
            Fate::Served(upstream) => self.is_sent(upstream),
            Fate::Held(left) => {
                self.routing.held.push(Held { application, until: self.now + left });
                self.schedule(left, Due::HoldEnds);
            }
            Fate::Files => {}
            Fate::Refused | Fate::Lost(_) | Fate::Misrouted(_) => self.request_failed(application, &fate),
        }
    }

    fn is_sent(&mut self, upstream: Upstream) {
        let (lasts, upgraded) = match self.random.below(40) {
            0 => (self.random.millis(30_000..400_000), true),
            1..=3 => (self.random.millis(1_000..25_000), false),
            _ => (self.random.millis(5..200), false),
        };
        let now = self.now;
        if self.routing.requests.len() > 64 {
            self.routing.requests.retain(|request| request.ends_at > now);
        }
        self.routing.requests.push(Request { upstream, ends_at: now + lasts, upgraded });
    }

    /// Requests whose hold has ended get an answer that says so.
    pub(super) fn hold_ends(&mut self) {
        let now = self.now;
        let (over, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.routing.held).into_iter().partition(|held| held.until <= now);
        self.routing.held = waiting;
        for held in over {
            self.hold_was_too_short(held.application);
        }
    }

    /// One request through the proxy's own listener.
    pub(super) fn ask(&self, ask: &Ask) -> Answer {
        let by_proxy = |status| Answer { status, by: AnsweredBy::Proxy };
        let Some((_, route)) = self.routing.route_of(&ask.host) else { return by_proxy(404) };
        match (&route.target, &ask.wanted) {
            (Target::Upstreams(set), Some(wanted)) if !set.contains(wanted) => by_proxy(503),
            (Target::Upstreams(_) | Target::Hold { .. }, Some(wanted)) => self.answer_of(wanted),
            (Target::Upstreams(set), None) => set.first().map_or(by_proxy(503), |first| self.answer_of(first)),
            (Target::Static { release, root }, _) => match self.workshop.has_files(root) {
                true => Answer { status: 200, by: AnsweredBy::Static(*release) },
                false => by_proxy(404),
            },
            (Target::Hold { .. } | Target::Redirect { .. } | Target::Unavailable { .. }, _) => by_proxy(503),
        }
    }

    fn answer_of(&self, upstream: &Upstream) -> Answer {
        match self.fate_at(upstream) {
            Fate::Served(upstream) => {
                let status = self.replicas.all.get(&upstream.replica).map_or(502, |one| one.program.status);
                Answer { status, by: AnsweredBy::Replica(upstream.replica) }
            }
            Fate::Misrouted(_) | Fate::Lost(_) | Fate::Refused | Fate::Held(_) | Fate::Files => {
                Answer { status: 502, by: AnsweredBy::Proxy }
            }
        }
    }

    /// The proxy is started again: connections are cut, and the table is the one that it stored.
    pub(super) fn proxy_restarts(&mut self) {
        if self.random.chance(300) {
            self.routing.table = self.routing.previous.clone();
            self.routing.is_void = true;
            self.routing.voided_at = Some(self.now);
        }
        self.proxy_is_gone();
        self.proxy_is_back();
    }

    /// The process of the proxy ends, and with it what it had under way.
    pub(super) fn proxy_is_gone(&mut self) {
        self.routing.down = true;
        self.routing.requests.clear();
        self.routing.held.clear();
    }

    /// The proxy begins with its stored table; in the engine's process it holds until that has applied one.
    pub(super) fn proxy_is_back(&mut self) {
        self.routing.down = false;
        self.routing.holds_all = self.routing.in_process;
    }
}
