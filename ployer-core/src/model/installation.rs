//! The installation: its identity, the engine's lease and the encrypted secret values.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::change::Version;
use super::id::{ApplicationId, InstanceId, SecretVersion};

/// The identity of an installation: one row, made with the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// How often it was written.
    pub version: Version,
    /// The owner of everything that this installation starts.
    pub instance: InstanceId,
    /// Identifies the key that secrets are encrypted with; `None` until the first one was.
    pub secret_key_id: Option<String>,
}

/// The right to act on applications: one row, held by one engine at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// How often it was written.
    pub version: Version,
    /// Who holds it: host, process id, program.
    pub holder: String,
    /// Rises with each holder. Writes of an earlier one are refused.
    pub epoch: u64,
    /// Until when it is held; the past where it was given back.
    pub expires_at: Timestamp,
}

/// Whose a secret value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SecretScope {
    /// The installation's.
    Installation,
    /// An application's.
    Application(ApplicationId),
}

/// An immutable version of a secret value, encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSecret {
    /// Which version of which value.
    pub id: SecretVersion,
    /// How often the row was written: once.
    pub version: Version,
    /// Whose it is.
    pub scope: SecretScope,
    /// What it is called there.
    pub key: String,
    /// Identifies the key it is encrypted with.
    pub key_id: String,
    /// Nonce, ciphertext and tag.
    pub sealed: Vec<u8>,
    /// When it was stored.
    pub created_at: Timestamp,
}
