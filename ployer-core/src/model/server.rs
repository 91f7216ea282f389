//! A server: where workloads run.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::change::Version;
use super::id::ServerId;
use super::name::ServerName;

/// Where workloads run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Server {
    /// Its id.
    pub id: ServerId,
    /// How often it was written.
    pub version: Version,
    /// Its name, unique.
    pub name: ServerName,
    /// Its host name or address.
    pub host: String,
    /// Its SSH port.
    pub port: u16,
    /// The user that logs in.
    pub username: String,
    /// Whether it is this machine.
    pub is_local: bool,
    /// What runs workloads there: chosen once, when the row is made.
    pub runtime: RuntimeKind,
    /// Whether it answered when last asked.
    pub status: ServerStatus,
    /// When it last answered.
    pub last_seen_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Server {
    /// The row of this machine for one kind of runtime, as it is made on first start.
    pub fn local(id: ServerId, name: ServerName, runtime: RuntimeKind, now: Timestamp) -> Self {
        Self {
            id,
            version: Version::NEW,
            name,
            host: "localhost".to_owned(),
            port: 22,
            username: "root".to_owned(),
            is_local: true,
            runtime,
            status: ServerStatus::Online,
            last_seen_at: Some(now),
            created_at: now,
            updated_at: now,
        }
    }
}

/// What runs workloads on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RuntimeKind {
    /// Plain processes, with nothing installed.
    Process,
    /// Docker.
    Docker,
    /// One that the embedding program brings.
    Custom,
}

/// Whether a server answered when last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ServerStatus {
    /// It did.
    Online,
    /// It did not.
    Offline,
    /// It was not asked yet.
    Unknown,
}
