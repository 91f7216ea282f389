//! Unique: names of applications, servers and domains, addresses of users: `AlreadyExists`.

use super::{StoreHarness, assert_refused, commit, insert, refusal, sample, stored_application, stored_named};
use crate::error::ErrorKind;
use crate::model::{Application, Change, DeploymentStatus, Key, Record, SecretScope};

/// A name is a host name: there is one in the installation.
pub async fn a_taken_name_of_an_application_exists_already(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;

    let error = refusal(&*store, Change::Insert(sample::application(shop.server_id, "shop").into())).await;

    assert_refused(&error, ErrorKind::AlreadyExists, "application `shop`");
    assert_eq!(store.applications().await.unwrap(), [shop]);
}

/// A rename is held to the same rule.
pub async fn an_application_cannot_be_renamed_to_a_taken_name(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let server = store.server(shop.server_id).await.unwrap().unwrap();
    let blog = stored_named(&*store, &server, "blog").await;

    let renamed = Application { name: shop.name.clone(), ..blog.clone() };
    let error = refusal(&*store, Change::Update(renamed.into())).await;

    assert_refused(&error, ErrorKind::AlreadyExists, "application `shop`");
    assert_eq!(store.application_named(&blog.name).await.unwrap(), Some(blog));
}

/// Servers are told apart by their names.
pub async fn a_taken_name_of_a_server_exists_already(harness: impl StoreHarness) {
    let store = harness.store();
    insert(&*store, sample::server("local")).await;

    let error = refusal(&*store, Change::Insert(sample::server("local").into())).await;

    assert_refused(&error, ErrorKind::AlreadyExists, "server `local`");
}

/// A host leads to one application, also when both are the same.
pub async fn a_taken_domain_exists_already(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let server = store.server(shop.server_id).await.unwrap().unwrap();
    let blog = stored_named(&*store, &server, "blog").await;
    insert(&*store, sample::domain(shop.id, "example.com")).await;

    for application in [shop.id, blog.id] {
        let twin = sample::domain(application, "example.com");
        let error = refusal(&*store, Change::Insert(twin.into())).await;
        assert_refused(&error, ErrorKind::AlreadyExists, "domain `example.com`");
    }
}

/// A user signs in with an address.
pub async fn a_taken_address_of_a_user_exists_already(harness: impl StoreHarness) {
    let store = harness.store();
    insert(&*store, sample::user("ada@example.com")).await;

    let error = refusal(&*store, Change::Insert(sample::user("ada@example.com").into())).await;

    assert_refused(&error, ErrorKind::AlreadyExists, "user `ada@example.com`");
}

/// One health check an application.
pub async fn a_second_health_check_exists_already(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    insert(&*store, sample::health_check(shop.id)).await;

    let error = refusal(&*store, Change::Insert(sample::health_check(shop.id).into())).await;

    assert_refused(&error, ErrorKind::AlreadyExists, "health check");
}

/// The rows of which there is one.
pub async fn there_is_one_lease_and_one_installation(harness: impl StoreHarness) {
    let store = harness.store();
    let installation = sample::installation();
    insert(&*store, installation.clone()).await;
    insert(&*store, sample::lease("first", 1)).await;

    let error = refusal(&*store, Change::Insert(sample::installation().into())).await;
    assert_refused(&error, ErrorKind::AlreadyExists, "installation");
    let error = refusal(&*store, Change::Insert(sample::lease("second", 2).into())).await;
    assert_refused(&error, ErrorKind::AlreadyExists, "lease");

    assert_eq!(store.installation().await.unwrap().unwrap().instance, installation.instance);
    assert_eq!(store.lease().await.unwrap().unwrap().holder, "first");
}

/// A deleted application's name and domains may be taken by another.
pub async fn a_name_is_free_again_after_a_deletion(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    insert(&*store, sample::domain(shop.id, "example.com")).await;
    store.commit(commit().delete(Key::Application(shop.id), shop.version)).await.unwrap();

    let next = sample::application(shop.server_id, "shop");
    let domain = sample::domain(next.id, "example.com");
    store.commit(commit().insert(next.clone()).insert(domain)).await.unwrap();

    assert_eq!(store.application_named(&shop.name).await.unwrap().unwrap().id, next.id);
}

/// A record that names an absent application, server or user is refused.
pub async fn what_a_record_refers_to_must_be_there(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let stray = sample::application(sample::id(), "stray");

    let strays: Vec<Record> = vec![
        stray.clone().into(),
        Application { owner: Some(sample::id()), server_id: shop.server_id, ..stray.clone() }.into(),
        sample::deployment(&Application { server_id: shop.server_id, ..stray.clone() }, DeploymentStatus::Queued)
            .into(),
        sample::release(&stray).into(),
        sample::machine(stray.id).into(),
        sample::domain(stray.id, "example.com").into(),
        sample::env_var(stray.id, "TOKEN").into(),
        sample::health_check(stray.id).into(),
        sample::member(shop.id, sample::id()).into(),
        sample::secret(SecretScope::Application(stray.id)).into(),
    ];

    for record in strays {
        let error = refusal(&*store, Change::Insert(record.clone())).await;
        assert_eq!(error.kind(), ErrorKind::NotFound, "{record:?}: {error}");
    }
}
