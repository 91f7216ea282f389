//! Acceptance: what this installation takes of an application, beyond what its types allow.
//!
//! Asked when an application is made or changed, and again when it is deployed: the server's runtime or the
//! settings may be others by then.

use super::Ployer;
use crate::access::Action;
use crate::error::{Error, ErrorKind, Resource, Result};
use crate::model::{Application, BuildStrategy, DomainName, RuntimeKind, Server, Transport};

impl Ployer {
    /// Refuses a reserved name to everybody but the administrator.
    pub(super) fn check_name(&self, application: &Application, administers: bool) -> Result<()> {
        let reserved = self.settings().reserved_names.iter().any(|name| name == application.name.as_str());
        if reserved && !administers {
            return Err(Error::forbidden(format!("the name `{}` is reserved", application.name))
                .with_hint("choose another name, or ask an administrator"));
        }
        Ok(())
    }

    /// Refuses a host name at or under the base domain to everybody but the administrator.
    pub(super) async fn check_domain(&self, domain: &DomainName) -> Result<()> {
        let base = self.settings().base_domain.as_str();
        let under = domain.as_str().strip_suffix(base).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        if under && !self.allowed(Action::Administer).await? {
            return Err(Error::forbidden(format!("domains under `{base}` are the administrator's"))
                .with_hint("add a domain of your own, or ask an administrator"));
        }
        Ok(())
    }

    /// Refuses a source, port or strategy that this installation cannot take.
    pub(super) async fn check_settings(&self, application: &Application, administers: bool) -> Result<()> {
        if application.port == Some(0) {
            return Err(Error::invalid("port", "it must be 1 to 65535")
                .with_hint("leave it out: a process listens on the port that `PORT` names"));
        }
        self.check_source(application, administers)?;
        let server = self.server_of(application).await?;
        self.check_strategy(application.build_strategy, &server).await
    }

    fn check_source(&self, application: &Application, administers: bool) -> Result<()> {
        let local = application.git_url.as_ref().is_some_and(|url| url.transport() == Transport::Local);
        if local && !self.settings().source.allow_local {
            return Err(Error::invalid("git_url", "paths of this machine are not taken here")
                .with_hint("give the address of a repository, or allow local sources in the settings"));
        }
        if local && !administers {
            return Err(Error::forbidden("folders of this machine are the administrator's to deploy")
                .with_hint("give the address of a repository"));
        }
        Ok(())
    }

    pub(super) async fn server_of(&self, application: &Application) -> Result<Server> {
        let id = application.server_id;
        self.store().server(id).await?.ok_or_else(|| Error::not_found(Resource::Server, id))
    }

    /// Refuses a strategy that makes images where the server's runtime runs none.
    pub(super) async fn check_strategy(&self, strategy: BuildStrategy, server: &Server) -> Result<()> {
        let needs_images = match strategy {
            BuildStrategy::Dockerfile | BuildStrategy::Image => true,
            BuildStrategy::Auto | BuildStrategy::Procfile | BuildStrategy::Static => false,
        };
        if !needs_images || self.runs_images(server).await? {
            return Ok(());
        }
        let reason = format!("`{}` needs containers, and server `{}` runs none", strategy.as_str(), server.name);
        Err(Error::invalid("build_strategy", reason).with_hint("use `auto`, `procfile` or `static`"))
    }

    /// A server that does not answer now is believed to be what its row says.
    async fn runs_images(&self, server: &Server) -> Result<bool> {
        match server.runtime {
            RuntimeKind::Process => Ok(false),
            RuntimeKind::Docker => Ok(true),
            RuntimeKind::Custom => match self.shared.parts.servers.connect(server).await {
                Ok(handle) => Ok(handle.runtime.capabilities().images),
                Err(error) if error.kind() == ErrorKind::Unavailable => Ok(true),
                Err(error) => Err(error),
            },
        }
    }

    /// Plain processes are no sandbox: beside those of other users they need the administrator's word.
    pub(super) async fn check_processes(&self, application: &Application, server: &Server) -> Result<()> {
        let shared = server.runtime == RuntimeKind::Process && !application.allow_process_runtime;
        if shared && self.store().users().await?.len() > 1 {
            return Err(Error::forbidden("to run plain processes beside those of other users")
                .with_hint("ask an administrator to set `allow_process_runtime` for this application"));
        }
        Ok(())
    }
}
