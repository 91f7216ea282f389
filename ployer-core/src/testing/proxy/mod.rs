//! The proxy's suite: each promise of [`Proxy`] as tests of their own.
//!
//! An implementation brings a [`ProxyHarness`] and calls [`proxy_suite!`](crate::proxy_suite) in a test module; its
//! crate needs tokio with `macros` and `rt-multi-thread`. A proxy that listens says where, and the suite sends
//! requests over loopback to upstreams that it plays itself; one without sockets overrides how requests are sent and
//! how upstreams are made.
//!
//! ```
//! use std::net::SocketAddr;
//! use std::sync::Arc;
//! use ployer_core::proxy::{Proxy, embedded::EmbeddedProxy};
//! use ployer_core::testing::proxy::ProxyHarness;
//!
//! struct Embedded(Arc<EmbeddedProxy>);
//!
//! #[async_trait::async_trait]
//! impl ProxyHarness for Embedded {
//!     async fn fresh() -> Self {
//!         Self(Arc::new(EmbeddedProxy::bind("127.0.0.1:0").await.unwrap()))
//!     }
//!     fn proxy(&self) -> Arc<dyn Proxy> {
//!         self.0.clone()
//!     }
//!     fn address(&self) -> SocketAddr {
//!         self.0.local_addr()
//!     }
//! }
//!
//! ployer_core::testing::proxy_suite!(Embedded);
//! # fn main() {}
//! ```

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use crate::clock::{Clock, SystemClock};
use crate::model::{ApplicationId, DomainName, ReplicaName, Revision, Route, RouteTable, Target, Upstream};
use crate::proxy::Proxy;

pub mod counted;
pub mod fenced;
pub mod held;
mod loopback;
pub mod named;
pub mod read_back;
pub mod repeatable;
pub mod unbroken;
pub mod whole;

/// Nothing that a case waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the suite comes by a proxy, by clients and by upstreams.
#[async_trait]
pub trait ProxyHarness: Send + Sync + Sized + 'static {
    /// A harness around a proxy without routes that no other test sees.
    async fn fresh() -> Self;

    /// The proxy.
    fn proxy(&self) -> Arc<dyn Proxy>;

    /// Where it listens for clients.
    fn address(&self) -> SocketAddr;

    /// The clock by which its holds end.
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    /// Sends a `POST` with `body` for `host` as a client would, and waits for the answer.
    async fn request(&self, host: &DomainName, body: &str) -> Reply {
        loopback::request(self.address(), host, body).await
    }

    /// Starts an upstream under this name.
    async fn start_upstream(&self, replica: ReplicaName) -> Box<dyn StandIn> {
        Box::new(loopback::Upstreamlet::start(replica).await)
    }
}

/// An upstream of the suite. It answers every request with 200 and `{replica}:{body of the request}`.
#[async_trait]
pub trait StandIn: Send + Sync {
    /// Its name and address, as a route names them.
    fn upstream(&self) -> Upstream;

    /// Keeps answers back from now on.
    fn pause(&self);

    /// Gives the answers that were kept back, and all others at once again.
    fn resume(&self);

    /// How many requests have come so far.
    fn arrived(&self) -> u64;

    /// Waits until `count` requests have come.
    async fn wait_for(&self, count: u64);
}

/// What a client got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Whether it says when to try again.
    pub retry_after: bool,
    /// The body.
    pub body: String,
}

/// Makes each case of the suite a test, in a module named after its promise.
#[macro_export]
macro_rules! proxy_suite {
    ($harness:ty) => {
        $crate::proxy_suite! { $harness, (flavor = "multi_thread", worker_threads = 2) }
    };
    ($harness:ty, $flavor:tt) => {
        $crate::proxy_suite! { $harness; $flavor;
            whole:
                a_table_replaces_every_route_of_the_one_before,
                a_refused_table_changes_no_route,
                a_table_in_which_two_routes_share_a_host_is_refused;
            repeatable:
                applying_the_present_table_again_changes_nothing,
                applying_the_present_table_again_drops_no_request;
            fenced:
                a_table_of_an_older_epoch_is_refused,
                an_older_table_of_the_same_epoch_is_refused,
                a_writer_that_expected_another_table_is_refused,
                a_later_epoch_takes_over;
            read_back:
                a_fresh_proxy_has_no_routes,
                a_table_with_every_kind_of_target_is_read_back;
            unbroken:
                a_request_under_way_keeps_its_upstream_when_the_route_moves,
                a_request_under_way_ends_well_when_its_route_goes;
            held:
                a_held_request_goes_with_its_body_where_the_next_table_says,
                a_request_is_held_through_one_hold_after_another,
                a_hold_that_ends_is_answered_with_when_to_come_back;
            counted:
                a_request_counts_until_it_is_answered,
                an_upstream_that_no_route_names_still_counts,
                an_upstream_that_reads_zero_after_it_left_gets_nothing_more;
            named:
                an_ask_learns_which_replica_answered,
                an_ask_reaches_the_wanted_upstream_alone,
                an_ask_for_an_upstream_of_no_route_is_answered_by_the_proxy,
                an_ask_passes_a_hold_to_the_wanted_upstream,
                an_ask_learns_which_files_answered;
        }
    };
    ($harness:ty; $flavor:tt; $($promise:ident: $($case:ident),+;)+) => {$(
        mod $promise {
            #[allow(unused_imports, reason = "the harness may be named by a path of its own")]
            use super::*;

            $crate::proxy_suite! { @cases $harness; $flavor; $promise: $($case),+ }
        }
    )+};
    (@cases $harness:ty; $flavor:tt; $promise:ident: $($case:ident),+) => {
        $($crate::proxy_suite! { @case $harness; $flavor; $promise $case })+
    };
    (@case $harness:ty; ($($flavor:tt)+); $promise:ident $case:ident) => {
        #[tokio::test($($flavor)+)]
        async fn $case() {
            let harness = <$harness as $crate::testing::proxy::ProxyHarness>::fresh().await;
            $crate::testing::proxy::$promise::$case(harness).await;
        }
    };
}

/// A harness, and the table that a case gives its proxy.
struct Stage<H> {
    harness: Arc<H>,
    table: RouteTable,
}

impl<H: ProxyHarness> Stage<H> {
    fn new(harness: H) -> Self {
        Self { harness: Arc::new(harness), table: RouteTable::default() }
    }

    fn proxy(&self) -> Arc<dyn Proxy> {
        self.harness.proxy()
    }

    /// The table in which the application of that name has this target, one revision on.
    fn next(&self, name: &str, target: Target) -> RouteTable {
        let mut table = self.table.clone();
        table.revision = Revision { epoch: 1, number: table.revision.number + 1 };
        table.routes.insert(application(name), Route { hosts: [host(name)].into(), target });
        table
    }

    /// Applies the table in which the application of that name has this target.
    async fn route(&mut self, name: &str, target: Target) {
        self.apply(self.next(name, target)).await;
    }

    async fn apply(&mut self, table: RouteTable) {
        let applied = self.proxy().apply(&table, self.table.revision).await.unwrap();
        assert_eq!(applied, table.revision);
        self.table = table;
    }

    /// Sends a request from a task of its own.
    fn request(&self, name: &str, body: &str) -> JoinHandle<Reply> {
        let (harness, host, body) = (Arc::clone(&self.harness), host(name), body.to_owned());
        tokio::spawn(async move { harness.request(&host, &body).await })
    }

    async fn start(&self, replica: &str) -> Box<dyn StandIn> {
        self.harness.start_upstream(replica.parse().unwrap()).await
    }

    async fn held(&self, name: &str) -> u64 {
        self.proxy().traffic(application(name)).await.unwrap().map_or(0, |traffic| traffic.held)
    }
}

fn host(name: &str) -> DomainName {
    format!("{name}.localhost").parse().unwrap()
}

/// The application of that name; the same one for the same name.
fn application(name: &str) -> ApplicationId {
    let bytes = name.bytes().fold(0, |id, byte| id << 8 | u128::from(byte));
    ApplicationId::from(Uuid::from_u128(bytes))
}

fn to<'a>(upstreams: impl IntoIterator<Item = &'a Box<dyn StandIn>>) -> Target {
    Target::Upstreams(upstreams.into_iter().map(|stand_in| stand_in.upstream()).collect::<BTreeSet<_>>())
}

async fn answer(request: JoinHandle<Reply>) -> Reply {
    timeout(PATIENCE, request).await.expect("no answer came in time").unwrap()
}

async fn arrived(stand_in: &dyn StandIn, count: u64) {
    timeout(PATIENCE, stand_in.wait_for(count)).await.expect("no request came in time");
}

/// Asks again and again until the answer is yes.
async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let look = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("{what} did not happen in time"));
}
