//! Servers: where workloads run. The row of this machine is made with the installation.

use super::Ployer;
use crate::access::Action;
use crate::error::{Error, Resource, Result};
use crate::model::{Server, ServerId};

/// Servers: where workloads run. See [`Ployer::servers`].
#[derive(Clone, Copy, Debug)]
pub struct Servers<'a>(pub(super) &'a Ployer);

impl Servers<'_> {
    /// All servers, oldest first. How to log in there is shown to the administrator alone.
    ///
    /// # Errors
    ///
    /// `Forbidden` for whoever is no user.
    pub async fn list(&self) -> Result<Vec<Server>> {
        self.0.allow(Action::ListServers).await?;
        let mut servers = self.0.store().servers().await?;
        if !self.0.allowed(Action::Administer).await? {
            servers.iter_mut().for_each(hide_login);
        }
        Ok(servers)
    }

    /// The server of that id.
    ///
    /// # Errors
    ///
    /// `NotFound` if it does not exist.
    pub async fn get(&self, id: ServerId) -> Result<Server> {
        let found = self.list().await?.into_iter().find(|server| server.id == id);
        found.ok_or_else(|| Error::not_found(Resource::Server, id))
    }
}

fn hide_login(server: &mut Server) {
    server.host.clear();
    server.username.clear();
    server.port = 0;
}
