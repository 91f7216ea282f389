//! Stories of the machine: what follows from what, told without a runtime, a proxy or a store.

use std::time::Duration;

use super::puppet::{Puppet, files, web, web_and_worker, web_with_volume};
use super::seen::JobEnd;
use super::state::{RetireStage, Stage};
use crate::model::{
    Actor, Cancel, Command, DeploymentKind, DeploymentStatus, EventKind, Exit, ReleaseState, ReplicaState, RollbackEnv,
    Step, Wanted,
};

mod recovery;
mod upkeep;

const MINUTE: Duration = Duration::from_secs(60);

fn failed_job(cause: &str) -> JobEnd {
    JobEnd::Failed { cause: cause.to_owned(), output: vec!["last line".to_owned()], hint: None }
}

#[test]
fn a_first_deployment_goes_from_queued_to_running() {
    let mut shop = Puppet::new();

    let id = shop.deployed();

    assert_eq!(shop.running().len(), 1);
    assert_eq!(shop.routed(), [id.into()].into());
    assert_eq!(shop.facts.domains[0].domain.as_str(), "shop.localhost");
    assert_eq!(shop.state.operation, None);
    let statuses: Vec<DeploymentStatus> = shop
        .events
        .iter()
        .filter_map(|event| match event {
            EventKind::DeploymentStatus { status, .. } => Some(*status),
            _ => None,
        })
        .collect();
    assert_eq!(
        statuses,
        [DeploymentStatus::Cloning, DeploymentStatus::Building, DeploymentStatus::Deploying, DeploymentStatus::Running]
    );
}

#[test]
fn the_receipt_names_steps_gate_and_who_answered() {
    let mut shop = Puppet::new();

    let id = shop.deployed();

    let receipt = shop.row(id).receipt.clone().unwrap();
    let steps: Vec<Step> = receipt.steps.iter().map(|times| times.step).collect();
    assert_eq!(steps, [Step::Checkout, Step::Build, Step::Start, Step::Gate, Step::Switch]);
    assert_eq!(receipt.gate.len(), 1);
    assert_eq!(receipt.answered_by.len(), 1);
    assert!(receipt.revision.is_some());
}

#[test]
fn the_old_release_serves_until_the_new_one_answered_and_then_retires() {
    let mut shop = Puppet::new();
    let first = shop.deployed();
    shop.stuck.insert("ask");

    let second = shop.queue();
    shop.settle();

    assert_eq!(shop.running().len(), 2);
    assert_eq!(shop.status(second), DeploymentStatus::Deploying);

    shop.stuck.clear();
    shop.settle();

    assert_eq!(shop.status(second), DeploymentStatus::Running);
    assert_eq!(shop.running().len(), 1);
    assert_eq!(shop.row(first).superseded_by, Some(second));
    assert!(shop.row(first).retired_at.is_some());
}

#[test]
fn old_replicas_are_not_stopped_while_requests_are_under_way() {
    let mut shop = Puppet::new();
    shop.deployed();
    shop.stuck.insert("watch in flight");

    shop.deployed();

    assert_eq!(shop.running().len(), 2);
    assert_eq!(shop.state.retiring[0].stage, RetireStage::Drain);

    shop.pass(Duration::from_secs(29));
    assert_eq!(shop.running().len(), 2);
    shop.pass(5 * MINUTE);
    assert_eq!(shop.running().len(), 1);
}

#[test]
fn a_third_retirement_ends_the_oldest_drain_at_once() {
    let mut shop = Puppet::new();
    shop.stuck.insert("watch in flight");

    for _ in 0..4 {
        shop.deployed();
    }

    assert_eq!(shop.state.retiring.len(), 2);
    assert_eq!(shop.running().len(), 3);
}

#[test]
fn stop_first_holds_stops_starts_and_switches_in_that_order() {
    let mut shop = Puppet::new();
    shop.spec = web_with_volume();
    shop.deployed();
    shop.performed.clear();

    shop.deployed();

    let changes = ["route", "stop", "start", "ask", "remove"];
    let mut order: Vec<&str> = shop.performed.iter().map(String::as_str).filter(|k| changes.contains(k)).collect();
    order.dedup();
    let without_routes: Vec<&str> = order.iter().copied().filter(|kind| *kind != "route").collect();
    assert_eq!(without_routes, ["stop", "start", "ask", "remove"]);
    assert_eq!(shop.running().len(), 1);
}

#[test]
fn stop_first_returns_to_the_old_replicas_before_the_hold_ends() {
    let mut shop = Puppet::new();
    shop.spec = web_with_volume();
    let first = shop.deployed();
    let second = shop.queue();
    shop.never_ready.insert(second.into());
    shop.settle_at(Step::Gate);

    shop.pass(Duration::from_secs(27));

    assert_eq!(shop.status(second), DeploymentStatus::Failed);
    assert_eq!(shop.routed(), [first.into()].into());
    assert_eq!(shop.running().len(), 1);
}

#[test]
fn a_worker_stops_before_its_successor_starts_and_returns_on_failure() {
    let mut shop = Puppet::new();
    shop.spec = web_and_worker();
    shop.deployed();
    let second = shop.queue();
    shop.settle_at(Step::Gate);
    while !matches!(shop.stage(), Some(Stage::Rollout(rollout)) if rollout.at > 3) {
        assert!(shop.turn());
    }
    let of_second = format!("shop-{second}-worker-1");
    shop.settle_stuck_worker(&of_second);

    let running = shop.running();

    assert_eq!(shop.status(second), DeploymentStatus::Failed);
    assert_eq!(running.len(), 2, "{running:?}");
    assert!(running.iter().all(|name| !name.contains(&second.to_string())));
}

#[test]
fn each_failure_before_the_switch_leaves_the_old_version_serving() {
    for kind in ["checkout", "build", "exit", "gate"] {
        let mut shop = Puppet::new();
        let first = shop.deployed();
        let second = shop.queue();
        match kind {
            "checkout" | "build" => {
                shop.stuck.insert(kind);
                while !matches!(
                    (kind, shop.stage()),
                    ("checkout", Some(Stage::Checkout { .. })) | ("build", Some(Stage::Build { .. }))
                ) {
                    shop.turn();
                }
                shop.stuck.clear();
                shop.job_end = Some(failed_job("no such thing"));
            }
            "exit" => {
                shop.exits.insert(second.into());
            }
            _ => {
                shop.never_ready.insert(second.into());
            }
        }

        shop.settle();
        shop.pass(2 * MINUTE);

        assert_eq!(shop.status(second), DeploymentStatus::Failed, "{kind}");
        assert!(shop.row(second).failure.is_some(), "{kind}");
        assert_eq!(shop.routed(), [first.into()].into(), "{kind}");
        assert_eq!(shop.running().len(), 1, "{kind}");
    }
}

#[test]
fn a_job_that_takes_too_long_fails_by_its_deadline_naming_it() {
    for (kind, step, deadline) in [
        ("checkout", Step::Checkout, 5 * MINUTE),
        ("build", Step::Build, 30 * MINUTE),
        ("release command", Step::ReleaseCommand, 10 * MINUTE),
    ] {
        let mut shop = Puppet::new();
        shop.spec.release_command = Some(crate::model::Command(vec!["migrate".to_owned()]));
        let first = shop.deployed();
        shop.stuck.insert(kind);
        let second = shop.queue();
        shop.settle();

        shop.pass(deadline - Duration::from_secs(1));
        assert!(!shop.status(second).is_final(), "{kind} has a second left");
        shop.pass(Duration::from_secs(2));
        shop.settle();

        assert_eq!(shop.status(second), DeploymentStatus::Failed, "{kind}");
        let failure = shop.row(second).failure.clone().unwrap();
        assert_eq!(failure.step, step);
        assert!(failure.cause.contains(&format!("{} s", deadline.as_secs())), "{}", failure.cause);
        assert_eq!(shop.routed(), [first.into()].into(), "{kind}");
    }
}

#[test]
fn a_source_that_asks_for_too_many_replicas_fails_before_any_starts() {
    let mut shop = Puppet::new();
    shop.spec.processes[0].replicas = shop.ground.settings.engine.replicas_max + 1;

    let id = shop.queue();
    shop.settle();

    assert_eq!(shop.status(id), DeploymentStatus::Failed);
    assert!(shop.row(id).failure.as_ref().unwrap().hint.is_some());
    assert!(shop.facts.releases.is_empty() && shop.running().is_empty());
}

#[test]
fn a_switch_that_nobody_confirms_is_turned_back() {
    let mut shop = Puppet::new();
    let first = shop.deployed();
    let second = shop.queue();
    shop.settle_at(Step::Switch);
    shop.stuck.insert("ask");
    shop.settle();

    shop.pass(Duration::from_secs(31));
    shop.stuck.clear();
    shop.settle();

    assert_eq!(shop.status(second), DeploymentStatus::Failed);
    assert_eq!(shop.row(second).failure.as_ref().unwrap().step, Step::Switch);
    assert_eq!(shop.routed(), [first.into()].into());
    assert_eq!(shop.running().len(), 1);
}

#[test]
fn a_cancel_before_the_intent_removes_what_was_made() {
    let mut shop = Puppet::new();
    shop.deployed();
    let second = shop.queue();
    shop.settle_at(Step::Gate);
    let at = shop.now;
    let cancel = Cancel { by: Actor::System, at, reason: "asked for".to_owned() };
    shop.facts.deployments.get_mut(&second).unwrap().cancel = Some(cancel);

    shop.settle();

    assert_eq!(shop.status(second), DeploymentStatus::Cancelled);
    assert_eq!(shop.running().len(), 1);
}

#[test]
fn a_cancel_after_the_intent_changes_nothing() {
    let mut shop = Puppet::new();
    let id = shop.queue();
    shop.settle_at(Step::Switch);
    let at = shop.now;
    let cancel = Cancel { by: Actor::System, at, reason: "asked for".to_owned() };
    shop.facts.deployments.get_mut(&id).unwrap().cancel = Some(cancel);

    shop.settle();

    assert_eq!(shop.status(id), DeploymentStatus::Running);
}

#[test]
fn a_build_that_is_cancelled_is_no_longer_named() {
    let mut shop = Puppet::new();
    shop.stuck.insert("build");
    let id = shop.queue();
    shop.settle();
    let at = shop.now;
    let cancel = Cancel { by: Actor::System, at, reason: "asked for".to_owned() };
    shop.facts.deployments.get_mut(&id).unwrap().cancel = Some(cancel);
    shop.stuck.insert("discard");

    shop.settle();

    assert_eq!(shop.status(id), DeploymentStatus::Building);
    let next = super::next(shop.state.clone(), &shop.facts, &shop.seen, &shop.ground, shop.now);
    let names: Vec<String> = next.actions.iter().map(|action| format!("{action:?}")).collect();
    assert!(names.iter().any(|name| name.starts_with("Discard")), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("Build")), "{names:?}");

    shop.stuck.remove("discard");
    shop.settle();
    assert_eq!(shop.status(id), DeploymentStatus::Cancelled);
}

#[test]
fn a_rollback_needs_no_build_and_overtakes_what_is_under_way() {
    let mut shop = Puppet::new();
    let first = shop.deployed();
    shop.deployed();
    shop.stuck.insert("build");
    let third = shop.queue();
    shop.settle();
    let env = RollbackEnv::Release;

    let rollback = shop.queue_kind(DeploymentKind::Rollback { release: first.into(), env });
    shop.settle();

    assert_eq!(shop.status(third), DeploymentStatus::Cancelled);
    assert_eq!(shop.status(rollback), DeploymentStatus::Running);
    assert_eq!(shop.routed(), [first.into()].into());
}

#[test]
fn a_rollback_takes_back_replicas_that_still_drain() {
    let mut shop = Puppet::new();
    let first = shop.deployed();
    shop.stuck.insert("watch in flight");
    shop.deployed();
    let env = RollbackEnv::Release;
    shop.performed.clear();

    let rollback = shop.queue_kind(DeploymentKind::Rollback { release: first.into(), env });
    shop.settle();

    assert_eq!(shop.status(rollback), DeploymentStatus::Running);
    assert!(!shop.performed.iter().any(|kind| kind == "start"));
    assert!(shop.running().contains(&format!("shop-{first}-web-1")));
}

#[test]
fn a_rollback_with_present_values_makes_a_new_release_of_the_same_artifact() {
    let mut shop = Puppet::new();
    let first = shop.deployed();
    shop.deployed();

    let env = RollbackEnv::Current;
    let rollback = shop.queue_kind(DeploymentKind::Rollback { release: first.into(), env });
    shop.settle();

    assert_eq!(shop.routed(), [rollback.into()].into());
    assert_eq!(shop.facts.releases[&rollback.into()].artifact, shop.facts.releases[&first.into()].artifact);
}

#[test]
fn stop_unroutes_before_it_ends_replicas_and_start_brings_them_back() {
    let mut shop = Puppet::new();
    let id = shop.deployed();

    shop.facts.application.wanted = Wanted::Stopped;
    shop.settle();
    assert!(shop.running().is_empty());
    assert!(shop.routed().is_empty());

    shop.facts.application.wanted = Wanted::Running;
    shop.settle();
    assert_eq!(shop.running().len(), 1);
    assert_eq!(shop.routed(), [id.into()].into());
}

#[test]
fn scale_adds_and_removes_replicas_of_the_active_release() {
    let mut shop = Puppet::new();
    shop.deployed();

    shop.facts.application.replicas.insert("web".parse().unwrap(), 3);
    shop.settle();
    assert_eq!(shop.running().len(), 3);

    shop.facts.application.replicas.insert("web".parse().unwrap(), 1);
    shop.settle();
    assert_eq!(shop.running().len(), 1);
    assert!(shop.running()[0].ends_with("web-1"));
}

#[test]
fn a_restart_replaces_replicas_under_new_names_once_per_wish() {
    let mut shop = Puppet::new();
    shop.deployed();
    let before = shop.running();

    shop.facts.application.restarts_wanted += 1;
    shop.settle();

    assert_ne!(shop.running(), before);
    assert_eq!(shop.running().len(), 1);
    assert_eq!(shop.state.restarts_done, 1);
}

#[test]
fn a_static_release_is_confirmed_by_its_own_answer() {
    let mut shop = Puppet::new();
    shop.spec = files();
    let id = shop.deployed();

    assert_eq!(shop.routed(), [id.into()].into());
    assert!(shop.running().is_empty());

    let second = shop.deployed();
    assert_eq!(shop.routed(), [second.into()].into());
    assert!(shop.row(id).retired_at.is_some());
}

#[test]
fn a_dead_replica_leaves_the_route_while_another_one_is_alive() {
    let mut shop = Puppet::new();
    shop.spec.processes[0].replicas = 2;
    shop.deployed();
    let victim = shop.running()[0].clone();
    shop.kill(&victim);

    shop.settle();

    let route = shop.seen.route.clone().unwrap().route.unwrap();
    assert!(!format!("{route:?}").contains(&victim));
    assert!(format!("{route:?}").contains("web-2"));
}

#[test]
fn replicas_that_end_too_often_make_the_application_degraded() {
    let mut shop = Puppet::new();
    shop.deployed();
    let name = shop.running()[0].clone();

    for restarts in 1..=5 {
        shop.seen.replicas.as_mut().unwrap().get_mut(&name.parse().unwrap()).unwrap().restarts = restarts;
        shop.settle();
    }
    assert!(shop.state.degraded);

    shop.pass(3 * MINUTE);
    assert!(!shop.state.degraded);
}

#[test]
fn a_replica_that_vanished_is_started_again_under_its_name() {
    let mut shop = Puppet::new();
    shop.deployed();
    let before = shop.running();
    shop.seen.replicas.as_mut().unwrap().clear();

    shop.settle();

    assert_eq!(shop.running(), before);
}

#[test]
fn an_address_taken_at_start_is_replaced_by_a_spare_one() {
    let mut shop = Puppet::new();
    shop.stuck.insert("start");
    let id = shop.queue();
    shop.settle_at(Step::Start);
    shop.settle();
    let name = format!("shop-{id}-web-1").parse().unwrap();
    shop.take_address(&name);
    shop.stuck.clear();

    shop.settle();

    assert_eq!(shop.status(id), DeploymentStatus::Running);
    assert_eq!(shop.running(), [format!("shop-{id}-web-2")]);
}

#[test]
fn addresses_rest_before_they_are_given_out_again() {
    let mut shop = Puppet::new();
    shop.deployed();
    let address = shop.state.rest.replicas.values().next().unwrap().address.unwrap();

    shop.deployed();

    assert!(shop.state.addresses().contains(&address));
    shop.pass(MINUTE);
    assert!(!shop.state.addresses().contains(&address));
}

#[test]
fn an_object_that_the_store_does_not_know_is_reported_once_and_left_alone() {
    let mut shop = Puppet::new();
    let id = shop.deployed();
    let name: crate::model::ReplicaName = format!("shop-{id}-web-1").parse().unwrap();
    let mut stranger = shop.seen.replicas.as_ref().unwrap()[&name].clone();
    stranger.owner.release = crate::model::ReleaseId::new(&crate::clock::SystemClock);
    stranger.name = "shop-unknown-web-1".parse().unwrap();
    shop.seen.replicas.as_mut().unwrap().insert(stranger.name.clone(), stranger);

    shop.settle();
    shop.settle();

    assert_eq!(shop.running().len(), 2);
    let reports = shop.events.iter().filter(|event| matches!(event, EventKind::UnknownWorkload { .. })).count();
    assert_eq!(reports, 1);
}

#[test]
fn collection_keeps_the_newest_five_and_whatever_is_pinned() {
    let mut shop = Puppet::new();
    let first = shop.deployed();
    let pin = shop.queue_kind(DeploymentKind::Deploy { commit: None, cache: Default::default() });
    shop.facts.deployments.remove(&pin);
    shop.facts.releases.get_mut(&first.into()).unwrap().pinned_by = Some(pin);
    for _ in 0..8 {
        shop.now = shop.now.checked_add(Duration::from_secs(1)).unwrap();
        shop.deployed();
    }

    let kept = |puppet: &Puppet| puppet.facts.releases.values().filter(|r| r.state == ReleaseState::Ran).count();

    assert_eq!(shop.facts.releases[&first.into()].state, ReleaseState::Ran);
    assert_eq!(kept(&shop), 6);
}

#[test]
fn a_deletion_ends_replicas_before_it_forgets_the_rest() {
    let mut shop = Puppet::new();
    shop.deployed();
    shop.performed.clear();
    shop.facts.application.wanted = Wanted::Deleting { volumes: true };

    for _ in 0..30 {
        shop.turn();
    }

    assert!(shop.running().is_empty());
    let at = |kind: &str| shop.performed.iter().position(|performed| performed == kind);
    assert!(at("stop") < at("remove") && at("remove") < at("forget"), "{:?}", shop.performed);
    assert!(shop.events.contains(&EventKind::ApplicationDeleted));
}

#[test]
fn newest_wins_and_the_older_one_names_it() {
    let mut shop = Puppet::new();
    shop.stuck.insert("build");
    let first = shop.queue();
    shop.settle();
    let second = shop.queue();
    let third = shop.queue();

    shop.settle();

    assert_eq!(shop.status(first), DeploymentStatus::Building);
    assert_eq!(shop.status(second), DeploymentStatus::Cancelled);
    assert!(shop.row(second).cancel.as_ref().unwrap().reason.contains(&third.to_string()));
    shop.stuck.clear();
    shop.settle();
    assert_eq!(shop.status(third), DeploymentStatus::Running);
}

#[test]
fn a_rollback_that_never_began_lets_go_of_its_release() {
    let mut shop = Puppet::new();
    let first = shop.deployed();
    shop.deployed();
    shop.facts.application.wanted = Wanted::Stopped;
    let env = RollbackEnv::Release;
    let rollback = shop.queue_kind(DeploymentKind::Rollback { release: first.into(), env });
    shop.facts.releases.get_mut(&first.into()).unwrap().pinned_by = Some(rollback);

    shop.settle();

    assert_eq!(shop.status(rollback), DeploymentStatus::Cancelled);
    assert_eq!(shop.facts.releases[&first.into()].pinned_by, None);
}
