//! Releases: what deployments made, and what a rollback can return to.

use super::Ployer;
use crate::access::Action;
use crate::error::{Error, ErrorKind, Resource, Result};
use crate::model::{ApplicationId, Release, ReleaseId};

/// Releases of applications. See [`Ployer::releases`].
#[derive(Clone, Copy, Debug)]
pub struct Releases<'a>(pub(super) &'a Ployer);

impl Releases<'_> {
    /// All releases of an application, oldest first, also those whose artifact is gone.
    ///
    /// # Errors
    ///
    /// `NotFound` if the application does not exist.
    pub async fn list(&self, application: ApplicationId) -> Result<Vec<Release>> {
        self.0.application(application, Action::See).await?;
        self.0.store().releases(application).await
    }

    /// The release of that id.
    ///
    /// # Errors
    ///
    /// `NotFound` if it does not exist.
    pub async fn get(&self, id: ReleaseId) -> Result<Release> {
        let missing = || Error::not_found(Resource::Release, id);
        let release = self.0.store().release(id).await?.ok_or_else(missing)?;
        match self.0.application(release.application_id, Action::See).await {
            Ok(_) => Ok(release),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(missing()),
            Err(error) => Err(error),
        }
    }
}
