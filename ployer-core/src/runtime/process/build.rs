//! Building for the process runtime: a copy of the source, a command that runs inside it, a release directory.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::ProcessRuntime;
use super::confine::Outside;
use super::environment::{Parts, expand};
use super::files::{self, blocking, failed};
use super::guest::{Guest, Pipes, Streaming, drained};
use super::kin::{self, Marks};
use super::places::{Place, Work};
use super::release_dir::ReleaseDir;
use super::shared::Shared;
use super::spawn::{Call, Launching, Pace};
use crate::error::{Error, Result};
use crate::model::{Artifact, Command, Exit, InstanceId};
use crate::runtime::{ArtifactName, BuildRecipe, BuildRequest, Builder, LogSink};

/// A line that is longer comes in pieces.
const LINE_BYTES_MAX: usize = 16 * 1024;

#[async_trait]
impl Builder for ProcessRuntime {
    async fn build(&self, request: &BuildRequest, log: &dyn LogSink) -> Result<Artifact> {
        let BuildRecipe::Directory { command } = &request.recipe else {
            return Err(Error::unsupported("building a Dockerfile without Docker")
                .with_hint("add a Procfile or a ployer.toml, or choose a server with Docker"));
        };
        self.charge().await?;
        let application = self.shared.releases().join(request.application.to_string());
        let release = ReleaseDir::at(application.join(request.artifact.deployment.to_string()));
        let place = self.places.take(request.artifact.deployment).await;
        kin::kill(&request.artifact, &self.marks(&request.artifact), None).await?;
        let made = self.make(request, command.as_ref(), &release, &place, log).await;
        if made.is_err() {
            self.give_back(request, &release, &place).await;
        }
        made?;
        Ok(Artifact::Directory { path: release.path().to_owned() })
    }

    async fn reuse(&self, artifact: &Artifact, name: &ArtifactName, _instance: InstanceId) -> Result<Artifact> {
        let source = self.directory(artifact)?;
        let release = ReleaseDir::at(source.with_file_name(name.deployment.to_string()));
        let place = self.places.take(name.deployment).await;
        let making = release.clone();
        on_disk(name, &place, move |work| {
            making.begin(&source, &|| work.go_on())?;
            making.finish()
        })
        .await?;
        Ok(Artifact::Directory { path: release.path().to_owned() })
    }

    async fn exists(&self, artifact: &Artifact) -> Result<bool> {
        Ok(self.directory(artifact)?.is_dir())
    }

    async fn remove(&self, name: &ArtifactName) -> Result<()> {
        self.charge().await?;
        kin::kill(name, &self.marks(name), None).await?;
        let place = self.places.take(name.deployment).await;
        let (shared, deployment) = (Arc::clone(&self.shared), name.deployment.to_string());
        on_disk(name, &place, move |_| {
            files::remove_dir(&shared.tmp(&deployment))?;
            for application in std::fs::read_dir(shared.releases())? {
                let application = application?.path();
                ReleaseDir::at(application.join(&deployment)).remove()?;
                remove_if_empty(&application)?;
            }
            Ok(())
        })
        .await
    }

    fn static_root(&self, artifact: &Artifact, path: &Path) -> Option<PathBuf> {
        self.directory(artifact).ok().map(|root| root.join(path))
    }
}

impl ProcessRuntime {
    fn directory(&self, artifact: &Artifact) -> Result<PathBuf> {
        match artifact {
            Artifact::Directory { path } => Ok(self.shared.release(path)),
            Artifact::Image { .. } => Err(Error::unsupported("an image without Docker")),
        }
    }

    fn marks(&self, name: &ArtifactName) -> Marks {
        self.shared.marks().guest(name.deployment)
    }

    async fn make(
        &self,
        request: &BuildRequest,
        command: Option<&Command>,
        release: &ReleaseDir,
        place: &Place,
        log: &dyn LogSink,
    ) -> Result<()> {
        let (making, context) = (release.clone(), request.context.clone());
        on_disk(&request.artifact, place, move |work| making.begin(&context, &|| work.go_on())).await?;
        if let Some(command) = command {
            self.run_build(request, command, &release.partial(), log).await?;
        }
        let making = release.clone();
        on_disk(&request.artifact, place, move |_| making.finish()).await
    }

    /// What failed gives its space back at once: on a full disk nobody could store that it failed.
    async fn give_back(&self, request: &BuildRequest, release: &ReleaseDir, place: &Place) {
        let (partial, tmp) = (release.partial(), self.shared.tmp(&request.artifact.deployment));
        let given_back = on_disk(&request.artifact, place, move |_| {
            files::remove_dir(&partial)?;
            files::remove_dir(&tmp)
        });
        if let Err(error) = given_back.await {
            tracing::warn!(%error, "a failed build leaves files until it is removed");
        }
    }

    async fn run_build(
        &self,
        request: &BuildRequest,
        command: &Command,
        directory: &Path,
        log: &dyn LogSink,
    ) -> Result<()> {
        let words = shell_words::join(&command.0).replace("$$", "$");
        log.line(&format!("$ {words}"));
        let launching = launching(&self.shared, request, command, directory)?;
        let marks = self.marks(&request.artifact);
        let started = Guest::start(launching, marks, Streaming::Joined, false, self.shared.boot.clone()).await;
        let (mut guest, Pipes { stdout, .. }) = started
            .map_err(|cause| Error::failed(format!("the build command `{words}` cannot be run")).with_source(cause))?;
        let mut lines = Lines { pipe: stdout, partial: Vec::new() };
        let cannot = || failed(format!("the build command `{words}` cannot be followed"));
        let exit = loop {
            tokio::select! {
                biased;
                more = lines.forward(log) => if !more.map_err(cannot())? { break guest.ended().await },
                exit = guest.ended() => break exit,
            }
        };
        let exit = exit.map_err(cannot())?;
        drained(async { while lines.forward(log).await.unwrap_or(false) {} }).await;
        match exit {
            Exit::Code(0) => Ok(()),
            exit => Err(Error::failed(format!("the build command `{words}` ended with {exit}"))),
        }
    }
}

/// Lines of a pipe, as they come.
struct Lines {
    pipe: pipe::Receiver,
    partial: Vec<u8>,
}

impl Lines {
    /// Tells what can be read now; `false` at the end.
    async fn forward(&mut self, log: &dyn LogSink) -> io::Result<bool> {
        let mut piece = [0; 8 * 1024];
        let read = self.pipe.read(&mut piece).await?;
        for byte in &piece[..read] {
            if *byte != b'\n' {
                self.partial.push(*byte);
            }
            if *byte == b'\n' || self.partial.len() == LINE_BYTES_MAX {
                self.tell(log);
            }
        }
        if read == 0 && !self.partial.is_empty() {
            self.tell(log);
        }
        Ok(read > 0)
    }

    fn tell(&mut self, log: &dyn LogSink) {
        let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        log.line(&String::from_utf8_lossy(line));
        self.partial.clear();
    }
}

fn launching(shared: &Shared, request: &BuildRequest, command: &Command, directory: &Path) -> Result<Launching> {
    let tmp = shared.tmp(&request.artifact.deployment);
    files::make_private_dir(&tmp).map_err(failed(format!("{} cannot be made", tmp.display())))?;
    let inherited = &shared.environment;
    let mut variables = Parts { inherited, tmp: &tmp, own: &request.env, address: None, volumes: &[] }.variables();
    shared.marks().guest(request.artifact.deployment).put_into(&mut variables);
    Ok(Launching {
        arguments: expand(command, &variables),
        variables,
        cgroup: None,
        confinement: shared.confinement(vec![directory.to_owned(), tmp], Outside::Write),
        directory: directory.to_owned(),
        call: Call::Within,
        pace: Pace::Yielding,
    })
}

/// Blocking work on a release directory: nobody else is at it until that has ended.
async fn on_disk(
    name: &ArtifactName,
    place: &Place,
    act: impl FnOnce(&Work) -> io::Result<()> + Send + 'static,
) -> Result<()> {
    let cannot = format!("the release directory {name} cannot be written");
    let work = place.work();
    blocking(move || act(&work).map_err(failed(cannot))).await
}

fn remove_if_empty(path: &Path) -> io::Result<()> {
    // A folder beside releases that is none of ours is left alone.
    if path.file_name().is_none_or(|name| name.as_bytes().starts_with(b".")) {
        return Ok(());
    }
    match std::fs::remove_dir(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => Ok(()),
        other => other,
    }
}
