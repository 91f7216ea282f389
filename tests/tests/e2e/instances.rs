//! Instances: installations of one machine, or one with an older database, touch nothing that they do not know.

use std::fs;
use std::path::Path;

use ployer_core::testing::Repository;
use tempfile::TempDir;
use tests::app::App;
use tests::await_that::eventually;
use tests::installation::{Installation, Rest, settings};
use tests::load::{Kind, Load, Mix, Target, get};
use tests::{need, processes};

use crate::turns::beside;

/// The files of the database.
const DATABASE: [&str; 3] = ["ployer.db", "ployer.db-wal", "ployer.db-shm"];

#[tokio::test(flavor = "multi_thread")]
async fn two_installations_with_the_same_names_leave_each_other_alone() {
    if !need::sample() {
        return;
    }
    let _turn = beside().await;
    let (ours, theirs) = (Installation::new(settings()).await, Installation::new(settings()).await);
    let instance = ours.ployer().instance();
    let shop = deployed(&ours, "shop", "ours").await;
    let before = processes::of(instance);
    let load = Load::start(&shop, Mix::LIGHT);

    let other = deployed(&theirs, "shop", "theirs").await;
    let reply = get(&other, "/").await.unwrap();
    theirs.end().await;
    let report = load.stop().await;

    assert_eq!(reply.version(), "theirs");
    report.assert_whole(&[Kind::KeepAlive]);
    assert_eq!(report.versions(), ["ours"], "\n{report}");
    assert_eq!(processes::of(instance), before, "the same processes run");
    ours.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_database_ends_nothing_that_was_started_after_it() {
    if !need::sample() {
        return;
    }
    let _turn = beside().await;
    let folder = TempDir::new().unwrap();
    let (data_dir, older) = (folder.path().join("data"), folder.path().join("older"));
    let repository = Repository::create(folder.path().join("shop"));
    let first = Installation::at(data_dir.clone(), settings()).await;
    let rest = Rest(first.ployer().instance());
    let shop = first.application("shop", &repository).await;
    App::version("v1").push(&repository);
    first.deploy(shop.id).await.unwrap();
    first.leave().await;
    copy_database(&data_dir, &older);
    let second = Installation::at(data_dir.clone(), settings()).await;
    App::version("v2").push(&repository);
    let newer = second.deploy(shop.id).await.unwrap();
    let till = second.application("till", &repository).await;
    second.deploy(till.id).await.unwrap();
    eventually("the first release is gone", async || match processes::of(rest.0).len() {
        2 => Ok(()),
        running => Err(format!("{running} processes run")),
    })
    .await;
    let before = processes::of(rest.0);
    second.leave().await;

    copy_database(&older, &data_dir);
    let restored = Installation::at(data_dir, settings()).await;
    let target = restored.target(&shop);
    eventually("the release that the database knows serves", async || match get(&target, "/").await?.version() {
        "v1" => Ok(()),
        other => Err(format!("{other:?} answers")),
    })
    .await;
    restored.deploy(shop.id).await.unwrap();

    let now = processes::of(rest.0);
    assert!(before.is_subset(&now), "{newer:?}: {before:?} ran, {now:?} run");
    assert_eq!(get(&target, "/").await.unwrap().version(), "v2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_database_beside_its_original_leaves_it_alone() {
    if !need::sample() {
        return;
    }
    let _turn = beside().await;
    let folder = TempDir::new().unwrap();
    let (data_dir, copy) = (folder.path().join("data"), folder.path().join("copy"));
    let repository = Repository::create(folder.path().join("shop"));
    let first = Installation::at(data_dir.clone(), settings()).await;
    let rest = Rest(first.ployer().instance());
    let shop = first.application("shop", &repository).await;
    App::version("v1").push(&repository);
    first.deploy(shop.id).await.unwrap();
    first.leave().await;
    copy_database(&data_dir, &copy);
    let original = Installation::at(data_dir, settings()).await;
    let served = processes::of(rest.0);
    let load = Load::start(&original.target(&shop), Mix::LIGHT);
    App { build_seconds: Some(5.0), ..App::version("v2") }.push(&repository);
    let building = original.ployer().deployments().start(shop.id).await.unwrap();
    eventually("it builds", async || match processes::of(rest.0).difference(&served).count() {
        0 => Err("nothing new runs"),
        _ => Ok(()),
    })
    .await;

    let mut restored = Installation::at(copy, settings()).await;
    let built = building.wait().await;
    let before = processes::of(rest.0);
    App::version("v3").push(&repository);
    restored.deploy(shop.id).await.unwrap();
    let reply = get(&restored.target(&shop), "/").await.unwrap();
    restored.stop_engine().await;
    restored.ployer().stop_applications().await.unwrap();
    let report = load.stop().await;

    assert!(built.is_ok(), "{built:?}");
    assert_eq!(reply.version(), "v3");
    report.assert_whole(&[Kind::KeepAlive]);
    assert_eq!(report.versions(), ["v1", "v2"], "\n{report}");
    assert!(processes::of(rest.0).is_subset(&before), "{before:?} ran, nothing new is left");
    original.end().await;
}

/// Whom to ask for an application that serves `version`.
async fn deployed(installation: &Installation, name: &str, version: &str) -> Target {
    let repository = installation.repository(name);
    let application = installation.application(name, &repository).await;
    App::version(version).push(&repository);
    installation.deploy(application.id).await.unwrap();
    installation.target(&application)
}

/// Puts the database of one folder in the place of another one's.
fn copy_database(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in DATABASE {
        fs::remove_file(to.join(file)).ok();
        if from.join(file).exists() {
            fs::copy(from.join(file), to.join(file)).unwrap();
        }
    }
}
