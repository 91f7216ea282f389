//! Domains: host names that lead to an application. A change moves its route at once.

use super::Ployer;
use crate::access::Action;
use crate::error::{Error, Resource, Result};
use crate::model::{ApplicationId, Domain, DomainId, DomainName, EventKind, Key, NewEvent};

/// Domains of applications. See [`Ployer::domains`].
#[derive(Clone, Copy, Debug)]
pub struct Domains<'a>(pub(super) &'a Ployer);

impl Domains<'_> {
    /// Adds a domain; the first one of an application is its primary one.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if it leads somewhere already, `Forbidden` if it is under the base domain and the actor is no
    /// administrator.
    pub async fn add(&self, application: ApplicationId, domain: DomainName) -> Result<Domain> {
        let (ployer, domain) = (self.0, &domain);
        let id = DomainId::new(ployer.clock());
        ployer
            .change(|| async move {
                ployer.application(application, Action::Configure).await?;
                ployer.check_domain(domain).await?;
                let mut new = Domain::new(id, application, domain.clone(), ployer.now());
                new.is_primary = ployer.store().domains(application).await?.is_empty();
                let event = NewEvent::of(application, EventKind::DomainAdded { domain: domain.clone() });
                Ok((ployer.draft().insert(new).event(event), ()))
            })
            .await?;
        self.find(application, domain).await
    }

    /// The domains of an application, oldest first.
    ///
    /// # Errors
    ///
    /// `NotFound` if the application does not exist.
    pub async fn list(&self, application: ApplicationId) -> Result<Vec<Domain>> {
        self.0.application(application, Action::See).await?;
        self.0.store().domains(application).await
    }

    /// Removes a domain. Where it was the primary one, the oldest that is left takes its place.
    ///
    /// # Errors
    ///
    /// `NotFound` if the application has no such domain.
    pub async fn remove(&self, application: ApplicationId, domain: &DomainName) -> Result<()> {
        let ployer = self.0;
        ployer
            .change(|| async move {
                ployer.application(application, Action::Configure).await?;
                let gone = self.find(application, domain).await?;
                let event = NewEvent::of(application, EventKind::DomainRemoved { domain: domain.clone() });
                let mut commit = ployer.draft().delete(Key::Domain(gone.id), gone.version).event(event);
                let heir = ployer.store().domains(application).await?.into_iter().find(|other| other.id != gone.id);
                if let Some(mut heir) = heir.filter(|_| gone.is_primary) {
                    heir.is_primary = true;
                    let event = EventKind::DomainPrimary { domain: heir.domain.clone() };
                    commit = commit.update(heir).event(NewEvent::of(application, event));
                }
                Ok((commit, ()))
            })
            .await
    }

    /// Makes a domain the primary one: the one that is shown.
    ///
    /// # Errors
    ///
    /// `NotFound` if the application has no such domain.
    pub async fn set_primary(&self, application: ApplicationId, domain: &DomainName) -> Result<()> {
        let ployer = self.0;
        ployer
            .change(|| async move {
                ployer.application(application, Action::Configure).await?;
                let mut chosen = self.find(application, domain).await?;
                let mut commit = ployer.draft();
                if chosen.is_primary {
                    return Ok((commit, ()));
                }
                let domains = ployer.store().domains(application).await?;
                // The present one first: at no time are there two.
                if let Some(mut present) = domains.into_iter().find(|other| other.is_primary) {
                    present.is_primary = false;
                    commit = commit.update(present);
                }
                chosen.is_primary = true;
                let event = NewEvent::of(application, EventKind::DomainPrimary { domain: domain.clone() });
                Ok((commit.update(chosen).event(event), ()))
            })
            .await
    }

    async fn find(&self, application: ApplicationId, domain: &DomainName) -> Result<Domain> {
        let found = self.0.store().domain_named(domain).await?.filter(|found| found.application_id == application);
        found.ok_or_else(|| Error::not_found(Resource::Domain, domain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::facade::stand::Stand;
    use crate::model::{NewApplication, Role};

    fn name(text: &str) -> DomainName {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn there_is_one_primary_domain_as_long_as_there_is_any() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let domains = stand.ployer.domains();
        let primary = async || {
            let all = domains.list(shop.id).await.unwrap();
            all.into_iter().filter(|d| d.is_primary).map(|d| d.domain.to_string()).collect::<Vec<_>>()
        };

        domains.add(shop.id, name("a.example")).await.unwrap();
        domains.add(shop.id, name("b.example")).await.unwrap();
        assert_eq!(primary().await, ["a.example"]);
        domains.set_primary(shop.id, &name("b.example")).await.unwrap();
        domains.set_primary(shop.id, &name("b.example")).await.unwrap();
        assert_eq!(primary().await, ["b.example"]);
        domains.remove(shop.id, &name("b.example")).await.unwrap();
        assert_eq!(primary().await, ["a.example"]);

        let moved = stand.events().await.into_iter().filter(|e| matches!(e, EventKind::DomainPrimary { .. })).count();
        assert_eq!(moved, 2);
    }

    #[tokio::test]
    async fn a_domain_leads_to_one_application_and_others_do_not_touch_it() {
        let stand = Stand::new().await;
        let (shop, other) = (stand.application("shop").await, stand.application("other").await);
        stand.ployer.domains().add(shop.id, name("a.example")).await.unwrap();

        let taken = stand.ployer.domains().add(other.id, name("a.example")).await.unwrap_err();
        let foreign = stand.ployer.domains().remove(other.id, &name("a.example")).await.unwrap_err();

        assert_eq!((taken.kind(), foreign.kind()), (ErrorKind::AlreadyExists, ErrorKind::NotFound));
        assert_eq!(stand.ployer.domains().list(shop.id).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn names_under_the_base_domain_are_the_administrators() {
        let stand = Stand::new().await;
        let (_, user) = stand.user("ann@host.example", Role::User).await;
        let mine = user.applications().create(NewApplication::new("mine".parse().unwrap())).await.unwrap();

        for refused in ["localhost", "other.localhost", "a.b.localhost"] {
            let error = user.domains().add(mine.id, name(refused)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Forbidden, "{refused}");
        }

        assert!(user.domains().add(mine.id, name("notlocalhost")).await.is_ok());
        assert!(stand.ployer.domains().add(mine.id, name("other.localhost")).await.is_ok());
    }
}
