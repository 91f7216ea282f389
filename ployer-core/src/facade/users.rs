//! Users of the installation: who they are and what they may do everywhere. How they log in is a frontend's.

use serde::Deserialize;

use super::Ployer;
use crate::access::Action;
use crate::error::{Error, Resource, Result};
use crate::model::{Email, EventKind, NewEvent, Role, User, UserId};

/// Users of the installation. See [`Ployer::users`].
#[derive(Clone, Copy, Debug)]
pub struct Users<'a>(pub(super) &'a Ployer);

/// A new user.
#[derive(Clone, Debug, Deserialize)]
pub struct NewUser {
    /// Their address, unique.
    pub email: Email,
    /// How they are called.
    #[serde(default)]
    pub name: String,
    /// What they may do everywhere.
    #[serde(default = "plain_user")]
    pub role: Role,
}

impl NewUser {
    /// A user with that address who may do what is their own.
    pub fn new(email: Email) -> Self {
        Self { email, name: String::new(), role: Role::User }
    }
}

impl Users<'_> {
    /// Adds a user.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the address is taken, `Forbidden` to everybody but the administrator.
    pub async fn create(&self, new: NewUser) -> Result<User> {
        let ployer = self.0;
        ployer.allow(Action::Administer).await?;
        check_name(&new.name)?;
        let user = User::new(UserId::new(ployer.clock()), new.email, new.name, new.role, ployer.now());
        let user = &user;
        ployer
            .change(|| async move {
                ployer.allow(Action::Administer).await?;
                Ok((ployer.draft().insert(user.clone()).event(NewEvent::global(EventKind::UserCreated)), ()))
            })
            .await?;
        self.get(user.id).await
    }

    /// All users, oldest first.
    ///
    /// # Errors
    ///
    /// `Forbidden` to everybody but the administrator.
    pub async fn list(&self) -> Result<Vec<User>> {
        self.0.allow(Action::Administer).await?;
        self.0.store().users().await
    }

    /// The user of that id: oneself, or anybody for the administrator.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such user, `Forbidden` if it is somebody else.
    pub async fn get(&self, id: UserId) -> Result<User> {
        if self.0.actor().user() != Some(id) {
            self.0.allow(Action::Administer).await?;
        }
        self.0.store().user(id).await?.ok_or_else(|| Error::not_found(Resource::User, id))
    }

    /// Says what a user may do everywhere.
    ///
    /// # Errors
    ///
    /// `Conflict` if nobody would be left who may administer.
    pub async fn set_role(&self, id: UserId, role: Role) -> Result<()> {
        let ployer = self.0;
        ployer
            .change(|| async move {
                ployer.allow(Action::Administer).await?;
                let users = ployer.store().users().await?;
                let others = users.iter().any(|user| user.id != id && user.role == Role::Admin);
                let found = users.into_iter().find(|user| user.id == id);
                let mut user = found.ok_or_else(|| Error::not_found(Resource::User, id))?;
                if user.role == role {
                    return Ok((ployer.draft(), ()));
                }
                if user.role == Role::Admin && !others {
                    return Err(Error::conflict(format!("user `{}` is the only administrator", user.email))
                        .with_hint("make somebody else an administrator first"));
                }
                (user.role, user.updated_at) = (role, ployer.now());
                Ok((ployer.draft().update(user).event(NewEvent::global(EventKind::RightsChanged)), ()))
            })
            .await
    }
}

fn plain_user() -> Role {
    Role::User
}

fn check_name(name: &str) -> Result<()> {
    if name.chars().count() > 200 || name.chars().any(char::is_control) {
        return Err(Error::invalid("name", "it must have 200 characters at most, and no control character")
            .with_hint("leave it out, or give a short name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::facade::stand::Stand;
    use crate::model::ServerId;

    #[tokio::test]
    async fn the_only_administrator_cannot_be_made_a_user() {
        let stand = Stand::new().await;
        let (boss, _) = stand.user("boss@host.example", Role::Admin).await;

        let refused = stand.ployer.users().set_role(boss, Role::User).await.unwrap_err();

        assert_eq!((refused.kind(), refused.hint().is_some()), (ErrorKind::Conflict, true));
        assert_eq!(stand.ployer.users().get(boss).await.unwrap().role, Role::Admin);
    }

    #[tokio::test]
    async fn bad_users_are_refused_and_nothing_is_stored() {
        let stand = Stand::new().await;
        let (id, user) = stand.user("ann@host.example", Role::User).await;
        let users = stand.ployer.users();
        let new = |email: &str| NewUser::new(email.parse().unwrap());

        let taken = users.create(new("ANN@host.example")).await.unwrap_err();
        let control = users.create(NewUser { name: "a\nb".to_owned(), ..new("bob@host.example") }).await.unwrap_err();
        let missing = users.set_role(UserId::from(stand.ployer.instance().as_uuid()), Role::Admin).await.unwrap_err();
        let theirs = user.users().create(new("bob@host.example")).await.unwrap_err();

        let kinds = [taken, control, missing, theirs].map(|error| error.kind());
        assert_eq!(kinds, [ErrorKind::AlreadyExists, ErrorKind::Invalid, ErrorKind::NotFound, ErrorKind::Forbidden]);
        assert_eq!(users.list().await.unwrap().len(), 1);
        assert_eq!(user.users().get(id).await.unwrap().id, id, "one may see oneself");
    }

    #[tokio::test]
    async fn users_see_that_a_server_is_there_but_not_how_to_log_in() {
        let stand = Stand::new().await;
        let (_, user) = stand.user("ann@host.example", Role::User).await;

        let seen = user.servers().list().await.unwrap().pop().unwrap();

        let whole = stand.ployer.servers().get(seen.id).await.unwrap();
        assert_eq!((seen.name, seen.host.as_str(), seen.username.as_str(), seen.port), (whole.name, "", "", 0));
        assert_eq!((whole.host.as_str(), whole.is_local), ("localhost", true));
        let missing = ServerId::from(stand.ployer.instance().as_uuid());
        assert_eq!(user.servers().get(missing).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(user.volumes().detached().await.unwrap_err().kind(), ErrorKind::Forbidden);
    }
}
