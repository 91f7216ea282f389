//! Routes: the table that requests are routed by, compiled once and swapped whole.
//!
//! There is one writer at a time, and what it writes is seen entirely or not at all. Each table has a generation; the
//! generation rises after the table has been swapped, which lets a thread find out, after it has counted a request,
//! that its table was the present one when it did.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use http::HeaderValue;
use jiff::Timestamp;
use tokio::sync::watch;

use super::balance::{Peer, Seat, UnderWay};
use super::hold::Waiting;
use super::traffic::Tallies;
use crate::error::{Error, Result};
use crate::model::{ApplicationId, InFlight, ReleaseId, Revision, RouteTable, Target, Traffic, Upstream};

/// A compiled table.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) generation: u64,
    table: RouteTable,
    /// Every route is held until then, because the table was read from a file and no writer has confirmed it.
    held_until: Option<Timestamp>,
    entries: Vec<Arc<Entry>>,
    places: BTreeMap<ApplicationId, usize>,
    hosts: HashMap<Box<str>, usize>,
    fallback: Option<usize>,
}

/// One route.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) destination: Destination,
    pub(super) tallies: Arc<Tallies>,
    pub(super) waiting: Arc<Waiting>,
}

/// Where the requests of a route go.
#[derive(Debug)]
pub(super) enum Destination {
    Upstreams(Vec<Arc<Peer>>),
    Static { release: ReleaseId, root: PathBuf },
    Hold { until: Timestamp },
    Redirect { to: Box<str> },
    Unavailable { reason: Box<str> },
}

impl Routes {
    /// The position of the route of `host`, which is in lower case and has no port.
    pub(super) fn find(&self, host: &str) -> Option<usize> {
        self.hosts.get(host).copied().or(self.fallback)
    }

    pub(super) fn entry(&self, at: usize) -> &Arc<Entry> {
        &self.entries[at]
    }

    fn of(&self, application: ApplicationId) -> Option<&Arc<Entry>> {
        self.places.get(&application).map(|&at| &self.entries[at])
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The upstreams that a route names.
    pub(super) fn upstreams(&self) -> HashSet<&Upstream> {
        self.entries.iter().flat_map(|e| e.destination.peers()).map(|peer| peer.upstream()).collect()
    }
}

impl Destination {
    pub(super) fn peers(&self) -> &[Arc<Peer>] {
        match self {
            Self::Upstreams(peers) => peers,
            Self::Static { .. } | Self::Hold { .. } | Self::Redirect { .. } | Self::Unavailable { .. } => &[],
        }
    }
}

type Peers = HashMap<Upstream, Arc<Peer>>;

/// The present table, its writer's lock, and who waits for the next one.
#[derive(Debug)]
pub(super) struct Live {
    current: ArcSwap<Routes>,
    generation: AtomicU64,
    changed: watch::Sender<u64>,
    writer: Mutex<()>,
    peers: Mutex<Peers>,
    threads: usize,
}

impl Live {
    /// Begins with `table`, whose routes are held until `held_until` if it was read from a file.
    pub(super) fn new(table: RouteTable, held_until: Option<Timestamp>, threads: usize) -> Result<Self> {
        let mut peers = Peers::new();
        let routes = compile(table, 1, held_until, None, &mut peers, threads)?;
        Ok(Self {
            current: ArcSwap::from_pointee(routes),
            generation: AtomicU64::new(1),
            changed: watch::Sender::new(1),
            writer: Mutex::new(()),
            peers: Mutex::new(peers),
            threads,
        })
    }

    pub(super) fn load(&self) -> Arc<Routes> {
        self.current.load_full()
    }

    /// Whether no later table than that of `generation` was in force at this moment.
    pub(super) fn is_present(&self, generation: u64) -> bool {
        self.generation.load(Ordering::SeqCst) <= generation
    }

    /// Tells each new generation, after it has come into force.
    pub(super) fn follow(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn table(&self) -> RouteTable {
        self.current.load().table.clone()
    }

    pub(super) fn in_flight(&self, upstream: &Upstream) -> InFlight {
        lock(&self.peers).get(upstream).map(|peer| peer.in_flight()).unwrap_or_default()
    }

    pub(super) fn traffic(&self, application: ApplicationId) -> Option<Traffic> {
        self.current.load().of(application).map(|entry| entry.tallies.sum())
    }

    /// Counts a request to an upstream that no route names: the one of an ask that passes a hold.
    pub(super) fn begin_unrouted(&self, upstream: &Upstream, thread: usize) -> (Rc<Seat>, UnderWay) {
        let mut peers = lock(&self.peers);
        let seat = Seat::new(obtain(&mut peers, upstream, self.threads), thread);
        let under_way = seat.begin();
        (seat, under_way)
    }

    /// Replaces the table, after `save` has made it durable.
    pub(super) fn apply(
        &self,
        table: &RouteTable,
        expected: Revision,
        save: impl FnOnce(&RouteTable) -> Result<()>,
    ) -> Result<Revision> {
        let _writer = lock(&self.writer);
        let present = self.load();
        if table.revision == present.table.revision && present.held_until.is_none() {
            return Ok(table.revision);
        }
        fence(present.table.revision, table.revision, expected)?;
        let generation = present.generation + 1;
        let routes = compile(table.clone(), generation, None, Some(&present), &mut lock(&self.peers), self.threads)?;
        save(table)?;
        self.swap(routes);
        Ok(table.revision)
    }

    fn swap(&self, routes: Routes) {
        let generation = routes.generation;
        let routes = Arc::new(routes);
        self.current.store(Arc::clone(&routes));
        self.generation.store(generation, Ordering::SeqCst);
        self.changed.send_replace(generation);
        let named = routes.upstreams();
        lock(&self.peers).retain(|upstream, peer| named.contains(upstream) || !peer.is_idle());
    }
}

/// Whether a table of revision `next` may follow `present`.
fn fence(present: Revision, next: Revision, expected: Revision) -> Result<()> {
    if next.epoch < present.epoch {
        let message = format!("the route table {next} is of an older epoch than the present one, {present}");
        return Err(Error::conflict(message));
    }
    if expected != present && next != present {
        return Err(Error::conflict(format!("the route table is at revision {present}, not at {expected}")));
    }
    if next < present {
        return Err(Error::conflict(format!("the route table {next} is older than the present one, {present}")));
    }
    Ok(())
}

fn compile(
    table: RouteTable,
    generation: u64,
    held_until: Option<Timestamp>,
    before: Option<&Routes>,
    peers: &mut Peers,
    threads: usize,
) -> Result<Routes> {
    let mut entries = Vec::with_capacity(table.routes.len());
    let mut hosts = HashMap::new();
    let mut places = BTreeMap::new();
    for (&application, route) in &table.routes {
        for host in &route.hosts {
            if hosts.insert(Box::from(host.as_str()), entries.len()).is_some() {
                return Err(Error::invalid("route table", format_args!("two routes share the host `{host}`")));
            }
        }
        let known = before.and_then(|b| b.of(application));
        places.insert(application, entries.len());
        entries.push(Arc::new(Entry {
            destination: match held_until {
                Some(until) => Destination::Hold { until },
                None => destination(&route.target, peers, threads)?,
            },
            tallies: known.map_or_else(|| Arc::new(Tallies::new(threads)), |e| Arc::clone(&e.tallies)),
            waiting: known.map(|e| Arc::clone(&e.waiting)).unwrap_or_default(),
        }));
    }
    let fallback = table.fallback.and_then(|application| places.get(&application).copied());
    Ok(Routes { generation, table, held_until, entries, places, hosts, fallback })
}

fn destination(target: &Target, peers: &mut Peers, threads: usize) -> Result<Destination> {
    Ok(match target {
        Target::Upstreams(upstreams) => {
            Destination::Upstreams(upstreams.iter().map(|u| obtain(peers, u, threads)).collect())
        }
        Target::Static { release, root } => Destination::Static { release: *release, root: root.clone() },
        Target::Hold { until } => Destination::Hold { until: *until },
        Target::Redirect { to } => {
            let to = to.trim_end_matches('/');
            HeaderValue::from_str(to).map_err(|_| Error::invalid("redirect", "it is not an address"))?;
            Destination::Redirect { to: to.into() }
        }
        Target::Unavailable { reason } => Destination::Unavailable { reason: reason.as_str().into() },
    })
}

fn obtain(peers: &mut Peers, upstream: &Upstream, threads: usize) -> Arc<Peer> {
    let peer = peers.entry(upstream.clone()).or_insert_with(|| Arc::new(Peer::new(upstream.clone(), threads)));
    Arc::clone(peer)
}

/// A panic elsewhere leaves these maps whole: each change to them is a single call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
