//! Build strategies: from the look of a source to what is built of it and how that runs.
//!
//! Pure over a folder: nothing is run, and only the files named here are read. Building itself is the runtime's.
//!
//! | found | becomes |
//! |---|---|
//! | `Dockerfile`, where the server runs images | an image |
//! | `ployer.toml` with processes, or a `Procfile` | a release directory, and a process of each type |
//! | `ployer.toml` with `static`, or an `index.html` | a folder that the proxy serves |
//!
//! [`ployer_toml`] has the file's keys. It adds to each strategy: build and release commands, limits, volumes.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::model::{Application, BuildStrategy, ProcessName, ProcessSpec, ReleaseSpec, RepoPath, Rollout};
use crate::runtime::{BuildRecipe, Capabilities};

mod command;
mod detect;
pub mod ployer_toml;
mod procfile;
mod text;

use self::detect::Found;

/// What the application's settings say of its build; where they are silent, the source decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildSettings {
    /// How.
    pub strategy: BuildStrategy,
    /// The Dockerfile, for that strategy; `None`: `Dockerfile`.
    pub dockerfile: Option<RepoPath>,
    /// The port that `web` listens on in a container.
    pub port: Option<u16>,
    /// How a new release takes over.
    pub rollout: Option<Rollout>,
}

impl From<&Application> for BuildSettings {
    fn from(application: &Application) -> Self {
        Self {
            strategy: application.build_strategy,
            dockerfile: application.dockerfile_path.clone(),
            port: application.port,
            rollout: application.rollout,
        }
    }
}

/// How a source is built and run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BuildPlan {
    /// What the builder does.
    pub recipe: BuildRecipe,
    /// How the result runs.
    pub spec: ReleaseSpec,
    /// The strategy that was found; never `Auto`.
    pub strategy: BuildStrategy,
    /// What the user should know, a line each: for the build log.
    pub notes: Vec<String>,
}

/// Looks at `source` and says how it is built and run on a server that has `capabilities`.
///
/// # Errors
///
/// `Invalid` where a file says something that cannot be meant, with its line and column; `Unsupported` where the
/// server cannot do what is asked for; `Failed` where nothing is found that could be deployed.
///
/// ```
/// use ployer_core::build::{BuildSettings, plan};
/// use ployer_core::model::{BuildStrategy, RuntimeKind};
/// use ployer_core::runtime::Capabilities;
///
/// let source = tempfile::tempdir()?;
/// std::fs::write(source.path().join("Procfile"), "web: python3 app.py --port $PORT\n")?;
///
/// let plan = plan(source.path(), &BuildSettings::default(), Capabilities::new(RuntimeKind::Process))?;
///
/// assert_eq!(plan.strategy, BuildStrategy::Procfile);
/// assert_eq!(plan.spec.processes[0].name.as_str(), "web");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn plan(source: &Path, settings: &BuildSettings, capabilities: Capabilities) -> Result<BuildPlan> {
    let found = Found::look(source, settings)?;
    let strategy = found.strategy(settings, capabilities)?;
    let mut plan = match strategy {
        BuildStrategy::Dockerfile => image(&found)?,
        BuildStrategy::Procfile => processes(&found)?,
        BuildStrategy::Static | BuildStrategy::Auto | BuildStrategy::Image => static_site(&found)?,
    };
    found.fill(&mut plan.spec, settings);
    plan.notes = found.notes(&plan, capabilities);
    Ok(plan)
}

/// An image has a command of its own: where nothing else is said, it is `web`.
fn image(found: &Found) -> Result<BuildPlan> {
    let mut processes = found.toml.processes(None)?;
    if processes.is_empty() {
        processes.push(ProcessSpec::new(ProcessName::web(), None));
    }
    let recipe = BuildRecipe::Dockerfile { path: found.dockerfile.clone() };
    let spec = ReleaseSpec { processes, ..ReleaseSpec::default() };
    Ok(BuildPlan { recipe, spec, strategy: BuildStrategy::Dockerfile, notes: Vec::new() })
}

fn processes(found: &Found) -> Result<BuildPlan> {
    let processes = found.toml.processes(found.procfile.as_ref())?;
    let static_root = found.toml.static_root().map(PathBuf::from);
    if static_root.is_some() && processes.iter().any(|process| process.name.is_web()) {
        return Err(Error::invalid("ployer.toml", "`static` and a `web` process both want the requests")
            .with_hint("keep one of them"));
    }
    let spec = ReleaseSpec { processes, static_root, ..ReleaseSpec::default() };
    Ok(BuildPlan { recipe: directory(found), spec, strategy: BuildStrategy::Procfile, notes: Vec::new() })
}

fn static_site(found: &Found) -> Result<BuildPlan> {
    let root = found.toml.static_root().map(PathBuf::from).unwrap_or_default();
    if found.toml.build().is_none() && !found.source.join(&root).is_dir() {
        let message = format!("`static = \"{}\"` is no folder of the source", root.display());
        return Err(Error::invalid("ployer.toml", message)
            .with_hint("name the folder that has the files, or a build command that makes it"));
    }
    let spec = ReleaseSpec { static_root: Some(root), ..ReleaseSpec::default() };
    Ok(BuildPlan { recipe: directory(found), spec, strategy: BuildStrategy::Static, notes: Vec::new() })
}

fn directory(found: &Found) -> BuildRecipe {
    BuildRecipe::Directory { command: found.toml.build().cloned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::model::{Command, RuntimeKind};

    fn processes_only() -> Capabilities {
        Capabilities::new(RuntimeKind::Process)
    }

    fn images() -> Capabilities {
        Capabilities { images: true, ..Capabilities::new(RuntimeKind::Docker) }
    }

    fn source(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        dir
    }

    fn planned(files: &[(&str, &str)], strategy: BuildStrategy, capabilities: Capabilities) -> Result<BuildPlan> {
        plan(source(files).path(), &BuildSettings { strategy, ..BuildSettings::default() }, capabilities)
    }

    fn auto(files: &[(&str, &str)]) -> Result<BuildPlan> {
        planned(files, BuildStrategy::Auto, processes_only())
    }

    fn command(words: &[&str]) -> Command {
        Command(words.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_dockerfile_wins_where_images_run_and_is_passed_over_elsewhere() {
        let files = [("Dockerfile", "FROM scratch"), ("Procfile", "web: ./run")];

        let image = planned(&files, BuildStrategy::Auto, images()).unwrap();
        let process = auto(&files).unwrap();

        assert_eq!(image.recipe, BuildRecipe::Dockerfile { path: "Dockerfile".parse().unwrap() });
        assert_eq!(image.spec.processes, [ProcessSpec::new(ProcessName::web(), None)]);
        assert_eq!(process.strategy, BuildStrategy::Procfile);
        assert_eq!(process.notes, ["strategy procfile: web (Procfile)", "Dockerfile is not used"]);
    }

    #[test]
    fn a_dockerfile_alone_is_refused_where_no_images_run() {
        let error = auto(&[("Dockerfile", "FROM scratch")]).unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.hint().unwrap().contains("add a Procfile"), "{error}");
    }

    #[test]
    fn a_procfile_becomes_processes_and_a_release_command() {
        let plan = auto(&[("Procfile", "web: ./serve\nworker: ./work\nrelease: ./migrate")]).unwrap();

        assert_eq!(plan.recipe, BuildRecipe::Directory { command: None });
        let names: Vec<_> = plan.spec.processes.iter().map(|process| process.name.as_str()).collect();
        assert_eq!(names, ["web", "worker"]);
        assert_eq!(plan.spec.release_command, Some(command(&["./migrate"])));
        assert_eq!((plan.spec.static_root, plan.spec.rollout), (None, Rollout::StartFirst));
    }

    #[test]
    fn what_ployer_toml_says_wins_over_the_procfile() {
        let toml = "build = \"make\"\nrelease = \"./up\"\nvolumes = [\"data\"]\n[processes]\nweb = \"./mine\"";
        let plan =
            auto(&[("Procfile", "web: ./serve\nworker: ./work\nrelease: ./migrate"), ("ployer.toml", toml)]).unwrap();

        assert_eq!(plan.recipe, BuildRecipe::Directory { command: Some(command(&["make"])) });
        assert_eq!(plan.spec.processes, [ProcessSpec::new(ProcessName::web(), Some(command(&["./mine"])))]);
        assert_eq!(plan.spec.release_command, Some(command(&["./up"])));
        assert_eq!(plan.spec.rollout, Rollout::StopFirst, "it has a volume");
        assert!(plan.notes.iter().any(|note| note.contains("the Procfile is not used")), "{:?}", plan.notes);
    }

    #[test]
    fn an_index_or_a_named_folder_becomes_a_static_site() {
        let index = auto(&[("index.html", "hello")]).unwrap();
        let named = auto(&[("ployer.toml", "static = \"site\""), ("site/index.html", "hello")]).unwrap();
        let built = auto(&[("ployer.toml", "static = \"dist\"\nbuild = \"make\"")]).unwrap();
        let missing = auto(&[("ployer.toml", "static = \"dist\"")]).unwrap_err();

        assert_eq!((index.strategy, index.spec.static_root), (BuildStrategy::Static, Some(PathBuf::new())));
        assert_eq!(named.spec.static_root, Some(PathBuf::from("site")));
        assert_eq!(built.spec.static_root, Some(PathBuf::from("dist")));
        assert!(missing.to_string().contains("is no folder"), "{missing}");
        assert!(index.spec.processes.is_empty());
    }

    #[test]
    fn an_unknown_source_says_what_was_looked_for() {
        let empty = auto(&[]).unwrap_err();
        let folder = auto(&[("public/index.html", "hello")]).unwrap_err();

        assert_eq!(
            empty.to_string(),
            "nothing was found that could be deployed; looked for Dockerfile, ployer.toml with processes or `static`, \
             Procfile, index.html"
        );
        assert_eq!(folder.hint(), Some("write `static = \"public\"` into a ployer.toml"));
    }

    #[test]
    fn a_strategy_that_is_asked_for_is_taken_or_says_what_it_lacks() {
        let files = [("index.html", ""), ("Procfile", "web: ./run")];

        assert_eq!(planned(&files, BuildStrategy::Static, processes_only()).unwrap().strategy, BuildStrategy::Static);
        for (strategy, files, kind, part) in [
            (BuildStrategy::Dockerfile, &files[..], ErrorKind::Failed, "has no Dockerfile"),
            (BuildStrategy::Procfile, &files[..1], ErrorKind::Failed, "names a process"),
            (BuildStrategy::Image, &files[..], ErrorKind::Unsupported, "prebuilt image"),
        ] {
            let error = planned(files, strategy, processes_only()).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn the_settings_of_the_application_win_over_its_files() {
        let dir = source(&[("ployer.toml", "port = 1\nrollout = \"stop-first\"\n[processes]\nweb = \"a\"\nx = \"b\"")]);
        let settings =
            BuildSettings { port: Some(8080), rollout: Some(Rollout::StartFirst), ..BuildSettings::default() };

        let own = plan(dir.path(), &BuildSettings::default(), processes_only()).unwrap();
        let overruled = plan(dir.path(), &settings, processes_only()).unwrap();

        let ports = |plan: &BuildPlan| plan.spec.processes.iter().map(|process| process.port).collect::<Vec<_>>();
        assert_eq!((ports(&own), own.spec.rollout), (vec![Some(1), None], Rollout::StopFirst));
        assert_eq!((ports(&overruled), overruled.spec.rollout), (vec![Some(8080), None], Rollout::StartFirst));
    }

    #[test]
    fn what_is_not_done_is_noted() {
        let toml = "[processes]\nweb = { command = \"a\", memory = \"1 GiB\" }";

        let plan = auto(&[("ployer.toml", toml), ("requirements.txt", "flask")]).unwrap();

        assert!(plan.notes.iter().any(|note| note.contains("limits of `web` are not enforced")), "{:?}", plan.notes);
        assert!(plan.notes.iter().any(|note| note.contains("requirements.txt is there")), "{:?}", plan.notes);
    }

    #[test]
    fn requests_cannot_go_both_to_files_and_to_a_process() {
        let toml = "static = \".\"\n[processes]\nweb = \"a\"";

        let error = auto(&[("ployer.toml", toml)]).unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("both want the requests"), "{error}");
    }
}
