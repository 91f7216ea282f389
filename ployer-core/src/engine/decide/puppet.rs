//! A puppet world for the tests of this room: it does at once what a decision names, unless a test says otherwise.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::action::Action;
use super::next;
use super::seen::{Facts, Ground, JobEnd, Readiness, RouteSeen, Seen, StartFailure};
use super::state::{Stage, State};
use crate::clock::{Clock, SystemClock};
use crate::config::Settings;
use crate::model::{
    Actor, Application, ApplicationId, Artifact, BuildCache, Built, Change, Command, CommitInfo, Deployment,
    DeploymentId, DeploymentKind, DeploymentStatus, EventKind, Exit, InFlight, InstanceId, NewApplication, Owner,
    ProcessName, ProcessSpec, Record, ReleaseId, ReleaseSpec, ReplicaName, ReplicaSeen, ReplicaState, Revision,
    Rollout, SecretVersion, ServerId, Step, Target, VolumeMount, Wanted,
};

/// One application in a world that obeys.
pub(super) struct Puppet {
    pub(super) state: State,
    pub(super) facts: Facts,
    pub(super) seen: Seen,
    pub(super) ground: Ground,
    pub(super) now: Timestamp,
    pub(super) events: Vec<EventKind>,
    /// What the next build makes.
    pub(super) spec: ReleaseSpec,
    /// Jobs end so instead of well.
    pub(super) job_end: Option<JobEnd>,
    /// Effects of these kinds do not come to an end.
    pub(super) stuck: BTreeSet<&'static str>,
    /// Replicas whose release is among these are never ready.
    pub(super) never_ready: BTreeSet<ReleaseId>,
    /// Replicas whose release is among these end as soon as they are started.
    pub(super) exits: BTreeSet<ReleaseId>,
    /// Every kind of action that was performed, in order.
    pub(super) performed: Vec<String>,
    /// Releases that were collected: whether the artifact stayed, and which values went.
    pub(super) collected: Vec<(ReleaseId, bool, BTreeSet<SecretVersion>)>,
    revision: u64,
}

impl Puppet {
    pub(super) fn new() -> Self {
        let now: Timestamp = "2026-02-13T00:00:00Z".parse().unwrap();
        let name = "shop".parse().unwrap();
        let mut new = NewApplication::new(name);
        new.git_url = Some("https://example.com/shop".parse().unwrap());
        let application = application(new, now);
        let facts = Facts {
            application,
            deployments: Default::default(),
            releases: Default::default(),
            domains: Vec::new(),
            health: None,
            env: Default::default(),
            volumes: Default::default(),
            subdomain: None,
        };
        Self {
            state: State::default(),
            facts,
            seen: Seen { replicas: Some(Default::default()), ..Seen::default() },
            ground: Ground { settings: Settings::default(), epoch: 1 },
            now,
            events: Vec::new(),
            spec: web(),
            job_end: None,
            stuck: BTreeSet::new(),
            never_ready: BTreeSet::new(),
            exits: BTreeSet::new(),
            performed: Vec::new(),
            collected: Vec::new(),
            revision: 0,
        }
    }

    /// Queues a deployment of the branch head.
    pub(super) fn queue(&mut self) -> DeploymentId {
        self.queue_kind(DeploymentKind::Deploy { commit: None, cache: BuildCache::Use })
    }

    pub(super) fn queue_kind(&mut self, kind: DeploymentKind) -> DeploymentId {
        let application = (self.facts.application.id, &self.facts.application.name, self.facts.application.server_id);
        let row = Deployment::queued(DeploymentId::new(&SystemClock), application, Actor::System, kind, self.now);
        let id = row.id;
        self.facts.deployments.insert(id, row);
        id
    }

    /// Deploys to the end.
    pub(super) fn deployed(&mut self) -> DeploymentId {
        let id = self.queue();
        self.settle();
        assert_eq!(self.status(id), DeploymentStatus::Running, "{:?}", self.row(id).failure);
        id
    }

    pub(super) fn row(&self, id: DeploymentId) -> &Deployment {
        &self.facts.deployments[&id]
    }

    pub(super) fn status(&self, id: DeploymentId) -> DeploymentStatus {
        self.row(id).status
    }

    /// The names of the replicas that run.
    pub(super) fn running(&self) -> Vec<String> {
        let replicas = self.seen.replicas.iter().flatten();
        replicas.filter(|(_, seen)| seen.state == ReplicaState::Running).map(|(name, _)| name.to_string()).collect()
    }

    /// The releases that the route names.
    pub(super) fn routed(&self) -> BTreeSet<ReleaseId> {
        let Some(route) = self.seen.route.as_ref().and_then(|seen| seen.route.as_ref()) else { return BTreeSet::new() };
        match &route.target {
            Target::Upstreams(upstreams) => {
                let release = |name: &ReplicaName| self.seen.replicas.as_ref().unwrap()[name].owner.release;
                upstreams.iter().map(|upstream| release(&upstream.replica)).collect()
            }
            Target::Static { release, .. } => [*release].into(),
            _ => BTreeSet::new(),
        }
    }

    /// Decides and performs until nothing changes any more.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            if !self.turn() {
                return;
            }
        }
        panic!("it does not settle: {:?}", self.state.operation);
    }

    /// Decides and performs until the operation is at `step`, then stops before its effects.
    pub(super) fn settle_at(&mut self, step: Step) {
        for _ in 0..200 {
            let at = self.facts.deployments.values().any(|row| row.step == step && row.status.is_under_way());
            if at {
                return;
            }
            assert!(self.turn(), "it settled before {step}");
        }
    }

    /// Lets time pass, then settles.
    pub(super) fn pass(&mut self, lasting: Duration) {
        self.now = self.now.checked_add(lasting).unwrap();
        self.settle();
    }

    /// Another engine takes over: what was seen is forgotten, but for what the runtime and the proxy still have.
    pub(super) fn crash(&mut self) {
        let mut replicas = self.seen.replicas.take().unwrap_or_default();
        replicas.values_mut().for_each(|seen| seen.restarts = 0);
        self.seen = Seen { replicas: Some(replicas), ..Seen::default() };
        self.ground.epoch += 1;
        self.job_end = None;
    }

    /// One decision and its effects; whether anything changed.
    pub(super) fn turn(&mut self) -> bool {
        let before = (self.state.clone(), self.facts.clone().deployments, self.seen_mark());
        let next = next(self.state.clone(), &self.facts, &self.seen, &self.ground, self.now);
        self.state = next.state;
        self.events.extend(next.events.into_iter().map(|event| event.kind));
        for change in next.changes {
            self.store(change);
        }
        for action in next.actions {
            self.perform(action);
        }
        before != (self.state.clone(), self.facts.deployments.clone(), self.seen_mark())
    }

    fn seen_mark(&self) -> String {
        format!("{:?}", self.seen)
    }

    fn store(&mut self, change: Change) {
        match change {
            Change::Insert(Record::Release(row)) | Change::Update(Record::Release(row)) => {
                self.facts.releases.insert(row.id, row);
            }
            Change::Insert(Record::Deployment(row)) | Change::Update(Record::Deployment(row)) => {
                self.facts.deployments.insert(row.id, row);
            }
            Change::Insert(Record::Domain(row)) => {
                self.facts.subdomain = Some(row.clone());
                self.facts.domains.push(row);
            }
            Change::Insert(Record::Volume(row)) => {
                self.facts.volumes.insert(row.name, row.version);
            }
            _ => {}
        }
    }

    fn perform(&mut self, action: Action) {
        let kind = kind(&action);
        if self.stuck.contains(kind) {
            return;
        }
        if self.performed.last().is_none_or(|last| last != kind) {
            self.performed.push(kind.to_owned());
        }
        match action {
            Action::Checkout { job, .. } => {
                let commit =
                    CommitInfo { sha: None, message: String::new(), author: String::new(), tree: String::new() };
                self.end(job, JobEnd::CheckedOut { commit, directory: "/src".into() });
            }
            Action::Build { job, .. } => {
                let artifact = Artifact::Directory { path: format!("/releases/{}", job.deployment).into() };
                let built = Built { artifact, spec: self.spec.clone(), reuse_key: String::new(), reused_from: None };
                self.end(job, JobEnd::Built(Box::new(built)));
            }
            Action::ReleaseCommand { job, attach, .. } => {
                let end = JobEnd::Exited { exit: Exit::Code(0), output: Vec::new() };
                self.end(job, if attach { JobEnd::Lost } else { end });
            }
            Action::HoldSlot(slot) => {
                self.seen.slots.insert(slot, self.now);
            }
            Action::FindAddresses { attempt, count } => {
                let found = (0..count).map(|at| format!("127.0.0.1:{}", 20_000 + attempt as usize * 10 + at));
                self.seen.addresses = Some((attempt, Ok(found.map(|text| text.parse().unwrap()).collect())));
            }
            Action::Route { route } => self.route(route),
            Action::Ask { upstream: Some(upstream) } => {
                self.seen.answered.insert(upstream.replica);
            }
            Action::Ask { upstream: None } => self.seen.answered_static = self.routed().into_iter().next(),
            Action::WatchInFlight { upstreams } => {
                let idle = upstreams.into_iter().map(|upstream| (upstream.replica, InFlight::default()));
                self.seen.in_flight.extend(idle);
            }
            Action::Discard { deployment, .. } => {
                self.seen.discarded.insert(deployment);
            }
            Action::Collect { release, shared, secrets } => {
                self.collected.push((release, shared, secrets));
                self.seen.collected.insert(release);
            }
            Action::Forget { .. } => self.seen.forgotten = true,
            _ => self.perform_on_replica(action),
        }
    }

    fn perform_on_replica(&mut self, action: Action) {
        let replicas = self.seen.replicas.as_mut().unwrap();
        match action {
            Action::Start { name, wanted } => {
                let exits = self.exits.contains(&wanted.release);
                let state = if exits { ReplicaState::Exited(Exit::Code(1)) } else { ReplicaState::Running };
                let (application, process) = (self.facts.application.id, wanted.process.clone());
                let instance = InstanceId::from(self.facts.application.id.as_uuid());
                let owner = Owner { instance, application, release: wanted.release, process, index: wanted.index };
                let address = wanted.address;
                let seen = ReplicaSeen { name: name.clone(), owner, state, address, restarts: 0, keeps_running: false };
                replicas.insert(name, seen);
            }
            Action::KeepRunning { name } => replicas.get_mut(&name).unwrap().keeps_running = true,
            Action::Stop { name, .. } => {
                let seen = replicas.get_mut(&name).unwrap();
                (seen.state, seen.keeps_running) = (ReplicaState::Stopped, false);
                self.seen.readiness.remove(&name);
            }
            Action::Remove { name } => {
                replicas.remove(&name);
            }
            Action::Probe { name, wanted, .. } => {
                let never = self.never_ready.contains(&wanted.release);
                let ready_at = if never { None } else { Some(self.now) };
                let reason = never.then(|| "nothing listens on port 20001".to_owned());
                let readiness = Readiness { asked_at: self.now, attempts: 1, ready_at, reason };
                self.seen.readiness.insert(name, readiness);
            }
            _ => {}
        }
    }

    fn route(&mut self, route: Option<crate::model::Route>) {
        if self.seen.route.as_ref().is_none_or(|seen| seen.route != route) {
            self.revision += 1;
            let revision = Revision { epoch: self.ground.epoch, number: self.revision };
            self.seen.route = Some(RouteSeen { route, revision });
            self.seen.answered.clear();
            self.seen.answered_static = None;
        }
    }

    fn end(&mut self, job: super::seen::Job, well: JobEnd) {
        let end = self.job_end.clone().unwrap_or(well);
        self.seen.jobs.insert(job, end);
    }

    /// A replica cannot be started because something else has its address.
    pub(super) fn take_address(&mut self, name: &ReplicaName) {
        let failure = StartFailure { address_taken: true, cause: "the address is taken".to_owned() };
        self.seen.start_failures.insert(name.clone(), failure);
    }

    /// A replica ended; the runtime may bring it back.
    pub(super) fn kill(&mut self, name: &str) {
        let replicas = self.seen.replicas.as_mut().unwrap();
        let seen = replicas.get_mut(&name.parse().unwrap()).unwrap();
        seen.state = ReplicaState::Exited(Exit::Signal(9));
        let asked_at = self.now;
        let readiness = Readiness { asked_at, attempts: 0, ready_at: None, reason: Some("it ended".to_owned()) };
        self.seen.readiness.insert(seen.name.clone(), readiness);
    }

    /// The worker of a new release ends before it is ready.
    pub(super) fn settle_stuck_worker(&mut self, name: &str) {
        let name: ReplicaName = name.parse().unwrap();
        self.stuck.insert("probe");
        while self.seen.replica(&name).is_none() {
            assert!(self.turn());
        }
        let seen = self.seen.replicas.as_mut().unwrap().get_mut(&name).unwrap();
        seen.state = ReplicaState::Exited(Exit::Code(1));
        self.stuck.remove("probe");
        self.settle();
    }

    pub(super) fn stage(&self) -> Option<&Stage> {
        self.state.operation.as_ref().map(|operation| &operation.stage)
    }
}

/// One replica of `web` without anything persistent.
pub(super) fn web() -> ReleaseSpec {
    let command = Some(Command(vec!["serve".to_owned()]));
    ReleaseSpec { processes: vec![ProcessSpec::new(ProcessName::web(), command)], ..ReleaseSpec::default() }
}

/// `web` with a persistent directory: stop-first.
pub(super) fn web_with_volume() -> ReleaseSpec {
    let volumes = vec![VolumeMount { name: "data".parse().unwrap(), path: None }];
    ReleaseSpec { rollout: Rollout::StopFirst, volumes, ..web() }
}

/// `web` and a worker without a port.
pub(super) fn web_and_worker() -> ReleaseSpec {
    let command = Some(Command(vec!["work".to_owned()]));
    let mut spec = web();
    spec.processes.push(ProcessSpec::new("worker".parse().unwrap(), command));
    spec
}

/// Files only.
pub(super) fn files() -> ReleaseSpec {
    ReleaseSpec { static_root: Some("public".into()), ..ReleaseSpec::default() }
}

fn application(new: NewApplication, now: Timestamp) -> Application {
    let clock: &dyn Clock = &SystemClock;
    Application {
        id: ApplicationId::new(clock),
        version: Default::default(),
        name: new.name,
        server_id: ServerId::new(clock),
        owner: None,
        git_url: new.git_url,
        git_branch: new.git_branch,
        base_directory: new.base_directory,
        build_strategy: new.build_strategy,
        dockerfile_path: new.dockerfile_path,
        port: new.port,
        auto_deploy: new.auto_deploy,
        auto_deploy_paused: false,
        rollout: new.rollout,
        replicas: Default::default(),
        wanted: Wanted::Running,
        restarts_wanted: 0,
        allow_process_runtime: true,
        created_at: now,
        updated_at: now,
    }
}

fn kind(action: &Action) -> &'static str {
    match action {
        Action::Checkout { .. } => "checkout",
        Action::Build { .. } => "build",
        Action::ReleaseCommand { .. } => "release command",
        Action::HoldSlot(_) => "hold slot",
        Action::FindAddresses { .. } => "find addresses",
        Action::Start { .. } => "start",
        Action::KeepRunning { .. } => "keep running",
        Action::Stop { .. } => "stop",
        Action::Remove { .. } => "remove",
        Action::Probe { .. } => "probe",
        Action::Route { .. } => "route",
        Action::Ask { .. } => "ask",
        Action::WatchInFlight { .. } => "watch in flight",
        Action::Discard { .. } => "discard",
        Action::Collect { .. } => "collect",
        Action::Forget { .. } => "forget",
    }
}
