//! What a process gets, what it may touch, and how its family ends.

use super::*;
use crate::error::ErrorKind;
use crate::model::VolumeMount;

fn with_volume(workload: Workload, name: &str) -> Workload {
    let volumes = vec![VolumeMount { name: name.parse().unwrap(), path: None }];
    Workload { volumes, ..workload }
}

fn shell(world: &World, script: &str) -> Workload {
    world.running(&["sh", "-c", script])
}

#[tokio::test]
async fn a_process_has_its_own_environment_and_nothing_of_ours() {
    let world = World::new();
    let workload = with_volume(world.running(&["env"]), "my-files");

    let (exit, lines) = world.run(&workload).await;

    assert_eq!(exit, Exit::Code(0));
    let keys: Vec<_> = lines.iter().map(|line| line.split_once('=').unwrap().0).collect();
    let mut keys: Vec<_> = keys.into_iter().filter(|key| !["HOME", "PWD", "SHLVL", "_"].contains(key)).collect();
    keys.sort_unstable();
    let marks = ["PLOYER_INSTALLATION", "PLOYER_INSTANCE", "PLOYER_REPLICA"];
    assert_eq!(keys, [&["GREETING", "PATH"], &marks[..], &["PLOYER_VOLUME_MY_FILES", "TMPDIR"]].concat());
    assert!(lines.contains(&"GREETING=hello".to_owned()));
}

#[tokio::test]
async fn a_process_with_an_address_finds_its_port_and_a_command_its_variables() {
    let world = World::new();
    let workload = world.running(&["sh", "-c", "echo \"$0 $PORT $1\"; sleep 1000", "$GREETING", "${PORT}$$"]);
    let address = world.runtime.free_addresses(&world.addresses(), &[], 1).await.unwrap()[0];
    let replica = Replica { address: Some(address), ..replica(&workload) };

    world.runtime.start(&workload, &replica).await.unwrap();

    // `$PORT` was replaced before the shell saw it, `$0` and `$1` are its own.
    let port = address.port();
    world.until_printed(&replica.name, &format!("hello {port} {port}$")).await;
}

#[tokio::test]
async fn a_process_runs_in_its_release_with_nothing_to_read() {
    let world = World::new();
    let workload = shell(&world, "cat; pwd; touch written");

    let (exit, lines) = world.run(&workload).await;

    let Artifact::Directory { path } = &workload.artifact else { panic!("a directory") };
    assert_eq!((exit, lines), (Exit::Code(0), vec![path.display().to_string()]));
    assert!(path.join("written").exists());
}

#[tokio::test]
async fn a_confined_process_touches_only_what_is_its_own() {
    let world = World::new();
    if !world.runtime.capabilities().confined {
        return;
    }
    std::fs::write(world.data().join("secret.key"), "key").unwrap();
    let neighbour = world.running(&["true"]);
    let Artifact::Directory { path: neighbours } = &neighbour.artifact else { panic!("a directory") };
    std::fs::write(neighbours.join("config"), "password").unwrap();
    let outside = tempfile::tempdir().unwrap();
    let script = format!(
        "cat {data}/secret.key; cat {neighbours}/config; cat {data}/replicas/*/env.sealed; echo x > {outside}/file; \
         echo own > own && cat own; echo tmp > $TMPDIR/tmp && cat $TMPDIR/tmp; \
         echo volume > $PLOYER_VOLUME_FILES/file && cat $PLOYER_VOLUME_FILES/file; \
         echo out > /dev/stdout; cat /etc/hostname > /dev/null && echo read; echo x > /dev/null && echo null",
        data = world.data().display(),
        neighbours = neighbours.display(),
        outside = outside.path().display(),
    );
    let workload = with_volume(shell(&world, &format!("({script}) 2>/dev/null")), "files");

    let (_, lines) = world.run(&workload).await;

    assert_eq!(lines.last().unwrap(), "null", "{lines:?}");
    let forbidden = |line: &&String| ["key", "password", "x"].contains(&line.as_str());
    assert_eq!(lines.iter().find(forbidden), None, "{lines:?}");
    assert!(lines.contains(&"read".to_owned()), "{lines:?}");
    let volume = world.data().join("volumes").join(workload.application.to_string()).join("files/file");
    assert_eq!(std::fs::read_to_string(volume).unwrap(), "volume\n");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_confined_process_cannot_signal_its_neighbours() {
    let world = World::new();
    if !world.runtime.capabilities().confined {
        return;
    }
    let neighbour = world.running(&["sleep", "1000"]);
    world.runtime.start(&neighbour, &replica(&neighbour)).await.unwrap();
    let pid = world.pid(&replica(&neighbour).name);

    let (exit, _) = world.run(&shell(&world, &format!("kill -9 {pid}"))).await;

    assert!(!exit.is_success());
    assert!(is_alive(pid));
}

#[tokio::test]
async fn a_program_that_is_not_there_ends_as_in_a_shell_and_says_why() {
    let world = World::new();

    let (exit, lines) = world.run(&world.running(&["no-such-program"])).await;

    assert_eq!(exit, Exit::Code(127));
    assert_eq!(lines, ["ployer: cannot run `no-such-program`: No such file or directory (os error 2)"]);
}

#[tokio::test]
async fn a_file_that_is_no_program_ends_as_in_a_shell_and_says_why() {
    let world = World::new();
    let workload = world.running(&["./run"]);
    let Artifact::Directory { path } = &workload.artifact else { panic!("a directory") };
    std::fs::write(path.join("run"), "#!/bin/sh\n").unwrap();
    let replica = replica(&workload);

    world.runtime.start(&workload, &replica).await.unwrap();

    assert_eq!(world.state(&replica.name).await, Some(ReplicaState::Exited(Exit::Code(126))));
    assert_eq!(world.printed(&replica.name).await, ["ployer: cannot run `./run`: Permission denied (os error 13)"]);
}

#[tokio::test]
async fn what_cannot_be_started_is_refused_and_leaves_nothing() {
    let world = World::new();
    let image = Artifact::Image { reference: "shop:1".to_owned(), digest: "sha256:0".to_owned() };
    let gone = Artifact::Directory { path: "/etc".into() };
    let workload = || world.running(&["true"]);
    for (workload, kind) in [
        (Workload { artifact: image, ..workload() }, ErrorKind::Unsupported),
        (Workload { artifact: gone, ..workload() }, ErrorKind::Conflict),
        (Workload { command: None, ..workload() }, ErrorKind::Invalid),
        (Workload { command: Some(Command(Vec::new())), ..workload() }, ErrorKind::Invalid),
    ] {
        let error = world.runtime.start(&workload, &replica(&workload)).await.unwrap_err();

        assert_eq!(error.kind(), kind, "{error}");
    }
    assert_eq!(world.runtime.list(world.instance).await.unwrap(), []);
}

#[tokio::test]
async fn the_whole_group_has_the_grace_also_when_its_leader_ends_at_once() {
    let world = World::new();
    let child = "trap 'sleep 0.3; echo drained; exit' TERM; echo ready; while :; do sleep 0.05; done";
    let workload = shell(&world, &format!("sh -c \"{child}\" & exec sleep 1000"));
    let replica = replica(&workload);
    world.runtime.start(&workload, &replica).await.unwrap();
    world.until_printed(&replica.name, "ready").await;

    world.runtime.stop(&replica.name, Duration::from_secs(10)).await.unwrap();

    // The shell may also tell of the sleep that was told to end.
    assert!(world.printed(&replica.name).await.contains(&"drained".to_owned()));
    eventually(async || marked(world.instance, "PLOYER_REPLICA=").is_empty()).await;
}

#[tokio::test]
async fn a_leader_that_ends_of_itself_takes_its_children_along() {
    let world = World::new();

    let (exit, _) = world.run(&shell(&world, "sleep 1000 & sleep 1000 & exit 4")).await;

    assert_eq!(exit, Exit::Code(4));
    eventually(async || marked(world.instance, "PLOYER_REPLICA=").is_empty()).await;
}

#[tokio::test]
async fn a_shorter_grace_wins_over_one_that_runs() {
    let world = World::new();
    let workload = world.workload(world.instance, Program::Stubborn).await;
    let replica = replica(&workload);
    world.runtime.start(&workload, &replica).await.unwrap();
    world.until_printed(&replica.name, "ready").await;
    let (long, short) = (Duration::from_secs(600), Duration::from_millis(100));

    let both =
        async { tokio::join!(world.runtime.stop(&replica.name, long), world.runtime.stop(&replica.name, short)) };
    let (first, second) = tokio::time::timeout(Duration::from_secs(10), both).await.expect("the shorter one counts");

    first.unwrap();
    second.unwrap();
    assert_eq!(world.state(&replica.name).await, Some(ReplicaState::Stopped));
}

#[tokio::test]
async fn deaths_and_restarts_are_told() {
    let world = World::new();
    let mut events = world.runtime.events(world.instance).await.unwrap();
    let workload = shell(&world, "exit 5");
    let replica = replica(&workload);

    world.runtime.start(&workload, &replica).await.unwrap();
    world.runtime.keep_running(&replica.name).await.unwrap();

    let mut states = Vec::new();
    while states.len() < 4 {
        let event = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap().unwrap();
        assert_eq!((&event.name, &event.owner), (&replica.name, &workload.owner(1)));
        states.push(event.state);
    }
    let ended = ReplicaState::Exited(Exit::Code(5));
    assert_eq!(states, [ReplicaState::Running, ended.clone(), ReplicaState::Running, ended]);
}

#[tokio::test]
async fn removing_a_volume_takes_all_that_is_in_it() {
    let world = World::new();
    let workload = with_volume(shell(&world, "echo x > $PLOYER_VOLUME_FILES/file"), "files");
    world.run(&workload).await;
    let volume = world.data().join("volumes").join(workload.application.to_string()).join("files");
    assert!(volume.join("file").exists());

    let name = "files".parse().unwrap();
    world.runtime.remove_volume(workload.application, &name).await.unwrap();
    world.runtime.remove_volume(workload.application, &name).await.unwrap();

    assert!(!volume.exists());
}

#[tokio::test]
async fn a_removed_replica_leaves_no_file_but_its_volumes() {
    let world = World::new();
    let workload = with_volume(shell(&world, "touch $TMPDIR/x; sleep 1000"), "files");
    let replica = replica(&workload);
    world.runtime.start(&workload, &replica).await.unwrap();

    world.remove(&replica.name).await;

    let left = |folder: &str| std::fs::read_dir(world.data().join(folder)).unwrap().count();
    assert_eq!((left("replicas"), left("tmp"), left("volumes")), (0, 0, 1));
}
