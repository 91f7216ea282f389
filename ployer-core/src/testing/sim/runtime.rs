//! The simulated runtime: what an engine calls, over the replicas of the world.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};

use super::faults::PointKind::{Effect, Look};
use super::program::Program;
use super::replicas::{Life, SimReplica, Start};
use super::world::{Call, EngineNumber, Port, SimWorld, World};
use crate::config::AddressRange;
use crate::error::{Error, Result};
use crate::model::{
    ApplicationId, Command, Exit, InstanceId, OutputLine, Replica, ReplicaName, ReplicaSeen, RuntimeEvent, RuntimeKind,
    Secret, Stats, VolumeName, Workload,
};
use crate::runtime::{Capabilities, ContainerRuntime, ExecOutput, LogQuery};

/// The runtime of a simulated server, as one engine reaches it.
#[derive(Clone, Debug)]
pub struct SimRuntime(pub(super) Port);

impl SimRuntime {
    /// Waits until something that was told to end has ended.
    async fn ended<T: Clone + Send>(
        &self,
        name: &ReplicaName,
        gone: T,
        mut answer: impl FnMut(&SimReplica) -> Option<T> + Send,
    ) -> T {
        self.0.world.until(|world| world.replicas.all.get(name).map_or(Some(gone.clone()), &mut answer)).await
    }
}

/// The lines of a replica after the first `from`, as they come, until it is removed.
fn follow(world: SimWorld, name: ReplicaName, from: usize) -> impl Stream<Item = Result<OutputLine>> {
    stream::unfold((world, name, from), |(world, name, at)| async move {
        let next = world.until(|world| match world.replicas.all.get(&name) {
            Some(replica) => replica.output.get(at).cloned().map(Some),
            None => Some(None),
        });
        let line = next.await?;
        Some((Ok(line), (world, name, at + 1)))
    })
}

fn start(
    world: &mut World,
    workload: &Workload,
    name: &ReplicaName,
    place: (u32, Option<SocketAddr>),
    one_off: bool,
) -> Result<()> {
    world.workshop.check_artifact(&workload.artifact)?;
    let program = workload.command.as_ref().map(Program::parse).unwrap_or_default();
    let (index, address) = place;
    world.start(Start { name: name.clone(), owner: workload.owner(index), address, program, one_off })
}

#[async_trait]
impl ContainerRuntime for SimRuntime {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(RuntimeKind::Process)
    }

    async fn attach(&self) -> Result<()> {
        let engine = self.0.engine;
        let call = Call { kind: Effect, what: "attach", of: &"" };
        self.0.call(call, move |world| world.attach(engine)).await
    }

    async fn detach(&self) -> Result<()> {
        let engine = self.0.engine;
        let call = Call { kind: Effect, what: "detach", of: &"" };
        self.0
            .call(call, move |world| {
                world.replicas.detach(engine);
                Ok(())
            })
            .await
    }

    async fn run(&self, workload: &Workload, name: &ReplicaName) -> Result<Exit> {
        let call = Call { kind: Effect, what: "run", of: name };
        self.0
            .call(call, |world| {
                if world.replicas.all.contains_key(name) {
                    return Ok(());
                }
                world.before_one_off(workload);
                start(world, workload, name, (0, None), true)
            })
            .await?;
        let exit = self.ended(name, None, |one_off| match one_off.state {
            Life::Runs { .. } => None,
            Life::Ended(exit) => Some(Some(exit)),
            Life::Stopped => Some(Some(Exit::Signal(15))),
        });
        let exit = exit.await;
        exit.ok_or_else(|| Error::failed(format!("{name} was removed while it ran")))
    }

    async fn start(&self, workload: &Workload, replica: &Replica) -> Result<()> {
        let call = Call { kind: Effect, what: "start", of: &replica.name };
        let place = (replica.index, replica.address);
        let judge = |world: &mut World| world.start_begins(workload, replica);
        self.0.judged(call, judge, |world| start(world, workload, &replica.name, place, false)).await
    }

    async fn keep_running(&self, name: &ReplicaName) -> Result<()> {
        let call = Call { kind: Effect, what: "keep running", of: name };
        self.0
            .call(call, |world| {
                world.replicas.get(name)?;
                world.keep_running(name);
                Ok(())
            })
            .await
    }

    async fn stop(&self, name: &ReplicaName, grace: Duration) -> Result<()> {
        let engine = self.0.engine;
        let call = Call { kind: Effect, what: "stop", of: name };
        let stop = |world: &mut World| {
            if engine != EngineNumber::default() {
                world.before_stop(name);
            }
            Ok(world.tell_to_end(name, grace))
        };
        let waits = self.0.judged(call, |world| world.stop_begins(name), stop).await?;
        if waits {
            self.ended(name, (), |replica| (!replica.runs()).then_some(())).await;
        }
        Ok(())
    }

    async fn remove(&self, name: &ReplicaName) -> Result<()> {
        let engine = self.0.engine;
        let call = Call { kind: Effect, what: "remove", of: name };
        let remove = |world: &mut World| {
            if engine != EngineNumber::default() {
                world.successor_answers(name, false);
            }
            world.remove(name);
            Ok(())
        };
        self.0.judged(call, |world| world.removal_begins(name), remove).await
    }

    async fn list(&self, instance: InstanceId) -> Result<Vec<ReplicaSeen>> {
        let call = Call { kind: Look, what: "list", of: &"" };
        self.0.call(call, |world| Ok(world.replicas.list(instance))).await
    }

    async fn listens(&self, name: &ReplicaName) -> Result<bool> {
        let call = Call { kind: Look, what: "listens", of: name };
        self.0.call(call, |world| Ok(world.replicas.get(name)?.listens())).await
    }

    async fn listeners(&self, name: &ReplicaName) -> Result<Vec<SocketAddr>> {
        let call = Call { kind: Look, what: "listeners", of: name };
        self.0
            .call(call, |world| {
                let replica = world.replicas.get(name)?;
                Ok(replica.address.filter(|_| replica.listens()).into_iter().collect())
            })
            .await
    }

    async fn free_addresses(
        &self,
        range: &AddressRange,
        taken: &[SocketAddr],
        count: usize,
    ) -> Result<Vec<SocketAddr>> {
        let call = Call { kind: Look, what: "free addresses", of: &"" };
        self.0
            .call(call, |world| {
                // Always the lowest: what may be used again too early, is.
                let all = range.ports.clone().map(|port| SocketAddr::new(range.host, port));
                let free = all.filter(|address| !taken.contains(address) && world.replicas.is_free(*address));
                let found: Vec<_> = free.take(count).collect();
                if found.len() < count {
                    return Err(Error::new(crate::error::ErrorKind::Exhausted, "too few addresses are free"));
                }
                Ok(found)
            })
            .await
    }

    async fn logs(&self, name: &ReplicaName, query: &LogQuery) -> Result<BoxStream<'static, Result<OutputLine>>> {
        let call = Call { kind: Look, what: "logs", of: name };
        let mut lines = self.0.call(call, |world| Ok(world.replicas.get(name)?.output.clone())).await?;
        let present = lines.len();
        if let Some(tail) = query.tail {
            lines.drain(..present.saturating_sub(tail as usize));
        }
        let lines = stream::iter(lines.into_iter().map(Ok));
        Ok(match query.follow {
            true => lines.chain(follow(self.0.world.clone(), name.clone(), present)).boxed(),
            false => lines.boxed(),
        })
    }

    async fn stats(&self, name: &ReplicaName) -> Result<Stats> {
        let call = Call { kind: Look, what: "stats", of: name };
        self.0.call(call, |world| world.replicas.get(name).map(|_| Stats::default())).await
    }

    async fn exec(&self, name: &ReplicaName, _command: &Command, _input: Option<Secret>) -> Result<ExecOutput> {
        let call = Call { kind: Effect, what: "exec", of: name };
        self.0
            .call(call, |world| {
                world.replicas.get(name)?;
                Ok(ExecOutput { exit: Exit::Code(0), stdout: Vec::new(), stderr: Vec::new() })
            })
            .await
    }

    async fn events(&self, instance: InstanceId) -> Result<BoxStream<'static, RuntimeEvent>> {
        let engine = self.0.engine;
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        let call = Call { kind: Look, what: "events", of: &"" };
        self.0
            .call(call, |world| {
                world.replicas.follow(engine, instance, sender);
                Ok(())
            })
            .await?;
        let next = |mut receiver: tokio::sync::mpsc::UnboundedReceiver<RuntimeEvent>| async {
            receiver.recv().await.map(|event| (event, receiver))
        };
        Ok(stream::unfold(receiver, next).boxed())
    }

    async fn remove_volume(&self, application: ApplicationId, volume: &VolumeName) -> Result<()> {
        let call = Call { kind: Effect, what: "remove volume", of: volume };
        self.0.judged(call, |world| world.volume_goes(application, volume), |_| Ok(())).await
    }
}
