//! Changes: what a decision wants stored, each with the version it was decided on.

use super::application::Application;
use super::deployment::Deployment;
use super::domain::Domain;
use super::env_var::EnvVar;
use super::health::HealthCheck;
use super::id::{ApplicationId, DomainId, HealthCheckId, SecretVersion, ServerId, UserId};
use super::installation::{Installation, Lease, SealedSecret, SecretScope};
use super::machine::Machine;
use super::member::Member;
use super::name::{EnvKey, VolumeName};
use super::release::Release;
use super::server::Server;
use super::user::User;
use super::volume::Volume;
use crate::error::{Error, Resource};

/// How often a record was written. A change names the version it was decided on and loses if that is past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// Of a record that is not stored yet.
    pub const NEW: Self = Self(0);

    /// Of the record after the next write.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// One change of a commit.
///
/// A record carries the [`Version`] at which it was read; the store writes the next one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// Adds a record; loses if one of that id or unique name is there. Its `version` must be [`Version::NEW`].
    Insert(Record),
    /// Replaces a record; loses unless the stored version is the record's `version`. A secret is never replaced.
    Update(Record),
    /// Removes a record; loses unless the stored version is this one.
    Delete(Key, Version),
}

macro_rules! records {
    ($($(#[doc = $doc:literal])+ $name:ident($record:ty) by $id:ident as $resource:ident,)+) => {
        /// A record of the store.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        #[allow(clippy::large_enum_variant, reason = "a record lives as long as its commit, and a commit has few")]
        pub enum Record {$(
            $(#[doc = $doc])+
            $name($record),
        )+}

        impl Record {
            /// The version at which it was read.
            pub fn version(&self) -> Version {
                match self {$(Self::$name(record) => record.version,)+}
            }

            /// What kind of thing it is: an error that refuses it says so.
            pub fn resource(&self) -> Resource {
                match self {$(Self::$name(_) => Resource::$resource,)+}
            }

            /// Its id, or its name within its application.
            pub fn id(&self) -> String {
                match self {$(Self::$name(record) => record.$id.to_string(),)+}
            }
        }

        $(impl From<$record> for Record {
            fn from(record: $record) -> Self {
                Self::$name(record)
            }
        })+
    };
}

records! {
    /// An application.
    Application(Application) by id as Application,
    /// A deployment.
    Deployment(Deployment) by id as Deployment,
    /// A release.
    Release(Release) by id as Release,
    /// The engine's state of an application.
    Machine(Machine) by application_id as Machine,
    /// A server.
    Server(Server) by id as Server,
    /// A domain.
    Domain(Domain) by id as Domain,
    /// A variable of an application.
    EnvVar(EnvVar) by key as Variable,
    /// A health check.
    HealthCheck(HealthCheck) by id as HealthCheck,
    /// A persistent directory.
    Volume(Volume) by name as Volume,
    /// A user.
    User(User) by id as User,
    /// A member of an application.
    Member(Member) by user_id as Member,
    /// A version of a secret value, encrypted.
    Secret(SealedSecret) by id as Secret,
    /// The engine's lease: one row.
    Lease(Lease) by holder as Lease,
    /// The installation: one row.
    Installation(Installation) by instance as Installation,
}

impl Record {
    /// What must be stored before it: a record that names something absent is refused with `NotFound`.
    pub fn references(&self) -> Vec<Reference> {
        use Reference::{Application, Server, User};
        match self {
            Self::Application(record) => {
                [Some(Server(record.server_id)), record.owner.map(User)].into_iter().flatten().collect()
            }
            Self::Deployment(record) => vec![Application(record.application_id), Server(record.server_id)],
            Self::Release(record) => vec![Application(record.application_id)],
            Self::Machine(record) => vec![Application(record.application_id)],
            Self::Domain(record) => vec![Application(record.application_id)],
            Self::EnvVar(record) => vec![Application(record.application_id)],
            Self::HealthCheck(record) => vec![Application(record.application_id)],
            Self::Member(record) => vec![Application(record.application_id), User(record.user_id)],
            Self::Secret(record) => match record.scope {
                SecretScope::Application(id) => vec![Application(id)],
                SecretScope::Installation => Vec::new(),
            },
            // A persistent directory outlives its application.
            Self::Volume(_) | Self::Server(_) | Self::User(_) | Self::Lease(_) | Self::Installation(_) => Vec::new(),
        }
    }
}

/// A record that another one names, and that must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reference {
    /// An application.
    Application(ApplicationId),
    /// A server.
    Server(ServerId),
    /// A user.
    User(UserId),
}

impl Reference {
    /// What a commit says that names it where it is not.
    pub fn missing(self) -> Error {
        match self {
            Self::Application(id) => Error::not_found(Resource::Application, id),
            Self::Server(id) => Error::not_found(Resource::Server, id),
            Self::User(id) => Error::not_found(Resource::User, id),
        }
    }
}

/// Names a record that may be removed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Key {
    /// An application, with everything that belongs to it but its volumes.
    Application(ApplicationId),
    /// A domain.
    Domain(DomainId),
    /// A variable of an application.
    EnvVar(ApplicationId, EnvKey),
    /// A health check.
    HealthCheck(HealthCheckId),
    /// A persistent directory.
    Volume(ApplicationId, VolumeName),
    /// A member of an application.
    Member(ApplicationId, UserId),
    /// A version of a secret value.
    Secret(SecretVersion),
}

impl Key {
    /// What kind of thing it names.
    pub fn resource(&self) -> Resource {
        match self {
            Self::Application(_) => Resource::Application,
            Self::Domain(_) => Resource::Domain,
            Self::EnvVar(..) => Resource::Variable,
            Self::HealthCheck(_) => Resource::HealthCheck,
            Self::Volume(..) => Resource::Volume,
            Self::Member(..) => Resource::Member,
            Self::Secret(_) => Resource::Secret,
        }
    }

    /// The id, or the name within its application.
    pub fn id(&self) -> String {
        match self {
            Self::Application(id) => id.to_string(),
            Self::Domain(id) => id.to_string(),
            Self::EnvVar(_, key) => key.to_string(),
            Self::HealthCheck(id) => id.to_string(),
            Self::Volume(_, name) => name.to_string(),
            Self::Member(_, user) => user.to_string(),
            Self::Secret(version) => version.to_string(),
        }
    }
}
