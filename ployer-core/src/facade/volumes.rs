//! Persistent directories: they belong to an application and outlive every release of it.

use super::Ployer;
use crate::access::Action;
use crate::error::Result;
use crate::model::{ApplicationId, Volume};

/// Persistent directories of applications. See [`Ployer::volumes`].
#[derive(Clone, Copy, Debug)]
pub struct Volumes<'a>(pub(super) &'a Ployer);

impl Volumes<'_> {
    /// The persistent directories of an application, in the order of their names.
    ///
    /// # Errors
    ///
    /// `NotFound` if the application does not exist.
    pub async fn list(&self, application: ApplicationId) -> Result<Vec<Volume>> {
        self.0.application(application, Action::See).await?;
        self.0.store().volumes(application).await
    }

    /// What deleted applications left behind.
    ///
    /// # Errors
    ///
    /// `Forbidden` to everybody but the administrator.
    pub async fn detached(&self) -> Result<Vec<Volume>> {
        self.0.allow(Action::Administer).await?;
        self.0.store().detached_volumes().await
    }
}
