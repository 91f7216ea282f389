//! Upkeep: what stays as it is, what returns by itself, and what is not tried again.

use super::*;
use crate::model::{InFlight, Machine, ProcessName, ReplicaName};

fn scale(shop: &mut Puppet, count: u32) {
    shop.facts.application.replicas.insert(ProcessName::web(), count);
    shop.facts.application.version = shop.facts.application.version.next();
}

#[test]
fn a_replica_whose_address_is_lost_at_rest_is_replaced() {
    let mut shop = Puppet::new();
    let id = shop.deployed();
    let name: ReplicaName = shop.running()[0].parse().unwrap();
    shop.take_address(&name);

    shop.settle();

    assert_eq!(shop.running(), [format!("shop-{id}-web-2")]);
    assert_eq!(shop.routed(), [id.into()].into());
}

#[test]
fn a_scale_that_failed_is_tried_again_only_after_a_change() {
    let mut shop = Puppet::new();
    let id = shop.deployed();
    shop.never_ready.insert(id.into());
    scale(&mut shop, 2);
    shop.settle();
    shop.pass(2 * MINUTE);
    assert_eq!(shop.running().len(), 1, "it was turned back");

    shop.performed.clear();
    shop.pass(MINUTE);
    assert!(!shop.performed.iter().any(|kind| kind == "start"), "{:?}", shop.performed);

    shop.never_ready.clear();
    scale(&mut shop, 2);
    shop.settle();
    assert_eq!(shop.running().len(), 2);
}

#[test]
fn an_open_websocket_keeps_its_retiring_replica_for_five_minutes() {
    let mut shop = Puppet::new();
    shop.deployed();
    let old: ReplicaName = shop.running()[0].parse().unwrap();
    shop.stuck.insert("watch in flight");
    shop.seen.in_flight.insert(old, InFlight { requests: 0, upgraded: 1 });
    shop.deployed();

    shop.pass(Duration::from_secs(31));
    assert_eq!(shop.running().len(), 2, "only requests have to end by then");
    shop.pass(4 * MINUTE);
    assert_eq!(shop.running().len(), 2);
    shop.pass(MINUTE);
    assert_eq!(shop.running().len(), 1);
}

#[test]
fn a_generated_domain_that_was_removed_does_not_come_back() {
    let mut shop = Puppet::new();
    shop.deployed();
    assert!(shop.facts.subdomain.take().is_some());
    shop.facts.domains.clear();

    shop.deployed();
    assert!(shop.facts.subdomain.is_none());

    shop.facts.application.name = "other".parse().unwrap();
    shop.deployed();
    assert_eq!(shop.facts.subdomain.unwrap().domain.as_str(), "other.localhost", "another name has its own");
}

#[test]
fn names_of_what_was_taken_over_are_not_given_again() {
    let mut shop = Puppet::new();
    let id = shop.deployed();
    let machine = Machine {
        application_id: shop.facts.application.id,
        version: Default::default(),
        active: Some(id.into()),
        degraded: false,
        serving: true,
        journal_version: 999,
        journal: "{}".to_owned(),
    };
    shop.crash();
    shop.state = super::super::state::State::from_machine(&machine);
    shop.settle();
    assert_eq!(shop.state.next_index[&id.into()][&ProcessName::web()], 2);

    scale(&mut shop, 2);
    shop.settle();

    assert_eq!(shop.running(), [format!("shop-{id}-web-1"), format!("shop-{id}-web-2")]);
}

#[test]
fn a_retiring_replica_that_a_route_still_names_is_not_ended() {
    let mut shop = Puppet::new();
    shop.deployed();
    let (before, old) = (shop.seen.route.clone(), shop.running()[0].parse().unwrap());
    shop.stuck.insert("watch in flight");
    shop.deployed();
    shop.stuck.insert("route");
    shop.seen.route = before;
    shop.seen.in_flight.insert(old, InFlight::default());

    shop.settle();

    assert_eq!(shop.running().len(), 2);
}

#[test]
fn a_replica_that_came_back_is_routed_to_only_once_it_is_ready() {
    let mut shop = Puppet::new();
    shop.spec.processes[0].replicas = 2;
    shop.deployed();
    let victim = shop.running()[0].clone();
    let name: ReplicaName = victim.parse().unwrap();
    let is_routed = |shop: &Puppet| format!("{:?}", shop.seen.route).contains(&victim);
    shop.stuck.insert("probe");
    shop.kill(&victim);
    shop.settle();

    shop.seen.replicas.as_mut().unwrap().get_mut(&name).unwrap().state = ReplicaState::Running;
    shop.settle();
    assert!(!is_routed(&shop));

    shop.stuck.clear();
    shop.settle();
    assert!(is_routed(&shop));
}
