//! The model: what is stored, sent or returned. Values only; nothing here does I/O or reads a clock.

mod actor;
mod application;
mod change;
mod deployment;
mod domain;
mod env_var;
mod event;
mod git_url;
mod health;
mod id;
mod installation;
mod log;
mod machine;
mod member;
mod name;
mod release;
mod route;
mod secret;
mod server;
mod stats;
mod user;
mod volume;
mod workload;

pub use self::actor::Actor;
pub use self::application::{Application, ApplicationStatus, BuildStrategy, NewApplication, UpdateApplication, Wanted};
pub use self::change::{Change, Key, Record, Reference, Version};
pub use self::deployment::{
    BuildCache, Cancel, CommitInfo, Deployment, DeploymentKind, DeploymentStatus, Failure, GateResult, Receipt,
    RollbackEnv, StartDeployment, Step, StepTimes,
};
pub use self::domain::Domain;
pub use self::env_var::EnvVar;
pub use self::event::{Event, EventKind, EventSeq, NewEvent};
pub use self::git_url::{GitUrl, Transport};
pub use self::health::{HealthCheck, NewHealthCheck};
pub use self::id::{
    ApplicationId, DeploymentId, DomainId, HealthCheckId, InstanceId, ReleaseId, SecretVersion, ServerId, TokenId,
    UserId,
};
pub use self::installation::{Installation, Lease, SealedSecret, SecretScope};
pub use self::log::{LogLine, LogPage};
pub use self::machine::Machine;
pub use self::member::{Member, MemberRole};
pub use self::name::{
    AppName, BranchName, CommitSha, DomainName, Email, EnvKey, ProcessName, RepoPath, RequestPath, ServerName,
    VolumeName,
};
pub use self::release::{
    Artifact, Built, Command, Limits, ProcessSpec, Release, ReleaseSpec, ReleaseState, Rollout, VolumeMount,
};
pub use self::route::{Answer, AnsweredBy, Ask, InFlight, Revision, Route, RouteTable, Target, Traffic, Vantage};
pub use self::secret::Secret;
pub use self::server::{RuntimeKind, Server, ServerStatus};
pub use self::stats::Stats;
pub use self::user::{Role, User};
pub use self::volume::Volume;
pub use self::workload::{
    Exit, OutputLine, OutputStream, Owner, Replica, ReplicaName, ReplicaSeen, ReplicaState, RuntimeEvent, Upstream,
    Workload,
};
