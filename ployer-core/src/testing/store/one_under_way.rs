//! One under way: a second deployment of an application that is under way loses with `Conflict`, and so does a
//! second primary domain.

use super::{StoreHarness, assert_refused, commit, insert, refusal, sample, stored_application, stored_named};
use crate::error::ErrorKind;
use crate::model::{Change, Deployment, DeploymentStatus, Domain, Version};

const UNDER_WAY: [DeploymentStatus; 3] =
    [DeploymentStatus::Cloning, DeploymentStatus::Building, DeploymentStatus::Deploying];

/// Inserted or moved on, in whatever status the first one is.
pub async fn a_second_deployment_under_way_loses(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let queued = sample::deployment(&shop, DeploymentStatus::Queued);
    let mut first = sample::deployment(&shop, DeploymentStatus::Cloning);
    store.commit(commit().insert(queued.clone()).insert(first.clone())).await.unwrap();

    for status in UNDER_WAY {
        first = Deployment { status, version: first.version.next(), ..first };
        store.commit(commit().update(first.clone())).await.unwrap();
        for second in UNDER_WAY {
            let inserted = sample::deployment(&shop, second);
            assert_refused(&refusal(&*store, Change::Insert(inserted.into())).await, ErrorKind::Conflict, "under way");
            let moved = Deployment { status: second, version: Version(1), ..queued.clone() };
            assert_refused(&refusal(&*store, Change::Update(moved.into())).await, ErrorKind::Conflict, "under way");
        }
    }
    assert_eq!(store.deployments(None, 10).await.unwrap().len(), 2);
}

/// The rule holds per application, and waiting ones are not under way.
pub async fn deployments_of_two_applications_are_under_way_at_once(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let server = store.server(shop.server_id).await.unwrap().unwrap();
    let blog = stored_named(&*store, &server, "blog").await;

    for application in [&shop, &blog] {
        insert(&*store, sample::deployment(application, DeploymentStatus::Building)).await;
        for at_rest in DeploymentStatus::ALL.into_iter().filter(|status| !status.is_under_way()) {
            insert(&*store, sample::deployment(application, at_rest)).await;
        }
    }

    assert_eq!(store.deployments(None, 100).await.unwrap().len(), 10);
}

/// The queue moves on without a moment between.
pub async fn the_next_deployment_begins_in_the_commit_that_ends_the_last(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let last = sample::deployment(&shop, DeploymentStatus::Deploying);
    let next = sample::deployment(&shop, DeploymentStatus::Queued);
    store.commit(commit().insert(last.clone()).insert(next.clone())).await.unwrap();

    let ended = Deployment { status: DeploymentStatus::Running, version: Version(1), ..last };
    let begun = Deployment { status: DeploymentStatus::Cloning, version: Version(1), ..next.clone() };
    store.commit(commit().update(ended).update(begun)).await.unwrap();

    assert_eq!(store.deployment(next.id).await.unwrap().unwrap().status, DeploymentStatus::Cloning);
}

/// One domain of an application is the one shown.
pub async fn a_second_primary_domain_loses(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let primary = |name| Domain { is_primary: true, ..sample::domain(shop.id, name) };
    insert(&*store, primary("a.example.com")).await;

    let error = refusal(&*store, Change::Insert(primary("b.example.com").into())).await;

    assert_refused(&error, ErrorKind::Conflict, "primary");
}

/// The old one gives way first.
pub async fn another_domain_becomes_the_primary_one_in_one_commit(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let old = Domain { is_primary: true, ..sample::domain(shop.id, "a.example.com") };
    let new = sample::domain(shop.id, "b.example.com");
    store.commit(commit().insert(old.clone()).insert(new.clone())).await.unwrap();

    let off = Domain { is_primary: false, version: Version(1), ..old };
    let on = Domain { is_primary: true, version: Version(1), ..new.clone() };
    store.commit(commit().update(off).update(on)).await.unwrap();

    let primary: Vec<_> = store.domains(shop.id).await.unwrap().into_iter().filter(|row| row.is_primary).collect();
    assert_eq!(primary.iter().map(|row| row.id).collect::<Vec<_>>(), [new.id]);
}
