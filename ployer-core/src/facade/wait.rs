//! Waiting: from a deployment that was started to how it ended.
//!
//! A wait reads the stored row, so it works wherever the engine runs, and dropping it cancels nothing. Commits of
//! this process wake it; those of others are found by looking.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use futures_util::stream::BoxStream;
use serde::Serialize;
use tokio::sync::watch;

use super::{Ployer, log};
use crate::access::Action;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    AppName, ApplicationId, CommitSha, Deployment, DeploymentId, DeploymentStatus, EventSeq, Failure, LogLine,
};

/// How long commits of other processes may stay unseen.
pub(super) const LOOK: Duration = Duration::from_millis(300);

/// A deployment that was started. It goes on whether or not this is kept.
#[derive(Clone, Debug)]
pub struct DeploymentHandle {
    ployer: Ployer,
    deployment: Deployment,
}

/// A deployment that was seen to serve.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Deployed {
    /// The deployment, with its receipt.
    #[serde(flatten)]
    pub deployment: Deployment,
    /// Where the application can be reached, its primary domain first; empty for one without `web`.
    pub urls: Vec<String>,
}

impl Deployed {
    /// Where the application can be reached; empty for one without `web`.
    pub fn url(&self) -> &str {
        self.urls.first().map_or("", String::as_str)
    }
}

/// Why a deployment failed: the source of the error that [`DeploymentHandle::wait`] answers then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeploymentFailed {
    /// The application.
    pub application: AppName,
    /// The step, the cause and the last output.
    pub failure: Failure,
    /// Whether a version before still serves.
    pub still_serves: bool,
    /// The commit of the version that still serves, where it has one.
    pub serving_commit: Option<CommitSha>,
}

impl DeploymentFailed {
    /// The failure that `error` tells of, if it is one.
    pub fn of(error: &Error) -> Option<&Self> {
        error.source().and_then(|source| source.downcast_ref())
    }
}

impl fmt::Display for DeploymentFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.failure.cause)
    }
}

impl StdError for DeploymentFailed {}

impl DeploymentHandle {
    pub(super) fn new(ployer: Ployer, deployment: Deployment) -> Self {
        Self { ployer, deployment }
    }

    /// Its id.
    pub fn id(&self) -> DeploymentId {
        self.deployment.id
    }

    /// What is deployed.
    pub fn application_id(&self) -> ApplicationId {
        self.deployment.application_id
    }

    /// The deployment as it was when this handle was made.
    pub fn deployment(&self) -> &Deployment {
        &self.deployment
    }

    /// Its output from the first line, and new lines until it has ended.
    pub fn log(&self) -> BoxStream<'static, Result<LogLine>> {
        log::follow(self.ployer.clone(), self.deployment.id, 0)
    }

    /// Wishes that it ends without a switch.
    ///
    /// # Errors
    ///
    /// `Conflict` if it has ended or its switch has begun.
    pub async fn cancel(&self) -> Result<()> {
        self.ployer.deployments().cancel(self.deployment.id).await
    }

    /// Waits for its end. Dropping this future cancels nothing.
    ///
    /// # Errors
    ///
    /// `Failed` if it failed, with [`DeploymentFailed`] as source and the next step as hint, or was cancelled;
    /// `NotRunning` if no engine runs on this data; `NotFound` if its application was deleted meanwhile.
    pub async fn wait(&self) -> Result<Deployed> {
        let mut news = self.ployer.shared.parts.news.subscribe();
        loop {
            let deployment = self.ployer.deployments().get(self.deployment.id).await?;
            if deployment.status.is_final() {
                return self.end(deployment).await;
            }
            self.ployer.engine_runs().await?;
            something_new(&mut news).await;
        }
    }

    async fn end(&self, deployment: Deployment) -> Result<Deployed> {
        match deployment.status {
            DeploymentStatus::Running => {
                let urls = self.ployer.urls_of(deployment.application_id).await?;
                Ok(Deployed { deployment, urls })
            }
            DeploymentStatus::Cancelled => Err(self.cancelled(deployment).await?),
            _ => Err(self.failed(deployment).await?),
        }
    }

    async fn cancelled(&self, deployment: Deployment) -> Result<Error> {
        let application = self.ployer.application(deployment.application_id, Action::See).await?;
        let reason = deployment.cancel.map_or_else(|| "cancelled".to_owned(), |cancel| cancel.reason);
        Ok(Error::failed(format!("`{}` was not deployed: {reason}", application.name)))
    }

    async fn failed(&self, deployment: Deployment) -> Result<Error> {
        let application = self.ployer.application(deployment.application_id, Action::See).await?;
        let machine = self.ployer.store().machine(application.id).await?;
        let active = match machine.as_ref().and_then(|machine| machine.active) {
            Some(release) => self.ployer.store().release(release).await?,
            None => None,
        };
        let failure = deployment.failure.unwrap_or_else(|| Failure::new(deployment.step, "no cause was recorded"));
        let hint = failure.hint.clone();
        let error = Error::failed(format!("`{}` was not deployed", application.name)).with_source(DeploymentFailed {
            application: application.name,
            failure,
            still_serves: machine.is_some_and(|machine| machine.serving),
            serving_commit: active.and_then(|release| release.commit),
        });
        Ok(match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        })
    }
}

impl Ployer {
    /// Refuses with `NotRunning` unless an engine runs: one of this process, or whoever holds the lease.
    async fn engine_runs(&self) -> Result<()> {
        let held = match self.store().lease().await? {
            Some(lease) => lease.expires_at > self.now(),
            None => false,
        };
        if held || self.shared.running.here() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotRunning, "no engine runs on this data, so nothing goes on")
            .with_hint("call `spawn()` or start the server; what is queued begins then"))
    }

    /// The addresses of an application's domains, the primary one first.
    pub(super) async fn urls_of(&self, application: ApplicationId) -> Result<Vec<String>> {
        let mut domains = self.store().domains(application).await?;
        domains.sort_by_key(|domain| !domain.is_primary);
        let port = match self.shared.local.as_ref().and_then(|local| local.port()) {
            Some(port) if port != 80 => format!(":{port}"),
            _ => String::new(),
        };
        Ok(domains.into_iter().map(|domain| format!("http://{}{port}", domain.domain)).collect())
    }
}

/// Returns at the next commit of this process, or when it is time to look for those of others.
pub(super) async fn something_new(news: &mut watch::Receiver<EventSeq>) {
    tokio::select! {
        // The sender lives as long as the handle that waits.
        _ = news.changed() => {}
        () = tokio::time::sleep(LOOK) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::facade::stand::Stand;
    use crate::model::{Lease, Step, Version};

    async fn held(stand: &Stand) {
        let expires_at = SystemClock.now() + jiff::SignedDuration::from_hours(1);
        let lease = Lease { version: Version::NEW, holder: "another process".to_owned(), epoch: 1, expires_at };
        stand.commit(|commit| commit.insert(lease)).await;
    }

    #[tokio::test]
    async fn waiting_where_nobody_runs_an_engine_says_so() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let handle = stand.ployer.deployments().start(shop.id).await.unwrap();

        let error = handle.wait().await.unwrap_err();

        assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::NotRunning, true));
        assert_eq!(stand.deployment_row(handle.id()).await.status, DeploymentStatus::Queued, "nothing was changed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_with_the_deployment_wherever_the_engine_runs() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        stand.ployer.domains().add(shop.id, "shop.example".parse().unwrap()).await.unwrap();
        held(&stand).await;
        let handle = stand.ployer.deployments().start(shop.id).await.unwrap();
        let waiting = tokio::spawn({
            let handle = handle.clone();
            async move { handle.wait().await }
        });

        tokio::time::sleep(Duration::from_secs(60)).await;
        stand.engine_writes(handle.id(), |row| row.status = DeploymentStatus::Running).await;

        let deployed = waiting.await.unwrap().unwrap();
        assert_eq!((deployed.deployment.id, deployed.url()), (handle.id(), "http://shop.example"));
    }

    #[tokio::test]
    async fn a_failed_deployment_tells_its_cause_its_output_and_what_still_serves() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        stand.deployed(&shop).await;
        held(&stand).await;
        let handle = stand.ployer.deployments().start(shop.id).await.unwrap();
        let failure = Failure {
            output: vec!["Listening on 8080".to_owned()],
            hint: Some("listen on $PORT".to_owned()),
            ..Failure::new(Step::Gate, "nothing listens on port 20001")
        };
        let recorded = failure.clone();
        stand
            .engine_writes(handle.id(), |row| {
                (row.status, row.failure) = (DeploymentStatus::Failed, Some(recorded));
            })
            .await;

        let error = handle.wait().await.unwrap_err();

        let failed = DeploymentFailed::of(&error).expect("the source tells why");
        assert_eq!((&failed.failure, failed.still_serves), (&failure, true));
        assert_eq!((error.kind(), error.hint()), (ErrorKind::Failed, Some("listen on $PORT")));
        assert_eq!(error.chain(), "`shop` was not deployed: nothing listens on port 20001");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_wait_cancels_nothing() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        held(&stand).await;
        let handle = stand.ployer.deployments().start(shop.id).await.unwrap();

        let dropped = tokio::time::timeout(Duration::from_secs(1), handle.wait()).await;

        assert!(dropped.is_err());
        let row = stand.deployment_row(handle.id()).await;
        assert_eq!((row.status, row.cancel), (DeploymentStatus::Queued, None));
    }
}
