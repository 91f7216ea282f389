//! Rights: read from the store at each call, so that whoever loses one loses it at once.
//!
//! What an actor may not see answers exactly as if it did not exist. The table itself is `access`.

use super::Ployer;
use crate::access::{Action, Caller, Resource, Verdict, may};
use crate::error::{Error, Resource as Thing, Result};
use crate::model::{AppName, Application, ApplicationId, Deployment, DeploymentId, Wanted};

impl Ployer {
    /// Refuses unless the actor may do `action` to the installation.
    pub(super) async fn allow(&self, action: Action) -> Result<()> {
        match self.allowed(action).await? {
            true => Ok(()),
            false => Err(Error::forbidden(action.describe())),
        }
    }

    /// Whether the actor may do `action` to the installation.
    pub(super) async fn allowed(&self, action: Action) -> Result<bool> {
        Ok(may(self.caller().await?, action, Resource::Installation) == Verdict::Granted)
    }

    /// The application, if the actor may do `action` to it.
    pub(super) async fn application(&self, id: ApplicationId, action: Action) -> Result<Application> {
        let found = self.store().application(id).await?;
        self.granted(found, action).await?.ok_or_else(|| Error::not_found(Thing::Application, id))
    }

    /// The application of that name, if the actor may do `action` to it.
    pub(super) async fn application_named(&self, name: &AppName, action: Action) -> Result<Application> {
        let found = self.store().application_named(name).await?;
        self.granted(found, action).await?.ok_or_else(|| Error::not_found(Thing::Application, name))
    }

    /// The deployment and its application, if the actor may do `action` to that.
    pub(super) async fn deployment(&self, id: DeploymentId, action: Action) -> Result<(Deployment, Application)> {
        let missing = || Error::not_found(Thing::Deployment, id);
        let deployment = self.store().deployment(id).await?.ok_or_else(missing)?;
        let application = self.store().application(deployment.application_id).await?;
        let application = self.granted(application, action).await?.ok_or_else(missing)?;
        Ok((deployment, application))
    }

    /// Those of `applications` that the actor may see.
    pub(super) async fn visible(&self, applications: Vec<Application>) -> Result<Vec<Application>> {
        let caller = self.caller().await?;
        let memberships = match self.actor().user() {
            Some(user) => self.store().memberships(user).await?,
            None => Vec::new(),
        };
        let sees = |application: &Application| {
            let member = memberships.iter().find(|m| m.application_id == application.id).map(|m| m.role);
            let granted = may(caller, Action::See, Resource::Application { application, member }) == Verdict::Granted;
            granted && !is_leaving(application)
        };
        Ok(applications.into_iter().filter(sees).collect())
    }

    async fn granted(&self, application: Option<Application>, action: Action) -> Result<Option<Application>> {
        let Some(application) = application.filter(|application| !is_leaving(application)) else { return Ok(None) };
        let member = match self.actor().user() {
            Some(user) => self.store().member(application.id, user).await?.map(|member| member.role),
            None => None,
        };
        let resource = Resource::Application { application: &application, member };
        match may(self.caller().await?, action, resource) {
            Verdict::Granted => Ok(Some(application)),
            Verdict::Denied => Err(Error::forbidden(action.describe())),
            Verdict::Hidden => Ok(None),
        }
    }

    async fn caller(&self) -> Result<Caller> {
        let role = match self.actor().user() {
            Some(user) => self.store().user(user).await?.map(|user| user.role),
            None => None,
        };
        Ok(Caller { actor: self.actor(), role })
    }
}

/// Nobody but the engine sees an application that is being deleted.
fn is_leaving(application: &Application) -> bool {
    matches!(application.wanted, Wanted::Deleting { .. })
}
