//! Reads: what is found, in which order, and what is absent.

use super::{StoreHarness, commit, insert, sample, stored_application, stored_named};
use crate::model::{DeploymentStatus, EventSeq, Key, LogPage, Version};

/// Absence is no error.
pub async fn what_is_not_there_is_none_or_empty(harness: impl StoreHarness) {
    let store = harness.store();
    let id = sample::id();

    assert_eq!(store.installation().await.unwrap(), None);
    assert_eq!(store.lease().await.unwrap(), None);
    assert_eq!(store.application(id).await.unwrap(), None);
    assert_eq!(store.application_named(&"shop".parse().unwrap()).await.unwrap(), None);
    assert_eq!(store.machine(id).await.unwrap(), None);
    assert_eq!(store.machines().await.unwrap(), []);
    assert_eq!(store.deployment(sample::id()).await.unwrap(), None);
    assert_eq!(store.unfinished_deployments(id).await.unwrap(), []);
    assert_eq!(store.release(sample::id()).await.unwrap(), None);
    assert_eq!(store.server(sample::id()).await.unwrap(), None);
    assert_eq!(store.domain_named(&"example.com".parse().unwrap()).await.unwrap(), None);
    assert_eq!(store.health_check(id).await.unwrap(), None);
    assert_eq!(store.detached_volumes().await.unwrap(), []);
    assert_eq!(store.user_with_email(&"ada@example.com".parse().unwrap()).await.unwrap(), None);
    assert_eq!(store.member(id, sample::id()).await.unwrap(), None);
    assert_eq!(store.sealed_secret(sample::id()).await.unwrap(), None);
    assert_eq!(store.events(EventSeq(0), 10).await.unwrap(), []);
    assert_eq!(store.log(sample::id(), 0, 10).await.unwrap(), LogPage::default());
    assert_eq!(store.log_tail(sample::id(), 10).await.unwrap(), []);
}

/// By their ids, whatever order they were stored in and whatever their names.
pub async fn applications_servers_and_users_come_oldest_first(harness: impl StoreHarness) {
    let store = harness.store();
    let servers = [sample::server("b"), sample::server("a"), sample::server("c")];
    let users = [sample::user("b@x.org"), sample::user("a@x.org")];
    let applications = ["b", "c", "a"].map(|name| sample::application(servers[0].id, name));

    for server in servers.iter().rev() {
        insert(&*store, server.clone()).await;
    }
    for user in users.iter().rev() {
        insert(&*store, user.clone()).await;
    }
    for application in applications.iter().rev() {
        insert(&*store, application.clone()).await;
        insert(&*store, sample::machine(application.id)).await;
    }

    let ids = |rows: &[crate::model::Application]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(&store.applications().await.unwrap()), ids(&applications));
    let machines: Vec<_> = store.machines().await.unwrap().iter().map(|row| row.application_id).collect();
    assert_eq!(machines, ids(&applications));
    let found: Vec<_> = store.servers().await.unwrap().iter().map(|row| row.id).collect();
    assert_eq!(found, servers.map(|row| row.id));
    let found: Vec<_> = store.users().await.unwrap().iter().map(|row| row.id).collect();
    assert_eq!(found, users.map(|row| row.id));
}

/// Of one application or of all.
pub async fn deployments_come_newest_first_within_the_limit(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let server = store.server(shop.server_id).await.unwrap().unwrap();
    let blog = stored_named(&*store, &server, "blog").await;
    let made = [&shop, &blog, &shop, &shop].map(|of| sample::deployment(of, DeploymentStatus::Queued));
    for deployment in &made {
        insert(&*store, deployment.clone()).await;
    }

    let ids =
        async |of, limit| store.deployments(of, limit).await.unwrap().iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(None, 100).await, [made[3].id, made[2].id, made[1].id, made[0].id]);
    assert_eq!(ids(Some(shop.id), 2).await, [made[3].id, made[2].id]);
    assert_eq!(ids(Some(blog.id), 2).await, [made[1].id]);
    assert_eq!(ids(None, 0).await, []);
}

/// Those that still have something before them.
pub async fn unfinished_deployments_come_oldest_first(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let server = store.server(shop.server_id).await.unwrap().unwrap();
    let blog = stored_named(&*store, &server, "blog").await;
    insert(&*store, sample::deployment(&blog, DeploymentStatus::Queued)).await;
    let mut expected = Vec::new();
    for status in [
        DeploymentStatus::Running,
        DeploymentStatus::Queued,
        DeploymentStatus::Failed,
        DeploymentStatus::Building,
        DeploymentStatus::Cancelled,
        DeploymentStatus::Queued,
    ] {
        let deployment = sample::deployment(&shop, status);
        insert(&*store, deployment.clone()).await;
        if !status.is_final() {
            expected.push(deployment.id);
        }
    }

    let found = store.unfinished_deployments(shop.id).await.unwrap();

    assert_eq!(found.iter().map(|row| row.id).collect::<Vec<_>>(), expected);
}

/// And not those of another application.
pub async fn releases_and_domains_of_one_application_come_oldest_first(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let server = store.server(shop.server_id).await.unwrap().unwrap();
    let blog = stored_named(&*store, &server, "blog").await;
    let releases = [&shop, &blog, &shop].map(sample::release);
    let domains = [(&shop, "b.org"), (&blog, "c.org"), (&shop, "a.org")].map(|(of, name)| sample::domain(of.id, name));
    for (release, domain) in releases.iter().zip(&domains).rev() {
        store.commit(commit().insert(release.clone()).insert(domain.clone())).await.unwrap();
    }

    let found: Vec<_> = store.releases(shop.id).await.unwrap().iter().map(|row| row.id).collect();
    assert_eq!(found, [releases[0].id, releases[2].id]);
    let found: Vec<_> = store.domains(shop.id).await.unwrap().iter().map(|row| row.id).collect();
    assert_eq!(found, [domains[0].id, domains[2].id]);
}

/// Bytewise, as the environment of a release is.
pub async fn variables_and_volumes_come_in_the_order_of_their_names(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    for key in ["b", "A", "_C", "B2"] {
        insert(&*store, sample::env_var(shop.id, key)).await;
    }
    for name in ["uploads", "cache", "a"] {
        insert(&*store, sample::volume(shop.id, name)).await;
    }

    let keys: Vec<_> = store.env_vars(shop.id).await.unwrap().iter().map(|row| row.key.to_string()).collect();
    assert_eq!(keys, ["A", "B2", "_C", "b"]);
    let names: Vec<_> = store.volumes(shop.id).await.unwrap().iter().map(|row| row.name.to_string()).collect();
    assert_eq!(names, ["a", "cache", "uploads"]);
    assert_eq!(store.env_vars(sample::id()).await.unwrap(), []);
}

/// From either side.
pub async fn members_are_found_by_application_and_by_user(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let server = store.server(shop.server_id).await.unwrap().unwrap();
    let blog = stored_named(&*store, &server, "blog").await;
    let (ada, bob) = (sample::user("ada@x.org"), sample::user("bob@x.org"));
    store.commit(commit().insert(ada.clone()).insert(bob.clone())).await.unwrap();
    for (application, user) in [(&blog, &ada), (&shop, &bob), (&shop, &ada)] {
        insert(&*store, sample::member(application.id, user.id)).await;
    }

    let of_shop: Vec<_> = store.members(shop.id).await.unwrap().iter().map(|row| row.user_id).collect();
    assert_eq!(of_shop, [ada.id, bob.id]);
    let of_ada: Vec<_> = store.memberships(ada.id).await.unwrap().iter().map(|row| row.application_id).collect();
    assert_eq!(of_ada, [shop.id, blog.id]);
    assert_eq!(store.member(blog.id, bob.id).await.unwrap(), None);
}

/// One of each kind that can be removed.
pub async fn a_deleted_record_is_no_longer_found(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let domain = sample::domain(shop.id, "example.com");
    let (variable, check) = (sample::env_var(shop.id, "TOKEN"), sample::health_check(shop.id));
    let volume = sample::volume(shop.id, "uploads");
    let records = commit().insert(domain.clone()).insert(variable.clone()).insert(check.clone());
    store.commit(records.insert(volume.clone())).await.unwrap();

    let keys = [
        Key::Domain(domain.id),
        Key::EnvVar(shop.id, variable.key),
        Key::HealthCheck(check.id),
        Key::Volume(shop.id, volume.name),
    ];
    let deletion = keys.into_iter().fold(commit(), |commit, key| commit.delete(key, Version(1)));
    store.commit(deletion).await.unwrap();

    assert_eq!(store.domains(shop.id).await.unwrap(), []);
    assert_eq!(store.env_vars(shop.id).await.unwrap(), []);
    assert_eq!(store.health_check(shop.id).await.unwrap(), None);
    assert_eq!(store.volumes(shop.id).await.unwrap(), []);
}
