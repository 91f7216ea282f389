//! Replicas: what runs in the world, as state. It goes on while engines come and go.
//!
//! Here stands what a machine does by itself and on command; the trait that an engine calls is in `runtime`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::program::Program;
use super::random::Random;
use super::world::{Due, EngineNumber, World};
use crate::error::{Error, Resource, Result};
use crate::model::{
    ApplicationId, DeploymentId, Exit, InstanceId, OutputLine, OutputStream, Owner, ProcessName, ReleaseId,
    ReplicaName, ReplicaSeen, ReplicaState, RuntimeEvent,
};

/// First pause before a replica that died is started again; it doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How late news is that comes late.
const NEWS_LATE: Duration = Duration::from_secs(45);

/// What runs in the world.
#[derive(Debug)]
pub(super) struct Replicas {
    pub(super) all: BTreeMap<ReplicaName, SimReplica>,
    /// Replicas that are there from the beginning and are not this installation's to touch.
    pub(super) foreign: BTreeSet<ReplicaName>,
    /// Addresses that strangers listen on.
    pub(super) strangers: BTreeSet<SocketAddr>,
    /// The engine that watches; what dies is started again only then, unless the runtime is one that needs nobody.
    attached: Option<EngineNumber>,
    /// Whether replicas are started again while no engine is there, as Docker does.
    restarts_alone: bool,
    /// Whether the exit of a one-off is lost with the engine under which it began, as for adopted processes.
    forgets_exits: bool,
    lives: u64,
    followers: Vec<Follower>,
    lose_next: u32,
    delay_next: u32,
}

#[derive(Debug)]
struct Follower {
    engine: EngineNumber,
    instance: InstanceId,
    news: UnboundedSender<RuntimeEvent>,
}

/// A replica or one-off.
#[derive(Clone, Debug)]
pub(super) struct SimReplica {
    pub(super) owner: Owner,
    pub(super) address: Option<SocketAddr>,
    pub(super) program: Program,
    pub(super) state: Life,
    pub(super) one_off: bool,
    pub(super) keep: bool,
    pub(super) restarts: u32,
    pub(super) output: Vec<OutputLine>,
    /// Which start of anything this is: what the calendar says of an earlier life is void.
    life: u64,
    pause: Duration,
    orphaned: bool,
}

/// What a replica does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It runs.
    Runs {
        /// Whether it listens.
        listening: bool,
        /// Whether it was told to end.
        ending: bool,
    },
    /// It ended by itself.
    Ended(Exit),
    /// It was told to end and has.
    Stopped,
}

impl SimReplica {
    pub(super) fn runs(&self) -> bool {
        matches!(self.state, Life::Runs { .. })
    }

    pub(super) fn listens(&self) -> bool {
        matches!(self.state, Life::Runs { listening: true, .. })
    }

    fn seen(&self, name: &ReplicaName) -> ReplicaSeen {
        ReplicaSeen {
            name: name.clone(),
            owner: self.owner.clone(),
            state: self.reported(),
            address: self.address.filter(|_| self.runs()),
            restarts: self.restarts,
            keeps_running: self.keep,
        }
    }

    fn reported(&self) -> ReplicaState {
        match self.state {
            Life::Runs { .. } => ReplicaState::Running,
            Life::Ended(exit) => ReplicaState::Exited(exit),
            Life::Stopped => ReplicaState::Stopped,
        }
    }

    /// What its program prints at its start.
    fn print(&mut self, name: &ReplicaName) {
        let line = |(stream, text): &(OutputStream, String)| OutputLine {
            replica: name.clone(),
            stream: *stream,
            at: None,
            text: text.clone(),
        };
        self.output.extend(self.program.prints.iter().map(line));
    }
}

/// What is asked for with a start.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) name: ReplicaName,
    pub(super) owner: Owner,
    pub(super) address: Option<SocketAddr>,
    pub(super) program: Program,
    pub(super) one_off: bool,
}

impl Replicas {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            all: BTreeMap::new(),
            foreign: BTreeSet::new(),
            strangers: BTreeSet::new(),
            attached: None,
            restarts_alone: random.chance(500),
            forgets_exits: random.chance(500),
            lives: 0,
            followers: Vec::new(),
            lose_next: 0,
            delay_next: 0,
        }
    }

    pub(super) fn get(&self, name: &ReplicaName) -> Result<&SimReplica> {
        self.all.get(name).ok_or_else(|| Error::not_found(Resource::Replica, name))
    }

    pub(super) fn list(&self, instance: InstanceId) -> Vec<ReplicaSeen> {
        let ours = self.all.iter().filter(|(_, replica)| replica.owner.instance == instance);
        ours.map(|(name, replica)| replica.seen(name)).collect()
    }

    /// Whoever holds that address at this moment.
    pub(super) fn holder(&self, address: SocketAddr) -> Option<&ReplicaName> {
        self.all.iter().find(|(_, other)| other.runs() && other.address == Some(address)).map(|(name, _)| name)
    }

    pub(super) fn is_free(&self, address: SocketAddr) -> bool {
        !self.strangers.contains(&address) && self.holder(address).is_none()
    }

    pub(super) fn follow(&mut self, engine: EngineNumber, instance: InstanceId, news: UnboundedSender<RuntimeEvent>) {
        self.followers.push(Follower { engine, instance, news });
    }

    /// Takes charge; `false` where another engine has it.
    pub(super) fn attach(&mut self, engine: EngineNumber) -> bool {
        let mine = self.attached.is_none_or(|holder| holder == engine);
        if mine {
            self.attached = Some(engine);
        }
        mine
    }

    pub(super) fn detach(&mut self, engine: EngineNumber) {
        self.attached = self.attached.filter(|holder| *holder != engine);
    }

    pub(super) fn engine_is_gone(&mut self, engine: EngineNumber) {
        self.detach(engine);
        self.followers.retain(|follower| follower.engine != engine);
        for one_off in self.all.values_mut().filter(|replica| replica.one_off && replica.runs()) {
            one_off.orphaned = true;
        }
    }

    pub(super) fn lose_next(&mut self) {
        self.lose_next += 1;
    }

    pub(super) fn delay_next(&mut self) {
        self.delay_next += 1;
    }

    /// Tells the followers what a replica does at this moment.
    pub(super) fn tell(&mut self, name: &ReplicaName) {
        let Some(replica) = self.all.get(name) else { return };
        let news = RuntimeEvent { name: name.clone(), owner: replica.owner.clone(), state: replica.reported() };
        self.followers
            .retain(|follower| follower.instance != replica.owner.instance || follower.news.send(news.clone()).is_ok());
    }
}

impl World {
    /// Something of ours runs for an application whose store has forgotten it, as after a backup was put back.
    pub(super) fn is_stranded(&mut self, application: ApplicationId) {
        let Some(instance) = self.judge.instance else { return };
        let release = ReleaseId::from(DeploymentId::new(&self.clock));
        let process = ProcessName::web();
        let name: ReplicaName = match format!("stranded-{release}-web-1").parse() {
            Ok(name) => name,
            Err(_) => return,
        };
        let owner = Owner { instance, application, release, process, index: 1 };
        self.replicas.foreign.insert(name.clone());
        let start = Start { name, owner, address: None, program: Program::silent(), one_off: false };
        // Nothing else has begun: there is nobody it could be in the way of.
        self.start(start).unwrap_or_default();
    }

    /// Starts a replica or a one-off that does not run.
    pub(super) fn start(&mut self, start: Start) -> Result<()> {
        let Start { name, owner, address, program, one_off } = start;
        if self.replicas.all.get(&name).is_some_and(SimReplica::runs) {
            return Ok(());
        }
        if let Some(address) = address.filter(|address| !self.replicas.is_free(*address)) {
            return Err(Error::conflict(format!("{address} is taken by something else")));
        }
        let before = self.replicas.all.remove(&name);
        let replica = SimReplica {
            owner,
            address,
            program,
            state: Life::Stopped,
            one_off,
            keep: false,
            restarts: before.as_ref().map_or(0, |before| before.restarts),
            output: before.map(|before| before.output).unwrap_or_default(),
            life: 0,
            pause: PAUSE,
            orphaned: false,
        };
        self.replicas.all.insert(name.clone(), replica);
        self.begins(&name);
        Ok(())
    }

    /// A life of a replica begins: it prints, listens and ends as its program says.
    fn begins(&mut self, name: &ReplicaName) {
        self.replicas.lives += 1;
        let life = self.replicas.lives;
        let Some(replica) = self.replicas.all.get_mut(name) else { return };
        replica.life = life;
        replica.state = Life::Runs { listening: false, ending: false };
        replica.print(name);
        let program = replica.program.clone();
        if let Some(after) = program.listens_after.filter(|_| replica.address.is_some()) {
            self.schedule(after, Due::Listens(name.clone(), life));
        }
        if let Some((after, _)) = program.exits_after {
            self.schedule(after, Due::Ends(name.clone(), life));
        }
        self.news(name);
    }

    pub(super) fn listens(&mut self, name: &ReplicaName, life: u64) {
        let Some(replica) = self.replicas.all.get_mut(name).filter(|replica| replica.life == life) else { return };
        if let Life::Runs { listening, .. } = &mut replica.state {
            *listening = true;
            self.note(format_args!("   {name} listens"));
            self.replica_listens(name);
        }
    }

    /// The program of that life ends, by itself or after a signal.
    pub(super) fn ends(&mut self, name: &ReplicaName, life: u64) {
        let forgets = self.replicas.forgets_exits;
        let Some(replica) = self.replicas.all.get_mut(name).filter(|replica| replica.life == life) else { return };
        let Life::Runs { ending, .. } = replica.state else { return };
        let exit = match replica.program.exits_after {
            _ if ending => Exit::Signal(15),
            _ if forgets && replica.orphaned => Exit::Unknown,
            Some((_, exit)) => exit,
            None => Exit::Signal(9),
        };
        self.is_over(name, exit);
    }

    /// A replica has ended: told to, or not.
    pub(super) fn is_over(&mut self, name: &ReplicaName, exit: Exit) {
        let Some(replica) = self.replicas.all.get_mut(name) else { return };
        let Life::Runs { ending, .. } = replica.state else { return };
        replica.state = if ending && !replica.one_off { Life::Stopped } else { Life::Ended(exit) };
        let (keep, life, pause) = (replica.keep && !ending, replica.life, replica.pause);
        self.note(format_args!("   {name} ends with {exit}"));
        self.replica_ended(name, ending);
        if keep {
            self.schedule(pause, Due::Revives(name.clone(), life));
        }
        self.news(name);
    }

    /// The runtime starts a replica again that died.
    pub(super) fn revives(&mut self, name: &ReplicaName, life: u64) {
        if self.replicas.attached.is_none() && !self.replicas.restarts_alone {
            return;
        }
        let Some(replica) = self.replicas.all.get(name) else { return };
        let waits = replica.life == life && replica.keep && matches!(replica.state, Life::Ended(_));
        if !waits {
            return;
        }
        let taken = replica.address.is_some_and(|address| !self.replicas.is_free(address));
        let Some(replica) = self.replicas.all.get_mut(name) else { return };
        replica.pause = (replica.pause * 2).min(PAUSE_MAX);
        if taken {
            let pause = replica.pause;
            self.schedule(pause, Due::Revives(name.clone(), life));
            return;
        }
        replica.restarts += 1;
        self.note(format_args!("   {name} is started again by the runtime"));
        self.begins(name);
    }

    /// An engine takes charge: what died while nobody watched is started again.
    pub(super) fn attach(&mut self, engine: EngineNumber) -> Result<()> {
        if !self.replicas.attach(engine) {
            return Err(Error::conflict("another program is in charge of these replicas"));
        }
        let died: Vec<_> = self.replicas.all.iter().filter(|(_, one)| one.keep && !one.runs()).collect();
        let died: Vec<_> = died.into_iter().map(|(name, one)| (name.clone(), one.life)).collect();
        for (name, life) in died {
            self.revives(&name, life);
        }
        Ok(())
    }

    /// Tells a replica to end; SIGKILL follows after `grace`. Answers whether there is anything to wait for.
    pub(super) fn tell_to_end(&mut self, name: &ReplicaName, grace: Duration) -> bool {
        let Some(replica) = self.replicas.all.get_mut(name) else { return false };
        replica.keep = false;
        match &mut replica.state {
            Life::Runs { ending, listening } => {
                // After SIGTERM it takes no new connection, and lets those that it has come to their end.
                (*ending, *listening) = (true, false);
                let (life, after) = (replica.life, replica.program.ends_after.map_or(grace, |after| after.min(grace)));
                self.schedule(after, Due::Ends(name.clone(), life));
                true
            }
            Life::Ended(_) if !replica.one_off => {
                replica.state = Life::Stopped;
                self.news(name);
                false
            }
            Life::Ended(_) | Life::Stopped => false,
        }
    }

    /// Removes a replica or one-off; one that runs is killed first.
    pub(super) fn remove(&mut self, name: &ReplicaName) {
        if let Some(Life::Runs { ending, .. }) = self.replicas.all.get_mut(name).map(|replica| &mut replica.state) {
            *ending = true;
            self.is_over(name, Exit::Signal(9));
        }
        self.replicas.all.remove(name);
    }

    /// From now on the runtime starts a replica again when it dies.
    pub(super) fn keep_running(&mut self, name: &ReplicaName) {
        let Some(replica) = self.replicas.all.get_mut(name) else { return };
        let (died, life) = (matches!(replica.state, Life::Ended(_)) && !replica.keep, replica.life);
        replica.keep = true;
        if died {
            self.schedule(PAUSE, Due::Revives(name.clone(), life));
        }
    }

    /// News of a replica is on its way, unless it is lost or late.
    fn news(&mut self, name: &ReplicaName) {
        if self.replicas.lose_next > 0 {
            self.replicas.lose_next -= 1;
            self.note(format_args!("!! news of {name} is lost"));
        } else if self.replicas.delay_next > 0 {
            self.replicas.delay_next -= 1;
            self.schedule(NEWS_LATE, Due::News(name.clone()));
        } else {
            self.replicas.tell(name);
        }
    }

    /// One of the replicas that serve dies.
    pub(super) fn a_replica_dies(&mut self) {
        let serving: Vec<_> = self.routing.upstreams().map(|upstream| upstream.replica.clone()).collect();
        let Some(name) = self.random.pick(&serving).cloned() else { return };
        self.dies(&name);
    }

    /// A replica dies, and nobody of Ployer did it.
    pub(super) fn dies(&mut self, name: &ReplicaName) {
        self.note(format_args!("!! {name} dies"));
        self.is_over(name, Exit::Signal(9));
    }
}
