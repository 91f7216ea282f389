//! Identifiers: a UUID of version 7 each, and a type each, so that none can be taken for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Clock;
use crate::error::Error;

macro_rules! ids {
    ($($(#[doc = $doc:literal])+ $name:ident, $field:literal;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new one, later in order than those made before.
            pub fn new(clock: &dyn Clock) -> Self {
                Self(clock.new_id())
            }

            /// The UUID itself.
            pub fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let refused = || Error::invalid($field, "it is not a UUID").with_hint("give the id as it was answered");
                Uuid::parse_str(text).map(Self).map_err(|_| refused())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    )+};
}

ids! {
    /// Names this installation: the owner of everything that it starts.
    InstanceId, "instance id";
    /// Names an application.
    ApplicationId, "application id";
    /// Names a deployment.
    DeploymentId, "deployment id";
    /// Names a release: the id of the deployment that made it.
    ReleaseId, "release id";
    /// Names a server.
    ServerId, "server id";
    /// Names a domain.
    DomainId, "domain id";
    /// Names a health check.
    HealthCheckId, "health check id";
    /// Names an immutable version of a secret value.
    SecretVersion, "secret version";
    /// Names a user.
    UserId, "user id";
    /// Names an API token.
    TokenId, "token id";
}

impl From<DeploymentId> for ReleaseId {
    fn from(id: DeploymentId) -> Self {
        Self(id.0)
    }
}

impl From<ReleaseId> for DeploymentId {
    fn from(id: ReleaseId) -> Self {
        Self(id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn a_release_has_the_id_of_its_deployment() {
        let deployment = DeploymentId::new(&SystemClock);

        assert_eq!(ReleaseId::from(deployment).to_string(), deployment.to_string());
    }

    #[test]
    fn text_that_is_no_uuid_is_refused_by_name() {
        let error = "shop".parse::<ApplicationId>().unwrap_err();

        assert_eq!(error.to_string(), "application id is not valid: it is not a UUID");
        assert_eq!((error.field(), error.hint().is_some()), (Some("application id"), true));
    }
}
