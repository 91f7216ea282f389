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

#[cfg(test)]
mod tests {
    use crate::error::ErrorKind;
    use crate::facade::stand::Stand;
    use crate::model::{Actor, MemberRole, NewApplication, Role};

    #[tokio::test]
    async fn an_open_handle_loses_its_rights_with_its_user() {
        let stand = Stand::new().await;
        let (boss, handle) = stand.user("boss@host.example", Role::Admin).await;
        stand.user("other@host.example", Role::Admin).await;
        let shop = stand.application("shop").await;
        assert!(handle.applications().get(shop.id).await.is_ok());

        stand.ployer.users().set_role(boss, Role::User).await.unwrap();

        assert_eq!(handle.applications().get(shop.id).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(handle.users().list().await.unwrap_err().kind(), ErrorKind::Forbidden);
    }

    #[tokio::test]
    async fn what_belongs_to_somebody_else_answers_as_if_it_were_not_there() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let release = stand.deployed(&shop).await;
        let deployment = stand.ployer.deployments().list(shop.id, 1).await.unwrap().pop().unwrap();
        let (_, stranger) = stand.user("ann@host.example", Role::User).await;

        let refused = [
            stranger.applications().get(shop.id).await.map(drop),
            stranger.applications().named(&shop.name).await.map(drop),
            stranger.applications().stop(shop.id).await,
            stranger.deployments().start(shop.id).await.map(drop),
            stranger.deployments().get(deployment.id).await.map(drop),
            stranger.deployments().cancel(deployment.id).await,
            stranger.deployments().log(deployment.id, 0, 10).await.map(drop),
            stranger.releases().get(release).await.map(drop),
            stranger.env().list(shop.id).await.map(drop),
            stranger.env().reveal(shop.id).await.map(drop),
            stranger.domains().list(shop.id).await.map(drop),
            stranger.health_checks().get(shop.id).await.map(drop),
            stranger.volumes().list(shop.id).await.map(drop),
            stranger.members().list(shop.id).await.map(drop),
        ];

        for (call, refused) in refused.into_iter().enumerate() {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound, "call {call}");
        }
        assert!(stranger.applications().list().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_member_may_do_what_their_role_says_and_no_more() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let (id, member) = stand.user("ann@host.example", Role::User).await;
        let share = async |role| stand.ployer.members().put(shop.id, id, role).await.unwrap();

        share(MemberRole::Viewer).await;
        assert!(member.applications().get(shop.id).await.is_ok());
        assert_eq!(member.deployments().start(shop.id).await.unwrap_err().kind(), ErrorKind::Forbidden);
        share(MemberRole::Deployer).await;
        assert!(member.deployments().start(shop.id).await.is_ok());
        assert_eq!(member.env().reveal(shop.id).await.unwrap_err().kind(), ErrorKind::Forbidden);
        share(MemberRole::Owner).await;
        assert!(member.env().reveal(shop.id).await.is_ok());
        stand.ployer.members().remove(shop.id, id).await.unwrap();
        assert_eq!(member.applications().get(shop.id).await.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn a_webhook_deploys_its_own_application_and_does_nothing_else() {
        let stand = Stand::new().await;
        let (shop, other) = (stand.application("shop").await, stand.application("other").await);
        let webhook = stand.ployer.acting_as(Actor::Webhook { application: shop.id });

        assert!(webhook.deployments().start(shop.id).await.is_ok());
        assert_eq!(webhook.deployments().start(other.id).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(webhook.applications().stop(shop.id).await.unwrap_err().kind(), ErrorKind::Forbidden);
        let new = NewApplication::new("third".parse().unwrap());
        assert_eq!(webhook.applications().create(new).await.unwrap_err().kind(), ErrorKind::Forbidden);
        assert_eq!(webhook.run(std::future::pending()).await.unwrap_err().kind(), ErrorKind::Forbidden);
    }
}
