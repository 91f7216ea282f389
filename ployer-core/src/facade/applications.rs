//! Applications: made, changed, started, stopped, restarted, scaled and deleted.
//!
//! What is asked for is stored; the engine does it. So each call answers at once, and what came of it is told by
//! the status, which is derived from what was seen and never stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Ployer;
use super::status::derive;
use crate::access::Action;
use crate::error::{Error, Result};
use crate::model::{
    AppName, Application, ApplicationId, ApplicationStatus, EventKind, NewApplication, NewEvent, ProcessName,
    ReleaseId, UpdateApplication, Wanted,
};
use crate::store::Commit;

/// Applications: what is deployed. See [`Ployer::applications`].
#[derive(Clone, Copy, Debug)]
pub struct Applications<'a>(pub(super) &'a Ployer);

/// An application and how it is doing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ApplicationDetails {
    /// The application.
    #[serde(flatten)]
    pub application: Application,
    /// How it is doing, as it was last seen.
    pub status: ApplicationStatus,
    /// Whether its replicas exit too often.
    pub degraded: bool,
    /// The release that serves, or would if the application were not stopped.
    pub active_release: Option<ReleaseId>,
}

/// How to delete an application. `Default` keeps its persistent directories.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DeleteApplication {
    /// What becomes of its persistent directories.
    pub volumes: VolumesOnDelete,
}

/// What becomes of the persistent directories of a deleted application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumesOnDelete {
    /// They stay, as detached.
    #[default]
    Keep,
    /// They are removed with all that is in them.
    Delete,
}

impl Applications<'_> {
    /// Makes an application. Nothing runs before its first deployment.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the name is taken, `Forbidden` if it is reserved, `Invalid` if the source or the strategy
    /// does not fit this installation, `NotFound` if the server does not exist.
    pub async fn create(&self, new: NewApplication) -> Result<Application> {
        let ployer = self.0;
        ployer.allow(Action::Create).await?;
        let administers = ployer.allowed(Action::Administer).await?;
        let server_id = new.server_id.unwrap_or(ployer.shared.server);
        let id = ApplicationId::new(ployer.clock());
        let mut application = Application::new(id, new, server_id, ployer.actor().user(), ployer.now());
        application.allow_process_runtime = administers;
        ployer.check_name(&application, administers)?;
        ployer.check_settings(&application, administers).await?;
        ployer
            .change(async || {
                let event = NewEvent::of(id, EventKind::ApplicationCreated);
                Ok((ployer.draft().insert(application.clone()).event(event), ()))
            })
            .await?;
        self.0.application(id, Action::See).await
    }

    /// The application of that id.
    ///
    /// # Errors
    ///
    /// `NotFound` if it does not exist.
    pub async fn get(&self, id: ApplicationId) -> Result<ApplicationDetails> {
        let application = self.0.application(id, Action::See).await?;
        self.details(application).await
    }

    /// The application of that name.
    ///
    /// # Errors
    ///
    /// `NotFound` if it does not exist.
    pub async fn named(&self, name: &AppName) -> Result<ApplicationDetails> {
        let application = self.0.application_named(name, Action::See).await?;
        self.details(application).await
    }

    /// All applications that the actor may see, oldest first.
    ///
    /// # Errors
    ///
    /// Only where the store cannot be read.
    pub async fn list(&self) -> Result<Vec<ApplicationDetails>> {
        let applications = self.0.visible(self.0.store().applications().await?).await?;
        let mut details = Vec::with_capacity(applications.len());
        for application in applications {
            details.push(self.details(application).await?);
        }
        Ok(details)
    }

    /// Changes the fields that are given.
    ///
    /// # Errors
    ///
    /// Those of [`Applications::create`], and `NotFound` if it does not exist.
    pub async fn update(&self, id: ApplicationId, update: UpdateApplication) -> Result<Application> {
        let ployer = self.0;
        ployer
            .change(async || {
                let stored = ployer.application(id, Action::Configure).await?;
                let administers = ployer.allowed(Action::Administer).await?;
                if update.allow_process_runtime.is_some() && !administers {
                    return Err(Error::forbidden(Action::Administer.describe()));
                }
                let (application, fields) = merged(&stored, &update);
                if fields.is_empty() {
                    return Ok((ployer.draft(), ()));
                }
                if application.name != stored.name {
                    ployer.check_name(&application, administers)?;
                }
                ployer.check_settings(&application, administers).await?;
                Ok((ployer.rewrite(application, EventKind::ApplicationUpdated { fields }), ()))
            })
            .await?;
        ployer.application(id, Action::See).await
    }

    /// Starts an application that was stopped. Of one that runs it changes nothing.
    ///
    /// # Errors
    ///
    /// `Conflict` if nothing was deployed yet.
    pub async fn start(&self, id: ApplicationId) -> Result<()> {
        self.request(id, "start", async |application: &mut Application| {
            let change = application.wanted != Wanted::Running;
            if change {
                self.deployed(application).await?;
                application.wanted = Wanted::Running;
            }
            Ok(change)
        })
        .await
    }

    /// Stops an application: all of its replicas end, its releases stay. Stopping it again changes nothing.
    ///
    /// # Errors
    ///
    /// `NotFound` if it does not exist.
    pub async fn stop(&self, id: ApplicationId) -> Result<()> {
        self.request(id, "stop", async |application: &mut Application| {
            let change = application.wanted != Wanted::Stopped;
            application.wanted = Wanted::Stopped;
            Ok(change)
        })
        .await
    }

    /// Replaces every replica by a new one of the same release, as a rollout does.
    ///
    /// # Errors
    ///
    /// `Conflict` if nothing was deployed yet or the application is stopped.
    pub async fn restart(&self, id: ApplicationId) -> Result<()> {
        self.request(id, "restart", async |application: &mut Application| {
            self.deployed(application).await?;
            if application.wanted != Wanted::Running {
                return Err(Error::conflict(format!("application `{}` is stopped", application.name))
                    .with_hint("start it instead"));
            }
            application.restarts_wanted += 1;
            Ok(true)
        })
        .await
    }

    /// Says how many replicas process types have; those that are not named stay as they are.
    ///
    /// # Errors
    ///
    /// `Invalid` if the active release has no such process type or the number is too large.
    pub async fn scale(&self, id: ApplicationId, replicas: BTreeMap<ProcessName, u32>) -> Result<()> {
        self.request(id, "scale", async |application: &mut Application| {
            self.check_scale(application, &replicas).await?;
            let before = application.replicas.clone();
            application.replicas.extend(replicas.clone());
            Ok(application.replicas != before)
        })
        .await
    }

    /// Deletes an application with its releases, domains and variables. Nobody sees it from now on; its name is free
    /// once the engine has removed what it left behind.
    ///
    /// # Errors
    ///
    /// `NotFound` if it does not exist.
    pub async fn delete(&self, id: ApplicationId, how: DeleteApplication) -> Result<()> {
        let ployer = self.0;
        ployer
            .change(async || {
                let mut application = ployer.application(id, Action::Delete).await?;
                application.wanted = Wanted::Deleting { volumes: how.volumes == VolumesOnDelete::Delete };
                Ok((ployer.rewrite(application, requested("delete")), ()))
            })
            .await
    }

    /// Where the application can be reached: its primary domain first. Empty before its first deployment, and for
    /// one without `web`.
    ///
    /// # Errors
    ///
    /// `NotFound` if it does not exist.
    pub async fn urls(&self, id: ApplicationId) -> Result<Vec<String>> {
        self.0.application(id, Action::See).await?;
        self.0.urls_of(id).await
    }

    async fn details(&self, application: Application) -> Result<ApplicationDetails> {
        let machine = self.0.store().machine(application.id).await?;
        let newest = self.0.store().deployments(Some(application.id), 1).await?.pop();
        let status = derive(application.wanted, machine.as_ref(), newest.as_ref());
        let degraded = machine.as_ref().is_some_and(|machine| machine.degraded);
        let active_release = machine.and_then(|machine| machine.active);
        Ok(ApplicationDetails { application, status, degraded, active_release })
    }

    /// Changes the row by `change`, which says whether it changed anything.
    async fn request(
        &self,
        id: ApplicationId,
        action: &str,
        change: impl AsyncFn(&mut Application) -> Result<bool>,
    ) -> Result<()> {
        let ployer = self.0;
        ployer
            .change(async || {
                let mut application = ployer.application(id, Action::Operate).await?;
                let commit = match change(&mut application).await? {
                    true => ployer.rewrite(application, requested(action)),
                    false => ployer.draft(),
                };
                Ok((commit, ()))
            })
            .await
    }

    async fn active(&self, application: &Application) -> Result<Option<ReleaseId>> {
        Ok(self.0.store().machine(application.id).await?.and_then(|machine| machine.active))
    }

    async fn deployed(&self, application: &Application) -> Result<ReleaseId> {
        self.active(application).await?.ok_or_else(|| {
            Error::conflict(format!("nothing of application `{}` was deployed yet", application.name))
                .with_hint("deploy it first")
        })
    }

    async fn check_scale(&self, application: &Application, replicas: &BTreeMap<ProcessName, u32>) -> Result<()> {
        let most = self.0.settings().engine.replicas_max;
        if let Some((process, count)) = replicas.iter().find(|(_, count)| **count > most) {
            return Err(Error::invalid("replicas", format!("{count} of `{process}` is more than {most}")));
        }
        let Some(active) = self.active(application).await? else { return Ok(()) };
        let Some(release) = self.0.store().release(active).await? else { return Ok(()) };
        match replicas.keys().find(|process| release.spec.process(process).is_none()) {
            None => Ok(()),
            Some(unknown) => {
                let known: Vec<_> = release.spec.processes.iter().map(|p| format!("`{}`", p.name)).collect();
                let hint = match known.is_empty() {
                    true => "a static site has no replicas: the proxy serves its files".to_owned(),
                    false => format!("its process types are {}", known.join(", ")),
                };
                Err(Error::invalid("replicas", format!("the release has no process type `{unknown}`")).with_hint(hint))
            }
        }
    }
}

impl Ployer {
    /// A commit that replaces the application's row, and says why.
    pub(super) fn rewrite(&self, mut application: Application, kind: EventKind) -> Commit {
        application.updated_at = self.now();
        let event = NewEvent::of(application.id, kind);
        self.draft().update(application).event(event)
    }
}

fn requested(action: &str) -> EventKind {
    EventKind::ApplicationRequested { action: action.to_owned() }
}

/// The application with what `update` gives, and the names of the fields that differ.
fn merged(stored: &Application, update: &UpdateApplication) -> (Application, Vec<String>) {
    let mut application = stored.clone();
    let mut fields = Vec::new();
    macro_rules! take {
        ($($given:ident => $field:expr),* $(,)?) => {$(
            if let Some(value) = update.$given.clone() {
                let value = value.into();
                if $field != value {
                    $field = value;
                    fields.push(stringify!($given).to_owned());
                }
            }
        )*};
    }
    take! {
        name => application.name,
        git_url => application.git_url,
        git_branch => application.git_branch,
        base_directory => application.base_directory,
        build_strategy => application.build_strategy,
        dockerfile_path => application.dockerfile_path,
        port => application.port,
        auto_deploy => application.auto_deploy,
        rollout => application.rollout,
        allow_process_runtime => application.allow_process_runtime,
    }
    (application, fields)
}
