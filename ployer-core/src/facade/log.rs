//! Output: the lines of a deployment, replayed and then followed, each once and in order.
//!
//! Lines are numbered in the store, so that what was read and what is read next meet without gap or double.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use super::Ployer;
use crate::access::Action;
use crate::error::Result;
use crate::model::{DeploymentId, LogLine};

/// Lines read at once.
const PAGE: u32 = 500;

/// Output is stored in chunks, without a commit that could wake: the store is looked at so often.
const LOOK: Duration = Duration::from_millis(100);

struct Follow {
    ployer: Ployer,
    deployment: DeploymentId,
    after: u64,
    read: VecDeque<LogLine>,
}

/// The lines after line `after`, and new ones until the deployment has ended.
pub(super) fn follow(ployer: Ployer, deployment: DeploymentId, after: u64) -> BoxStream<'static, Result<LogLine>> {
    let follow = Follow { ployer, deployment, after, read: VecDeque::new() };
    stream::unfold(Some(follow), |follow| async move {
        let mut follow = follow?;
        match follow.next().await {
            Ok(line) => line.map(|line| (Ok(line), Some(follow))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

impl Follow {
    /// The next line; `None` at the end of a deployment that has ended.
    async fn next(&mut self) -> Result<Option<LogLine>> {
        loop {
            if let Some(line) = self.read.pop_front() {
                self.after = line.number;
                return Ok(Some(line));
            }
            // Asked before the lines are read: what is printed last is stored before the end is.
            let (deployment, _) = self.ployer.deployment(self.deployment, Action::See).await?;
            let page = self.ployer.store().log(self.deployment, self.after, PAGE).await?;
            self.read.extend(page.lines);
            if self.read.is_empty() {
                if deployment.status.is_final() {
                    return Ok(None);
                }
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::facade::stand::Stand;
    use crate::model::DeploymentStatus;
    use crate::store::LogStore as _;

    fn lines(numbers: std::ops::RangeInclusive<u64>) -> Vec<LogLine> {
        numbers.map(|number| LogLine { number, at: SystemClock.now(), text: format!("line {number}") }).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn output_is_followed_from_its_first_line_to_the_end_of_the_deployment() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let handle = stand.ployer.deployments().start(shop.id).await.unwrap();
        stand.store.append_log(handle.id(), &lines(1..=1_200)).await.unwrap();
        let following = tokio::spawn(handle.log().map_ok(|line| line.number).try_collect::<Vec<u64>>());

        tokio::time::sleep(Duration::from_secs(3)).await;
        stand.store.append_log(handle.id(), &lines(1_201..=1_210)).await.unwrap();
        stand.engine_writes(handle.id(), |row| row.status = DeploymentStatus::Failed).await;

        assert_eq!(following.await.unwrap().unwrap(), (1..=1_210).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn output_of_a_deployment_that_is_not_there_is_not_found() {
        let stand = Stand::new().await;
        let missing = DeploymentId::from(crate::model::ReleaseId::from(stand.ployer.instance().as_uuid()));

        let error = stand.ployer.deployments().follow(missing, 0).next().await.unwrap().unwrap_err();

        assert_eq!(error.kind(), crate::error::ErrorKind::NotFound);
    }
}
