//! Building: what a command of a build gets, may do and leaves.

use std::sync::Mutex;

use super::*;
use crate::error::ErrorKind;
use crate::runtime::LogSink;

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl LogSink for Lines {
    fn line(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

async fn request(world: &World, command: Option<&[&str]>) -> BuildRequest {
    let request = world.source(world.instance, BuildProgram::Succeeds).await;
    let command = command.map(|words| Command(words.iter().map(ToString::to_string).collect()));
    let env = [("TOKEN".parse().unwrap(), Secret::from("t0ken"))].into();
    BuildRequest { recipe: BuildRecipe::Directory { command }, env, ..request }
}

async fn built(world: &World, script: &str) -> (crate::Result<Artifact>, Vec<String>) {
    let (request, lines) = (request(world, Some(&["sh", "-c", script])).await, Lines::default());
    let result = world.runtime.build(&request, &lines).await;
    (result, lines.0.into_inner().unwrap())
}

#[tokio::test]
async fn a_build_runs_in_a_copy_of_the_source_with_its_environment_and_yields() {
    let world = World::new();
    let request =
        request(&world, Some(&["sh", "-c", "cat file; echo; echo $TOKEN; nice; echo new > made; rm file"])).await;
    let lines = Lines::default();

    let artifact = world.runtime.build(&request, &lines).await.unwrap();

    let lines = lines.0.into_inner().unwrap();
    assert_eq!(lines[0], "$ sh -c 'cat file; echo; echo $TOKEN; nice; echo new > made; rm file'");
    assert_eq!(lines[1..], ["content", "t0ken", "10"]);
    let root = world.runtime.static_root(&artifact, Path::new("")).unwrap();
    assert!(root.join("made").exists() && !root.join("file").exists());
    assert!(request.context.join("file").exists(), "the source is as it was");
    let place = [request.application.to_string(), request.artifact.deployment.to_string()];
    assert!(root.ends_with(place.iter().collect::<PathBuf>()), "{}", root.display());
}

#[tokio::test]
async fn a_build_without_a_command_is_the_files_as_they_are() {
    let world = World::new();
    let request = request(&world, None).await;

    let artifact = world.runtime.build(&request, &Lines::default()).await.unwrap();

    let root = world.runtime.static_root(&artifact, Path::new("")).unwrap();
    assert_eq!(std::fs::read_to_string(root.join("file")).unwrap(), "content");
}

#[tokio::test]
async fn a_build_that_fails_names_its_command_and_its_end() {
    let world = World::new();

    let (failed, _) = built(&world, "exit 7").await;
    let missing = world
        .runtime
        .build(&request(&world, Some(&["no-such-program", "install"])).await, &Lines::default())
        .await
        .unwrap_err();

    assert_eq!(failed.unwrap_err().to_string(), "the build command `sh -c 'exit 7'` ended with exit code 7");
    assert_eq!(missing.kind(), ErrorKind::Failed);
    let chain = missing.chain();
    assert!(chain.starts_with("the build command `no-such-program install` cannot be run: No such file"), "{chain}");
}

#[tokio::test]
async fn what_a_build_leaves_running_ends_with_it() {
    let world = World::new();

    let (artifact, lines) = built(&world, "sleep 1000 & echo started").await;

    artifact.unwrap();
    assert_eq!(lines[1], "started");
    eventually(async || world.left_of_builds().await == 0).await;
}

#[tokio::test]
async fn a_build_cannot_read_the_data_directory_but_may_fill_caches_outside() {
    let world = World::new();
    if !world.runtime.capabilities().confined {
        return;
    }
    std::fs::write(world.data().join("secret.key"), "secret").unwrap();
    let cache = tempfile::tempdir().unwrap();
    let script = format!(
        "cat {}/secret.key 2>/dev/null; echo cached > {}/file; echo tmp > $TMPDIR/x; echo end",
        world.data().display(),
        cache.path().display()
    );

    let (artifact, lines) = built(&world, &script).await;

    artifact.unwrap();
    assert_eq!(lines[1..], ["end"]);
    assert_eq!(std::fs::read_to_string(cache.path().join("file")).unwrap(), "cached\n");
}

#[tokio::test]
async fn a_dockerfile_is_refused_with_a_way_out() {
    let world = World::new();
    let recipe = BuildRecipe::Dockerfile { path: "Dockerfile".parse().unwrap() };
    let request = BuildRequest { recipe, ..request(&world, None).await };

    let error = world.runtime.build(&request, &Lines::default()).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.hint().unwrap().contains("Procfile"));
}

#[tokio::test]
async fn endless_lines_and_strange_bytes_come_in_pieces_of_text() {
    let world = World::new();

    let (artifact, lines) = built(&world, r"head -c 20000 /dev/zero | tr '\0' x; printf '\n\377\r\nlast'").await;

    artifact.unwrap();
    let lengths: Vec<_> = lines[1..3].iter().map(String::len).collect();
    assert_eq!(lengths, [16 * 1024, 20_000 - 16 * 1024]);
    assert_eq!(lines[3..], ["\u{fffd}", "last"]);
}

#[tokio::test]
async fn artifacts_are_found_after_the_data_directory_was_moved() {
    let world = World::new();
    let (artifact, _) = built(&world, "true").await;
    let Artifact::Directory { path } = artifact.unwrap() else { panic!("a directory") };
    let names: PathBuf = path.components().rev().take(2).collect::<Vec<_>>().into_iter().rev().collect();

    let moved = Artifact::Directory { path: Path::new("/elsewhere/releases").join(names) };

    assert!(world.runtime.exists(&moved).await.unwrap());
    assert_eq!(world.runtime.static_root(&moved, Path::new("dist")), Some(path.join("dist")));
    let outside = Artifact::Directory { path: "/elsewhere/../etc".into() };
    assert!(!world.runtime.exists(&outside).await.unwrap(), "nothing but our own releases");
}

#[tokio::test]
async fn builds_that_a_killed_program_left_running_end_when_charge_is_taken() {
    let world = World::new();
    let mut orphan = build_of(&world, &world.data());

    world.runtime.attach().await.unwrap();

    assert!(!is_alive(orphan.id().cast_signed()));
    orphan.wait().unwrap();
    eventually(async || world.left_of_builds().await == 0).await;
}

#[tokio::test]
async fn builds_of_the_same_instance_in_another_data_directory_go_on() {
    let (world, other) = (World::new(), tempfile::tempdir().unwrap());
    let mut build = build_of(&world, &other.path().canonicalize().unwrap());

    world.runtime.attach().await.unwrap();

    assert!(build.try_wait().unwrap().is_none(), "it was ended");
    build.kill().unwrap();
    build.wait().unwrap();
}

/// What a program leaves that is killed while it builds.
fn build_of(world: &World, data_dir: &Path) -> std::process::Child {
    let mut sleep = std::process::Command::new("sleep");
    sleep.arg("1000").env("PLOYER_INSTANCE", world.instance.to_string()).env("PLOYER_INSTALLATION", data_dir);
    sleep.env("PLOYER_GUEST", DeploymentId::new(&SystemClock).to_string()).spawn().unwrap()
}
