//! The store: what must survive a restart.
//!
//! Reads are small methods, one trait an aggregate. There is **one way to write**: [`Store::commit`] takes changes,
//! each with the version it was decided on, and the events that tell of them; it is stored whole or not at all.
//! So an implementation needs one transaction, and a decision can never be half stored.
//!
//! Build output is not part of it: [`LogStore`] appends lines, in order, at a lower price.

use std::fmt;

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    AppName, Application, ApplicationId, Deployment, DeploymentId, Domain, DomainName, Email, EnvVar, Event, EventSeq,
    HealthCheck, Installation, Lease, LogLine, LogPage, Machine, Member, Release, ReleaseId, SealedSecret,
    SecretVersion, Server, ServerId, User, UserId, Volume,
};

mod commit;
pub mod memory;
#[cfg(feature = "sqlite")]
pub mod sql;

pub use self::commit::Commit;

/// What must survive a restart.
///
/// Implementors promise, and `testing::store` checks under the same names:
/// - **whole**: a commit is stored entirely or not at all, events included; each change sees those before it;
/// - **versioned**: a change whose version is past loses the whole commit with `Conflict`, which names the record;
/// - **fenced**: a commit with an epoch that is not the lease's loses with `Conflict`;
/// - **ordered**: events are numbered without gaps, in the order of their commits, also under concurrent writers;
/// - **unique**: names of applications, servers and domains, addresses of users: `AlreadyExists`;
/// - **one under way**: a second deployment of an application that is under way loses with `Conflict`, and so does a
///   second primary domain;
/// - **owned**: what belongs to an application goes with it, its output too, but its volumes stay, as detached;
/// - **durable**: what `commit` returned for is there after a crash of the machine;
/// - **faithful**: every record comes back with all its fields as they were written, times to the nanosecond;
/// - **patient**: contention is waited out; a caller never sees that the store was busy.
#[async_trait]
pub trait Store:
    Applications
    + Deployments
    + Releases
    + Servers
    + Domains
    + EnvVars
    + HealthChecks
    + Volumes
    + Users
    + Members
    + Secrets
    + Events
    + LogStore
    + fmt::Debug
    + Send
    + Sync
    + 'static
{
    /// Stores `commit` whole or not at all and answers the number of the newest event.
    ///
    /// # Errors
    ///
    /// `Conflict` if a version or the epoch is past, `AlreadyExists` if an id or a unique name is taken, `NotFound`
    /// if what is updated, deleted or referred to is not there, `Invalid` if what is inserted has a version or a
    /// secret is updated.
    async fn commit(&self, commit: Commit) -> Result<EventSeq>;

    /// The identity of this installation; `None` before it was first stored.
    async fn installation(&self) -> Result<Option<Installation>>;

    /// The engine's lease; `None` before it was first taken.
    async fn lease(&self) -> Result<Option<Lease>>;
}

/// Reads of applications and of what the engine knows of them.
#[async_trait]
pub trait Applications {
    /// The application of that id.
    async fn application(&self, id: ApplicationId) -> Result<Option<Application>>;
    /// The application of that name.
    async fn application_named(&self, name: &AppName) -> Result<Option<Application>>;
    /// All applications, oldest first.
    async fn applications(&self) -> Result<Vec<Application>>;
    /// What the engine knows of an application.
    async fn machine(&self, application: ApplicationId) -> Result<Option<Machine>>;
    /// What the engine knows of all applications, in the order of their ids.
    async fn machines(&self) -> Result<Vec<Machine>>;
}

/// Reads of deployments.
#[async_trait]
pub trait Deployments {
    /// The deployment of that id.
    async fn deployment(&self, id: DeploymentId) -> Result<Option<Deployment>>;
    /// The newest deployments, newest first; of one application, or of all.
    async fn deployments(&self, application: Option<ApplicationId>, limit: u32) -> Result<Vec<Deployment>>;
    /// The deployments of an application that have not ended, oldest first.
    async fn unfinished_deployments(&self, application: ApplicationId) -> Result<Vec<Deployment>>;
}

/// Reads of releases.
#[async_trait]
pub trait Releases {
    /// The release of that id.
    async fn release(&self, id: ReleaseId) -> Result<Option<Release>>;
    /// All releases of an application, oldest first, also collected ones.
    async fn releases(&self, application: ApplicationId) -> Result<Vec<Release>>;
}

/// Reads of servers.
#[async_trait]
pub trait Servers {
    /// The server of that id.
    async fn server(&self, id: ServerId) -> Result<Option<Server>>;
    /// All servers, oldest first.
    async fn servers(&self) -> Result<Vec<Server>>;
}

/// Reads of domains.
#[async_trait]
pub trait Domains {
    /// The domains of an application, oldest first.
    async fn domains(&self, application: ApplicationId) -> Result<Vec<Domain>>;
    /// The domain of that name.
    async fn domain_named(&self, name: &DomainName) -> Result<Option<Domain>>;
}

/// Reads of variables.
#[async_trait]
pub trait EnvVars {
    /// The variables of an application, in the order of their names.
    async fn env_vars(&self, application: ApplicationId) -> Result<Vec<EnvVar>>;
}

/// Reads of health checks.
#[async_trait]
pub trait HealthChecks {
    /// The health check of an application.
    async fn health_check(&self, application: ApplicationId) -> Result<Option<HealthCheck>>;
}

/// Reads of persistent directories.
#[async_trait]
pub trait Volumes {
    /// The persistent directories of an application, in the order of their names.
    async fn volumes(&self, application: ApplicationId) -> Result<Vec<Volume>>;
    /// The persistent directories that deleted applications left behind.
    async fn detached_volumes(&self) -> Result<Vec<Volume>>;
}

/// Reads of users.
#[async_trait]
pub trait Users {
    /// The user of that id.
    async fn user(&self, id: UserId) -> Result<Option<User>>;
    /// The user of that address.
    async fn user_with_email(&self, email: &Email) -> Result<Option<User>>;
    /// All users, oldest first.
    async fn users(&self) -> Result<Vec<User>>;
}

/// Reads of members.
#[async_trait]
pub trait Members {
    /// What a user may do in an application.
    async fn member(&self, application: ApplicationId, user: UserId) -> Result<Option<Member>>;
    /// The members of an application, in the order of their user ids.
    async fn members(&self, application: ApplicationId) -> Result<Vec<Member>>;
    /// The applications that are shared with a user.
    async fn memberships(&self, user: UserId) -> Result<Vec<Member>>;
}

/// Reads of encrypted secret values.
#[async_trait]
pub trait Secrets {
    /// The encrypted value of that version.
    async fn sealed_secret(&self, version: SecretVersion) -> Result<Option<SealedSecret>>;
}

/// Reads of the event log.
#[async_trait]
pub trait Events {
    /// The events after `after`, oldest first, `limit` at most.
    ///
    /// # Errors
    ///
    /// `Gone` if events after `after` are no longer kept; the message names the oldest that is.
    async fn events(&self, after: EventSeq, limit: u32) -> Result<Vec<Event>>;
    /// The number of the newest event; zero before the first.
    async fn last_event(&self) -> Result<EventSeq>;
    /// Removes events up to and including `up_to`.
    async fn trim_events(&self, up_to: EventSeq) -> Result<()>;
}

/// Says that events after `after` are no longer kept, and from where on they are.
pub(crate) fn gone(after: EventSeq, oldest: EventSeq) -> Error {
    Error::new(ErrorKind::Gone, format!("events after {after} are no longer kept: the oldest kept is {oldest}"))
        .with_hint(format!("ask for the events after {}", oldest.0.saturating_sub(1)))
}

/// Build output: appended in order, read by line number.
///
/// Implementors promise, and `testing::store` checks under the same names:
/// - **in order**: lines come back in the order of their numbers, whatever chunks they came in;
/// - **once**: a line whose number is stored or left out already changes nothing, so an append may be repeated.
#[async_trait]
pub trait LogStore {
    /// Appends numbered lines to a deployment's output.
    async fn append_log(&self, deployment: DeploymentId, lines: &[LogLine]) -> Result<()>;
    /// The lines after line `after` (0: from the first), `limit` at most.
    async fn log(&self, deployment: DeploymentId, after: u64, limit: u32) -> Result<LogPage>;
    /// The last `limit` lines.
    async fn log_tail(&self, deployment: DeploymentId, limit: u32) -> Result<Vec<LogLine>>;
    /// Removes lines `from..=to` of the middle of a deployment's output.
    async fn leave_out_log(&self, deployment: DeploymentId, from: u64, to: u64) -> Result<()>;
    /// Removes the whole output of a deployment.
    async fn remove_log(&self, deployment: DeploymentId) -> Result<()>;
}
