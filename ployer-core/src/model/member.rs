//! A member of an application: a user with whom it is shared.

use serde::{Deserialize, Serialize};

use super::change::Version;
use super::id::{ApplicationId, UserId};

/// A user with whom an application is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which application.
    pub application_id: ApplicationId,
    /// Which user.
    pub user_id: UserId,
    /// How often it was written.
    pub version: Version,
    /// What they may do there.
    pub role: MemberRole,
}

/// What a member may do; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MemberRole {
    /// Look.
    Viewer,
    /// Deploy, roll back, restart.
    Deployer,
    /// Everything, also sharing and deleting it.
    Owner,
}
