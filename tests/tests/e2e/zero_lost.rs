//! Zero lost: redeployments in a row under five kinds of load at once, and every request has its answer.
//!
//! `PLOYER_TEST_REDEPLOYMENTS` says how many in a row.

use std::collections::BTreeSet;
use std::time::Duration;

use ployer_core::model::Application;
use ployer_core::{Deployed, Error};
use tests::app::App;
use tests::await_that::eventually;
use tests::installation::{Installation, settings};
use tests::load::{Ended, Kind, Load, Mix, Report, Target, get};
use tests::{need, processes};

use crate::turns::alone;

const KINDS: [Kind; 5] = [Kind::KeepAlive, Kind::Slow, Kind::Upload, Kind::Streaming, Kind::WebSocket];

/// The paths of the requests that take seconds.
const LONG: [&str; 4] = ["/slow", "/upload", "/stream", "/ws"];

/// How many releases retire at a time: one more ends the oldest's drain.
const RETIRING: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn redeployments_start_first_lose_no_request_and_drain_each_web_socket() {
    if !need::sample() {
        return;
    }
    let _turn = alone().await;
    let installation = Installation::new(settings()).await;

    let (report, deployed) = redeploy(&installation, App::version).await;

    assert_whole(&report, &deployed);
    for (number, next) in (1..).zip(&deployed[1..]) {
        assert_lived_across(&report, &format!("v{number}"), next);
    }
    assert!(!report.ended.is_empty(), "the drain of some WebSocket ends\n{report}");
    for ended in &report.ended {
        assert_drained(ended, &deployed, &report);
    }
    installation.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redeployments_with_a_volume_hold_requests_and_lose_none() {
    if !need::sample() {
        return;
    }
    let _turn = alone().await;
    let installation = Installation::new(settings()).await;
    let with_volume = |version: String| App { volume: true, one_at_a_time: true, ..App::version(version) };

    let (report, deployed) = redeploy(&installation, with_volume).await;

    assert_whole(&report, &deployed);
    for (number, next) in (1..).zip(&deployed[1..]) {
        let version = format!("v{number}");
        let ended: Vec<_> = report.ended.iter().filter(|ended| ended.version == version).collect();
        assert!(!ended.is_empty(), "the switch from {version} ends the WebSockets that wait for it\n{report}");
        assert!(ended.iter().all(|ended| ended.why == format!("1001 {version}")), "the application does\n{report}");
        assert!(held(next) > 0, "while {version} ends, requests are held, new WebSockets among them\n{report}");
    }
    installation.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redeployments_of_three_replicas_lose_no_request() {
    if !need::sample() {
        return;
    }
    let _turn = alone().await;
    let installation = Installation::new(settings()).await;

    let (report, deployed) = redeploy(&installation, |version| App { replicas: 3, ..App::version(version) }).await;

    assert_whole(&report, &deployed);
    for deployed in &deployed {
        let receipt = deployed.deployment.receipt.as_ref().unwrap();
        assert_eq!(receipt.answered_by.len(), 3, "each replica answered through the proxy: {receipt:?}");
    }
    installation.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retirement_ends_as_soon_as_its_last_web_socket_has_ended_itself() {
    if !need::sample() {
        return;
    }
    let _turn = alone().await;
    let mut settings = settings();
    settings.deadlines.drain_upgraded = Duration::from_secs(300);
    let installation = Installation::new(settings).await;
    let repository = installation.repository("shop");
    let shop = installation.application("shop", &repository).await;
    App::version("v1").push(&repository);
    let first = installation.deploy(shop.id).await.unwrap();
    let load = Load::start(&installation.target(&shop), Mix { short_web_socket: 2, ..Mix::LIGHT });
    eventually("v1 is seen", async || if load.ledger().has_seen("v1") { Ok(()) } else { Err("it is not") }).await;

    App::version("v2").push(&repository);
    installation.deploy(shop.id).await.unwrap();
    installation.until_retired(first.deployment.id).await;
    let report = load.stop().await;

    report.assert_whole(&[Kind::KeepAlive, Kind::WebSocket]);
    assert!(report.ended.is_empty(), "nobody was sent away\n{report}");
    installation.end().await;
}

/// Deploys one version after the other while all kinds of clients are at work.
async fn redeploy(installation: &Installation, app: impl Fn(String) -> App) -> (Report, Vec<Deployed>) {
    let count = need::number("PLOYER_TEST_REDEPLOYMENTS", 5) as usize;
    let versions: Vec<_> = (1..=count + 1).map(|number| format!("v{number}")).collect();
    let repository = installation.repository("shop");
    let shop = installation.application("shop", &repository).await;
    app(versions[0].clone()).push(&repository);
    let mut deployed = vec![installation.deploy(shop.id).await.unwrap()];
    let load = Load::start(&installation.target(&shop), Mix::ALL);
    for version in &versions[1..] {
        app(version.clone()).push(&repository);
        deployed.push(redeploy_once(installation, &shop, version, &load).await.unwrap());
    }
    let last = deployed.last().unwrap().deployment.id;
    let report = load.stop().await;
    assert_eq!(report.versions(), versions, "\n{report}");
    only_runs(installation, &format!("shop-{last}")).await;
    (report, deployed)
}

async fn redeploy_once(
    installation: &Installation,
    shop: &Application,
    version: &str,
    load: &Load,
) -> Result<Deployed, Error> {
    let result = installation.deploy(shop.id).await;
    assert!(result.is_ok(), "{version}: {result:?}\n{}", load.ledger().report());
    let target = installation.target(shop);
    let reply = get(&target, "/").await.unwrap();
    assert_eq!(reply.version(), version, "it serves once it is said to run: {reply:?}");
    until_under_way(&target, version).await;
    result
}

/// Waits until clients of each kind were seen at work with this version, so that the next switch meets them.
async fn until_under_way(target: &Target, version: &str) {
    let mut seen = BTreeSet::new();
    eventually("each kind of request is under way", async || {
        let reply = get(target, "/under-way").await?;
        assert_eq!(reply.version(), version, "{reply:?}");
        seen.extend(reply.text.split_whitespace().map(str::to_owned));
        match LONG.iter().find(|path| !seen.contains(**path)) {
            None => Ok(()),
            Some(path) => Err(format!("{path} is not, with {version}")),
        }
    })
    .await;
}

/// Nothing is lost, and each kind of request was answered by each version.
fn assert_whole(report: &Report, deployed: &[Deployed]) {
    report.assert_whole(&KINDS);
    for (kind, tally) in &report.tallies {
        assert_eq!(tally.last.len(), deployed.len(), "{kind:?} by each version\n{report}");
    }
}

/// Requests of each kind that takes seconds began before the switch and were answered after it, by the old version.
fn assert_lived_across(report: &Report, version: &str, next: &Deployed) {
    let switched = next.deployment.routed_at.unwrap();
    for kind in [Kind::Slow, Kind::Upload, Kind::Streaming, Kind::WebSocket] {
        let last = report.tallies[&kind].last[version];
        assert!(last > switched, "no {kind:?} of {version} lived across the switch at {switched}\n{report}");
    }
}

/// A WebSocket may be ended when the drain of its release is over, or when too many releases retire.
fn assert_drained(ended: &Ended, deployed: &[Deployed], report: &Report) {
    let Ended { version, at, why, .. } = ended;
    let index: usize = version[1..].parse().unwrap();
    let switched = |index: usize| deployed.get(index).and_then(|deployed| deployed.deployment.routed_at);
    let drained = switched(index).map(|at| at + settings().deadlines.drain_upgraded);
    let crowded_out = switched(index + RETIRING);
    assert_eq!(why, &format!("1001 {version}"), "the application ended it\n{report}");
    assert!(
        drained.is_some_and(|drained| *at >= drained) || crowded_out.is_some_and(|crowded| *at >= crowded),
        "{version} ended a WebSocket before its time, {drained:?} or {crowded_out:?}\n{report}"
    );
}

/// Waits until nothing but the replicas of one release is left.
async fn only_runs(installation: &Installation, prefix: &str) {
    let instance = installation.ployer().instance();
    eventually("the releases before retire", async || {
        let running = processes::replicas(instance);
        match running.iter().all(|name| name.starts_with(prefix)) && !running.is_empty() {
            true => Ok(()),
            false => Err(format!("{running:?} run, and not {prefix} alone")),
        }
    })
    .await;
}

/// Requests that the proxy held while this deployment took over.
fn held(deployed: &Deployed) -> u64 {
    let traffic = deployed.deployment.receipt.as_ref().and_then(|receipt| receipt.traffic);
    traffic.map_or(0, |traffic| traffic.held)
}
