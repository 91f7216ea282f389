//! Faithful: every kind of record comes back with all its fields as they were written.

use std::fmt::Debug;
use std::sync::Arc;

use super::{StoreHarness, assert_refused, commit, insert, refusal, sample, stored_application};
use crate::error::ErrorKind;
use crate::model::{
    AppName, Application, Change, DeploymentStatus, EnvVar, Installation, Key, Lease, Machine, Member, MemberRole,
    Record, Release, SecretScope, User, Version, Volume,
};
use crate::store::Store;

/// A record as the store answers it.
macro_rules! stored {
    ($record:expr, $version:expr) => {{
        let mut record = $record.clone();
        record.version = Version($version);
        record
    }};
}

/// Writes the bare record, then the full one, then the bare one again, and reads it after each.
macro_rules! keeps {
    ($store:expr, $bare:expr, $full:expr, |$record:ident| $read:expr) => {{
        let (bare, full) = ($bare, $full);
        let $record = &bare;
        insert(&*$store, bare.clone()).await;
        same($read.await.unwrap(), stored!(bare, 1));
        update(&$store, stored!(full, 1)).await;
        same($read.await.unwrap(), stored!(full, 2));
        update(&$store, stored!(bare, 2)).await;
        same($read.await.unwrap(), stored!(bare, 3));
    }};
}

async fn update(store: &Arc<dyn Store>, record: impl Into<Record>) {
    store.commit(commit().update(record)).await.unwrap();
}

#[track_caller]
fn same<R: PartialEq + Debug>(stored: Option<R>, written: R) {
    assert_eq!(stored, Some(written));
}

/// The identity of the installation and of its key.
pub async fn an_installation_keeps_all_its_fields(harness: impl StoreHarness) {
    let store = harness.store();
    let bare = sample::installation();
    let full = Installation { secret_key_id: Some("0123456789abcdef".to_owned()), ..bare.clone() };

    keeps!(store, bare, full, |_row| store.installation());
}

/// Holder, epoch and expiry.
pub async fn a_lease_keeps_all_its_fields(harness: impl StoreHarness) {
    let store = harness.store();
    let full = Lease { expires_at: sample::at(-1_000_000_000), ..sample::lease("host ä:1", u64::MAX >> 1) };

    keeps!(store, sample::lease("first", 1), full, |_row| store.lease());
}

/// A server.
pub async fn a_server_keeps_all_its_fields(harness: impl StoreHarness) {
    let store = harness.store();
    let bare = sample::server("local");

    keeps!(store, bare.clone(), sample::full_server(bare.id), |row| store.server(row.id));
}

/// A user.
pub async fn a_user_keeps_all_its_fields(harness: impl StoreHarness) {
    let store = harness.store();
    let bare = sample::user("ada@example.com");

    keeps!(store, bare.clone(), sample::full_user(bare.id), |row| store.user(row.id));
    assert!(store.user_with_email(&bare.email).await.unwrap().is_some());
}

/// An application, found by id and by name.
pub async fn an_application_keeps_all_its_fields(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let owner = sample::user("ada@example.com");
    insert(&*store, owner.clone()).await;
    let bare = sample::application(shop.server_id, "blog");
    let full = sample::full_application(bare.id, shop.server_id, owner.id);

    keeps!(store, bare.clone(), full.clone(), |row| store.application(row.id));
    update(&store, stored!(full, 3)).await;
    same(store.application_named(&full.name).await.unwrap(), stored!(full, 4));
    assert_eq!(store.application_named(&bare.name).await.unwrap(), None);
}

/// The engine's journal, byte for byte.
pub async fn a_machine_keeps_all_its_fields(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;

    keeps!(store, sample::machine(shop.id), sample::full_machine(shop.id), |_row| store.machine(shop.id));
    let journal = "x".repeat(1 << 20);
    update(&store, Machine { journal: journal.clone(), version: Version(3), ..sample::machine(shop.id) }).await;
    assert_eq!(store.machines().await.unwrap()[0].journal, journal);
}

/// A deployment with failure, cancel and receipt.
pub async fn a_deployment_keeps_all_its_fields(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let bare = sample::deployment(&shop, DeploymentStatus::Queued);
    let full = sample::full_deployment(bare.id, &shop);

    keeps!(store, bare.clone(), full, |row| store.deployment(row.id));
    assert_eq!(store.deployments(Some(shop.id), 1).await.unwrap(), [stored!(bare, 3)]);
}

/// Each documented word.
pub async fn a_deployment_keeps_every_status(harness: impl StoreHarness) {
    let store = harness.store();
    let mut deployment = sample::deployment(&stored_application(&*store).await, DeploymentStatus::Queued);
    insert(&*store, deployment.clone()).await;

    for status in DeploymentStatus::ALL {
        (deployment.status, deployment.version) = (status, deployment.version.next());
        update(&store, deployment.clone()).await;
        assert_eq!(store.deployment(deployment.id).await.unwrap().unwrap().status, status);
    }
}

/// Kinds of runtime, statuses of servers, strategies, rollouts, roles and states of releases.
pub async fn every_word_of_an_enum_is_kept(harness: impl StoreHarness) {
    use crate::model::BuildStrategy::{Auto, Dockerfile, Image, Procfile, Static};
    use crate::model::ReleaseState::{Collected, Collecting, Discarded, Made, Ran};
    use crate::model::{Role, Rollout, RuntimeKind, ServerStatus, Wanted};
    let store = harness.store();

    let mut server = sample::server("local");
    for runtime in [RuntimeKind::Process, RuntimeKind::Docker, RuntimeKind::Custom] {
        for status in [ServerStatus::Online, ServerStatus::Offline, ServerStatus::Unknown] {
            (server.id, server.runtime, server.status) = (sample::id(), runtime, status);
            server.name = format!("{runtime:?} {status:?}").parse().unwrap();
            insert(&*store, server.clone()).await;
            same(store.server(server.id).await.unwrap(), stored!(server, 1));
        }
    }
    for (index, build_strategy) in [Auto, Dockerfile, Image, Procfile, Static].into_iter().enumerate() {
        for (rollout, wanted) in [(None, Wanted::Stopped), (Some(Rollout::StartFirst), Wanted::Running)] {
            let name = format!("app-{index}-{}", rollout.is_some());
            let new = Application { build_strategy, rollout, wanted, ..sample::application(server.id, &name) };
            insert(&*store, new.clone()).await;
            same(store.application(new.id).await.unwrap(), stored!(new, 1));
        }
    }
    let shop = store.applications().await.unwrap().remove(0);
    for state in [Made, Ran, Discarded, Collecting, Collected] {
        let release = Release { state, ..sample::release(&shop) };
        insert(&*store, release.clone()).await;
        same(store.release(release.id).await.unwrap(), stored!(release, 1));
    }
    for (email, role) in [("a@x.org", Role::Admin), ("b@x.org", Role::User)] {
        let user = User { role, ..sample::user(email) };
        insert(&*store, user.clone()).await;
        same(store.user(user.id).await.unwrap(), stored!(user, 1));
    }
}

/// A release with processes, environment and pin.
pub async fn a_release_keeps_all_its_fields(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let bare = sample::release(&shop);

    keeps!(store, bare.clone(), sample::full_release(bare.id, &shop), |row| store.release(row.id));
}

/// A domain.
pub async fn a_domain_keeps_all_its_fields(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let bare = sample::domain(shop.id, "a.example.com");
    let full = sample::full_domain(bare.id, shop.id);

    insert(&*store, bare.clone()).await;
    same(store.domain_named(&bare.domain).await.unwrap(), stored!(bare, 1));
    update(&store, stored!(full, 1)).await;
    same(store.domain_named(&full.domain).await.unwrap(), stored!(full, 2));
    assert_eq!(store.domains(shop.id).await.unwrap(), [stored!(full, 2)]);
}

/// A variable: its value's version, never its value.
pub async fn a_variable_keeps_all_its_fields(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let bare = sample::env_var(shop.id, "TOKEN");
    let full = EnvVar { value: sample::id(), locked: true, updated_at: sample::at(5), ..bare.clone() };
    let first = async || store.env_vars(shop.id).await.map(|rows| rows.into_iter().next());

    keeps!(store, bare, full, |_row| first());
}

/// A health check.
pub async fn a_health_check_keeps_all_its_fields(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let bare = sample::health_check(shop.id);

    keeps!(store, bare.clone(), sample::full_health_check(bare.id, shop.id), |_row| store.health_check(shop.id));
}

/// A persistent directory, attached and detached.
pub async fn a_volume_keeps_all_its_fields(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let bare = sample::volume(shop.id, "uploads");
    let full =
        Volume { detached_from: Some("shop".parse::<AppName>().unwrap()), created_at: sample::at(1), ..bare.clone() };
    let first = async || store.volumes(shop.id).await.map(|rows| rows.into_iter().next());

    keeps!(store, bare, full, |_row| first());
}

/// A member in each role.
pub async fn a_member_keeps_all_its_fields(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let user = sample::user("ada@example.com");
    insert(&*store, user.clone()).await;
    let bare = sample::member(shop.id, user.id);

    for role in [MemberRole::Deployer, MemberRole::Owner] {
        let (bare, full) = (bare.clone(), Member { role, ..bare.clone() });
        keeps!(store, bare, full, |row| store.member(row.application_id, row.user_id));
        let gone = Key::Member(shop.id, user.id);
        store.commit(commit().delete(gone, Version(3))).await.unwrap();
    }
}

/// Bytes of any kind, of the installation and of an application.
pub async fn a_secret_keeps_all_its_fields(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;

    for scope in [SecretScope::Installation, SecretScope::Application(shop.id)] {
        let mut secret = sample::secret(scope);
        secret.sealed = (0..=255).cycle().take(1 << 20).collect();
        insert(&*store, secret.clone()).await;
        same(store.sealed_secret(secret.id).await.unwrap(), stored!(secret, 1));
    }
}

/// Whoever holds a version's id may rely on what it stands for.
pub async fn a_version_of_a_secret_never_changes(harness: impl StoreHarness) {
    let store = harness.store();
    let secret = sample::secret(SecretScope::Installation);
    insert(&*store, secret.clone()).await;

    let mut other = stored!(secret, 1);
    other.sealed = vec![1];
    let error = refusal(&*store, Change::Update(other.into())).await;

    assert_refused(&error, ErrorKind::Invalid, "secret");
    same(store.sealed_secret(secret.id).await.unwrap(), stored!(secret, 1));
}
