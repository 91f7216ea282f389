//! Whole: a commit is stored entirely or not at all, events included; each change sees those before it.

use super::{StoreHarness, assert_refused, commit, insert, refusal, sample, stored_server};
use crate::error::ErrorKind;
use crate::model::{Change, EventKind, EventSeq, Key, NewEvent, Version};

/// Changes before and after a refused one leave nothing, nor do the commit's events.
pub async fn a_refused_change_leaves_nothing_of_its_commit(harness: impl StoreHarness) {
    let store = harness.store();
    let server = stored_server(&*store).await;
    let (first, twin) = (sample::application(server.id, "shop"), sample::application(server.id, "shop"));
    let user = sample::user("ada@example.com");

    let mut whole = commit().insert(user.clone()).insert(first.clone()).insert(twin);
    whole = whole.insert(sample::volume(first.id, "uploads")).event(NewEvent::global(EventKind::UserCreated));
    let error = store.commit(whole).await.unwrap_err();

    assert_refused(&error, ErrorKind::AlreadyExists, "shop");
    assert_eq!(store.user(user.id).await.unwrap(), None);
    assert_eq!(store.applications().await.unwrap(), []);
    assert_eq!(store.volumes(first.id).await.unwrap(), []);
    assert_eq!(store.last_event().await.unwrap(), EventSeq(0));
}

/// A record may be made, changed and removed in one commit, and refer to one made in the same.
pub async fn each_change_sees_the_changes_before_it(harness: impl StoreHarness) {
    let store = harness.store();
    let server = sample::server("local");
    let shop = sample::application(server.id, "shop");
    let mut renamed = shop.clone();
    (renamed.version, renamed.name) = (Version(1), "store".parse().unwrap());
    let domain = sample::domain(shop.id, "shop.localhost");

    let whole = commit().insert(server.clone()).insert(shop).update(renamed.clone()).insert(domain.clone());
    store.commit(whole.delete(Key::Domain(domain.id), Version(1))).await.unwrap();

    assert_eq!(store.application(renamed.id).await.unwrap().unwrap().name, renamed.name);
    assert_eq!(store.domains(renamed.id).await.unwrap(), []);

    let early = refusal(&*store, Change::Insert(sample::machine(sample::id()).into())).await;
    assert_eq!(early.kind(), ErrorKind::NotFound);
}

/// A commit without events answers where the log stands.
pub async fn an_empty_commit_answers_the_newest_event(harness: impl StoreHarness) {
    let store = harness.store();
    assert_eq!(store.commit(commit()).await.unwrap(), EventSeq(0));

    store.commit(commit().event(NewEvent::global(EventKind::ServerChanged))).await.unwrap();

    assert_eq!(store.commit(commit()).await.unwrap(), EventSeq(1));
    assert_eq!(insert(&*store, sample::server("local")).await, EventSeq(1));
}
