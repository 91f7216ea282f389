//! Health checks: how an application is asked whether it is well, by the gate and afterwards.

use std::ops::RangeInclusive;

use super::Ployer;
use crate::access::Action;
use crate::error::{Error, Resource, Result};
use crate::model::{ApplicationId, EventKind, HealthCheck, HealthCheckId, Key, NewEvent, NewHealthCheck};

/// Health checks of applications, at most one each. See [`Ployer::health_checks`].
#[derive(Clone, Copy, Debug)]
pub struct HealthChecks<'a>(pub(super) &'a Ployer);

impl HealthChecks<'_> {
    /// Sets the health check of an application, whether or not it has one.
    ///
    /// # Errors
    ///
    /// `Invalid` if a number is out of its range.
    pub async fn set(&self, application: ApplicationId, new: NewHealthCheck) -> Result<HealthCheck> {
        let (ployer, new) = (self.0, &new);
        ployer.application(application, Action::Configure).await?;
        check(new)?;
        let id = HealthCheckId::new(ployer.clock());
        ployer
            .change(|| async move {
                ployer.application(application, Action::Configure).await?;
                let mut health_check = HealthCheck::new(id, application, new.clone(), ployer.now());
                let draft = ployer.draft();
                let commit = match ployer.store().health_check(application).await? {
                    Some(old) => {
                        (health_check.id, health_check.version) = (old.id, old.version);
                        health_check.created_at = old.created_at;
                        draft.update(health_check)
                    }
                    None => draft.insert(health_check),
                };
                Ok((commit.event(NewEvent::of(application, EventKind::HealthCheckChanged)), ()))
            })
            .await?;
        self.get(application).await
    }

    /// The health check of an application.
    ///
    /// # Errors
    ///
    /// `NotFound` if it has none.
    pub async fn get(&self, application: ApplicationId) -> Result<HealthCheck> {
        self.0.application(application, Action::See).await?;
        let found = self.0.store().health_check(application).await?;
        found.ok_or_else(|| Error::not_found(Resource::HealthCheck, application))
    }

    /// Removes the health check of an application.
    ///
    /// # Errors
    ///
    /// `NotFound` if it has none.
    pub async fn remove(&self, application: ApplicationId) -> Result<()> {
        let ployer = self.0;
        ployer
            .change(|| async move {
                ployer.application(application, Action::Configure).await?;
                let old = self.get(application).await?;
                let event = NewEvent::of(application, EventKind::HealthCheckChanged);
                Ok((ployer.draft().delete(Key::HealthCheck(old.id), old.version).event(event), ()))
            })
            .await
    }
}

fn check(new: &NewHealthCheck) -> Result<()> {
    within("interval_seconds", new.interval_seconds, 1..=3_600)?;
    within("timeout_seconds", new.timeout_seconds, 1..=300)?;
    within("healthy_threshold", new.healthy_threshold, 1..=100)?;
    within("unhealthy_threshold", new.unhealthy_threshold, 1..=100)
}

fn within(field: &'static str, value: u32, range: RangeInclusive<u32>) -> Result<()> {
    match range.contains(&value) {
        true => Ok(()),
        false => Err(Error::invalid(field, format!("it must be {} to {}", range.start(), range.end()))
            .with_hint("leave it out to have the default")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::facade::stand::Stand;

    #[tokio::test]
    async fn a_health_check_is_set_replaced_and_removed_as_one() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let checks = stand.ployer.health_checks();
        let new = |path: &str| NewHealthCheck::new(path.parse().unwrap());

        let first = checks.set(shop.id, new("/health")).await.unwrap();
        let second = checks.set(shop.id, new("/ready")).await.unwrap();
        checks.remove(shop.id).await.unwrap();

        assert_eq!((second.id, second.path.as_str()), (first.id, "/ready"));
        assert_eq!(checks.get(shop.id).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(checks.remove(shop.id).await.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn numbers_out_of_range_are_refused_by_their_field() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let good = NewHealthCheck::new("/health".parse().unwrap());
        let bad = [
            ("interval_seconds", NewHealthCheck { interval_seconds: 0, ..good.clone() }),
            ("interval_seconds", NewHealthCheck { interval_seconds: 3_601, ..good.clone() }),
            ("timeout_seconds", NewHealthCheck { timeout_seconds: 301, ..good.clone() }),
            ("healthy_threshold", NewHealthCheck { healthy_threshold: 0, ..good.clone() }),
            ("unhealthy_threshold", NewHealthCheck { unhealthy_threshold: 101, ..good }),
        ];

        for (field, new) in bad {
            let refused = stand.ployer.health_checks().set(shop.id, new).await.unwrap_err();
            assert_eq!((refused.kind(), refused.field()), (ErrorKind::Invalid, Some(field)));
        }

        assert!(stand.ployer.health_checks().get(shop.id).await.is_err());
    }
}
