//! Actions: the effects that should be under way now.
//!
//! A decision names all of them each time. Whoever performs them starts what is new, lets go on what is named
//! again, and ends what is no longer named; so a cancel is a decision that no longer names the build. Each may be
//! performed twice: one that has ended well but is still named a second after the world was looked at again is
//! performed anew, since the world has not become what it should be.

use std::collections::BTreeSet;
use std::time::Duration;

use super::seen::{Job, Slot};
use super::state::Wanted;
use crate::model::{
    BuildCache, CommitSha, DeploymentId, ReleaseId, ReplicaName, RequestPath, Route, SecretVersion, Upstream,
};

/// An effect that should be under way now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Fetches the source of the application. Ends as [`Job`].
    Checkout {
        /// Which attempt.
        job: Job,
        /// A commit instead of the branch head.
        commit: Option<CommitSha>,
    },
    /// Builds what was checked out, or takes over an artifact of the same input. Ends as [`Job`].
    Build {
        /// Which attempt.
        job: Job,
        /// Whether an artifact of the same input may be taken over.
        cache: BuildCache,
    },
    /// Runs the release command. Ends as [`Job`].
    ReleaseCommand {
        /// Which attempt.
        job: Job,
        /// Of which release.
        release: ReleaseId,
        /// Only waits for, or reads the record of, one that was begun before a crash.
        attach: bool,
    },
    /// Holds a slot of the server as long as it is named.
    HoldSlot(Slot),
    /// Finds free addresses that no application uses, and reserves them.
    FindAddresses {
        /// The number of the search.
        attempt: u32,
        /// How many.
        count: usize,
    },
    /// Starts a replica.
    Start {
        /// Its name.
        name: ReplicaName,
        /// What it is.
        wanted: Wanted,
    },
    /// Has the runtime start a replica again when it dies.
    KeepRunning {
        /// Which one.
        name: ReplicaName,
    },
    /// Ends a replica or one-off and keeps it.
    Stop {
        /// Which one.
        name: ReplicaName,
        /// From SIGTERM to SIGKILL.
        grace: Duration,
    },
    /// Removes a replica or one-off.
    Remove {
        /// Which one.
        name: ReplicaName,
    },
    /// Asks a replica until it is ready.
    Probe {
        /// Which one.
        name: ReplicaName,
        /// What it is.
        wanted: Wanted,
        /// How.
        gate: Gate,
    },
    /// Gives the application this route, and reads it back.
    Route {
        /// The route; `None`: it has none.
        route: Option<Route>,
    },
    /// Asks through the proxy's own listener until the replica answers.
    Ask {
        /// Which replica; `None`: the static release that the route names.
        upstream: Option<Upstream>,
    },
    /// Counts what is under way on upstreams.
    WatchInFlight {
        /// Which.
        upstreams: BTreeSet<Upstream>,
    },
    /// Removes a deployment's checkout and, unless it became a release, what was built of it.
    Discard {
        /// Which deployment.
        deployment: DeploymentId,
        /// Whether the artifact goes too.
        artifact: bool,
    },
    /// Removes the artifact of a release that is marked, and secret versions that only it names.
    Collect {
        /// Which release.
        release: ReleaseId,
        /// Whether another release shares its artifact, which then stays.
        shared: bool,
        /// The versions to purge.
        secrets: BTreeSet<SecretVersion>,
    },
    /// Removes everything of a deleted application that is outside the store.
    Forget {
        /// Whether its persistent directories go too.
        volumes: bool,
    },
}

/// How a replica shows that it is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Good answers on a path.
    Http {
        /// The path.
        path: RequestPath,
        /// How long an answer may take.
        timeout: Duration,
        /// How many in a row.
        threshold: u32,
    },
    /// A listening socket of its own.
    Listening,
    /// Running so long without an exit.
    Steady {
        /// How long.
        lasting: Duration,
    },
}

impl Action {
    /// The replica that it changes: one effect a replica at a time.
    pub(crate) fn changes(&self) -> Option<&ReplicaName> {
        match self {
            Self::Start { name, .. } | Self::KeepRunning { name } | Self::Stop { name, .. } | Self::Remove { name } => {
                Some(name)
            }
            Self::Checkout { .. }
            | Self::Build { .. }
            | Self::ReleaseCommand { .. }
            | Self::HoldSlot(_)
            | Self::FindAddresses { .. }
            | Self::Probe { .. }
            | Self::Route { .. }
            | Self::Ask { .. }
            | Self::WatchInFlight { .. }
            | Self::Discard { .. }
            | Self::Collect { .. }
            | Self::Forget { .. } => None,
        }
    }
}
