//! The settings of the library: every default, limit and deadline in one block, with its unit.
//!
//! Help texts, documentation and tests read the numbers from here. Nothing here reads a file or the environment:
//! a frontend parses its own configuration and hands the values in.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// How long each step of a deployment may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Fetching and checking out the source.
    pub checkout: Duration,
    /// Building, pulling or reusing.
    pub build: Duration,
    /// The release command.
    pub release_command: Duration,
    /// Starting the replicas.
    pub start: Duration,
    /// From started to ready.
    pub gate: Duration,
    /// From the intent to the confirmed route.
    pub switch: Duration,
    /// Requests in flight of a retiring replica.
    pub drain: Duration,
    /// Upgraded connections (WebSockets) of a retiring replica.
    pub drain_upgraded: Duration,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
    /// How long requests may be held during a stop-first rollout, counted from its beginning.
    pub hold: Duration,
    /// What requests in flight get before a stop-first replica is told to end.
    pub hold_drain: Duration,
    /// The least time kept back from the hold for the old replicas to return.
    pub hold_return: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            checkout: Duration::from_secs(5 * 60),
            build: Duration::from_secs(30 * 60),
            release_command: Duration::from_secs(10 * 60),
            start: Duration::from_secs(2 * 60),
            gate: Duration::from_secs(60),
            switch: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            drain_upgraded: Duration::from_secs(5 * 60),
            grace: Duration::from_secs(10),
            hold: Duration::from_secs(30),
            hold_drain: Duration::from_secs(8),
            hold_return: Duration::from_secs(3),
        }
    }
}

/// How the engine paces itself and how much it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// The periodic look at an application in a transient state.
    pub tick_busy: Duration,
    /// The periodic look at an application at rest.
    pub tick_idle: Duration,
    /// The life of the engine's lease.
    pub lease: Duration,
    /// How often the lease is renewed.
    pub lease_renewal: Duration,
    /// A holder that could not renew for so long starts no further effect.
    pub lease_doubt: Duration,
    /// Builds at once on one server.
    pub build_slots: usize,
    /// Replica starts at once on one server; `None`: as many as cores.
    pub start_slots: Option<usize>,
    /// Upstream addresses handed to replicas.
    pub addresses: AddressRange,
    /// How long an address stays unused after the last route that named it is gone.
    pub address_rest: Duration,
    /// How many times a start begins again because an address was taken.
    pub address_attempts: u32,
    /// A process without a port is ready after running so long.
    pub portless_ready: Duration,
    /// How long an answer on the gate's path may take where no health check says otherwise.
    pub gate_answer: Duration,
    /// Releases that ran and are kept for a rollback, besides the active, retiring and pinned ones.
    pub releases_kept: usize,
    /// Releases that retire at the same time.
    pub retiring_max: usize,
    /// Deployments of one application that wait at most.
    pub queue_max: usize,
    /// Replicas of one process type at most.
    pub replicas_max: u32,
    /// Crashes of the engine that a checkout, build, start or gate survives.
    pub crashes_max: u32,
    /// Exits within [`EngineSettings::degraded_window`] that make an application degraded.
    pub degraded_exits: usize,
    /// The window in which exits are counted.
    pub degraded_window: Duration,
    /// First pause before a replica that died is started again; it doubles each time.
    pub restart_pause: Duration,
    /// Longest pause before a replica that died is started again.
    pub restart_pause_max: Duration,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            tick_busy: Duration::from_secs(1),
            tick_idle: Duration::from_secs(10),
            lease: Duration::from_secs(10),
            lease_renewal: Duration::from_secs(3),
            lease_doubt: Duration::from_secs(6),
            build_slots: 1,
            start_slots: None,
            addresses: AddressRange::default(),
            address_rest: Duration::from_secs(60),
            address_attempts: 3,
            portless_ready: Duration::from_secs(5),
            gate_answer: Duration::from_secs(5),
            releases_kept: 5,
            retiring_max: 2,
            queue_max: 100,
            replicas_max: 50,
            crashes_max: 2,
            degraded_exits: 5,
            degraded_window: Duration::from_secs(120),
            restart_pause: Duration::from_secs(1),
            restart_pause_max: Duration::from_secs(60),
        }
    }
}

/// Where upstream addresses come from: outside the ephemeral range, so that no outgoing connection takes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRange {
    /// The address that replicas listen on.
    pub host: IpAddr,
    /// The ports handed out.
    pub ports: RangeInclusive<u16>,
}

impl Default for AddressRange {
    fn default() -> Self {
        Self { host: IpAddr::V4(Ipv4Addr::LOCALHOST), ports: 20_000..=29_999 }
    }
}

/// How much build output is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// The longest line; the rest of a longer one is cut.
    pub line_bytes_max: usize,
    /// A chunk is stored when it has so many bytes,
    pub chunk_bytes: usize,
    /// or after so long.
    pub chunk_delay: Duration,
    /// What is kept of the beginning of a deployment's output.
    pub head_bytes_max: usize,
    /// What is kept of its end.
    pub tail_bytes_max: usize,
    /// The deployments of an application whose output is kept.
    pub deployments_max: usize,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            line_bytes_max: 16 * 1024,
            chunk_bytes: 64 * 1024,
            chunk_delay: Duration::from_millis(100),
            head_bytes_max: 4 * 1024 * 1024,
            tail_bytes_max: 12 * 1024 * 1024,
            deployments_max: 50,
        }
    }
}

/// How long the event log is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventLimits {
    /// The age at which an event goes.
    pub age_max: Duration,
    /// The number of events kept.
    pub count_max: u64,
}

impl Default for EventLimits {
    fn default() -> Self {
        Self { age_max: Duration::from_secs(7 * 24 * 3600), count_max: 100_000 }
    }
}

/// What a source may be and how large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    /// Whether a path of this machine may be deployed.
    pub allow_local: bool,
    /// Whether a folder that is larger than [`SourceSettings::snapshot_bytes_max`] or a home directory may be.
    pub allow_large_snapshots: bool,
    /// The largest folder taken as it is.
    pub snapshot_bytes_max: u64,
    /// The largest history of a repository.
    pub mirror_bytes_max: u64,
    /// What the files of one checkout may have together, with those of its submodules and of Git LFS.
    pub checkout_bytes_max: u64,
    /// The files of one checkout.
    pub files_max: usize,
    /// The submodules of one checkout.
    pub submodules_max: usize,
    /// A transfer over HTTP that brings fewer bytes in a second,
    pub low_speed_bytes: u64,
    /// for so long, is given up.
    pub low_speed_time: Duration,
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self {
            allow_local: false,
            allow_large_snapshots: false,
            snapshot_bytes_max: 1_000_000_000,
            mirror_bytes_max: 20_000_000_000,
            checkout_bytes_max: 10_000_000_000,
            files_max: 500_000,
            submodules_max: 100,
            low_speed_bytes: 1_000,
            low_speed_time: Duration::from_secs(30),
        }
    }
}

/// The limits of the embedded proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxySettings {
    /// How long connecting to an upstream may take.
    pub connect: Duration,
    /// How long an upstream may take to the head of its answer.
    pub answer_head: Duration,
    /// How long a client may take to send the head of a request.
    pub request_head: Duration,
    /// The largest head of a request or an answer.
    pub head_bytes_max: usize,
    /// Client connections at once.
    pub connections_max: usize,
    /// Requests held at once for one route.
    pub held_max: usize,
    /// Bytes of request bodies that may wait in memory while their requests are held, for one route.
    pub held_bytes_max: usize,
    /// A request that cannot be repeated only takes a kept upstream connection idle for less than this.
    pub reuse_unsafe: Duration,
    /// An idle upstream connection is closed after this.
    pub upstream_idle: Duration,
    /// An idle client connection is closed after this: later than clients and edges close theirs, because a request
    /// that meets a closing connection is lost.
    pub client_idle: Duration,
    /// How long a client may take nothing of its answer, or send nothing of a body that its upstream waits for.
    pub client_stalled: Duration,
    /// How long a proxy that starts with a table from disk holds requests before it has been told the present one.
    pub hold_at_start: Duration,
    /// Threads that serve; `None`: as many as cores.
    pub threads: Option<usize>,
}

impl Default for ProxySettings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer_head: Duration::from_secs(60),
            request_head: Duration::from_secs(30),
            head_bytes_max: 64 * 1024,
            connections_max: 10_000,
            held_max: 1_000,
            held_bytes_max: 16 * 1024 * 1024,
            reuse_unsafe: Duration::from_millis(500),
            upstream_idle: Duration::from_secs(60),
            client_idle: Duration::from_secs(300),
            client_stalled: Duration::from_secs(60),
            hold_at_start: Duration::from_secs(30),
            threads: None,
        }
    }
}

/// The limits of the process runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSettings {
    /// A cgroup (v2) that was handed over to us and has no process in it; without one there are no limits.
    pub cgroup: Option<PathBuf>,
    /// What is kept of each of a replica's two streams of output.
    pub output_bytes_max: u64,
    /// How long a command beside a replica may take.
    pub exec: Duration,
    /// What is kept of each stream of such a command.
    pub exec_bytes_max: usize,
}

impl Default for ProcessSettings {
    fn default() -> Self {
        Self {
            cgroup: None,
            output_bytes_max: 16 * 1024 * 1024,
            exec: Duration::from_secs(60),
            exec_bytes_max: 1024 * 1024,
        }
    }
}

/// All settings of the library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Applications are reachable at `{name}.{base_domain}`.
    pub base_domain: String,
    /// Whether the only application there is also answers for hosts that are nobody's.
    pub fallback_single: bool,
    /// Names that only an administrator may give to an application, because they become host names.
    pub reserved_names: Vec<String>,
    /// The deadlines of a deployment.
    pub deadlines: Deadlines,
    /// The engine's pace and what it keeps.
    pub engine: EngineSettings,
    /// How much build output is kept.
    pub logs: LogLimits,
    /// How long events are kept.
    pub events: EventLimits,
    /// What a source may be.
    pub source: SourceSettings,
    /// The process runtime's limits.
    pub process: ProcessSettings,
    /// The embedded proxy's limits.
    pub proxy: ProxySettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            base_domain: "localhost".to_owned(),
            fallback_single: false,
            reserved_names: ["api", "www", "admin", "ployer", "app", "dashboard"].map(str::to_owned).to_vec(),
            deadlines: Deadlines::default(),
            engine: EngineSettings::default(),
            logs: LogLimits::default(),
            events: EventLimits::default(),
            source: SourceSettings::default(),
            process: ProcessSettings::default(),
            proxy: ProxySettings::default(),
        }
    }
}
