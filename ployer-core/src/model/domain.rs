//! A domain: a host name that leads to an application.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::change::Version;
use super::id::{ApplicationId, DomainId};
use super::name::DomainName;

/// A host name that leads to an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Domain {
    /// Its id.
    pub id: DomainId,
    /// How often it was written.
    pub version: Version,
    /// Whose it is.
    pub application_id: ApplicationId,
    /// The host name, unique in the installation.
    pub domain: DomainName,
    /// Whether it is the one shown: one an application.
    pub is_primary: bool,
    /// Whether it is the subdomain that a deployment made.
    pub generated: bool,
    /// Whether the last verification found it pointing here.
    pub ssl_active: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Domain {
    /// A domain that was not verified yet.
    pub fn new(id: DomainId, application_id: ApplicationId, domain: DomainName, now: Timestamp) -> Self {
        Self {
            id,
            version: Version::NEW,
            application_id,
            domain,
            is_primary: false,
            generated: false,
            ssl_active: false,
            created_at: now,
        }
    }
}
