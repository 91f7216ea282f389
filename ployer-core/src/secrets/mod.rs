//! The secret store: values as immutable versions.
//!
//! A release names the versions it started with, so a rollback finds the old values, and a new value never reaches
//! a release that has not asked for it.

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{Secret, SecretScope, SecretVersion};

pub mod encrypted;
mod keyring;

/// Keeps secret values.
///
/// Implementors promise, and `testing::secrets` checks under the same names:
/// - **immutable**: what a version answers never changes;
/// - **faithful**: any bytes come back as they were put, up to 1 MiB, also empty ones;
/// - **bound**: a value answers only for the version it was put as, though the store be tampered with;
/// - **gone**: a purged version is `NotFound`, purging it again is no error;
/// - **never empty for broken**: a value that cannot be read is an error, never an empty value.
#[async_trait]
pub trait SecretStore: fmt::Debug + Send + Sync + 'static {
    /// Stores a value as a new version.
    ///
    /// # Errors
    ///
    /// `Invalid` if the value is larger than 1 MiB, `NotFound` if the scope names an application that is not there.
    async fn put(&self, scope: SecretScope, key: &str, value: &Secret) -> Result<SecretVersion>;

    /// The value of a version.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such version, `Internal` if it cannot be decrypted.
    async fn get(&self, version: SecretVersion) -> Result<Secret>;

    /// Removes a version for good.
    ///
    /// # Errors
    ///
    /// `Unavailable` if what keeps the values does not answer.
    async fn purge(&self, version: SecretVersion) -> Result<()>;
}
