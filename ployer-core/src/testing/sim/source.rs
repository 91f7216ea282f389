//! The simulated source and builder: what an engine calls, over the workshop of the world.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use super::faults::PointKind::{Effect, Look};
use super::version::Effort;
use super::workshop::place;
use super::world::{Call, Port, World};
use crate::error::{Error, Result};
use crate::model::{ApplicationId, Artifact, Command, DeploymentId, InstanceId};
use crate::runtime::{ArtifactName, BuildRecipe, BuildRequest, Builder, LogSink};
use crate::source::{Checkout, CheckoutRequest, Progress, Source};

/// The source of a simulated world, as one engine reaches it.
#[derive(Clone, Debug)]
pub struct SimSource(pub(super) Port);

#[async_trait]
impl Source for SimSource {
    async fn checkout(&self, request: &CheckoutRequest, progress: &dyn Progress) -> Result<Checkout> {
        let call = Call { kind: Effect, what: "checkout", of: &request.deployment };
        let (sha, commit) = self
            .0
            .judged(
                call,
                |world| world.job_begins(request.deployment),
                |world| {
                    world.workshop.checkouts.insert(request.deployment, request.application);
                    world.workshop.find(&request.url, &request.what)
                },
            )
            .await?;
        progress.line(&format!("fetching {}", request.url));
        tokio::time::sleep(commit.effort.takes).await;
        if commit.effort.fails {
            return Err(Error::failed("the connection to the repository was lost"));
        }
        let call = Call { kind: Effect, what: "checked out", of: &request.deployment };
        self.0.call(call, |world| world.workshop.write_down(request, sha, &commit)).await
    }

    async fn discard(&self, deployment: DeploymentId) -> Result<()> {
        let call = Call { kind: Effect, what: "discard", of: &deployment };
        self.0
            .call(call, |world| {
                world.workshop.checkouts.remove(&deployment);
                world.workshop.clear(deployment)
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
        let call = Call { kind: Effect, what: "build", of: &request.artifact };
        self.0
            .judged(
                call,
                |world| world.job_begins(request.artifact.deployment),
                |world| {
                    world.workshop.artifacts.insert(path.clone(), false);
                    Ok(())
                },
            )
            .await?;
        said(&request.recipe).for_each(|line| log.line(line));
        tokio::time::sleep(effort.takes).await;
        if effort.fails {
            let call = Call { kind: Effect, what: "build fails", of: &request.artifact };
            self.0.call(call, |world| Ok(world.workshop.artifacts.remove(&path))).await?;
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
        let remove = |world: &mut World| {
            world.workshop.artifacts.remove(&artifact_path(name));
            Ok(())
        };
        self.0.judged(call, |world| world.artifact_goes(name), remove).await
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
        [program, takes, end, ..] if program == "sim-build" => {
            Effort { takes: Duration::from_millis(takes.parse().unwrap_or_default()), fails: end == "fails" }
        }
        _ => Effort::taking(Duration::ZERO),
    }
}

/// What a build command prints: its words after the first three.
fn said(recipe: &BuildRecipe) -> impl Iterator<Item = &str> {
    let command = match recipe {
        BuildRecipe::Directory { command } => command.as_ref(),
        BuildRecipe::Dockerfile { .. } => None,
    };
    command.into_iter().flat_map(|Command(words)| words.iter().skip(3).map(String::as_str))
}
