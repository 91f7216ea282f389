//! Members: users with whom an application is shared, and what they may do there.

use super::Ployer;
use crate::access::Action;
use crate::error::{Error, Resource, Result};
use crate::model::{ApplicationId, EventKind, Key, Member, MemberRole, NewEvent, UserId, Version};

/// Members of applications. See [`Ployer::members`].
#[derive(Clone, Copy, Debug)]
pub struct Members<'a>(pub(super) &'a Ployer);

impl Members<'_> {
    /// The members of an application, in the order of their user ids.
    ///
    /// # Errors
    ///
    /// `NotFound` if the application does not exist.
    pub async fn list(&self, application: ApplicationId) -> Result<Vec<Member>> {
        self.0.application(application, Action::See).await?;
        self.0.store().members(application).await
    }

    /// Shares an application with a user, or says what a member may do from now on.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such user.
    pub async fn put(&self, application: ApplicationId, user: UserId, role: MemberRole) -> Result<()> {
        let ployer = self.0;
        ployer
            .change(|| async move {
                ployer.application(application, Action::Share).await?;
                let draft = ployer.draft();
                let old = ployer.store().member(application, user).await?;
                if old.as_ref().is_some_and(|old| old.role == role) {
                    return Ok((draft, ()));
                }
                let version = old.as_ref().map_or(Version::NEW, |old| old.version);
                let member = Member { application_id: application, user_id: user, version, role };
                let commit = if old.is_some() { draft.update(member) } else { draft.insert(member) };
                Ok((commit.event(NewEvent::of(application, EventKind::RightsChanged)), ()))
            })
            .await
    }

    /// Ends the sharing with a user.
    ///
    /// # Errors
    ///
    /// `NotFound` if they are no member.
    pub async fn remove(&self, application: ApplicationId, user: UserId) -> Result<()> {
        let ployer = self.0;
        ployer
            .change(|| async move {
                ployer.application(application, Action::Share).await?;
                let found = ployer.store().member(application, user).await?;
                let member = found.ok_or_else(|| Error::not_found(Resource::Member, user))?;
                let event = NewEvent::of(application, EventKind::RightsChanged);
                Ok((ployer.draft().delete(Key::Member(application, user), member.version).event(event), ()))
            })
            .await
    }
}
