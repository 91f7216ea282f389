//! Clearing: removes what deployments and releases leave outside the store, once nothing needs it any more.
//!
//! The store is marked before and told afterwards, so each may be done again after a crash; absence is no error.
//! Persistent directories go only with an application whose user said so.

use std::collections::BTreeSet;

use super::scope::Scope;
use crate::error::{ErrorKind, Result};
use crate::model::{AppName, DeploymentId, Release, ReleaseId, ReleaseState, SecretVersion};
use crate::runtime::ArtifactName;

/// Removes a deployment's checkout and, if `artifact`, what was built of it.
pub(super) async fn discard(scope: &Scope, deployment: DeploymentId, artifact: bool) -> Result<()> {
    scope.context.parts.source.discard(deployment).await?;
    if artifact {
        let application = artifact_application(scope, deployment).await?;
        scope.reach.builder.remove(&ArtifactName { application, deployment }).await?;
    }
    scope.picture.update(|seen| seen.discarded.insert(deployment));
    Ok(())
}

/// The application's name when the deployment was asked for: its artifact is named after that.
async fn artifact_application(scope: &Scope, deployment: DeploymentId) -> Result<AppName> {
    let row = scope.deployment(deployment).await?;
    let name = row.image_tag.strip_prefix("ployer-").and_then(|tag| tag.split_once(':'));
    name.map_or(Ok(scope.application().await?.name), |(name, _)| name.parse())
}

/// Removes the artifact of a release, unless another one shares it, and secret versions that only it names.
pub(super) async fn collect(
    scope: &Scope,
    release: ReleaseId,
    shared: bool,
    secrets: &BTreeSet<SecretVersion>,
) -> Result<()> {
    if !shared {
        remove_artifact(scope, &scope.release(release).await?).await?;
    }
    purge(scope, secrets).await?;
    scope.picture.update(|seen| seen.collected.insert(release));
    Ok(())
}

/// Removes everything of a deleted application that is outside the store.
pub(super) async fn forget(scope: &Scope, volumes: bool) -> Result<()> {
    let parts = &scope.context.parts;
    parts.source.forget(scope.application).await?;
    let releases = parts.store.releases(scope.application).await?;
    for release in releases.iter().filter(|release| release.state != ReleaseState::Collected) {
        remove_artifact(scope, release).await?;
    }
    let env = parts.store.env_vars(scope.application).await?;
    let versions = releases.iter().flat_map(|release| release.env.values().copied());
    purge(scope, &versions.chain(env.iter().map(|variable| variable.value)).collect()).await?;
    if volumes {
        remove_volumes(scope).await?;
    }
    scope.picture.update(|seen| seen.forgotten = true);
    Ok(())
}

async fn remove_artifact(scope: &Scope, release: &Release) -> Result<()> {
    let name = ArtifactName { application: release.application_name.clone(), deployment: release.id.into() };
    scope.reach.builder.remove(&name).await
}

async fn purge(scope: &Scope, versions: &BTreeSet<SecretVersion>) -> Result<()> {
    for version in versions {
        scope.context.parts.secrets.purge(*version).await?;
    }
    Ok(())
}

async fn remove_volumes(scope: &Scope) -> Result<()> {
    for volume in scope.context.parts.store.volumes(scope.application).await? {
        match scope.reach.runtime.remove_volume(scope.application, &volume.name).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                tracing::warn!(volume = %volume.name, "the runtime cannot remove volumes: it stays");
            }
            result => result?,
        }
    }
    Ok(())
}
