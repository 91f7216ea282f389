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
        let application = &application;
        ployer
            .change(|| async move {
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
        let (ployer, update) = (self.0, &update);
        ployer
            .change(|| async move {
                let stored = ployer.application(id, Action::Configure).await?;
                let administers = ployer.allowed(Action::Administer).await?;
                if update.allow_process_runtime.is_some() && !administers {
                    return Err(Error::forbidden(Action::Administer.describe()));
                }
                let (application, fields) = merged(&stored, update);
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
        self.request(id, "start", |mut application| async move {
            if application.wanted == Wanted::Running {
                return Ok(None);
            }
            self.deployed(&application).await?;
            application.wanted = Wanted::Running;
            Ok(Some(application))
        })
        .await
    }

    /// Stops an application: all of its replicas end, its releases stay. Stopping it again changes nothing.
    ///
    /// # Errors
    ///
    /// `NotFound` if it does not exist.
    pub async fn stop(&self, id: ApplicationId) -> Result<()> {
        self.request(id, "stop", |mut application| async move {
            let before = std::mem::replace(&mut application.wanted, Wanted::Stopped);
            Ok((before != Wanted::Stopped).then_some(application))
        })
        .await
    }

    /// Replaces every replica by a new one of the same release, as a rollout does.
    ///
    /// # Errors
    ///
    /// `Conflict` if nothing was deployed yet or the application is stopped.
    pub async fn restart(&self, id: ApplicationId) -> Result<()> {
        self.request(id, "restart", |mut application| async move {
            self.deployed(&application).await?;
            if application.wanted != Wanted::Running {
                return Err(Error::conflict(format!("application `{}` is stopped", application.name))
                    .with_hint("start it instead"));
            }
            application.restarts_wanted += 1;
            Ok(Some(application))
        })
        .await
    }

    /// Says how many replicas process types have; those that are not named stay as they are.
    ///
    /// # Errors
    ///
    /// `Invalid` if the active release has no such process type or the number is too large.
    pub async fn scale(&self, id: ApplicationId, replicas: BTreeMap<ProcessName, u32>) -> Result<()> {
        let replicas = &replicas;
        self.request(id, "scale", |mut application| async move {
            self.check_scale(&application, replicas).await?;
            let before = application.replicas.clone();
            application.replicas.extend(replicas.clone());
            Ok((application.replicas != before).then_some(application))
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
            .change(|| async move {
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

    /// Stores what `change` makes of the row; `None`: it is as it should be.
    async fn request<F>(&self, id: ApplicationId, action: &str, change: impl Fn(Application) -> F) -> Result<()>
    where
        F: Future<Output = Result<Option<Application>>>,
    {
        let (ployer, change) = (self.0, &change);
        ployer
            .change(|| async move {
                let application = ployer.application(id, Action::Operate).await?;
                let commit = match change(application).await? {
                    Some(application) => ployer.rewrite(application, requested(action)),
                    None => ployer.draft(),
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
            return Err(Error::invalid("replicas", format!("{count} of `{process}` is more than {most}"))
                .with_hint(format!("ask for {most} at most")));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::error::ErrorKind;
    use crate::facade::stand::Stand;
    use crate::model::{BuildStrategy, Role, ServerId};

    fn named(name: &str) -> NewApplication {
        NewApplication::new(name.parse().unwrap())
    }

    fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
        result.unwrap_err().kind()
    }

    #[tokio::test]
    async fn a_new_application_is_idle_and_told_of() {
        let stand = Stand::new().await;

        let shop = stand.ployer.applications().create(named("shop")).await.unwrap();

        let details = stand.ployer.applications().named(&shop.name).await.unwrap();
        assert_eq!((details.application, details.status), (shop, ApplicationStatus::Idle));
        assert_eq!(stand.events().await.last(), Some(&EventKind::ApplicationCreated));
    }

    #[tokio::test]
    async fn a_name_that_is_taken_is_refused_and_nothing_is_stored() {
        let stand = Stand::new().await;
        stand.application("shop").await;
        let before = stand.events().await;

        let again = stand.ployer.applications().create(named("shop")).await;

        assert_eq!(kind(again), ErrorKind::AlreadyExists);
        assert_eq!(stand.ployer.applications().list().await.unwrap().len(), 1);
        assert_eq!(stand.events().await, before);
    }

    #[tokio::test]
    async fn reserved_names_are_the_administrators_alone() {
        let stand = Stand::new().await;
        let (_, user) = stand.user("ann@host.example", Role::User).await;

        for name in Settings::default().reserved_names {
            let refused = user.applications().create(named(&name)).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Forbidden, "{name}");
            assert!(refused.hint().is_some(), "{name}");
        }

        assert!(stand.ployer.applications().create(named("www")).await.is_ok());
    }

    #[tokio::test]
    async fn every_bad_input_is_refused_with_a_hint_where_one_helps_and_changes_nothing() {
        let stand = Stand::new().await;
        let (_, user) = stand.user("ann@host.example", Role::User).await;
        let mine = user.applications().create(named("mine")).await.unwrap();
        let before = (stand.events().await, user.applications().list().await.unwrap());
        let local = || Some("/srv/shop".parse().unwrap());
        let bad = [
            NewApplication { port: Some(0), ..named("a") },
            NewApplication { git_url: local(), ..named("a") },
            NewApplication { build_strategy: BuildStrategy::Dockerfile, ..named("a") },
            NewApplication { build_strategy: BuildStrategy::Image, ..named("a") },
            NewApplication { server_id: Some(ServerId::from(mine.id.as_uuid())), ..named("a") },
        ];

        for new in bad {
            let what = format!("{new:?}");
            let refused = user.applications().create(new).await.unwrap_err();
            assert!(matches!(refused.kind(), ErrorKind::Invalid | ErrorKind::NotFound), "{what}: {refused}");
        }
        let update = UpdateApplication { port: Some(0), ..UpdateApplication::default() };
        assert_eq!(kind(user.applications().update(mine.id, update).await), ErrorKind::Invalid);
        let update = UpdateApplication { name: Some("www".parse().unwrap()), ..UpdateApplication::default() };
        assert_eq!(kind(user.applications().update(mine.id, update).await), ErrorKind::Forbidden);
        let update = UpdateApplication { allow_process_runtime: Some(true), ..UpdateApplication::default() };
        assert_eq!(kind(user.applications().update(mine.id, update).await), ErrorKind::Forbidden);

        assert_eq!((stand.events().await, user.applications().list().await.unwrap()), before);
    }

    #[tokio::test]
    async fn folders_of_this_machine_are_the_administrators_where_they_are_allowed_at_all() {
        let mut settings = Settings::default();
        settings.source.allow_local = true;
        let stand = Stand::with(settings).await;
        let (_, user) = stand.user("ann@host.example", Role::User).await;
        let folder = |name| NewApplication { git_url: Some("/srv/shop".parse().unwrap()), ..named(name) };

        assert_eq!(kind(user.applications().create(folder("a")).await), ErrorKind::Forbidden);

        assert!(stand.ployer.applications().create(folder("b")).await.is_ok());
    }

    #[tokio::test]
    async fn an_update_changes_only_what_is_given_and_names_it() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;

        let update = UpdateApplication { port: Some(3000), ..UpdateApplication::default() };
        let updated = stand.ployer.applications().update(shop.id, update.clone()).await.unwrap();
        stand.ployer.applications().update(shop.id, update).await.unwrap();

        assert_eq!((updated.port, &updated.git_url), (Some(3000), &shop.git_url));
        let told = EventKind::ApplicationUpdated { fields: vec!["port".to_owned()] };
        assert_eq!(
            stand.events().await.iter().filter(|event| **event == told).count(),
            1,
            "the second changes nothing"
        );
    }

    #[tokio::test]
    async fn stop_and_start_are_stored_wishes_and_may_be_repeated() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        let applications = stand.ployer.applications();
        assert_eq!(kind(applications.restart(shop.id).await), ErrorKind::Conflict, "nothing was deployed yet");
        stand.deployed(&shop).await;

        applications.stop(shop.id).await.unwrap();
        applications.stop(shop.id).await.unwrap();
        let stopped = applications.get(shop.id).await.unwrap().application.wanted;
        assert_eq!(kind(applications.restart(shop.id).await), ErrorKind::Conflict, "it is stopped");
        applications.start(shop.id).await.unwrap();
        applications.restart(shop.id).await.unwrap();

        let after = applications.get(shop.id).await.unwrap().application;
        assert_eq!((stopped, after.wanted, after.restarts_wanted), (Wanted::Stopped, Wanted::Running, 1));
        let asked: Vec<_> =
            stand.events().await.into_iter().filter(|e| matches!(e, EventKind::ApplicationRequested { .. })).collect();
        assert_eq!(asked, ["stop", "start", "restart"].map(requested));
    }

    #[tokio::test]
    async fn scaling_takes_only_process_types_and_numbers_that_fit() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;
        stand.deployed(&shop).await;
        let counts = |name: &str, count| BTreeMap::from([(name.parse::<ProcessName>().unwrap(), count)]);
        let most = stand.ployer.settings().engine.replicas_max;
        let scale = async |counts| stand.ployer.applications().scale(shop.id, counts).await;

        scale(counts("web", 3)).await.unwrap();

        assert_eq!(kind(scale(counts("web", most + 1)).await), ErrorKind::Invalid);
        let unknown = scale(counts("worker", 1)).await.unwrap_err();
        assert_eq!((unknown.kind(), unknown.hint()), (ErrorKind::Invalid, Some("its process types are `web`")));
        let after = stand.ployer.applications().get(shop.id).await.unwrap().application;
        assert_eq!(after.replicas, counts("web", 3));
    }

    #[tokio::test]
    async fn a_deleted_application_is_seen_by_nobody_and_keeps_its_name_until_it_is_gone() {
        let stand = Stand::new().await;
        let shop = stand.application("shop").await;

        stand.ployer.applications().delete(shop.id, DeleteApplication::default()).await.unwrap();

        let applications = stand.ployer.applications();
        assert_eq!(kind(applications.get(shop.id).await), ErrorKind::NotFound);
        assert_eq!(kind(applications.named(&shop.name).await), ErrorKind::NotFound);
        assert_eq!(kind(applications.delete(shop.id, DeleteApplication::default()).await), ErrorKind::NotFound);
        assert!(applications.list().await.unwrap().is_empty());
        assert_eq!(kind(applications.create(named("shop")).await), ErrorKind::AlreadyExists);
        let row = stand.application_row(shop.id).await;
        assert_eq!(row.wanted, Wanted::Deleting { volumes: false });
    }
}
