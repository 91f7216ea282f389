//! A variable of an application: its name and the version of its secret value.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::change::Version;
use super::id::{ApplicationId, SecretVersion};
use super::name::EnvKey;

/// A variable of an application. Its value is in the secret store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvVar {
    /// Whose it is.
    pub application_id: ApplicationId,
    /// Its name.
    pub key: EnvKey,
    /// How often it was written.
    pub version: Version,
    /// The value's version.
    pub value: SecretVersion,
    /// Whether it is never revealed.
    pub locked: bool,
    /// When it was last set.
    pub updated_at: Timestamp,
}
