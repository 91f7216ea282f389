//! The builder: from a checked-out folder to an artifact that the runtime of the same server can run.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::error::Result;
use crate::model::{
    AppName, ApplicationId, Artifact, BuildCache, Command, DeploymentId, EnvKey, InstanceId, RepoPath, Secret,
};

/// What to build. How a source is built was decided before, by the `build` room.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The installation.
    pub instance: InstanceId,
    /// The application.
    pub application: ApplicationId,
    /// The name and place of the artifact.
    pub artifact: ArtifactName,
    /// The folder with the source.
    pub context: PathBuf,
    /// How.
    pub recipe: BuildRecipe,
    /// Whether what was built before may be used.
    pub cache: BuildCache,
    /// The environment of build commands.
    pub env: BTreeMap<EnvKey, Secret>,
}

/// How a source is built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildRecipe {
    /// The files as they are, after an optional command that runs among them.
    Directory {
        /// Installs dependencies, compiles, renders.
        command: Option<Command>,
    },
    /// A Dockerfile.
    Dockerfile {
        /// Where it is, inside the context.
        path: RepoPath,
    },
}

/// The name of an artifact: `ployer-{application}:{deployment}`; one tag, one release.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArtifactName {
    /// The application's name when it was built.
    pub application: AppName,
    /// The deployment that made it.
    pub deployment: DeploymentId,
}

impl fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ployer-{}:{}", self.application, self.deployment)
    }
}

/// Takes the lines that a build prints, as they come.
pub trait LogSink: Send + Sync {
    /// One line without its end.
    fn line(&self, text: &str);
}

/// Builds artifacts on one server and keeps them.
///
/// Dropping the future of a build ends what it started; `remove` then takes what is left of it.
///
/// Implementors promise, and `testing::runtime` checks under the same names:
/// - **whole artifact**: an artifact is there entirely or not at all;
/// - **rebuildable**: building the same name again replaces what a crash left behind;
/// - **cancelled clean**: a dropped build leaves no process within 2 s, and nothing after `remove`.
#[async_trait]
pub trait Builder: fmt::Debug + Send + Sync + 'static {
    /// Builds. Lines go to `log` in the order they were printed.
    ///
    /// # Errors
    ///
    /// `Failed` if a command of the build failed, naming it; `Unsupported` for a recipe it cannot follow.
    async fn build(&self, request: &BuildRequest, log: &dyn LogSink) -> Result<Artifact>;

    /// Gives an artifact that is there a second name, instead of building it again.
    async fn reuse(&self, artifact: &Artifact, name: &ArtifactName, instance: InstanceId) -> Result<Artifact>;

    /// Whether an artifact is there.
    async fn exists(&self, artifact: &Artifact) -> Result<bool>;

    /// Removes what was built under a name, also half of it. Absence is no error.
    async fn remove(&self, name: &ArtifactName) -> Result<()>;

    /// The file `path` of an artifact that is a directory, for static sites: where the proxy finds it.
    fn static_root(&self, artifact: &Artifact, path: &Path) -> Option<PathBuf> {
        match artifact {
            Artifact::Directory { path: root } => Some(root.join(path)),
            Artifact::Image { .. } => None,
        }
    }
}
