//! Changes: what a decision wants stored, each with the version it was decided on.

use super::application::Application;
use super::deployment::Deployment;
use super::domain::Domain;
use super::env_var::EnvVar;
use super::health::HealthCheck;
use super::id::{ApplicationId, DomainId, HealthCheckId, SecretVersion, UserId};
use super::installation::{Installation, Lease, SealedSecret};
use super::machine::Machine;
use super::member::Member;
use super::name::{EnvKey, VolumeName};
use super::release::Release;
use super::server::Server;
use super::user::User;
use super::volume::Volume;

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
    /// Replaces a record; loses unless the stored version is the record's `version`.
    Update(Record),
    /// Removes a record; loses unless the stored version is this one.
    Delete(Key, Version),
}

macro_rules! records {
    ($($(#[doc = $doc:literal])+ $name:ident($record:ty),)+) => {
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
    Application(Application),
    /// A deployment.
    Deployment(Deployment),
    /// A release.
    Release(Release),
    /// The engine's state of an application.
    Machine(Machine),
    /// A server.
    Server(Server),
    /// A domain.
    Domain(Domain),
    /// A variable of an application.
    EnvVar(EnvVar),
    /// A health check.
    HealthCheck(HealthCheck),
    /// A persistent directory.
    Volume(Volume),
    /// A user.
    User(User),
    /// A member of an application.
    Member(Member),
    /// A version of a secret value, encrypted.
    Secret(SealedSecret),
    /// The engine's lease: one row.
    Lease(Lease),
    /// The installation: one row.
    Installation(Installation),
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
