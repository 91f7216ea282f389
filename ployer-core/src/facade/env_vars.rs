//! Variables: what a deployment finds in its environment. Their values are immutable versions in the secret store.
//!
//! What is set here counts from the next deployment: a release names the versions that it started with. A value
//! leaves the library through [`EnvVars::reveal`] alone, which needs the right and is recorded.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Ployer;
use crate::access::Action;
use crate::error::{Error, ErrorKind, Resource, Result};
use crate::model::{
    ApplicationId, EnvKey, EnvVar, EventKind, Key, NewEvent, Release, ReleaseState, Secret, SecretScope, SecretVersion,
    Version,
};
use crate::store::Commit;

/// The longest value: what the kernel takes as one string of an environment, less the name.
const VALUE_BYTES_MAX: usize = 128 * 1024 - 512;

/// The most variables of an application.
const VARIABLES_MAX: usize = 1_000;

/// Variables of applications. See [`Ployer::env`].
#[derive(Clone, Copy, Debug)]
pub struct EnvVars<'a>(pub(super) &'a Ployer);

/// The value of a variable.
#[derive(Clone, Debug, Deserialize)]
pub struct NewVariable {
    /// The value.
    pub value: Secret,
    /// Whether it is never revealed again.
    #[serde(default)]
    pub locked: bool,
}

impl NewVariable {
    /// A value that may be revealed.
    pub fn new(value: impl Into<Secret>) -> Self {
        Self { value: value.into(), locked: false }
    }
}

impl From<&str> for NewVariable {
    fn from(value: &str) -> Self {
        Self::new(value)
    }
}

impl From<String> for NewVariable {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl EnvVars<'_> {
    /// Sets a variable, new or not. It counts from the next deployment.
    ///
    /// # Errors
    ///
    /// `Invalid` if Ployer sets a variable of that name itself, or the value is too long or has a NUL byte.
    pub async fn set(&self, application: ApplicationId, key: EnvKey, new: impl Into<NewVariable>) -> Result<()> {
        let ployer = self.0;
        let new = new.into();
        ployer.application(application, Action::Configure).await?;
        check(&key, &new.value)?;
        let scope = SecretScope::Application(application);
        let version = ployer.shared.parts.secrets.put(scope, key.as_str(), &new.value).await?;
        let (key, locked) = (&key, new.locked);
        let replaced = ployer.change(|| self.draft_set(application, key, version, locked)).await;
        match replaced {
            Ok(None) => Ok(()),
            Ok(Some(old)) => self.purge_unused(application, old).await,
            Err(error) => {
                ployer.shared.parts.secrets.purge(version).await?;
                Err(error)
            }
        }
    }

    /// The variables of an application, without their values, in the order of their names.
    ///
    /// # Errors
    ///
    /// `NotFound` if the application does not exist.
    pub async fn list(&self, application: ApplicationId) -> Result<Vec<EnvVar>> {
        self.0.application(application, Action::See).await?;
        self.0.store().env_vars(application).await
    }

    /// Removes a variable. Counts from the next deployment.
    ///
    /// # Errors
    ///
    /// `NotFound` if the application has no such variable.
    pub async fn remove(&self, application: ApplicationId, key: &EnvKey) -> Result<()> {
        let ployer = self.0;
        let old = ployer
            .change(|| async move {
                ployer.application(application, Action::Configure).await?;
                let found = find(ployer.store().env_vars(application).await?, key);
                let var = found.ok_or_else(|| Error::not_found(Resource::Variable, key))?;
                let event = NewEvent::of(application, EventKind::VariableRemoved { key: key.clone() });
                let commit = ployer.draft().delete(Key::EnvVar(application, key.clone()), var.version).event(event);
                Ok((commit, var.value))
            })
            .await?;
        self.purge_unused(application, old).await
    }

    /// The values in clear, but of locked ones. The reading is recorded before anything is read.
    ///
    /// # Errors
    ///
    /// `Forbidden` for whoever may not change the application; `Internal` if a value cannot be decrypted.
    pub async fn reveal(&self, application: ApplicationId) -> Result<BTreeMap<EnvKey, Secret>> {
        let ployer = self.0;
        ployer
            .change(|| async move {
                ployer.application(application, Action::Reveal).await?;
                Ok((ployer.draft().event(NewEvent::of(application, EventKind::VariablesRevealed)), ()))
            })
            .await?;
        let mut values = BTreeMap::new();
        for var in ployer.store().env_vars(application).await?.into_iter().filter(|var| !var.locked) {
            values.insert(var.key, ployer.shared.parts.secrets.get(var.value).await?);
        }
        Ok(values)
    }

    /// The commit that sets a variable, and the version that it replaces.
    async fn draft_set(
        &self,
        application: ApplicationId,
        key: &EnvKey,
        value: SecretVersion,
        locked: bool,
    ) -> Result<(Commit, Option<SecretVersion>)> {
        let ployer = self.0;
        ployer.application(application, Action::Configure).await?;
        let vars = ployer.store().env_vars(application).await?;
        let count = vars.len();
        let old = find(vars, key);
        if old.is_none() && count >= VARIABLES_MAX {
            let message = format!("the application has {VARIABLES_MAX} variables already");
            return Err(Error::new(ErrorKind::Exhausted, message).with_hint("remove some, or put several into one"));
        }
        let version = old.as_ref().map_or(Version::NEW, |old| old.version);
        let var =
            EnvVar { application_id: application, key: key.clone(), version, value, locked, updated_at: ployer.now() };
        let event = NewEvent::of(application, EventKind::VariableSet { key: key.clone() });
        let commit = match old.is_some() {
            true => ployer.draft().update(var),
            false => ployer.draft().insert(var),
        };
        Ok((commit.event(event), old.map(|old| old.value)))
    }

    /// Purges a version that no release names, unless a deployment under way may have read it: then it stays until
    /// the application goes.
    async fn purge_unused(&self, application: ApplicationId, version: SecretVersion) -> Result<()> {
        let store = self.0.store();
        if !store.unfinished_deployments(application).await?.is_empty() {
            return Ok(());
        }
        let releases = store.releases(application).await?;
        let is_kept = |release: &&Release| release.state != ReleaseState::Collected;
        let named = releases.iter().filter(is_kept).any(|release| release.env.values().any(|named| *named == version));
        if named { Ok(()) } else { self.0.shared.parts.secrets.purge(version).await }
    }
}

fn find(vars: Vec<EnvVar>, key: &EnvKey) -> Option<EnvVar> {
    vars.into_iter().find(|var| var.key == *key)
}

fn check(key: &EnvKey, value: &Secret) -> Result<()> {
    if key.as_str() == "PORT" {
        return Err(Error::invalid("key", "`PORT` is set by Ployer").with_hint("listen on the port that `PORT` names"));
    }
    if key.as_str().starts_with("PLOYER_") {
        return Err(
            Error::invalid("key", "names that begin with `PLOYER_` are set by Ployer").with_hint("choose another name")
        );
    }
    if value.expose().contains(&0) {
        return Err(Error::invalid("value", "an environment cannot hold a NUL byte").with_hint("encode it, as Base64"));
    }
    if value.expose().len() > VALUE_BYTES_MAX {
        return Err(Error::invalid("value", format!("it is longer than {VALUE_BYTES_MAX} bytes"))
            .with_hint("put it into a file of a persistent directory"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facade::stand::Stand;

    fn key(name: &str) -> EnvKey {
        name.parse().unwrap()
    }

    #[tokio::test]
    async fn a_value_is_revealed_as_it_was_set_and_the_reading_is_recorded() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let env = stand.ployer.env();

        env.set(shop.id, key("TOKEN"), "s3cret-value").await.unwrap();
        env.set(shop.id, key("LOCKED"), NewVariable { locked: true, ..NewVariable::new("never") }).await.unwrap();
        let revealed = env.reveal(shop.id).await.unwrap();

        assert_eq!(revealed, BTreeMap::from([(key("TOKEN"), Secret::from("s3cret-value"))]));
        assert_eq!(stand.events().await.last(), Some(&EventKind::VariablesRevealed));
        let listed = format!("{:?} {:?}", env.list(shop.id).await.unwrap(), stand.events().await);
        assert!(!listed.contains("s3cret-value") && !listed.contains("never"));
    }

    #[tokio::test]
    async fn a_replaced_value_goes_unless_a_release_names_it() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let env = stand.ployer.env();

        env.set(shop.id, key("A"), "one").await.unwrap();
        env.set(shop.id, key("A"), "two").await.unwrap();
        assert_eq!(stand.still.values(), 1, "nobody can want the first any more");
        stand.ployer.deployments().start(shop.id).await.unwrap();
        env.set(shop.id, key("A"), "three").await.unwrap();
        assert_eq!(stand.still.values(), 2, "the deployment may have read the second");
        env.remove(shop.id, &key("A")).await.unwrap();

        assert!(env.list(shop.id).await.unwrap().is_empty());
        assert_eq!(env.remove(shop.id, &key("A")).await.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn names_and_values_that_no_process_could_have_are_refused_and_leave_nothing() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        let before = stand.events().await;

        for (name, value) in [("PORT", "80"), ("PLOYER_VOLUME_DATA", "/"), ("A", "a\0b"), ("A", &long)] {
            let refused = stand.ployer.env().set(shop.id, key(name), value).await.unwrap_err();
            assert_eq!((refused.kind(), refused.hint().is_some()), (ErrorKind::Invalid, true), "{name}");
        }

        assert_eq!((stand.still.values(), stand.events().await), (0, before));
    }
}
