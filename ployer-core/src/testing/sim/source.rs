//! The simulated source and builder: what an engine calls, over the workshop of the world.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use super::faults::PointKind::{Effect, Look};
use super::version::{Effort, Version};
use super::workshop::place;
use super::world::{Call, Port};
use crate::error::{Error, Result};
use crate::model::{ApplicationId, Artifact, Command, CommitInfo, DeploymentId, InstanceId};
use crate::runtime::{ArtifactName, BuildRecipe, BuildRequest, Builder, LogSink};
use crate::source::{Checkout, CheckoutRequest, Progress, Source, Wish};

/// The source of a simulated world, as one engine reaches it.
#[derive(Clone, Debug)]
pub struct SimSource(pub(super) Port);

#[async_trait]
impl Source for SimSource {
    async fn checkout(&self, request: &CheckoutRequest, progress: &dyn Progress) -> Result<Checkout> {
        let commit = match &request.what {
            Wish::Commit(sha) => Some(sha.clone()),
            Wish::DefaultBranch | Wish::Branch(_) => None,
        };
        let engine = self.0.engine;
        let call = Call { kind: Effect, what: "checkout", of: &request.deployment };
        let version = self
            .0
            .call(call, |world| {
                world.before_job(engine, request.deployment);
                world.workshop.checkouts.insert(request.deployment, request.application);
                world.workshop.version(&request.url, commit.as_ref())
            })
            .await?;
        progress.line(&format!("fetching {}", request.url));
        tokio::time::sleep(version.checkout.takes).await;
        if version.checkout.fails {
            return Err(Error::failed("the connection to the repository was lost"));
        }
        let call = Call { kind: Effect, what: "checked out", of: &request.deployment };
        self.0.call(call, |world| world.workshop.write_down(request.deployment, &version)).await
    }

    async fn discard(&self, deployment: DeploymentId) -> Result<()> {
        let call = Call { kind: Effect, what: "discard", of: &deployment };
        self.0
            .call(call, |world| {
                world.workshop.checkouts.remove(&deployment);
                Ok(())
            })
            .await
    }

    async fn forget(&self, application: ApplicationId) -> Result<()> {
        let call = Call { kind: Effect, what: "forget", of: &application };
        self.0
            .call(call, |world| {
                world.workshop.checkouts.retain(|_, owner| *owner != application);
                Ok(())
            })
            .await
    }
}

/// What a checkout of that version tells.
pub(super) fn commit_info(version: &Version) -> CommitInfo {
    let sha = version.sha();
    CommitInfo {
        sha: sha.parse().ok(),
        message: format!("version {}", version.number),
        author: "Ada Lovelace".to_owned(),
        tree: sha,
    }
}

/// The builder of a simulated server, as one engine reaches it.
#[derive(Clone, Debug)]
pub struct SimBuilder(pub(super) Port);

#[async_trait]
impl Builder for SimBuilder {
    async fn build(&self, request: &BuildRequest, log: &dyn LogSink) -> Result<Artifact> {
        let path = artifact_path(&request.artifact);
        let effort = match &request.recipe {
            BuildRecipe::Directory { command } => command.as_ref().map_or(Effort::taking(Duration::ZERO), effort),
            BuildRecipe::Dockerfile { .. } => return Err(Error::unsupported("a Dockerfile")),
        };
        let engine = self.0.engine;
        let call = Call { kind: Effect, what: "build", of: &request.artifact };
        self.0
            .call(call, |world| {
                world.before_job(engine, request.artifact.deployment);
                world.workshop.artifacts.insert(path.clone(), false);
                Ok(())
            })
            .await?;
        log.line("building");
        tokio::time::sleep(effort.takes).await;
        if effort.fails {
            log.line("error: it does not compile");
            return Err(Error::failed("the build command ended with exit code 1"));
        }
        let call = Call { kind: Effect, what: "built", of: &request.artifact };
        self.0
            .call(call, |world| {
                world.workshop.artifacts.insert(path.clone(), true);
                Ok(Artifact::Directory { path })
            })
            .await
    }

    async fn reuse(&self, artifact: &Artifact, name: &ArtifactName, _instance: InstanceId) -> Result<Artifact> {
        let call = Call { kind: Effect, what: "reuse", of: name };
        self.0
            .call(call, |world| {
                world.workshop.check_artifact(artifact)?;
                let path = artifact_path(name);
                world.workshop.artifacts.insert(path.clone(), true);
                Ok(Artifact::Directory { path })
            })
            .await
    }

    async fn exists(&self, artifact: &Artifact) -> Result<bool> {
        let path = place(artifact);
        let call = Call { kind: Look, what: "exists", of: &path.display() };
        self.0.call(call, |world| Ok(world.workshop.has(artifact))).await
    }

    async fn remove(&self, name: &ArtifactName) -> Result<()> {
        let call = Call { kind: Effect, what: "remove artifact", of: name };
        self.0
            .call(call, |world| {
                world.before_artifact_goes(name);
                world.workshop.artifacts.remove(&artifact_path(name));
                Ok(())
            })
            .await
    }
}

/// Where the artifact of that name is kept.
pub(super) fn artifact_path(name: &ArtifactName) -> PathBuf {
    PathBuf::from(format!("/sim/releases/{name}"))
}

/// The effort that a build command stands for; one of a real program takes no time.
fn effort(command: &Command) -> Effort {
    let Command(words) = command;
    match words.as_slice() {
        [program, takes, end] if program == "sim-build" => {
            Effort { takes: Duration::from_millis(takes.parse().unwrap_or_default()), fails: end == "fails" }
        }
        _ => Effort::taking(Duration::ZERO),
    }
}
