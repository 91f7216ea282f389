//! Build: makes the artifact of what was checked out, or takes over that of an earlier release of equal input.
//!
//! Repeatable: building the same name again replaces what a crash left behind. Undone by [`super::clear::discard`].

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::build_log::BuildLog;
use super::checkout::{failed, fetch};
use super::output::LINES;
use super::scope::Scope;
use super::workloads;
use crate::build::{BuildSettings, plan};
use crate::engine::decide::seen::{Job, JobEnd, JobKind};
use crate::error::Result;
use crate::model::{Application, Artifact, BuildCache, Built, Deployment, EnvVar, Release, ReleaseState};
use crate::runtime::{ArtifactName, BuildRecipe, BuildRequest};

/// The source of a deployment, as it was checked out.
struct Source {
    directory: PathBuf,
    /// Equal trees are equal source.
    tree: String,
}

/// Builds, and tells how it ended.
pub(super) async fn perform(scope: &Scope, job: Job, cache: BuildCache) -> Result<()> {
    let application = scope.application().await?;
    let deployment = scope.deployment(job.deployment).await?;
    let log = BuildLog::open(scope, job.deployment).await?;
    let end = match log.during(make(scope, &application, &deployment, cache, &log)).await {
        Ok(built) => JobEnd::Built(Box::new(built)),
        Err(error) => failed(&error, log.last(LINES)),
    };
    scope.end(job, end);
    Ok(())
}

async fn make(
    scope: &Scope,
    application: &Application,
    deployment: &Deployment,
    cache: BuildCache,
    log: &BuildLog,
) -> Result<Built> {
    let source = source(scope, application, deployment, log).await?;
    // It reads a few small files, so it is not worth a thread.
    let plan = plan(&source.directory, &BuildSettings::from(application), scope.reach.runtime.capabilities())?;
    plan.notes.iter().for_each(|note| log.add(note));
    let env = scope.context.parts.store.env_vars(application.id).await?;
    let reuse_key = reuse_key(&source.tree, &plan.recipe, &env);
    let name = ArtifactName { application: application.name.clone(), deployment: deployment.id };
    if cache == BuildCache::Use
        && let Some((release, artifact)) = reuse(scope, &reuse_key, &name).await?
    {
        log.add(&format!("nothing to build: equal input was built for release {}", release.id));
        return Ok(Built { artifact, spec: plan.spec, reuse_key, reused_from: Some(release.id) });
    }
    let env = env.into_iter().map(|variable| (variable.key, variable.value)).collect();
    let request = BuildRequest {
        instance: scope.context.parts.instance,
        application: application.id,
        artifact: name,
        context: source.directory,
        recipe: plan.recipe,
        cache,
        env: workloads::env(scope, &env).await?,
    };
    let artifact = scope.reach.builder.build(&request, log).await?;
    Ok(Built { artifact, spec: plan.spec, reuse_key, reused_from: None })
}

/// What was checked out by this engine; after a crash it is checked out again, at the same commit.
async fn source(scope: &Scope, application: &Application, deployment: &Deployment, log: &BuildLog) -> Result<Source> {
    let found = scope.picture.look(|seen| {
        seen.jobs.iter().rev().find_map(|(job, end)| match end {
            JobEnd::CheckedOut { commit, directory }
                if job.kind == JobKind::Checkout && job.deployment == deployment.id =>
            {
                Some(Source { directory: directory.clone(), tree: commit.tree.clone() })
            }
            _ => None,
        })
    });
    if let Some(source) = found {
        return Ok(source);
    }
    let commit = deployment.commit.as_ref().and_then(|commit| commit.sha.clone());
    let checkout = fetch(scope, application, deployment.id, commit, log).await?;
    Ok(Source { directory: checkout.directory, tree: checkout.commit.tree })
}

/// Equal keys mean equal artifacts: the tree, the recipe, and the environment where a command sees it.
fn reuse_key(tree: &str, recipe: &BuildRecipe, env: &[EnvVar]) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    add(tree);
    let sees_env = match recipe {
        BuildRecipe::Directory { command } => {
            add("directory");
            command.iter().flat_map(|command| &command.0).for_each(|argument| add(argument));
            command.is_some()
        }
        BuildRecipe::Dockerfile { path } => {
            add("dockerfile");
            add(path.as_str());
            true
        }
    };
    for variable in env.iter().filter(|_| sees_env) {
        add(variable.key.as_str());
        add(&variable.value.to_string());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Gives the artifact of an earlier release of equal input this deployment's name, where there is one.
async fn reuse(scope: &Scope, key: &str, name: &ArtifactName) -> Result<Option<(Release, Artifact)>> {
    let is_kept = |release: &Release| match release.state {
        ReleaseState::Made | ReleaseState::Ran => true,
        ReleaseState::Discarded | ReleaseState::Collecting | ReleaseState::Collected => false,
    };
    let releases = scope.context.parts.store.releases(scope.application).await?;
    for release in releases.into_iter().rev().filter(|release| release.reuse_key == key && is_kept(release)) {
        if scope.reach.builder.exists(&release.artifact).await? {
            let artifact = scope.reach.builder.reuse(&release.artifact, name, scope.context.parts.instance).await?;
            return Ok(Some((release, artifact)));
        }
    }
    Ok(None)
}
