//! The status of an application: derived from what is wanted and what was seen, never stored.

use crate::model::{ApplicationStatus, Deployment, DeploymentStatus, Machine, Wanted};

/// How an application is doing: `machine` is what the engine last saw, `newest` its newest deployment.
pub(super) fn derive(wanted: Wanted, machine: Option<&Machine>, newest: Option<&Deployment>) -> ApplicationStatus {
    if machine.is_some_and(|machine| machine.serving) {
        return ApplicationStatus::Running;
    }
    match wanted {
        Wanted::Stopped | Wanted::Deleting { .. } => ApplicationStatus::Stopped,
        Wanted::Running => not_serving(machine, newest),
    }
}

fn not_serving(machine: Option<&Machine>, newest: Option<&Deployment>) -> ApplicationStatus {
    use DeploymentStatus::{Building, Cancelled, Cloning, Deploying, Failed, Queued, Running};
    let deployed = machine.is_some_and(|machine| machine.active.is_some());
    let degraded = machine.is_some_and(|machine| machine.degraded);
    match newest.map(|deployment| deployment.status) {
        None => ApplicationStatus::Idle,
        Some(Failed) => ApplicationStatus::Failed,
        Some(Queued | Cloning | Building | Deploying) => ApplicationStatus::Building,
        Some(Running | Cancelled) if degraded => ApplicationStatus::Failed,
        // Its replicas are about to start: after a start of the machine, say.
        Some(Running | Cancelled) if deployed => ApplicationStatus::Building,
        Some(Running | Cancelled) => ApplicationStatus::Idle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};
    use crate::model::{
        Actor, AppName, ApplicationId, BuildCache, DeploymentId, DeploymentKind, ReleaseId, ServerId, Version,
    };

    use ApplicationStatus as Is;
    use DeploymentStatus as Was;

    fn machine(active: bool, serving: bool, degraded: bool) -> Machine {
        Machine {
            application_id: ApplicationId::new(&SystemClock),
            version: Version::NEW,
            active: active.then(|| ReleaseId::from(DeploymentId::new(&SystemClock))),
            degraded,
            serving,
            journal_version: 1,
            journal: "{}".to_owned(),
        }
    }

    fn deployment(status: DeploymentStatus) -> Deployment {
        let name: AppName = "shop".parse().unwrap();
        let application = (ApplicationId::new(&SystemClock), &name, ServerId::new(&SystemClock));
        let kind = DeploymentKind::Deploy { commit: None, cache: BuildCache::Use };
        let id = DeploymentId::new(&SystemClock);
        Deployment { status, ..Deployment::queued(id, application, Actor::System, kind, SystemClock.now()) }
    }

    #[test]
    fn an_application_runs_while_it_serves_whatever_else_is_under_way() {
        let serving = machine(true, true, false);

        for status in Was::ALL {
            assert_eq!(derive(Wanted::Running, Some(&serving), Some(&deployment(status))), Is::Running, "{status}");
        }
        assert_eq!(derive(Wanted::Stopped, Some(&serving), None), Is::Running, "its stop was not seen yet");
    }

    #[test]
    fn an_application_that_does_not_serve_is_as_its_newest_deployment_left_it() {
        let cases = [
            (None, Is::Idle),
            (Some(Was::Queued), Is::Building),
            (Some(Was::Cloning), Is::Building),
            (Some(Was::Building), Is::Building),
            (Some(Was::Deploying), Is::Building),
            (Some(Was::Failed), Is::Failed),
            (Some(Was::Cancelled), Is::Idle),
        ];

        for (newest, expected) in cases {
            let newest = newest.map(deployment);
            assert_eq!(derive(Wanted::Running, None, newest.as_ref()), expected, "{newest:?}");
        }
    }

    #[test]
    fn an_active_release_that_does_not_serve_is_starting_or_has_failed() {
        let newest = deployment(Was::Running);

        assert_eq!(derive(Wanted::Running, Some(&machine(true, false, false)), Some(&newest)), Is::Building);
        assert_eq!(derive(Wanted::Running, Some(&machine(true, false, true)), Some(&newest)), Is::Failed);
        assert_eq!(derive(Wanted::Stopped, Some(&machine(true, false, false)), Some(&newest)), Is::Stopped);
    }
}
