//! Recovery: what an engine does with what the one before it left open, a test for each row of the table.

use super::*;

#[test]
fn queued_stays_queued_and_then_begins() {
    let mut shop = Puppet::new();
    let id = shop.queue();

    shop.crash();
    shop.settle();

    assert_eq!(shop.status(id), DeploymentStatus::Running);
}

#[test]
fn checkout_and_build_begin_again_after_a_crash() {
    for kind in ["checkout", "build"] {
        let mut shop = Puppet::new();
        shop.stuck.insert(kind);
        let id = shop.queue();
        shop.settle();

        shop.crash();
        shop.stuck.clear();
        shop.settle();

        assert_eq!(shop.status(id), DeploymentStatus::Running, "{kind}");
    }
}

#[test]
fn a_build_left_open_by_two_crashes_fails() {
    let mut shop = Puppet::new();
    shop.stuck.insert("build");
    let id = shop.queue();
    for _ in 0..2 {
        shop.settle();
        shop.crash();
    }

    shop.settle();

    assert_eq!(shop.status(id), DeploymentStatus::Failed);
    assert!(shop.row(id).failure.as_ref().unwrap().cause.contains("ended unexpectedly"));
}

#[test]
fn a_graceful_stop_does_not_count_as_a_crash() {
    let mut shop = Puppet::new();
    shop.stuck.insert("build");
    let id = shop.queue();
    for _ in 0..5 {
        shop.settle();
        shop.state.parked = true;
        shop.crash();
    }

    shop.stuck.clear();
    shop.settle();

    assert_eq!(shop.status(id), DeploymentStatus::Running);
}

#[test]
fn a_release_command_without_a_record_fails_and_never_runs_again() {
    let mut shop = Puppet::new();
    shop.spec.release_command = Some(Command(vec!["migrate".to_owned()]));
    shop.stuck.insert("release command");
    let id = shop.queue();
    shop.settle();

    shop.crash();
    shop.stuck.clear();
    shop.settle();

    assert_eq!(shop.status(id), DeploymentStatus::Failed);
    assert!(shop.row(id).failure.as_ref().unwrap().cause.contains("interrupted"));
}

#[test]
fn a_recorded_exit_of_a_release_command_counts_after_a_crash() {
    let mut shop = Puppet::new();
    shop.spec.release_command = Some(Command(vec!["migrate".to_owned()]));
    shop.stuck.insert("release command");
    let id = shop.queue();
    shop.settle();

    shop.crash();
    shop.stuck.clear();
    shop.job_end = Some(JobEnd::Exited { exit: Exit::Code(0), output: Vec::new() });
    shop.settle();

    assert_eq!(shop.status(id), DeploymentStatus::Running);
}

#[test]
fn started_replicas_are_taken_over_by_name_after_a_crash() {
    let mut shop = Puppet::new();
    shop.stuck.insert("probe");
    let id = shop.queue();
    shop.settle();
    let before = shop.running();

    shop.crash();
    shop.stuck.clear();
    shop.settle();

    assert_eq!(shop.status(id), DeploymentStatus::Running);
    assert_eq!(shop.running(), before);
}

#[test]
fn a_switch_that_was_intended_goes_forward_after_any_number_of_crashes() {
    let mut shop = Puppet::new();
    shop.deployed();
    shop.stuck.insert("ask");
    let second = shop.queue();
    shop.settle();
    for _ in 0..3 {
        shop.crash();
        shop.settle();
    }

    shop.stuck.clear();
    shop.settle();

    assert_eq!(shop.status(second), DeploymentStatus::Running);
    assert_eq!(shop.routed(), [second.into()].into());
}

#[test]
fn a_switch_whose_new_replicas_died_with_the_engine_goes_back() {
    let mut shop = Puppet::new();
    let first = shop.deployed();
    shop.stuck.insert("ask");
    let second = shop.queue();
    shop.settle();
    shop.crash();
    let of_second = format!("shop-{second}-web-1").parse().unwrap();
    let seen = shop.seen.replicas.as_mut().unwrap().get_mut(&of_second).unwrap();
    (seen.state, seen.keeps_running) = (ReplicaState::Exited(Exit::Unknown), true);

    shop.settle();
    shop.pass(MINUTE);
    shop.stuck.clear();
    shop.settle();

    assert_eq!(shop.status(second), DeploymentStatus::Failed);
    assert_eq!(shop.routed(), [first.into()].into());
}

#[test]
fn a_retirement_goes_on_after_a_crash() {
    let mut shop = Puppet::new();
    shop.deployed();
    shop.stuck.insert("watch in flight");
    shop.deployed();

    shop.crash();
    shop.stuck.clear();
    shop.settle();

    assert_eq!(shop.running().len(), 1);
    assert!(shop.state.retiring.is_empty());
}

#[test]
fn a_journal_of_an_unknown_version_keeps_what_serves_and_undoes_the_rest() {
    let mut shop = Puppet::new();
    let first = shop.deployed();
    shop.stuck.insert("probe");
    let second = shop.queue();
    shop.settle();
    let machine = crate::model::Machine {
        application_id: shop.facts.application.id,
        version: Default::default(),
        active: Some(first.into()),
        degraded: false,
        serving: true,
        journal_version: 999,
        journal: "{}".to_owned(),
    };

    shop.crash();
    shop.stuck.clear();
    shop.state = super::super::state::State::from_machine(&machine);
    shop.settle();

    assert_eq!(shop.status(second), DeploymentStatus::Failed);
    assert_eq!(shop.routed(), [first.into()].into());
    assert_eq!(shop.running(), [format!("shop-{first}-web-1")]);
}

#[test]
fn a_state_survives_its_journal_unchanged() {
    let mut shop = Puppet::new();
    shop.spec = web();
    shop.deployed();
    shop.stuck.insert("watch in flight");
    shop.deployed();
    shop.stuck.insert("ask");
    shop.queue();
    shop.settle();

    let journal = serde_json::to_string(&shop.state).unwrap();

    assert_eq!(serde_json::from_str::<super::super::state::State>(&journal).unwrap(), shop.state);
}
