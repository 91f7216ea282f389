//! What the engine knows of an application, as one row: its active release and its journal.

use serde::{Deserialize, Serialize};

use super::change::Version;
use super::id::{ApplicationId, ReleaseId};

/// What the engine knows of an application. Only the engine writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Whose it is.
    pub application_id: ApplicationId,
    /// How often it was written.
    pub version: Version,
    /// The release that serves, or would if the application were not stopped.
    pub active: Option<ReleaseId>,
    /// Whether replicas exit too often.
    pub degraded: bool,
    /// Whether requests reach the active release.
    pub serving: bool,
    /// The version of the journal's form.
    pub journal_version: u32,
    /// The journal: the engine's state as JSON.
    pub journal: String,
}
