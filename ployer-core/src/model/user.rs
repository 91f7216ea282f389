//! A user of the installation.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::change::Version;
use super::id::UserId;
use super::name::Email;

/// A user of the installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// How often the row was written.
    pub version: Version,
    /// Their address, unique.
    pub email: Email,
    /// How they are called.
    pub name: String,
    /// What they may do everywhere.
    pub role: Role,
    /// When they were added.
    pub created_at: Timestamp,
    /// When they were last changed.
    pub updated_at: Timestamp,
}

impl User {
    /// A user as they are stored.
    pub fn new(id: UserId, email: Email, name: String, role: Role, now: Timestamp) -> Self {
        Self { id, version: Version::NEW, email, name, role, created_at: now, updated_at: now }
    }
}

/// What a user may do everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// Everything.
    Admin,
    /// What is their own or shared with them.
    User,
}
