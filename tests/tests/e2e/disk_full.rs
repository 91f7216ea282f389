//! Disk full: a deployment that finds no space fails and says so; what serves goes on, and so does the next one.

use ployer_core::model::Step;
use ployer_core::testing::{Content, Push};
use tests::app::{App, Fault};
use tests::installation::{Installation, settings};
use tests::load::{Kind, Load, Mix};
use tests::need;
use tests::small_disk::SmallDisk;

use crate::turns::beside;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_a_deployment_by_name_and_the_next_one_goes_well() {
    if !need::sample() {
        return;
    }
    let _turn = beside().await;
    let Some(disk) = SmallDisk::mount(48) else { return };
    let installation = Installation::at(disk.path().join("data"), settings()).await;
    let repository = installation.repository("shop");
    let shop = installation.application("shop", &repository).await;
    App::version("v0").push(&repository);
    installation.deploy(shop.id).await.unwrap();
    let load = Load::start(&installation.target(&shop), Mix::LIGHT);

    App::with_fault("v1", Fault::BuildFillsDisk).push(&repository);
    let build = installation.deploy_in_vain(shop.id).await;
    let large = "0123456789abcde\n".repeat(4 << 20);
    repository.commit("main", &[("large.txt", Content::Text(&large))], Push::OnTop);
    let checkout = installation.deploy_in_vain(shop.id).await;
    App::version("v2").push(&repository);
    installation.deploy(shop.id).await.unwrap();
    let report = load.stop().await;

    assert_eq!((build.failure.step, checkout.failure.step), (Step::Build, Step::Checkout));
    let said = format!("{:?}", build.failure);
    assert!(said.contains("No space left on device"), "{said}");
    assert!(checkout.failure.cause.contains("no space is left"), "{checkout:?}");
    assert!(build.still_serves && checkout.still_serves);
    report.assert_whole(&[Kind::KeepAlive]);
    assert_eq!(report.versions(), ["v0", "v2"], "\n{report}");
    installation.end().await;
}
