//! Detection: which strategy a source asks for, and what its files say.

use std::path::{Path, PathBuf};

use super::ployer_toml::{self, PloyerToml};
use super::procfile::{self, Procfile};
use super::{BuildPlan, BuildSettings, text};
use crate::error::{Error, Result};
use crate::model::{BuildStrategy, ReleaseSpec, RepoPath, Rollout};
use crate::runtime::{BuildRecipe, Capabilities};

/// Files that ask for a build command, and one that usually does.
const DEPENDENCIES: [(&str, &str); 4] = [
    ("package.json", "npm ci"),
    ("requirements.txt", "python3 -m pip install --requirement requirements.txt --target vendor"),
    ("Gemfile", "bundle install"),
    ("go.mod", "go build"),
];

/// What was found in a source.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) source: PathBuf,
    pub(super) toml: PloyerToml,
    pub(super) procfile: Option<Procfile>,
    /// Where a Dockerfile is looked for.
    pub(super) dockerfile: RepoPath,
    has_toml: bool,
    has_dockerfile: bool,
    has_index: bool,
}

impl Found {
    /// Reads the files that decide.
    pub(super) fn look(source: &Path, settings: &BuildSettings) -> Result<Self> {
        let dockerfile = settings.dockerfile.clone().map_or_else(|| "Dockerfile".parse(), Ok)?;
        let toml = text::read(source, "ployer.toml")?;
        let procfile = text::read(source, "Procfile")?;
        Ok(Self {
            has_toml: toml.is_some(),
            has_dockerfile: source.join(dockerfile.as_str()).is_file(),
            has_index: source.join("index.html").is_file(),
            toml: toml.as_deref().map(ployer_toml::parse).transpose()?.unwrap_or_default(),
            procfile: procfile.as_deref().map(procfile::parse).transpose()?,
            source: source.to_owned(),
            dockerfile,
        })
    }

    /// The strategy that is asked for, or that the source looks like.
    pub(super) fn strategy(&self, settings: &BuildSettings, capabilities: Capabilities) -> Result<BuildStrategy> {
        match settings.strategy {
            BuildStrategy::Auto => self.detect(capabilities),
            BuildStrategy::Dockerfile if !self.has_dockerfile => {
                Err(Error::failed(format!("the source has no {}", self.dockerfile))
                    .with_hint("name the Dockerfile in the application's settings, or choose another strategy"))
            }
            BuildStrategy::Dockerfile if !capabilities.images => Err(no_images(&self.dockerfile)),
            BuildStrategy::Image => Err(Error::unsupported("a prebuilt image")),
            BuildStrategy::Procfile => self.processes(capabilities),
            strategy @ (BuildStrategy::Dockerfile | BuildStrategy::Static) => Ok(strategy),
        }
    }

    fn detect(&self, capabilities: Capabilities) -> Result<BuildStrategy> {
        if self.has_dockerfile && capabilities.images {
            return Ok(BuildStrategy::Dockerfile);
        }
        if self.has_processes() {
            return self.processes(capabilities);
        }
        if self.toml.static_root().is_some() || self.has_index {
            return Ok(BuildStrategy::Static);
        }
        Err(if self.has_dockerfile { no_images(&self.dockerfile) } else { self.nothing() })
    }

    fn has_processes(&self) -> bool {
        self.toml.has_commands() || self.procfile.as_ref().is_some_and(|procfile| !procfile.processes.is_empty())
    }

    /// Processes as they are, if there are any and each has a command.
    fn processes(&self, capabilities: Capabilities) -> Result<BuildStrategy> {
        if !self.has_processes() {
            return Err(Error::failed("neither a Procfile nor a ployer.toml names a process")
                .with_hint("add a line to a Procfile: `web: python3 app.py`"));
        }
        if capabilities.images {
            return Err(Error::unsupported("running a Procfile on a server that runs images")
                .with_hint("add a Dockerfile, or choose a server that runs processes"));
        }
        match self.toml.without_command().filter(|_| self.toml.has_commands()) {
            Some(name) => Err(Error::invalid("ployer.toml", format!("the process `{name}` has no command"))),
            None => Ok(BuildStrategy::Procfile),
        }
    }

    fn nothing(&self) -> Error {
        let looked_for = format!("{}, ployer.toml with processes or `static`, Procfile, index.html", self.dockerfile);
        let error = Error::failed(format!("nothing was found that could be deployed; looked for {looked_for}"));
        let folders = ["public", "dist", "build", "site", "_site"];
        match folders.iter().find(|folder| self.source.join(folder).join("index.html").is_file()) {
            Some(folder) => error.with_hint(format!("write `static = \"{folder}\"` into a ployer.toml")),
            None => error.with_hint("add a Procfile: `web: python3 app.py`, with a program that listens on $PORT"),
        }
    }

    /// What every strategy takes from the files and the application's settings, which win.
    pub(super) fn fill(&self, spec: &mut ReleaseSpec, settings: &BuildSettings) {
        let procfile_release = self.procfile.as_ref().and_then(|procfile| procfile.release.as_ref());
        spec.release_command = self.toml.release().or(procfile_release).cloned();
        spec.health_path = self.toml.health().cloned();
        spec.volumes = self.toml.volumes().to_vec();
        let usual = if spec.volumes.is_empty() { Rollout::StartFirst } else { Rollout::StopFirst };
        spec.rollout = settings.rollout.or(self.toml.rollout()).unwrap_or(usual);
        let port = settings.port.or(self.toml.port());
        spec.processes.iter_mut().filter(|process| process.name.is_web()).for_each(|web| web.port = port);
    }

    /// What the user should know of a plan.
    pub(super) fn notes(&self, plan: &BuildPlan, capabilities: Capabilities) -> Vec<String> {
        let mut notes = vec![self.because(plan)];
        if self.has_dockerfile && plan.strategy != BuildStrategy::Dockerfile {
            notes.push(format!("{} is not used", self.dockerfile));
        }
        if self.procfile.is_some() && self.toml.has_commands() {
            notes.push("the Procfile is not used: ployer.toml has the processes".to_owned());
        }
        if let Some(name) = self.toml.limited().filter(|_| !capabilities.memory_limits) {
            notes.push(format!("the limits of `{name}` are not enforced: this server cannot"));
        }
        if plan.recipe == (BuildRecipe::Directory { command: None })
            && plan.strategy == BuildStrategy::Procfile
            && let Some((file, command)) = DEPENDENCIES.iter().find(|(file, _)| self.source.join(file).is_file())
        {
            notes.push(format!(
                "{file} is there, but nothing is built: write `build = \"{command}\"` into a ployer.toml"
            ));
        }
        notes
    }

    fn because(&self, plan: &BuildPlan) -> String {
        let names: Vec<_> = plan.spec.processes.iter().map(|process| process.name.as_str()).collect();
        let names = names.join(", ");
        match plan.strategy {
            BuildStrategy::Dockerfile => format!("strategy dockerfile: {}", self.dockerfile),
            BuildStrategy::Procfile if self.toml.has_commands() => format!("strategy procfile: {names} (ployer.toml)"),
            BuildStrategy::Procfile => format!("strategy procfile: {names} (Procfile)"),
            BuildStrategy::Static if self.has_toml && self.toml.static_root().is_some() => {
                "strategy static: the folder that ployer.toml names".to_owned()
            }
            BuildStrategy::Static | BuildStrategy::Auto | BuildStrategy::Image => {
                "strategy static: the files as they are".to_owned()
            }
        }
    }
}

fn no_images(dockerfile: &RepoPath) -> Error {
    Error::unsupported(format!("building {dockerfile} on a server that runs plain processes"))
        .with_hint("add a Procfile: `web: python3 app.py`, or choose a server with Docker")
}
