//! The simulated store: the memory store behind the port of one engine, so that faults strike it.
//!
//! A commit is a step of the world: it is stored and judged at once, and a crash before or after it is just that.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::FutureExt;

use super::faults::PointKind::{Commit as Commits, Look};
use super::world::{Call, Port};
use crate::error::{Error, Result};
use crate::model::{
    AppName, Application, ApplicationId, Deployment, DeploymentId, Domain, DomainName, Email, EnvVar, Event, EventSeq,
    HealthCheck, Installation, Lease, LogLine, LogPage, Machine, Member, Release, ReleaseId, SealedSecret,
    SecretVersion, Server, ServerId, User, UserId, Volume,
};
use crate::store::memory::MemoryStore;
use crate::store::{
    Applications, Commit, Deployments, Domains, EnvVars, Events, HealthChecks, LogStore, Members, Releases, Secrets,
    Servers, Store, Users, Volumes,
};

/// The store of a simulated world, as one engine reaches it.
#[derive(Clone, Debug)]
pub struct SimStore {
    port: Port,
    memory: Arc<MemoryStore>,
}

impl SimStore {
    pub(super) fn new(port: Port, memory: Arc<MemoryStore>) -> Self {
        Self { port, memory }
    }

    async fn read<T: Send>(&self, what: &'static str, read: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let call = Call { kind: Look, what, of: &"" };
        self.port.call(call, |_| now(read)).await
    }
}

/// The answer of the memory store, which never waits.
fn now<T>(answer: impl Future<Output = Result<T>>) -> Result<T> {
    answer.now_or_never().unwrap_or_else(|| Err(Error::unavailable("the memory store")))
}

/// Reads that are handed through.
macro_rules! reads {
    ($($room:ident { $($read:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)+ })+) => {$(
        #[async_trait]
        impl $room for SimStore {$(
            async fn $read(&self, $($argument: $kind),*) -> Result<$answer> {
                self.read(stringify!($read), self.memory.$read($($argument),*)).await
            }
        )+}
    )+};
}

reads! {
    Applications {
        application(id: ApplicationId) -> Option<Application>;
        application_named(name: &AppName) -> Option<Application>;
        applications() -> Vec<Application>;
        machine(application: ApplicationId) -> Option<Machine>;
        machines() -> Vec<Machine>;
    }
    Deployments {
        deployment(id: DeploymentId) -> Option<Deployment>;
        deployments(application: Option<ApplicationId>, limit: u32) -> Vec<Deployment>;
        unfinished_deployments(application: ApplicationId) -> Vec<Deployment>;
    }
    Releases {
        release(id: ReleaseId) -> Option<Release>;
        releases(application: ApplicationId) -> Vec<Release>;
    }
    Servers {
        server(id: ServerId) -> Option<Server>;
        servers() -> Vec<Server>;
    }
    Domains {
        domains(application: ApplicationId) -> Vec<Domain>;
        domain_named(name: &DomainName) -> Option<Domain>;
    }
    EnvVars {
        env_vars(application: ApplicationId) -> Vec<EnvVar>;
    }
    HealthChecks {
        health_check(application: ApplicationId) -> Option<HealthCheck>;
    }
    Volumes {
        volumes(application: ApplicationId) -> Vec<Volume>;
        detached_volumes() -> Vec<Volume>;
    }
    Users {
        user(id: UserId) -> Option<User>;
        user_with_email(email: &Email) -> Option<User>;
        users() -> Vec<User>;
    }
    Members {
        member(application: ApplicationId, user: UserId) -> Option<Member>;
        members(application: ApplicationId) -> Vec<Member>;
        memberships(user: UserId) -> Vec<Member>;
    }
    Secrets {
        sealed_secret(version: SecretVersion) -> Option<SealedSecret>;
    }
    Events {
        events(after: EventSeq, limit: u32) -> Vec<Event>;
        last_event() -> EventSeq;
        trim_events(up_to: EventSeq) -> ();
    }
    LogStore {
        append_log(deployment: DeploymentId, lines: &[LogLine]) -> ();
        log(deployment: DeploymentId, after: u64, limit: u32) -> LogPage;
        log_tail(deployment: DeploymentId, limit: u32) -> Vec<LogLine>;
        leave_out_log(deployment: DeploymentId, from: u64, to: u64) -> ();
        remove_log(deployment: DeploymentId) -> ();
    }
}

#[async_trait]
impl Store for SimStore {
    async fn commit(&self, commit: Commit) -> Result<EventSeq> {
        let engine = self.port.engine;
        let call = Call { kind: Commits, what: "commit", of: &super::stored::Told(&commit) };
        self.port
            .call(call, |world| {
                let seq = now(self.memory.commit(commit.clone()))?;
                world.committed(engine, &commit);
                Ok(seq)
            })
            .await
    }

    async fn installation(&self) -> Result<Option<Installation>> {
        self.read("installation", self.memory.installation()).await
    }

    async fn lease(&self) -> Result<Option<Lease>> {
        self.read("lease", self.memory.lease()).await
    }
}
