//! What a program that crashed leaves behind, at each line where it can.

use std::process::Stdio;

use super::*;
use crate::error::ErrorKind;
use crate::runtime::process::kin;
use crate::runtime::process::record::{Identity, Phase};

/// Set for the program that a test starts and kills; its value is the data directory.
const CHILD_DATA: &str = "PLOYER_TEST_DATA";
const CHILD_INSTANCE: &str = "PLOYER_TEST_INSTANCE";

#[tokio::test]
async fn a_process_that_was_made_before_it_was_recorded_is_found() {
    let world = World::new();
    let workload = world.running(&["sleep", "1000"]);
    let replica = replica(&workload);
    world.runtime.start(&workload, &replica).await.unwrap();
    let pid = world.pid(&replica.name);

    world.rewrite(&replica.name, |record| record.phase = Phase::Starting);
    let world = world.crash();
    world.runtime.attach().await.unwrap();

    assert_eq!(world.state(&replica.name).await, Some(ReplicaState::Running));
    assert_eq!(world.pid(&replica.name), pid);
}

#[tokio::test]
async fn a_one_off_that_was_begun_and_is_gone_is_never_run_again() {
    let world = World::new();
    let workload = world.running(&["echo", "once"]);
    let name = ReplicaName::release_command(&"shop".parse().unwrap(), workload.release);
    world.runtime.run(&workload, &name).await.unwrap();

    world.rewrite(&name, |record| record.phase = Phase::Starting);
    let world = world.crash();
    let exit = world.runtime.run(&workload, &name).await.unwrap();

    assert_eq!(exit, Exit::Unknown);
    assert_eq!(world.printed(&name).await, ["once"]);
}

#[tokio::test]
async fn a_number_that_was_given_to_another_process_is_left_alone() {
    let world = World::new();
    let workload = world.running(&["true"]);
    let replica = replica(&workload);
    world.runtime.start(&workload, &replica).await.unwrap();
    eventually(async || world.state(&replica.name).await != Some(ReplicaState::Running)).await;
    let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = stranger.id().cast_signed();

    let identity = Identity { pid, started: kin::started(pid).unwrap() - 1, boot: kin::boot().unwrap() };
    world.rewrite(&replica.name, |record| record.phase = Phase::Running(identity));
    let world = world.crash();
    world.runtime.attach().await.unwrap();

    assert_eq!(world.state(&replica.name).await, Some(ReplicaState::Exited(Exit::Unknown)));
    world.runtime.stop(&replica.name, Duration::from_secs(1)).await.unwrap();
    world.remove(&replica.name).await;
    assert!(is_alive(pid));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[tokio::test]
async fn a_record_of_an_earlier_start_of_the_machine_names_nobody() {
    let world = World::new();
    let workload = world.running(&["sleep", "1000"]);
    let replica = replica(&workload);
    world.runtime.start(&workload, &replica).await.unwrap();
    let pid = world.pid(&replica.name);

    world.rewrite(&replica.name, |record| {
        let identity = Identity { boot: "before".to_owned(), ..record.identity().unwrap().clone() };
        record.phase = Phase::Running(identity);
    });
    let world = world.crash();
    world.runtime.attach().await.unwrap();

    // It is not taken over by its number; as its marks are ours, it does not go on unseen either.
    assert_eq!(world.state(&replica.name).await, Some(ReplicaState::Exited(Exit::Unknown)));
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_stop_that_a_crash_cut_off_is_finished() {
    let world = World::new();
    let workload = world.running(&["sleep", "1000"]);
    let replica = replica(&workload);
    world.runtime.start(&workload, &replica).await.unwrap();
    world.runtime.keep_running(&replica.name).await.unwrap();
    let pid = world.pid(&replica.name);

    world.rewrite(&replica.name, |record| record.wanted = false);
    let world = world.crash();
    world.runtime.attach().await.unwrap();

    eventually(async || world.state(&replica.name).await == Some(ReplicaState::Stopped)).await;
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_does_not_keep_the_others_from_being_taken_over() {
    let world = World::new();
    let workload = world.running(&["sleep", "1000"]);
    let replica = replica(&workload);
    world.runtime.start(&workload, &replica).await.unwrap();
    let broken = world.data().join("replicas/broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("record.json"), "{\"format\": 99").unwrap();

    let world = world.crash();
    world.runtime.attach().await.unwrap();

    assert_eq!(world.state(&replica.name).await, Some(ReplicaState::Running));
    assert!(broken.exists(), "it is left for somebody who can read it");
}

#[tokio::test]
async fn letting_go_ends_nothing_and_charge_can_be_taken_again() {
    let world = World::new();
    let workload = world.running(&["sleep", "1000"]);
    let replica = replica(&workload);
    world.runtime.start(&workload, &replica).await.unwrap();
    let pid = world.pid(&replica.name);

    world.runtime.detach().await.unwrap();
    world.runtime.detach().await.unwrap();

    assert!(is_alive(pid));
    let other = open(&world.data(), world.instance);
    other.attach().await.unwrap();
    assert_eq!(world.state(&replica.name).await, Some(ReplicaState::Running));
    let error = world.runtime.attach().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
}

#[tokio::test]
async fn two_data_directories_do_not_see_each_other() {
    let (ours, theirs) = (World::new(), World::new());
    let workload = ours.running(&["sleep", "1000"]);
    let replica = replica(&workload);
    ours.runtime.start(&workload, &replica).await.unwrap();

    theirs.runtime.attach().await.unwrap();
    theirs.remove(&replica.name).await;

    assert_eq!(theirs.runtime.list(ours.instance).await.unwrap(), []);
    assert!(is_alive(ours.pid(&replica.name)));
}

/// The program of the test below: it starts what it is told to, and is killed.
#[tokio::test]
async fn program_that_is_killed_by_another_test() {
    let value = |key: &str| std::env::vars().find(|(known, _)| known == key).map(|(_, value)| value);
    let (Some(data), Some(instance)) = (value(CHILD_DATA), value(CHILD_INSTANCE)) else { return };
    let runtime = open(Path::new(&data), instance.parse().unwrap());
    let at = |file: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(Path::new(&data).join(file)).unwrap()).unwrap()
    };
    let (replica, workload) = written(&at("replica.json"), instance.parse().unwrap());
    runtime.start(&workload, &replica).await.unwrap();
    runtime.keep_running(&replica.name).await.unwrap();
    let (one_off, workload) = written(&at("one-off.json"), instance.parse().unwrap());
    runtime.run(&workload, &one_off.name).await.unwrap();
}

/// A workload as two programs can share it.
fn write(world: &World, file: &str, workload: &Workload, replica: &Replica) {
    let Artifact::Directory { path } = &workload.artifact else { panic!("a directory") };
    let json = serde_json::json!({
        "replica": replica, "application": workload.application, "release": workload.release,
        "path": path, "command": workload.command,
    });
    std::fs::write(world.data().join(file), json.to_string()).unwrap();
}

fn written(json: &serde_json::Value, instance: InstanceId) -> (Replica, Workload) {
    let part = |key: &str| json[key].clone();
    let workload = Workload {
        instance,
        application: serde_json::from_value(part("application")).unwrap(),
        release: serde_json::from_value(part("release")).unwrap(),
        process: "web".parse().unwrap(),
        artifact: Artifact::Directory { path: serde_json::from_value(part("path")).unwrap() },
        command: serde_json::from_value(part("command")).unwrap(),
        env: [("GREETING".parse().unwrap(), Secret::from("hello"))].into(),
        limits: Limits::default(),
        volumes: Vec::new(),
        port: None,
    };
    (serde_json::from_value(part("replica")).unwrap(), workload)
}

#[tokio::test]
async fn after_a_real_kill_replicas_go_on_printing_and_one_offs_are_waited_for() {
    let world = World::new();
    let counting = world.running(&["sh", "-c", "n=0; while :; do n=$((n+1)); echo $GREETING $n; sleep 0.05; done"]);
    let counter = replica(&counting);
    write(&world, "replica.json", &counting, &counter);
    let once = world.running(&["sh", "-c", "echo begun; while [ ! -e done ]; do sleep 0.05; done; exit 3"]);
    let job = Replica { name: ReplicaName::release_command(&"shop".parse().unwrap(), once.release), ..replica(&once) };
    write(&world, "one-off.json", &once, &job);
    let mut program = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "runtime::process::tests::crash::program_that_is_killed_by_another_test"])
        .env(CHILD_DATA, world.data())
        .env(CHILD_INSTANCE, world.instance.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    eventually(async || world.state(&job.name).await.is_some() && !world.printed(&job.name).await.is_empty()).await;

    program.kill().unwrap();
    program.wait().unwrap();

    world.runtime.attach().await.unwrap();
    let pid = world.pid(&counter.name);
    let before = world.printed(&counter.name).await.len();
    eventually(async || world.printed(&counter.name).await.len() > before + 3).await;
    let Artifact::Directory { path } = &once.artifact else { panic!("a directory") };
    let waited = world.runtime.run(&once, &job.name);
    let (exit, ()) = tokio::join!(waited, async { std::fs::write(path.join("done"), "").unwrap() });
    assert_eq!(exit.unwrap(), Exit::Unknown, "nobody can know how it ended");
    assert_eq!(world.printed(&job.name).await, ["begun"], "it was not run again");

    kill(pid);

    eventually(async || world.runtime.list(world.instance).await.unwrap().iter().any(|seen| seen.restarts == 1)).await;
    eventually(async || world.record(&counter.name).identity().is_some_and(|now| now.pid != pid)).await;
    world.remove(&counter.name).await;
    eventually(async || marked(world.instance, "PLOYER_REPLICA=").is_empty()).await;
}
