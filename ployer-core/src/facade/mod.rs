//! The facade: what an embedder calls. It authorises, then commits or asks.
//!
//! A [`Ployer`] is bound to an actor. Each call reads that actor's rights anew, asks `access`, and then stores one
//! commit that names the actor, or reads. Nothing here acts on a workload or a route: the engine finds what was
//! stored and does it. So each call works with or without an engine in this process, and none can half happen.

mod acceptance;
mod applications;
mod builder;
mod deployments;
mod domains;
mod env_vars;
mod events;
mod health_checks;
mod installation;
#[cfg(feature = "proxy")]
mod listen;
mod local;
mod log;
mod members;
mod ployer;
mod releases;
mod rights;
mod run;
mod servers;
mod status;
mod users;
mod volumes;
mod wait;

pub use self::applications::{ApplicationDetails, Applications, DeleteApplication, VolumesOnDelete};
pub use self::builder::PloyerBuilder;
pub use self::deployments::{Deployments, Rollback};
pub use self::domains::Domains;
pub use self::env_vars::{EnvVars, NewVariable};
pub use self::events::Events;
pub use self::health_checks::HealthChecks;
pub use self::members::Members;
pub use self::ployer::Ployer;
pub use self::releases::Releases;
pub use self::run::EngineHandle;
pub use self::servers::Servers;
pub use self::users::{NewUser, Users};
pub use self::volumes::Volumes;
pub use self::wait::{Deployed, DeploymentFailed, DeploymentHandle};

#[cfg(test)]
mod stand;
#[cfg(test)]
mod walk;
