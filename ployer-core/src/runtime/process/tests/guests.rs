//! Commands beside a replica, what it uses, and who else may look.

use super::*;
use crate::error::ErrorKind;

fn command(script: &str) -> Command {
    Command(["sh", "-c", script].map(str::to_owned).into())
}

/// A world with a replica that idles.
async fn idling() -> (World, Replica) {
    let world = World::new();
    let workload = world.running(&["sleep", "1000"]);
    let replica = replica(&workload);
    world.runtime.start(&workload, &replica).await.unwrap();
    (world, replica)
}

#[tokio::test]
async fn a_command_has_the_environment_of_its_replica_and_tells_how_it_ended() {
    let (world, replica) = idling().await;

    let script = "echo \"$GREETING from $(basename $$PWD)\"; echo bad >&2; exit 9";
    let output = world.runtime.exec(&replica.name, &command(script), None).await.unwrap();

    let release = world.record(&replica.name).owner.release;
    assert_eq!(output.exit, Exit::Code(9));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("hello from {release}\n"));
    assert_eq!(output.stderr, b"bad\n");
}

#[tokio::test]
async fn a_command_reads_what_it_is_given_and_no_more_is_kept_than_allowed() {
    let (world, replica) = idling().await;
    let input = Secret::from("x".repeat(200_000));

    let counted = world.runtime.exec(&replica.name, &command("wc -c"), Some(input)).await.unwrap();
    let flood = world.runtime.exec(&replica.name, &command("head -c 300000 /dev/zero"), None).await.unwrap();
    let ignored = world.runtime.exec(&replica.name, &command("exec <&-; true"), Some(Secret::from("x"))).await.unwrap();

    assert_eq!(String::from_utf8(counted.stdout).unwrap().trim(), "200000");
    assert_eq!((flood.exit, flood.stdout.len()), (Exit::Code(0), 64 * 1024));
    assert!(ignored.exit.is_success());
}

#[tokio::test]
async fn a_command_that_leaves_its_output_to_a_child_still_ends() {
    let (world, replica) = idling().await;

    let output = world.runtime.exec(&replica.name, &command("sleep 1000 & echo done"), None).await.unwrap();

    assert_eq!((output.exit, output.stdout.as_slice()), (Exit::Code(0), &b"done\n"[..]));
    eventually(async || marked(world.instance, "PLOYER_GUEST=").is_empty()).await;
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed_and_says_so() {
    let (world, replica) = idling().await;

    let error = world.runtime.exec(&replica.name, &command("sleep 1000"), None).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().ends_with("took longer than 5 s"), "{error}");
    eventually(async || marked(world.instance, "PLOYER_GUEST=").is_empty()).await;
}

#[tokio::test]
async fn a_dropped_command_is_killed_with_all_that_it_started() {
    let (world, replica) = idling().await;
    let script = command("echo > ready; sleep 1000 & sleep 1000");
    let Artifact::Directory { path } = world.running(&["true"]).artifact else { panic!("a directory") };
    let ready =
        path.parent().unwrap().parent().unwrap().join(&world.record(&replica.name).launch.release).join("ready");

    tokio::select! {
        output = world.runtime.exec(&replica.name, &script, None) => panic!("it ended: {output:?}"),
        () = eventually(async || ready.exists()) => {}
    }

    eventually(async || marked(world.instance, "PLOYER_GUEST=").is_empty()).await;
    assert!(is_alive(world.pid(&replica.name)), "the replica goes on");
}

#[tokio::test]
async fn a_command_may_signal_its_replica() {
    let world = World::new();
    let workload = world.running(&["sh", "-c", "trap 'echo got it' USR1; echo ready; while :; do sleep 0.05; done"]);
    let replica = replica(&workload);
    world.runtime.start(&workload, &replica).await.unwrap();
    world.until_printed(&replica.name, "ready").await;

    let kill = command(&format!("kill -USR1 {}", world.pid(&replica.name)));
    let output = world.runtime.exec(&replica.name, &kill, None).await.unwrap();

    assert!(output.exit.is_success(), "{output:?}");
    world.until_printed(&replica.name, "got it").await;
}

#[tokio::test]
async fn a_command_that_is_not_there_is_an_error_with_its_name() {
    let (world, replica) = idling().await;

    let error =
        world.runtime.exec(&replica.name, &Command(vec!["no-such-program".to_owned()]), None).await.unwrap_err();

    assert!(error.to_string().starts_with("`no-such-program` beside `shop-"), "{error}");
    assert!(error.chain().contains("No such file"), "{}", error.chain());
}

#[tokio::test]
async fn stats_count_the_whole_family_and_only_while_it_runs() {
    let world = World::new();
    let busy = "import os\nos.fork()\nhoard = bytearray(8_000_000)\nprint('ready', flush=True)\nwhile True: pass";
    let workload = world.running(&["python3", "-c", busy]);
    let replica = replica(&workload);
    world.runtime.start(&workload, &replica).await.unwrap();
    eventually(async || world.printed(&replica.name).await == ["ready", "ready"]).await;

    let before = world.runtime.stats(&replica.name).await.unwrap();
    eventually(async || world.runtime.stats(&replica.name).await.unwrap().cpu_ns > before.cpu_ns + 100_000_000).await;

    assert!(before.memory_bytes > 16_000_000, "two of them: {}", before.memory_bytes);
    assert_eq!(before.memory_bytes_max, None);
    world.runtime.stop(&replica.name, Duration::from_secs(5)).await.unwrap();
    assert_eq!(world.runtime.stats(&replica.name).await.unwrap_err().kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn listeners_on_other_addresses_are_named() {
    let world = World::new();
    let elsewhere = "
import socket, time
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
time.sleep(1000)";
    let workload = world.running(&["python3", "-c", elsewhere]);
    let address = world.runtime.free_addresses(&world.addresses(), &[], 1).await.unwrap()[0];
    let replica = Replica { address: Some(address), ..replica(&workload) };
    world.runtime.start(&workload, &replica).await.unwrap();
    eventually(async || !world.printed(&replica.name).await.is_empty()).await;

    let listeners = world.runtime.listeners(&replica.name).await.unwrap();

    let ports: Vec<_> = listeners.iter().map(|listener| listener.port().to_string()).collect();
    assert_eq!(ports, world.printed(&replica.name).await);
    assert!(!world.runtime.listens(&replica.name).await.unwrap());
}

#[tokio::test]
async fn whoever_is_not_in_charge_can_look_but_not_act() {
    let (world, replica) = idling().await;
    let onlooker = open(&world.data(), world.instance);

    let listed = onlooker.list(world.instance).await.unwrap();
    let output = onlooker.exec(&replica.name, &command("echo here"), None).await.unwrap();

    assert_eq!(listed, world.runtime.list(world.instance).await.unwrap());
    assert_eq!(output.stdout, b"here\n");
    assert!(onlooker.stats(&replica.name).await.is_ok());
    assert!(onlooker.logs(&replica.name, &LogQuery::default()).await.is_ok());
    assert!(!onlooker.listens(&replica.name).await.unwrap());
    let error = onlooker.stop(&replica.name, Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(is_alive(world.pid(&replica.name)));
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let world = World::new();
    let name: ReplicaName = "nobody".parse().unwrap();
    let runtime = &world.runtime;

    for error in [
        runtime.listens(&name).await.unwrap_err(),
        runtime.stats(&name).await.unwrap_err(),
        runtime.keep_running(&name).await.unwrap_err(),
        runtime.exec(&name, &command("true"), None).await.unwrap_err(),
        runtime.logs(&name, &LogQuery::default()).await.err().unwrap(),
    ] {
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::NotFound, "replica `nobody` does not exist")
        );
    }
}
