//! The facts: the stored rows of one application, read together before a decision.

use std::collections::BTreeMap;

use crate::config::Settings;
use crate::engine::decide::seen::Facts;
use crate::engine::decide::state::State;
use crate::error::Result;
use crate::model::{AppName, ApplicationId, Deployment, DeploymentId, Domain, ReleaseState};
use crate::store::Store;

/// The rows of an application that a decision in `state` rests on; `None` once the application is deleted.
pub(super) async fn read(
    store: &dyn Store,
    settings: &Settings,
    id: ApplicationId,
    state: &State,
) -> Result<Option<Facts>> {
    // First: an application that was started anew with a deployment must not look stopped beside it.
    let deployments = deployments(store, id, state).await?;
    let Some(application) = store.application(id).await? else { return Ok(None) };
    let releases = store.releases(id).await?.into_iter().filter(|release| release.state != ReleaseState::Collected);
    let env = store.env_vars(id).await?;
    let volumes = store.volumes(id).await?;
    Ok(Some(Facts {
        deployments,
        releases: releases.map(|release| (release.id, release)).collect(),
        domains: store.domains(id).await?,
        health: store.health_check(id).await?,
        env: env.into_iter().map(|variable| (variable.key, variable.value)).collect(),
        volumes: volumes.into_iter().map(|volume| (volume.name, volume.version)).collect(),
        subdomain: subdomain(store, settings, &application.name).await?,
        application,
    }))
}

async fn deployments(
    store: &dyn Store,
    id: ApplicationId,
    state: &State,
) -> Result<BTreeMap<DeploymentId, Deployment>> {
    let unfinished = store.unfinished_deployments(id).await?;
    let mut rows: BTreeMap<_, _> = unfinished.into_iter().map(|row| (row.id, row)).collect();
    for named in state.deployments() {
        if !rows.contains_key(&named)
            && let Some(row) = store.deployment(named).await?
        {
            rows.insert(named, row);
        }
    }
    Ok(rows)
}

/// The row that has the name of the application's generated domain.
async fn subdomain(store: &dyn Store, settings: &Settings, name: &AppName) -> Result<Option<Domain>> {
    match format!("{name}.{}", settings.base_domain).parse() {
        Ok(domain) => store.domain_named(&domain).await,
        Err(_) => Ok(None),
    }
}
