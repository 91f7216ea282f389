//! Failures: what cannot go well ends `failed` within its deadline, says why, and changes nothing for clients.

use std::fs;
use std::time::Duration;

use ployer_core::DeploymentFailed;
use ployer_core::config::Settings;
use ployer_core::model::{Application, Step, UpdateApplication};
use ployer_core::testing::{Push, Repository};
use tests::app::{App, Fault};
use tests::await_that::eventually;
use tests::installation::{Installation, settings};
use tests::load::{Kind, Load, Mix};
use tests::{need, processes};

use crate::turns::beside;

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_version_fails_by_name_while_the_old_one_serves() {
    if !need::sample() {
        return;
    }
    let _turn = beside().await;
    let story = Story::begin(impatient()).await;
    let cases = [
        (Fault::Build, Step::Build, "ended with exit code 2", "error: expected `;` in line 7"),
        (Fault::Release, Step::ReleaseCommand, "ended with exit code 3", "error: table `orders` does not exist"),
        (Fault::Exits, Step::Gate, "ended with exit code 4", "fatal: DATABASE_URL is not set"),
        (Fault::NeverListens, Step::Gate, "nothing listens", "waiting for a lock that nobody gives back"),
        (Fault::Unhealthy, Step::Gate, "answered 500", "v5 listens on http://127.0.0.1:"),
        (Fault::OtherPort, Step::Gate, "nothing listens", "v6 listens on http://127.0.0.1:3"),
    ];

    for (number, (fault, step, cause, output)) in (1..).zip(cases) {
        App::with_fault(format!("v{number}"), fault).push(&story.repository);

        let failed = story.fail().await;

        assert_eq!(failed.failure.step, step, "{fault:?}: {failed:?}");
        assert!(failed.failure.cause.contains(cause), "{fault:?}: {failed:?}");
        assert!(failed.failure.output.iter().any(|line| line.contains(output)), "{fault:?}: {failed:?}");
    }
    story.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_away_or_empty_fails_by_name_while_the_old_version_serves() {
    if !need::sample() {
        return;
    }
    let _turn = beside().await;
    let story = Story::begin(impatient()).await;
    let path = story.repository.path().to_owned();
    let aside = path.with_extension("aside");

    fs::rename(&path, &aside).unwrap();
    let gone = story.fail().await;
    Repository::create(&path);
    let empty = story.fail().await;
    fs::remove_dir_all(&path).unwrap();
    fs::rename(&aside, &path).unwrap();

    assert_eq!((gone.failure.step, empty.failure.step), (Step::Checkout, Step::Checkout));
    assert!(gone.failure.cause.contains(path.to_str().unwrap()), "{gone:?}");
    assert!(gone.failure.cause.contains("does not exist"), "{gone:?}");
    assert!(empty.failure.cause.contains("empty"), "{empty:?}");
    assert!(gone.failure.hint.is_some() && empty.failure.hint.is_some(), "{gone:?} {empty:?}");
    story.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_branch_fails_by_name_and_a_forced_push_deploys() {
    if !need::sample() {
        return;
    }
    let _turn = beside().await;
    let story = Story::begin(impatient()).await;
    let branch = UpdateApplication { git_branch: Some("next".parse().unwrap()), ..UpdateApplication::default() };
    story.installation.ployer().applications().update(story.shop.id, branch).await.unwrap();
    App::version("v0").push_to(&story.repository, "next", Push::OnTop);
    story.installation.deploy(story.shop.id).await.unwrap();

    story.repository.git(&["update-ref", "-d", "refs/heads/next"]);
    let deleted = story.fail().await;
    App::version("v0").push_to(&story.repository, "next", Push::OnTop);
    story.installation.deploy(story.shop.id).await.unwrap();
    let forced = App::version("forced").push_to(&story.repository, "next", Push::Forced);
    let deployed = story.installation.deploy(story.shop.id).await.unwrap();
    eventually("it serves", async || match story.load.ledger().has_seen("forced") {
        true => Ok(()),
        false => Err("it does not"),
    })
    .await;

    assert_eq!(deleted.failure.step, Step::Checkout);
    assert!(deleted.failure.cause.contains("branch `next` does not exist"), "{deleted:?}");
    assert_eq!(deployed.deployment.commit.and_then(|commit| commit.sha), Some(forced));
    let report = story.load.stop().await;
    report.assert_whole(&[Kind::KeepAlive]);
    assert_eq!(report.versions(), ["v0", "forced"]);
    story.installation.end().await;
}

/// An application that serves version `v0`, and clients that ask for it all the time.
struct Story {
    installation: Installation,
    repository: Repository,
    shop: Application,
    load: Load,
}

impl Story {
    async fn begin(settings: Settings) -> Self {
        Self::within(Installation::new(settings).await).await
    }

    async fn within(installation: Installation) -> Self {
        let repository = installation.repository("shop");
        let shop = installation.application("shop", &repository).await;
        App::version("v0").push(&repository);
        installation.deploy(shop.id).await.unwrap();
        let load = Load::start(&installation.target(&shop), Mix::LIGHT);
        Self { installation, repository, shop, load }
    }

    /// Deploys what cannot go well; the version before goes on serving.
    async fn fail(&self) -> DeploymentFailed {
        let failed = self.installation.deploy_in_vain(self.shop.id).await;
        assert!(failed.still_serves, "{failed:?}");
        failed
    }

    /// No client noticed anything, and nothing is left but what serves.
    async fn end(self) {
        let report = self.load.stop().await;
        report.assert_whole(&[Kind::KeepAlive]);
        assert_eq!(report.versions(), ["v0"], "\n{report}");
        let instance = self.installation.ployer().instance();
        eventually("what failed is gone", async || match processes::of(instance) {
            left if left.len() == 1 => Ok(()),
            left => Err(format!("{left:?}")),
        })
        .await;
        self.installation.end().await;
    }
}

/// Settings under which a version that never gets ready fails soon.
fn impatient() -> Settings {
    let mut settings = settings();
    settings.deadlines.gate = Duration::from_secs(4);
    settings
}
