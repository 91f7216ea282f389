//! The process runtime: Procfile processes and static sites as plain processes of this machine, with nothing
//! installed.
//!
//! A replica is a process group with files for its output and a record on disk. It neither needs this program nor
//! notices its end: after a crash it is found by its record, its start time and the marks in its environment, and
//! taken over. Whoever holds the engine's lease is in charge and supervises; everybody else only looks.
//!
//! It is not a sandbox: `confine` says what a replica may touch, and there is no network of its own. Nothing of the
//! embedding program is changed: no signal handler, no subreaper, no working directory, no umask.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::{Mutex, broadcast, oneshot};

use super::{Capabilities, ContainerRuntime, ExecOutput, LogQuery};
use crate::config::AddressRange;
use crate::error::{Error, Result};
use crate::model::{
    ApplicationId, Artifact, Command, Exit, InstanceId, OutputLine, Replica, ReplicaName, ReplicaSeen, RuntimeEvent,
    RuntimeKind, Secret, Stats, VolumeName, Workload,
};

mod adopt;
mod backoff;
mod build;
mod charge;
mod confine;
mod ending;
mod environment;
mod exec;
mod files;
mod guest;
mod kin;
mod limits;
mod lines;
mod output;
mod pidfd;
mod places;
mod record;
mod release_dir;
mod seal;
mod shared;
mod sockets;
mod spawn;
mod start;
mod stats;
mod supervise;
#[cfg(test)]
mod tests;

use self::charge::Charge;
use self::files::{blocking, failed};
use self::places::Places;
use self::record::{Kind, Launch, Phase, Record, absent};
pub use self::shared::ProcessConfig;
use self::shared::Shared;
use self::supervise::{Fresh, Order, Reply};

/// Runs release directories as processes of this machine.
///
/// Dropping it ends its tasks and nothing else: what runs goes on.
#[derive(Debug)]
pub struct ProcessRuntime {
    shared: Arc<Shared>,
    charge: Mutex<Option<Arc<Charge>>>,
    places: Places,
}

impl ProcessRuntime {
    /// Opens it, without taking charge: that is [`ContainerRuntime::attach`], or the first call that changes something.
    ///
    /// # Errors
    ///
    /// `Unsupported` without `/proc`; what the file system says if the data directory cannot be used.
    pub fn open(config: ProcessConfig) -> Result<Self> {
        Ok(Self { shared: Arc::new(Shared::open(config)?), charge: Mutex::new(None), places: Places::default() })
    }

    async fn charge(&self) -> Result<Arc<Charge>> {
        let mut charge = self.charge.lock().await;
        if let Some(charge) = &*charge {
            return Ok(Arc::clone(charge));
        }
        let taken = Arc::new(Charge::take(&self.shared).await?);
        *charge = Some(Arc::clone(&taken));
        Ok(taken)
    }

    /// Tells the supervisor of `name`; one is made if there is none.
    async fn tell<T>(&self, name: &ReplicaName, order: impl Fn(Reply<T>) -> Result<Order>) -> Result<T> {
        let charge = self.charge().await?;
        // One that is just leaving does not answer; then there is none, and a new one begins.
        for _ in 0..3 {
            let (reply, answer) = oneshot::channel();
            charge.order(&self.shared, name, order(reply)?).await;
            if let Ok(result) = answer.await {
                return result;
            }
        }
        Err(Error::unavailable(format!("the supervisor of `{name}`")))
    }

    /// What is known of `name`: from its supervisor, or from its record where somebody else is in charge.
    async fn record(&self, name: &ReplicaName) -> Result<Option<Record>> {
        let charge = self.charge.lock().await.clone();
        match charge {
            Some(charge) => Ok(charge.record(name)),
            None => {
                let (shared, folder) = (Arc::clone(&self.shared), self.shared.folder(name));
                blocking(move || Ok(folder.read()?.map(|record| looked_at(record, &shared)))).await
            }
        }
    }

    async fn present(&self, name: &ReplicaName) -> Result<Record> {
        self.record(name).await?.ok_or_else(|| absent(name))
    }

    fn fresh(&self, workload: &Workload, name: &ReplicaName, index: u32, kind: Kind) -> Result<Fresh> {
        let Artifact::Directory { path } = &workload.artifact else {
            return Err(Error::unsupported("running an image as a process"));
        };
        let Some(command) = workload.command.clone().filter(|command| !command.0.is_empty()) else {
            return Err(Error::invalid("command", "a process needs one"));
        };
        let volumes = workload.volumes.iter().map(|volume| volume.name.clone()).collect();
        let launch = Launch { release: path.clone(), command, volumes, limits: workload.limits };
        let record = Record::new(name.clone(), workload.owner(index), kind, None, launch);
        let env = self.shared.seal.close(self.shared.clock.as_ref(), name, &workload.env)?;
        Ok(Fresh { record, env })
    }
}

/// A record as it is true now, without anybody who watches the process.
fn looked_at(mut record: Record, shared: &Shared) -> Record {
    if record.identity().is_some_and(|identity| !kin::runs(identity, &shared.boot)) {
        record.phase = Phase::Ended(Exit::Unknown);
    }
    record
}

#[async_trait]
impl ContainerRuntime for ProcessRuntime {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::new(RuntimeKind::Process);
        capabilities.confined = self.shared.is_confining;
        capabilities.memory_limits = self.shared.limiter.is_active();
        capabilities
    }

    async fn attach(&self) -> Result<()> {
        self.charge().await.map(drop)
    }

    async fn detach(&self) -> Result<()> {
        match self.charge.lock().await.take() {
            Some(charge) => charge.let_go().await,
            None => Ok(()),
        }
    }

    async fn run(&self, workload: &Workload, name: &ReplicaName) -> Result<Exit> {
        self.tell(name, |reply| {
            let fresh = Box::new(self.fresh(workload, name, 0, Kind::OneOff)?);
            Ok(Order::Run { fresh, reply })
        })
        .await
    }

    async fn start(&self, workload: &Workload, replica: &Replica) -> Result<()> {
        self.tell(&replica.name, |reply| {
            let mut fresh = Box::new(self.fresh(workload, &replica.name, replica.index, Kind::Replica)?);
            fresh.record.address = replica.address;
            Ok(Order::Start { fresh, reply })
        })
        .await
    }

    async fn keep_running(&self, name: &ReplicaName) -> Result<()> {
        self.tell(name, |reply| Ok(Order::Keep { reply })).await
    }

    async fn stop(&self, name: &ReplicaName, grace: Duration) -> Result<()> {
        self.tell(name, |reply| Ok(Order::Stop { grace, reply })).await
    }

    async fn remove(&self, name: &ReplicaName) -> Result<()> {
        self.tell(name, |reply| Ok(Order::Remove { reply })).await
    }

    async fn list(&self, instance: InstanceId) -> Result<Vec<ReplicaSeen>> {
        let charge = self.charge.lock().await.clone();
        let records = match charge {
            Some(charge) => charge.records(),
            None => {
                let shared = Arc::clone(&self.shared);
                blocking(move || {
                    let (records, _unreadable) = record::read_all(&shared.replicas())?;
                    Ok(records.into_iter().map(|record| looked_at(record, &shared)).collect())
                })
                .await?
            }
        };
        Ok(records.iter().filter(|record| record.owner.instance == instance).map(Record::seen).collect())
    }

    async fn listens(&self, name: &ReplicaName) -> Result<bool> {
        let record = self.present(name).await?;
        match record.identity() {
            Some(leader) => start::listens(&self.shared.marks().replica(name), leader, record.address).await,
            None => Ok(false),
        }
    }

    async fn listeners(&self, name: &ReplicaName) -> Result<Vec<SocketAddr>> {
        let record = self.present(name).await?;
        match record.identity() {
            Some(leader) => start::listeners(&self.shared.marks().replica(name), leader).await,
            None => Ok(Vec::new()),
        }
    }

    async fn free_addresses(
        &self,
        range: &AddressRange,
        taken: &[SocketAddr],
        count: usize,
    ) -> Result<Vec<SocketAddr>> {
        let (range, taken, seed) = (range.clone(), taken.to_vec(), self.shared.seed());
        blocking(move || sockets::free(&range, &taken, count, seed)).await
    }

    async fn logs(&self, name: &ReplicaName, query: &LogQuery) -> Result<BoxStream<'static, Result<OutputLine>>> {
        self.present(name).await?;
        let output = self.shared.output(&self.shared.folder(name));
        lines::read(output, name, query, Arc::clone(&self.shared.clock)).await
    }

    async fn stats(&self, name: &ReplicaName) -> Result<Stats> {
        let record = self.present(name).await?;
        let Some(leader) = record.identity().cloned() else {
            return Err(Error::conflict(format!("`{name}` does not run")));
        };
        let marks = self.shared.marks().replica(name);
        let mut stats = blocking(move || Ok(stats::of(&kin::find(&marks, Some(&leader))))).await?;
        let limit = record.launch.limits.memory_bytes_max;
        stats.memory_bytes_max = limit.filter(|_| self.shared.limiter.is_active());
        Ok(stats)
    }

    async fn exec(&self, name: &ReplicaName, command: &Command, input: Option<Secret>) -> Result<ExecOutput> {
        exec::run(&self.shared, self.present(name).await?, command, input).await
    }

    async fn events(&self, instance: InstanceId) -> Result<BoxStream<'static, RuntimeEvent>> {
        self.charge().await?;
        let news = self.shared.events.subscribe();
        let next = move |mut news: broadcast::Receiver<RuntimeEvent>| async move {
            loop {
                match news.recv().await {
                    Ok(event) if event.owner.instance == instance => return Some((event, news)),
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        };
        Ok(stream::unfold(news, next).boxed())
    }

    async fn remove_volume(&self, application: ApplicationId, volume: &VolumeName) -> Result<()> {
        let path = self.shared.volume(application, volume);
        blocking(move || files::remove_dir(&path).map_err(failed(format!("{} cannot be removed", path.display()))))
            .await
    }
}
