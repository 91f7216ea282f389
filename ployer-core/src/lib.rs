//! Ployer: deploys applications from Git onto your own machines.

mod access;
pub mod build;
pub mod clock;
pub mod config;
mod engine;
pub mod error;
mod facade;
pub mod model;
mod monitor;
pub mod probe;
pub mod proxy;
pub mod runtime;
pub mod secrets;
pub mod servers;
pub mod source;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;

pub use crate::error::{Error, ErrorKind, Result};
pub use crate::facade::{
    ApplicationDetails, Applications, DeleteApplication, Deployed, DeploymentFailed, DeploymentHandle, Deployments,
    Domains, EngineHandle, EnvVars, Events, HealthChecks, Members, NewUser, NewVariable, Ployer, PloyerBuilder,
    Releases, Rollback, Servers, Users, Volumes, VolumesOnDelete,
};
