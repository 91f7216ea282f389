//! Ployer: deploys applications from Git onto your own machines.
//!
//! It fetches, builds, starts, waits until the new version answers, moves requests over, and retires the old one.
//! [`Ployer`] is the handle; everything but the data directory has a default.
//!
//! ```
//! use ployer_core::Ployer;
//! use ployer_core::config::Settings;
//! use ployer_core::model::NewApplication;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (data, site) = (tempfile::tempdir()?, tempfile::tempdir()?);
//! # std::fs::write(site.path().join("index.html"), "hello")?;
//! # let (data_dir, url) = (data.path(), site.path().to_string_lossy().parse()?);
//! let mut settings = Settings::default();
//! settings.source.allow_local = true;                                  // folders of this machine as well
//! let ployer = Ployer::builder().data_dir(data_dir).settings(settings).build().await?;
//! let engine = ployer.spawn();                                         // the work
//! let shop = NewApplication { git_url: Some(url), ..NewApplication::new("shop".parse()?) };
//! let app = ployer.applications().create(shop).await?;
//! let deployment = ployer.deployments().start(app.id).await?;          // durable when it returns
//! println!("{}", deployment.wait().await?.url());
//! engine.stop().await?;                                                // applications go on
//! # Ok(())
//! # }
//! ```
//!
//! # What an embedding program is promised
//!
//! - No global state: no subscriber, panic hook, signal handler, working directory or environment variable is set, and
//!   several installations in one process do not meet.
//! - Nothing is read from the environment and nothing is printed. What programs need of the environment is handed in
//!   with [`PloyerBuilder::environment`].
//! - Tasks begin with [`Ployer::spawn`] or [`Ployer::run`] alone and end with [`EngineHandle::stop`], or in the background
//!   when the handle is dropped. Applications go on; [`Ployer::stop_applications`] is a call of its own.
//! - Dropping a future is safe: a dropped `start` is stored whole or not at all, a dropped `wait` cancels nothing.
//! - No input makes a public function panic: it is answered with an [`Error`] that has a kind and often a hint.
//!
//! # Parts to replace
//!
//! [`store::Store`], [`runtime::ContainerRuntime`], [`proxy::Proxy`], [`secrets::SecretStore`] and [`source::Source`] are
//! traits; with the feature `testing` each has a suite that an implementation of yours can be held to.

mod access;
pub mod build;
pub mod clock;
pub mod config;
mod engine;
pub mod error;
mod facade;
pub mod model;
mod monitor;
#[cfg(sim_bugs)]
mod planted;
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
