//! The proxy: where requests go, by host name.
//!
//! It is declarative: the engine hands over the whole table with a rising revision, and reads it back. One writer a
//! proxy calls `apply`; everybody else reads.

#[cfg(feature = "proxy")]
pub mod embedded;

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{Answer, ApplicationId, Ask, InFlight, Revision, RouteTable, Traffic, Upstream, Vantage};

/// Sends requests to upstreams by host name.
///
/// Implementors promise, and `testing::proxy` checks under the same names:
/// - **whole**: a table is applied entirely or not at all;
/// - **repeatable**: applying the same table again changes nothing and drops no request;
/// - **fenced**: a table that is older than the present one, or whose writer expected another one, is refused;
/// - **read back**: `routes` answers the table that requests are routed by;
/// - **unbroken**: a request under way keeps its upstream when the table changes;
/// - **held**: a request that meets a hold waits and is sent where the next table says; 503 with `Retry-After` when
///   the hold ends first;
/// - **counted**: `in_flight` is zero only when nothing is under way on that upstream;
/// - **named**: `ask` tells who answered, and asks the wanted upstream alone.
#[async_trait]
pub trait Proxy: fmt::Debug + Send + Sync + 'static {
    /// Replaces the table if `expected` is the present revision, and answers the new one.
    ///
    /// Applying a table whose revision is the present one changes nothing.
    ///
    /// # Errors
    ///
    /// `Conflict` if the present revision is neither `expected` nor the table's own, or is of a later epoch.
    async fn apply(&self, table: &RouteTable, expected: Revision) -> Result<Revision>;

    /// The table that requests are routed by.
    async fn routes(&self) -> Result<RouteTable>;

    /// What is under way on an upstream, also on one that no route names any more.
    async fn in_flight(&self, upstream: &Upstream) -> Result<InFlight>;

    /// Requests of an application's route since the proxy began to count; `None` where it does not.
    async fn traffic(&self, application: ApplicationId) -> Result<Option<Traffic>>;

    /// Sends one request through the proxy's own listener and tells who answered. It passes a hold.
    async fn ask(&self, ask: &Ask) -> Result<Answer>;

    /// Which upstream addresses it can reach.
    fn vantage(&self) -> Vantage;
}
