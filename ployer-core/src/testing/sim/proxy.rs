//! The simulated proxy: what an engine calls, over the routing of the world.

use async_trait::async_trait;

use super::faults::PointKind::{Effect, Look};
use super::world::{Call, Port, World};
use crate::error::{Error, Result};
use crate::model::{Answer, ApplicationId, Ask, InFlight, Revision, RouteTable, Traffic, Upstream, Vantage};
use crate::proxy::Proxy;

/// The proxy of a simulated server, as one engine reaches it.
#[derive(Clone, Debug)]
pub struct SimProxy(pub(super) Port);

#[async_trait]
impl Proxy for SimProxy {
    async fn apply(&self, table: &RouteTable, expected: Revision) -> Result<Revision> {
        let engine = self.0.engine;
        let call = Call { kind: Effect, what: "apply", of: &table.revision };
        let apply = |world: &mut World| match world.routing.down {
            true => Err(Error::unavailable("the proxy")),
            false => world.apply(table, expected),
        };
        self.0.judged(call, |world| world.table_comes(engine, table), apply).await
    }

    async fn routes(&self) -> Result<RouteTable> {
        let call = Call { kind: Look, what: "routes", of: &"" };
        self.0
            .call(call, |world| {
                world.table_was_read();
                Ok(world.routing.table.clone())
            })
            .await
    }

    async fn in_flight(&self, upstream: &Upstream) -> Result<InFlight> {
        let call = Call { kind: Look, what: "in flight", of: &upstream.replica };
        self.0.call(call, |world| Ok(world.routing.in_flight(upstream, world.now))).await
    }

    async fn traffic(&self, application: ApplicationId) -> Result<Option<Traffic>> {
        let call = Call { kind: Look, what: "traffic", of: &application };
        self.0.call(call, |world| Ok(Some(world.routing.traffic(application)))).await
    }

    async fn ask(&self, ask: &Ask) -> Result<Answer> {
        let call = Call { kind: Look, what: "ask", of: &ask.host };
        self.0
            .call(call, |world| {
                let answer = world.ask(ask);
                world.was_asked(ask, &answer);
                Ok(answer)
            })
            .await
    }

    fn vantage(&self) -> Vantage {
        Vantage::Host
    }
}
