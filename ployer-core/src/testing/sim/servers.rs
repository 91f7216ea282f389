//! The simulated servers, probe and secrets: the smaller doors between an engine and the world.

use std::sync::Arc;

use async_trait::async_trait;

use super::faults::PointKind::{Effect, Look};
use super::proxy::SimProxy;
use super::runtime::SimRuntime;
use super::source::SimBuilder;
use super::world::{Call, Port, World};
use crate::clock::Clock;
use crate::error::{Error, Resource, Result};
use crate::model::{Replica, Secret, SecretScope, SecretVersion, Server};
use crate::probe::{Check, Probe, Verdict};
use crate::runtime::ContainerRuntime;
use crate::secrets::SecretStore;
use crate::servers::{ServerHandle, Servers};

/// The servers of a simulated world: whichever row is asked for, it is the one machine.
#[derive(Clone, Debug)]
pub struct SimServers {
    handle: ServerHandle,
}

impl SimServers {
    pub(super) fn new(port: &Port) -> Self {
        let handle = ServerHandle {
            runtime: Arc::new(SimRuntime(port.clone())),
            builder: Arc::new(SimBuilder(port.clone())),
            proxy: Arc::new(SimProxy(port.clone())),
        };
        Self { handle }
    }
}

#[async_trait]
impl Servers for SimServers {
    async fn connect(&self, _server: &Server) -> Result<ServerHandle> {
        Ok(self.handle.clone())
    }
}

/// The probe of a simulated world.
#[derive(Clone, Debug)]
pub struct SimProbe(pub(super) Port);

#[async_trait]
impl Probe for SimProbe {
    async fn probe(&self, _runtime: &dyn ContainerRuntime, replica: &Replica, check: &Check) -> Result<Verdict> {
        let call = Call { kind: Look, what: "probe", of: &replica.name };
        self.0
            .call(call, |world| {
                let Some(seen) = world.replicas.all.get(&replica.name).filter(|seen| seen.listens()) else {
                    return Ok(Verdict::NotReady("nothing listens".to_owned()));
                };
                match check {
                    Check::Http { path, .. } if seen.program.status >= 400 => {
                        Ok(Verdict::NotReady(format!("GET {path} answered {}", seen.program.status)))
                    }
                    Check::Http { .. } | Check::Listening => Ok(Verdict::Ready),
                }
            })
            .await
    }
}

/// The secret store of a simulated world.
#[derive(Clone, Debug)]
pub struct SimSecrets(pub(super) Port);

#[async_trait]
impl SecretStore for SimSecrets {
    async fn put(&self, _scope: SecretScope, key: &str, value: &Secret) -> Result<SecretVersion> {
        let call = Call { kind: Effect, what: "put secret", of: &key };
        self.0
            .call(call, |world| {
                let version = SecretVersion::from(world.clock.new_id());
                world.workshop.secrets.insert(version, value.clone());
                Ok(version)
            })
            .await
    }

    async fn get(&self, version: SecretVersion) -> Result<Secret> {
        let call = Call { kind: Look, what: "get secret", of: &version };
        let missing = || Error::not_found(Resource::Secret, version);
        self.0.call(call, |world| world.workshop.secrets.get(&version).cloned().ok_or_else(missing)).await
    }

    async fn purge(&self, version: SecretVersion) -> Result<()> {
        let call = Call { kind: Effect, what: "purge secret", of: &version };
        let purge = |world: &mut World| {
            world.workshop.secrets.remove(&version);
            Ok(())
        };
        self.0.judged(call, |world| world.secret_goes(version), purge).await
    }
}
