//! Owned: what belongs to an application goes with it, its output too, but its volumes stay, as detached.

use super::{StoreHarness, commit, sample, stored_application, stored_named};
use crate::model::{
    AppName, Application, DeploymentId, DeploymentStatus, EventKind, EventSeq, Key, LogLine, NewEvent, Record,
    SecretScope, SecretVersion, User, Version, Volume,
};
use crate::store::Store;

/// What was stored for an application.
struct Belongings {
    deployment: DeploymentId,
    secret: SecretVersion,
    user: User,
    volume: Volume,
}

/// Stores one record of every kind that belongs to `application`, and a line of output.
async fn furnish(store: &dyn Store, application: &Application) -> Belongings {
    let user = sample::user(&format!("{}@example.com", application.name));
    let deployment = sample::deployment(application, DeploymentStatus::Running);
    let mut release = sample::release(application);
    release.id = deployment.id.into();
    let secret = sample::secret(SecretScope::Application(application.id));
    let volume = sample::volume(application.id, "uploads");
    let records: Vec<Record> = vec![
        user.clone().into(),
        deployment.clone().into(),
        release.into(),
        sample::machine(application.id).into(),
        sample::domain(application.id, &format!("{}.example.com", application.name)).into(),
        sample::env_var(application.id, "TOKEN").into(),
        sample::health_check(application.id).into(),
        sample::member(application.id, user.id).into(),
        secret.clone().into(),
        volume.clone().into(),
    ];
    store.commit(records.into_iter().fold(commit(), |commit, record| commit.insert(record))).await.unwrap();
    let line = LogLine { number: 1, at: sample::at(0), text: "built".to_owned() };
    store.append_log(deployment.id, &[line]).await.unwrap();
    Belongings { deployment: deployment.id, secret: secret.id, user, volume }
}

/// How many records of `application` are there, of each kind.
async fn counts(store: &dyn Store, application: &Application, belongings: &Belongings) -> [usize; 9] {
    let id = application.id;
    [
        store.deployments(Some(id), 10).await.unwrap().len(),
        store.releases(id).await.unwrap().len(),
        store.machine(id).await.unwrap().iter().len(),
        store.domains(id).await.unwrap().len(),
        store.env_vars(id).await.unwrap().len(),
        store.health_check(id).await.unwrap().iter().len(),
        store.members(id).await.unwrap().len() + store.memberships(belongings.user.id).await.unwrap().len(),
        store.sealed_secret(belongings.secret).await.unwrap().iter().len(),
        store.log(belongings.deployment, 0, 10).await.unwrap().lines.len(),
    ]
}

async fn delete(store: &dyn Store, application: &Application) {
    store.commit(commit().delete(Key::Application(application.id), application.version)).await.unwrap();
}

/// Every kind of record, and the build output; users and servers are nobody's.
pub async fn a_deleted_application_takes_everything_along_but_its_volumes(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let belongings = furnish(&*store, &shop).await;
    assert_eq!(counts(&*store, &shop, &belongings).await, [1, 1, 1, 1, 1, 1, 2, 1, 1]);

    delete(&*store, &shop).await;

    assert_eq!(store.application(shop.id).await.unwrap(), None);
    assert_eq!(counts(&*store, &shop, &belongings).await, [0; 9]);
    let detached = Volume { version: Version(2), detached_from: Some(shop.name.clone()), ..belongings.volume };
    assert_eq!(store.detached_volumes().await.unwrap(), [detached]);
    assert_eq!(store.users().await.unwrap().len(), 1);
    assert_eq!(store.servers().await.unwrap().len(), 1);
}

/// A neighbour keeps all it has, and so does the installation.
pub async fn a_deleted_application_takes_nothing_of_others(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    let server = store.server(shop.server_id).await.unwrap().unwrap();
    let blog = stored_named(&*store, &server, "blog").await;
    furnish(&*store, &shop).await;
    let belongings = furnish(&*store, &blog).await;
    let global = sample::secret(SecretScope::Installation);
    store.commit(commit().insert(global.clone())).await.unwrap();

    delete(&*store, &shop).await;

    assert_eq!(counts(&*store, &blog, &belongings).await, [1, 1, 1, 1, 1, 1, 2, 1, 1]);
    assert_eq!(store.volumes(blog.id).await.unwrap()[0].detached_from, None::<AppName>);
    assert!(store.sealed_secret(global.id).await.unwrap().is_some());
}

/// What happened stays told.
pub async fn a_deleted_application_leaves_its_events(harness: impl StoreHarness) {
    let store = harness.store();
    let shop = stored_application(&*store).await;
    store.commit(commit().event(NewEvent::of(shop.id, EventKind::ApplicationCreated))).await.unwrap();

    let deletion = commit().delete(Key::Application(shop.id), shop.version);
    store.commit(deletion.event(NewEvent::of(shop.id, EventKind::ApplicationDeleted))).await.unwrap();

    let told: Vec<_> = store.events(EventSeq(0), 10).await.unwrap();
    assert_eq!(told.iter().map(|event| event.application_id).collect::<Vec<_>>(), [Some(shop.id), Some(shop.id)]);
}
