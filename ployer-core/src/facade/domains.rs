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
        let ployer = self.0;
        let id = DomainId::new(ployer.clock());
        ployer
            .change(async || {
                ployer.application(application, Action::Configure).await?;
                ployer.check_domain(&domain).await?;
                let mut new = Domain::new(id, application, domain.clone(), ployer.now());
                new.is_primary = ployer.store().domains(application).await?.is_empty();
                let event = NewEvent::of(application, EventKind::DomainAdded { domain: domain.clone() });
                Ok((ployer.draft().insert(new).event(event), ()))
            })
            .await?;
        self.find(application, &domain).await
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
            .change(async || {
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
            .change(async || {
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
