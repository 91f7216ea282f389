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
        remove_artifact(scope, &built_first(scope, scope.release(release).await?).await?).await?;
    }
    purge(scope, secrets).await?;
    scope.picture.update(|seen| seen.collected.insert(release));
    Ok(())
}

/// The release whose build made the artifact: it is kept under that one's name, though a rollback with present values
/// gave it to a later release too, and the first is collected by now.
async fn built_first(scope: &Scope, release: Release) -> Result<Release> {
    let all = scope.context.parts.store.releases(scope.application).await?;
    Ok(all.into_iter().find(|other| other.artifact == release.artifact).unwrap_or(release))
}

/// Removes everything of a deleted application that is outside the store.
pub(super) async fn forget(scope: &Scope, volumes: bool) -> Result<()> {
    let parts = &scope.context.parts;
    parts.source.forget(scope.application).await?;
    let releases = parts.store.releases(scope.application).await?;
    // One that is collected may have built what a later one still has.
    let is_left = |release: &Release| {
        releases.iter().any(|other| other.state != ReleaseState::Collected && other.artifact == release.artifact)
    };
    for release in releases.iter().filter(|release| is_left(release)) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::act::fakes::Stand;
    use crate::model::{Artifact, Built, ReleaseSpec};
    use crate::store::{Commit, Store};

    /// Stores a release whose artifact was built as `artifact`.
    async fn release(stand: &Stand, id: DeploymentId, artifact: &Artifact, state: ReleaseState) {
        let (shop, artifact) = (&stand.application, artifact.clone());
        let built = Built { artifact, spec: ReleaseSpec::default(), reuse_key: String::new(), reused_from: None };
        let mut row = Release::new(id, shop.id, shop.name.clone(), built, stand.parts.clock.now());
        row.state = state;
        let commit = Commit::new(crate::model::Actor::System, stand.parts.clock.now());
        stand.store.commit(commit.insert(row)).await.unwrap();
    }

    async fn shared_by_two(stand: &Stand) -> (ArtifactName, DeploymentId) {
        let (first, copy) =
            (DeploymentId::new(stand.parts.clock.as_ref()), DeploymentId::new(stand.parts.clock.as_ref()));
        let name = ArtifactName { application: stand.application.name.clone(), deployment: first };
        let artifact = Artifact::Directory { path: format!("/artifacts/{name}").into() };
        stand.world.things().artifacts.push(artifact.clone());
        release(stand, first, &artifact, ReleaseState::Collected).await;
        release(stand, copy, &artifact, ReleaseState::Collecting).await;
        (name, copy)
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_release_of_an_artifact_removes_it_under_the_name_it_was_built_as() {
        let stand = Stand::new().await;
        let (scope, _tasks) = stand.scope().await;
        let (name, copy) = shared_by_two(&stand).await;

        collect(&scope, copy.into(), false, &BTreeSet::new()).await.unwrap();

        assert_eq!(stand.world.calls().last(), Some(&format!("remove_artifact {name}")));
        assert!(stand.world.things().artifacts.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_deleted_application_leaves_no_artifact_that_a_collected_release_had_built() {
        let stand = Stand::new().await;
        let (scope, _tasks) = stand.scope().await;
        shared_by_two(&stand).await;

        forget(&scope, false).await.unwrap();

        assert!(stand.world.things().artifacts.is_empty());
    }
}
