//! Routes: which host goes where. The whole table is one value with a rising revision.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::{ApplicationId, ReleaseId};
use super::name::DomainName;
use super::workload::{ReplicaName, Upstream};

/// The age of a route table. A table of an older epoch is refused: its writer has lost the lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Revision {
    /// The epoch of the engine that wrote it.
    pub epoch: u64,
    /// Rises with each table of that epoch.
    pub number: u64,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

/// Every route of a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Its age.
    pub revision: Revision,
    /// At most one route an application.
    pub routes: BTreeMap<ApplicationId, Route>,
    /// The application that answers for hosts that are nobody's, where one is chosen.
    pub fallback: Option<ApplicationId>,
}

/// Where the requests of an application go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The host names; no two routes share one.
    pub hosts: BTreeSet<DomainName>,
    /// Where they go.
    pub target: Target,
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Target {
    /// To the upstream with the least requests in flight.
    Upstreams(BTreeSet<Upstream>),
    /// To files.
    Static {
        /// Whose they are.
        release: ReleaseId,
        /// The directory served.
        root: PathBuf,
    },
    /// Nowhere yet: new requests wait until the next table or `until`, then get 503 with `Retry-After`.
    Hold {
        /// When the hold ends.
        until: Timestamp,
    },
    /// To another address.
    Redirect {
        /// Its scheme and authority; path and query are kept.
        to: String,
    },
    /// A page that says why nothing serves.
    Unavailable {
        /// What the page says, one sentence.
        reason: String,
    },
}

/// What is under way on an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// Requests without an answer yet, or whose answer is still being sent.
    pub requests: u64,
    /// Upgraded connections (WebSockets).
    pub upgraded: u64,
}

/// Requests of one route since the proxy began to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Answered by an upstream or from files.
    pub served: u64,
    /// Held, whatever came of it.
    pub held: u64,
    /// Answered by the proxy itself with an error.
    pub failed: u64,
}

/// One request through the proxy's own listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The host that is asked for.
    pub host: DomainName,
    /// The path.
    pub path: String,
    /// The upstream that must answer; `None`: whichever the route names.
    pub wanted: Option<Upstream>,
}

/// What came back from an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Who gave it.
    pub by: AnsweredBy,
}

/// Who answered a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnsweredBy {
    /// A replica.
    Replica(ReplicaName),
    /// The files of a release.
    Static(ReleaseId),
    /// The proxy itself: no route, no upstream, an error.
    Proxy,
}

/// Where a proxy stands: which upstream addresses it can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Vantage {
    /// On the server itself: loopback addresses.
    Host,
    /// On another machine.
    Remote,
}
