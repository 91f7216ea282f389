//! Versioned: a change whose version is past loses the whole commit with `Conflict`, which names the record.

use super::{StoreHarness, assert_refused, commit, insert, refusal, sample, stored_application, stored_server};
use crate::error::ErrorKind;
use crate::model::{Change, Key, Server, Version};

/// The first write makes version 1, each further one the next.
pub async fn a_write_gives_the_record_the_next_version(harness: impl StoreHarness) {
    let store = harness.store();
    let server = stored_server(&*store).await;
    assert_eq!(server.version, Version(1));

    store.commit(commit().update(Server { port: 2222, ..server.clone() })).await.unwrap();

    let changed = store.server(server.id).await.unwrap().unwrap();
    assert_eq!((changed.version, changed.port), (Version(2), 2222));
}

/// An update decided on what was read before another write changes nothing.
pub async fn an_update_on_a_past_version_loses_and_names_the_record(harness: impl StoreHarness) {
    let store = harness.store();
    let server = stored_server(&*store).await;
    store.commit(commit().update(Server { port: 2222, ..server.clone() })).await.unwrap();

    for version in [Version::NEW, Version(1), Version(3)] {
        let late = Server { version, port: 1, ..server.clone() };
        let error = refusal(&*store, Change::Update(late.into())).await;
        assert_refused(&error, ErrorKind::Conflict, server.id);
    }

    assert_eq!(store.server(server.id).await.unwrap().unwrap().port, 2222);
}

/// A removal decided on what was read before another write removes nothing.
pub async fn a_delete_on_a_past_version_loses_and_names_the_record(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    store.commit(commit().update(shop.clone())).await.unwrap();

    let error = refusal(&*store, Change::Delete(Key::Application(shop.id), shop.version)).await;

    assert_refused(&error, ErrorKind::Conflict, shop.id);
    assert!(store.application(shop.id).await.unwrap().is_some());
}

/// An update of a record that was removed meanwhile names it.
pub async fn an_update_of_what_is_not_there_is_not_found(harness: impl StoreHarness) {
    let store = harness.store();
    let server = Server { version: Version(1), ..sample::server("local") };

    let error = refusal(&*store, Change::Update(server.clone().into())).await;

    assert_refused(&error, ErrorKind::NotFound, server.id);
}

/// A removal of each kind of record that is not there names it.
pub async fn a_delete_of_what_is_not_there_is_not_found(harness: impl StoreHarness) {
    let store = harness.store();
    let keys = [
        Key::Application(sample::id()),
        Key::Domain(sample::id()),
        Key::EnvVar(sample::id(), "TOKEN".parse().unwrap()),
        Key::HealthCheck(sample::id()),
        Key::Volume(sample::id(), "uploads".parse().unwrap()),
        Key::Member(sample::id(), sample::id()),
        Key::Secret(sample::id()),
    ];

    for key in keys {
        let error = refusal(&*store, Change::Delete(key.clone(), Version(1))).await;
        assert_refused(&error, ErrorKind::NotFound, key.id());
    }
}

/// A record whose id is taken is not overwritten.
pub async fn an_insert_of_what_is_there_already_exists(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let uploads = sample::volume(shop.id, "uploads");
    insert(&*store, uploads.clone()).await;

    let error = refusal(&*store, Change::Insert(uploads.into())).await;
    assert_refused(&error, ErrorKind::AlreadyExists, "uploads");

    let mut twin = sample::application(shop.server_id, "other");
    twin.id = shop.id;
    let error = refusal(&*store, Change::Insert(twin.into())).await;
    assert_refused(&error, ErrorKind::AlreadyExists, shop.id);
    assert_eq!(store.applications().await.unwrap(), [shop]);
}

/// A record that was read cannot be inserted by mistake.
pub async fn an_insert_that_has_a_version_is_invalid(harness: impl StoreHarness) {
    let store = harness.store();
    let server = Server { version: Version(1), ..sample::server("local") };

    let error = refusal(&*store, Change::Insert(server.into())).await;

    assert_refused(&error, ErrorKind::Invalid, "version");
    assert_eq!(store.servers().await.unwrap(), []);
}

/// Two writers that read the same version do not both win.
pub async fn of_two_updates_at_once_one_loses(harness: impl StoreHarness) {
    let (store, other) = (harness.store(), harness.second_handle().await);
    let server = stored_server(&*store).await;

    let update = |port| commit().update(Server { port, ..server.clone() });
    let (one, two) = tokio::join!(store.commit(update(1)), other.commit(update(2)));

    let (winner, loser) = if one.is_ok() { (1, two) } else { (2, one) };
    assert_refused(&loser.unwrap_err(), ErrorKind::Conflict, server.id);
    assert_eq!(store.server(server.id).await.unwrap().unwrap().port, winner);
}
