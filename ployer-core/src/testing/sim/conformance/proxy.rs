//! The proxy's part of conformance: clients and upstreams of the suite, in the world instead of on sockets.
//!
//! What becomes of a request is the world's to say; here only waits who sent it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

use super::Stage;
use crate::clock::Clock;
use crate::error::Result;
use crate::model::{
    Answer, AnsweredBy, ApplicationId, Ask, DomainName, InFlight, Owner, ProcessName, ReplicaName, Revision,
    RouteTable, Traffic, Upstream, Vantage,
};
use crate::proxy::Proxy;
use crate::testing::proxy::{ProxyHarness, Reply, StandIn};
use crate::testing::sim::program::Program;
use crate::testing::sim::proxy::SimProxy;
use crate::testing::sim::replicas::Start;
use crate::testing::sim::routing::{Fate, Request};
use crate::testing::sim::world::World;

/// A world whose own clients are silent.
struct Routes {
    stage: Stage,
    proxy: Arc<Listening>,
}

/// The simulated proxy, with the upstreams that hear of what it asks them.
#[derive(Debug)]
struct Listening {
    proxy: SimProxy,
    upstreams: Mutex<Vec<Arc<State>>>,
}

impl Listening {
    fn find(&self, replica: &ReplicaName) -> Arc<State> {
        let upstreams = self.upstreams.lock().unwrap();
        Arc::clone(upstreams.iter().find(|state| state.upstream.replica == *replica).unwrap())
    }
}

#[async_trait]
impl Proxy for Listening {
    async fn apply(&self, table: &RouteTable, expected: Revision) -> Result<Revision> {
        self.proxy.apply(table, expected).await
    }

    async fn routes(&self) -> Result<RouteTable> {
        self.proxy.routes().await
    }

    async fn in_flight(&self, upstream: &Upstream) -> Result<InFlight> {
        self.proxy.in_flight(upstream).await
    }

    async fn traffic(&self, application: ApplicationId) -> Result<Option<Traffic>> {
        self.proxy.traffic(application).await
    }

    async fn ask(&self, ask: &Ask) -> Result<Answer> {
        let answer = self.proxy.ask(ask).await?;
        if let AnsweredBy::Replica(replica) = &answer.by {
            self.find(replica).arrived.send_modify(|arrived| *arrived += 1);
        }
        Ok(answer)
    }

    fn vantage(&self) -> Vantage {
        self.proxy.vantage()
    }
}

#[async_trait]
impl ProxyHarness for Routes {
    async fn fresh() -> Self {
        let stage = Stage::new();
        stage.world.with(|world| {
            world.routing.is_busy = false;
            world.workshop.artifacts.insert(std::env::temp_dir(), true);
        });
        let proxy = Listening { proxy: SimProxy(stage.world.outside()), upstreams: Mutex::default() };
        Self { stage, proxy: Arc::new(proxy) }
    }

    fn proxy(&self) -> Arc<dyn Proxy> {
        self.proxy.clone()
    }

    fn address(&self) -> SocketAddr {
        unreachable!("clients are of the world, and there are no sockets")
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.stage.world.clock().clone())
    }

    async fn request(&self, host: &DomainName, body: &str) -> Reply {
        // A client is a little slower than nothing, so that others have their turn.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut was_held = false;
        let met = self.stage.world.until(|world| meets(world, host, &mut was_held)).await;
        let upstream = match met {
            Ok(upstream) => upstream,
            Err(status) => return Reply { status, retry_after: status == 503, body: String::new() },
        };
        let state = self.proxy.find(&upstream.replica);
        state.arrived.send_modify(|arrived| *arrived += 1);
        state.paused.subscribe().wait_for(|paused| !paused).await.unwrap();
        self.stage.world.with(|world| ends(world, &upstream));
        Reply { status: 200, retry_after: false, body: format!("{}:{body}", upstream.replica) }
    }

    async fn start_upstream(&self, replica: ReplicaName) -> Box<dyn StandIn> {
        let number = u16::try_from(self.proxy.upstreams.lock().unwrap().len()).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 20_000 + number));
        let owner = Owner {
            instance: Uuid::from_u128(77).into(),
            application: Uuid::from_u128(1).into(),
            release: Uuid::from_u128(2).into(),
            process: ProcessName::web(),
            index: u32::from(number) + 1,
        };
        let start = Start {
            name: replica.clone(),
            owner,
            address: Some(address),
            program: Program::listening(Duration::ZERO),
            one_off: false,
        };
        self.stage.world.with(|world| world.start(start)).unwrap();
        let (arrived, paused) = (watch::Sender::new(0), watch::Sender::new(false));
        let state = Arc::new(State { upstream: Upstream { replica, address }, arrived, paused });
        self.proxy.upstreams.lock().unwrap().push(Arc::clone(&state));
        Box::new(SimUpstream(state))
    }
}

/// What becomes of a request at this moment: the upstream that has it, or the status of the proxy's own answer.
/// `None` as long as it is held.
fn meets(world: &mut World, host: &DomainName, was_held: &mut bool) -> Option<std::result::Result<Upstream, u16>> {
    let Some(application) = world.routing.route_of(host).map(|(application, _)| application) else {
        return Some(Err(404));
    };
    match world.fate(application) {
        Fate::Served(upstream) => {
            let request = Request { upstream: upstream.clone(), ends_at: Duration::MAX, upgraded: false };
            world.routing.requests.push(request);
            Some(Ok(upstream))
        }
        Fate::Held(left) => {
            if !std::mem::replace(was_held, true) {
                world.routing.traffic.entry(application).or_default().held += 1;
            }
            world.schedule(left, crate::testing::sim::world::Due::HoldEnds);
            None
        }
        Fate::Refused => Some(Err(503)),
        fate @ (Fate::Files | Fate::Lost(_) | Fate::Misrouted(_)) => panic!("no case of the suite leads to {fate:?}"),
    }
}

fn ends(world: &mut World, upstream: &Upstream) {
    let at = world.routing.requests.iter().position(|request| request.upstream == *upstream).unwrap();
    world.routing.requests.swap_remove(at);
}

/// What an upstream knows of itself.
#[derive(Debug)]
struct State {
    upstream: Upstream,
    arrived: watch::Sender<u64>,
    paused: watch::Sender<bool>,
}

struct SimUpstream(Arc<State>);

#[async_trait]
impl StandIn for SimUpstream {
    fn upstream(&self) -> Upstream {
        self.0.upstream.clone()
    }

    fn pause(&self) {
        self.0.paused.send_replace(true);
    }

    fn resume(&self) {
        self.0.paused.send_replace(false);
    }

    fn arrived(&self) -> u64 {
        *self.0.arrived.borrow()
    }

    async fn wait_for(&self, count: u64) {
        self.0.arrived.subscribe().wait_for(|arrived| *arrived >= count).await.unwrap();
    }
}

crate::proxy_suite!(Routes, (start_paused = true));
