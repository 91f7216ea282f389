//! Access: who may do what, decided here and nowhere else, by one table.
//!
//! Every call of the facade asks [`may`] with the rights as they are stored at that moment, so a user who loses a
//! right loses it at once, whatever handles are still open. What somebody may not even see answers as if it did
//! not exist. Reading rights from the store is the facade's; here are only values.

use crate::model::{Actor, Application, MemberRole, Role};

/// Who asks: the actor, with the role that is stored for their user now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// On whose behalf.
    pub(crate) actor: Actor,
    /// The role of the actor's user; `None` where there is no user, or no longer.
    pub(crate) role: Option<Role>,
}

/// What something is done to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resource<'a> {
    /// The installation: its servers, users, settings.
    Installation,
    /// An application with all that belongs to it.
    Application {
        /// Which one.
        application: &'a Application,
        /// What the caller's user may do there as a member.
        member: Option<MemberRole>,
    },
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Look at an application: its settings, deployments, logs, the names of its variables.
    See,
    /// Deploy, roll back, cancel.
    Deploy,
    /// Start, stop, restart, scale.
    Operate,
    /// Change its settings, variables, domains, health check.
    Configure,
    /// Read the values of its variables in clear.
    Reveal,
    /// Say who its members are.
    Share,
    /// Delete it.
    Delete,
    /// Make an application.
    Create,
    /// Look at the servers.
    ListServers,
    /// Administer: users, servers, reserved names, folders of the server as source, all events.
    Administer,
}

impl Action {
    /// What an error says that refuses it.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::See => "to look at this application",
            Self::Deploy => "to deploy this application, roll it back or cancel its deployments",
            Self::Operate => "to start, stop, restart or scale this application",
            Self::Configure => "to change this application",
            Self::Reveal => "to read the values of this application's variables",
            Self::Share => "to say who shares this application",
            Self::Delete => "to delete this application",
            Self::Create => "to make an application",
            Self::ListServers => "to look at the servers",
            Self::Administer => "this is the administrator's",
        }
    }
}

/// What the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Yes.
    Granted,
    /// No.
    Denied,
    /// No, and the caller must not learn that it exists.
    Hidden,
}

/// Whether `caller` may do `action` to `resource`.
pub(crate) fn may(caller: Caller, action: Action, resource: Resource<'_>) -> Verdict {
    let standing = standing(caller, resource);
    match grants(standing, action) {
        true => Verdict::Granted,
        false if matches!(resource, Resource::Application { .. }) && !grants(standing, Action::See) => Verdict::Hidden,
        false => Verdict::Denied,
    }
}

/// How a caller stands to a resource; each includes those before it, but for the webhook, which stands apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// No user, a deleted one, or a webhook of another application.
    Nobody,
    /// A verified delivery to this application's webhook.
    Webhook,
    /// A user whom nothing connects with the resource.
    User,
    Viewer,
    Deployer,
    Owner,
    /// The administrator, the embedding program, Ployer itself.
    Admin,
}

fn standing(caller: Caller, resource: Resource<'_>) -> Standing {
    match (caller.actor, caller.role, resource) {
        (Actor::System, _, _) | (_, Some(Role::Admin), _) => Standing::Admin,
        (Actor::Webhook { application: its }, _, Resource::Application { application, .. })
            if its == application.id =>
        {
            Standing::Webhook
        }
        (Actor::Webhook { .. }, _, _) | (_, None, _) => Standing::Nobody,
        (_, Some(Role::User), Resource::Installation) => Standing::User,
        (actor, Some(Role::User), Resource::Application { application, member }) => {
            if application.owner.is_some() && application.owner == actor.user() {
                return Standing::Owner;
            }
            match member {
                Some(MemberRole::Owner) => Standing::Owner,
                Some(MemberRole::Deployer) => Standing::Deployer,
                Some(MemberRole::Viewer) => Standing::Viewer,
                None => Standing::User,
            }
        }
    }
}

/// The table.
fn grants(standing: Standing, action: Action) -> bool {
    let least = match action {
        Action::Create | Action::ListServers => Standing::User,
        Action::See => Standing::Viewer,
        Action::Deploy | Action::Operate => Standing::Deployer,
        Action::Configure | Action::Reveal | Action::Share | Action::Delete => Standing::Owner,
        Action::Administer => Standing::Admin,
    };
    match standing {
        Standing::Webhook => matches!(action, Action::See | Action::Deploy),
        other => other >= least,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::model::{AppName, ApplicationId, NewApplication, ServerId, TokenId, UserId};

    use Action::{Administer, Configure, Create, Delete, Deploy, ListServers, Operate, Reveal, See, Share};
    use Verdict::{Denied, Granted, Hidden};

    const ON_AN_APPLICATION: [Action; 7] = [See, Deploy, Operate, Configure, Reveal, Share, Delete];
    const ON_THE_INSTALLATION: [Action; 3] = [Create, ListServers, Administer];

    fn application(owner: Option<UserId>) -> Application {
        let name: AppName = "shop".parse().unwrap();
        let id = ApplicationId::new(&SystemClock);
        Application::new(id, NewApplication::new(name), ServerId::new(&SystemClock), owner, SystemClock.now())
    }

    fn user(id: UserId, role: Role) -> Caller {
        Caller { actor: Actor::User { user: id }, role: Some(role) }
    }

    fn verdicts(caller: Caller, application: &Application, member: Option<MemberRole>) -> [Verdict; 7] {
        ON_AN_APPLICATION.map(|action| may(caller, action, Resource::Application { application, member }))
    }

    #[test]
    fn the_whole_table_of_an_application_is_as_written_here() {
        let (owner, other) = (UserId::new(&SystemClock), UserId::new(&SystemClock));
        let shop = application(Some(owner));
        let token = Actor::Token { token: TokenId::new(&SystemClock), user: owner };
        let webhook = Caller { actor: Actor::Webhook { application: shop.id }, role: None };
        let stranger = Caller { actor: Actor::Webhook { application: ApplicationId::new(&SystemClock) }, role: None };
        let all = [Granted; 7];
        let none = [Hidden; 7];
        let table = [
            ("system", Caller { actor: Actor::System, role: None }, None, all),
            ("administrator", user(other, Role::Admin), None, all),
            ("owner", user(owner, Role::User), None, all),
            ("owner's token", Caller { actor: token, role: Some(Role::User) }, None, all),
            ("member as owner", user(other, Role::User), Some(MemberRole::Owner), all),
            (
                "deployer",
                user(other, Role::User),
                Some(MemberRole::Deployer),
                [Granted, Granted, Granted, Denied, Denied, Denied, Denied],
            ),
            (
                "viewer",
                user(other, Role::User),
                Some(MemberRole::Viewer),
                [Granted, Denied, Denied, Denied, Denied, Denied, Denied],
            ),
            ("user", user(other, Role::User), None, none),
            ("deleted user", Caller { actor: Actor::User { user: owner }, role: None }, None, none),
            ("its webhook", webhook, None, [Granted, Granted, Denied, Denied, Denied, Denied, Denied]),
            ("another webhook", stranger, None, none),
        ];

        for (who, caller, member, expected) in table {
            assert_eq!(verdicts(caller, &shop, member), expected, "{who}");
        }
    }

    #[test]
    fn the_whole_table_of_the_installation_is_as_written_here() {
        let id = UserId::new(&SystemClock);
        let webhook = Actor::Webhook { application: ApplicationId::new(&SystemClock) };
        let table = [
            ("system", Caller { actor: Actor::System, role: None }, [Granted, Granted, Granted]),
            ("administrator", user(id, Role::Admin), [Granted, Granted, Granted]),
            ("user", user(id, Role::User), [Granted, Granted, Denied]),
            ("deleted user", Caller { actor: Actor::User { user: id }, role: None }, [Denied, Denied, Denied]),
            ("webhook", Caller { actor: webhook, role: None }, [Denied, Denied, Denied]),
        ];

        for (who, caller, expected) in table {
            assert_eq!(ON_THE_INSTALLATION.map(|a| may(caller, a, Resource::Installation)), expected, "{who}");
        }
    }

    #[test]
    fn an_application_without_an_owner_belongs_to_no_user() {
        let orphan = application(None);

        let verdicts = verdicts(user(UserId::new(&SystemClock), Role::User), &orphan, None);

        assert_eq!(verdicts, [Hidden; 7]);
    }
}
