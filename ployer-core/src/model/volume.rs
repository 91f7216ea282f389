//! A persistent directory: it belongs to the application, outlives every release, and is never removed on our own
//! initiative.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::change::Version;
use super::id::ApplicationId;
use super::name::{AppName, VolumeName};

/// A persistent directory of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Whose it is, or was.
    pub application_id: ApplicationId,
    /// Its name.
    pub name: VolumeName,
    /// How often it was written.
    pub version: Version,
    /// The name of the application that left it behind, once that is deleted.
    pub detached_from: Option<AppName>,
    /// When it was made.
    pub created_at: Timestamp,
}
