//! Samples: records of every kind, once with every field set and once with as little as possible.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use crate::clock::{Clock, SystemClock};
use crate::model::{
    Actor, Application, ApplicationId, Artifact, BuildCache, BuildStrategy, Built, Cancel, Command, CommitInfo,
    CommitSha, Deployment, DeploymentId, DeploymentKind, DeploymentStatus, Domain, DomainId, EnvVar, Failure,
    GateResult, HealthCheck, HealthCheckId, Installation, InstanceId, Lease, Limits, Machine, Member, MemberRole,
    NewHealthCheck, ProcessName, ProcessSpec, Receipt, Release, ReleaseId, ReleaseSpec, ReleaseState, ReplicaName,
    Role, RollbackEnv, Rollout, RuntimeKind, SealedSecret, SecretScope, SecretVersion, Server, ServerId, ServerStatus,
    Step, StepTimes, TokenId, Traffic, User, UserId, Version, Volume, VolumeMount, Wanted,
};

/// A moment with nanoseconds, `seconds` after a fixed one.
pub(super) fn at(seconds: i64) -> Timestamp {
    let start: Timestamp = "2026-11-24T10:00:00.123456789Z".parse().unwrap();
    start + SignedDuration::from_secs(seconds)
}

/// A fresh id.
pub(super) fn id<I: From<uuid::Uuid>>() -> I {
    SystemClock.new_id().into()
}

fn sha() -> CommitSha {
    "4f1c2d9a4f1c2d9a4f1c2d9a4f1c2d9a4f1c2d9a".parse().unwrap()
}

pub(super) fn server(name: &str) -> Server {
    Server {
        last_seen_at: None,
        status: ServerStatus::Unknown,
        ..Server::local(id(), name.parse().unwrap(), RuntimeKind::Process, at(0))
    }
}

pub(super) fn full_server(id: ServerId) -> Server {
    Server {
        id,
        version: Version::NEW,
        name: "Maschine Süd".parse().unwrap(),
        host: "10.0.0.7".to_owned(),
        port: 2222,
        username: "deploy".to_owned(),
        is_local: false,
        runtime: RuntimeKind::Docker,
        status: ServerStatus::Offline,
        last_seen_at: Some(at(2)),
        created_at: at(1),
        updated_at: at(3),
    }
}

pub(super) fn application(server: ServerId, name: &str) -> Application {
    Application {
        id: id(),
        version: Version::NEW,
        name: name.parse().unwrap(),
        server_id: server,
        owner: None,
        git_url: None,
        git_branch: None,
        base_directory: None,
        build_strategy: BuildStrategy::Auto,
        dockerfile_path: None,
        port: None,
        auto_deploy: false,
        auto_deploy_paused: false,
        rollout: None,
        replicas: BTreeMap::new(),
        wanted: Wanted::Running,
        restarts_wanted: 0,
        allow_process_runtime: false,
        created_at: at(0),
        updated_at: at(0),
    }
}

pub(super) fn full_application(id: ApplicationId, server: ServerId, owner: UserId) -> Application {
    Application {
        id,
        version: Version::NEW,
        name: "shop-2".parse().unwrap(),
        server_id: server,
        owner: Some(owner),
        git_url: Some("git@example.com:shop.git".parse().unwrap()),
        git_branch: Some("feature/login".parse().unwrap()),
        base_directory: Some("apps/shop".parse().unwrap()),
        build_strategy: BuildStrategy::Dockerfile,
        dockerfile_path: Some("deploy/Dockerfile".parse().unwrap()),
        port: Some(65_535),
        auto_deploy: true,
        auto_deploy_paused: true,
        rollout: Some(Rollout::StopFirst),
        replicas: BTreeMap::from([(ProcessName::web(), 3), ("worker".parse().unwrap(), 0)]),
        wanted: Wanted::Deleting { volumes: true },
        restarts_wanted: 7,
        allow_process_runtime: true,
        created_at: at(1),
        updated_at: at(2),
    }
}

pub(super) fn deployment(application: &Application, status: DeploymentStatus) -> Deployment {
    let kind = DeploymentKind::Deploy { commit: None, cache: BuildCache::Use };
    let of = (application.id, &application.name, application.server_id);
    Deployment { status, ..Deployment::queued(id(), of, Actor::System, kind, at(0)) }
}

pub(super) fn full_deployment(id: DeploymentId, application: &Application) -> Deployment {
    Deployment {
        id,
        version: Version::NEW,
        application_id: application.id,
        server_id: application.server_id,
        requested_by: Actor::Token { token: self::id::<TokenId>(), user: self::id() },
        kind: DeploymentKind::Rollback { release: self::id(), env: RollbackEnv::Current },
        status: DeploymentStatus::Failed,
        step: Step::ReleaseCommand,
        commit: Some(commit_info()),
        release: Some(self::id()),
        image_tag: "ployer-shop:1".to_owned(),
        cancel: Some(Cancel { by: Actor::User { user: self::id() }, at: at(1), reason: "a \"wish\"".to_owned() }),
        failure: Some(Failure {
            step: Step::Gate,
            cause: "nothing listens on port 3000".to_owned(),
            output: vec!["line one".to_owned(), "'; DROP TABLE deployments; --".to_owned()],
            hint: Some("listen on $PORT".to_owned()),
        }),
        superseded_by: Some(self::id()),
        requested_at: at(2),
        build_started_at: Some(at(3)),
        routed_at: Some(at(4)),
        finished_at: Some(at(5)),
        retired_at: Some(at(6)),
        receipt: Some(receipt(application)),
    }
}

fn commit_info() -> CommitInfo {
    CommitInfo {
        sha: Some(sha()),
        message: "Sell socks ✓".to_owned(),
        author: "Ada <ada@example.com>".to_owned(),
        tree: "t".to_owned(),
    }
}

fn receipt(application: &Application) -> Receipt {
    let process = ProcessName::web();
    Receipt {
        commit: Some(commit_info()),
        artifact: Some("ployer-shop:1".to_owned()),
        reused_from: Some(id()),
        steps: vec![StepTimes { step: Step::Build, began_at: at(1), ended_at: at(2) }],
        gate: vec![GateResult {
            replica: ReplicaName::new(&application.name, id(), &process, 1),
            process,
            attempts: 71,
            asked_at: at(3),
            ready_at: at(4),
        }],
        revision: Some("3.14".to_owned()),
        answered_by: vec!["shop-web-1".to_owned()],
        traffic: Some(Traffic { served: 9, held: 2, failed: 0 }),
    }
}

pub(super) fn release(application: &Application) -> Release {
    let built = Built {
        artifact: Artifact::Directory { path: PathBuf::from("/var/lib/ployer/releases/1") },
        spec: ReleaseSpec::default(),
        reuse_key: String::new(),
        reused_from: None,
    };
    Release::new(id(), application.id, application.name.clone(), built, at(0))
}

pub(super) fn full_release(id: ReleaseId, application: &Application) -> Release {
    let process = ProcessSpec {
        name: ProcessName::web(),
        command: Some(Command(vec!["python3".to_owned(), "-m".to_owned(), "a b".to_owned()])),
        replicas: 2,
        limits: Limits { memory_bytes_max: Some(1 << 30), cpus_max: Some(0.5), pids_max: Some(64) },
        port: Some(8080),
    };
    Release {
        id,
        version: Version::NEW,
        application_id: application.id,
        application_name: application.name.clone(),
        commit: Some(sha()),
        artifact: Artifact::Image { reference: "ployer-shop:1".to_owned(), digest: "sha256:abc".to_owned() },
        reuse_key: "tree:1 args:2".to_owned(),
        spec: ReleaseSpec {
            processes: vec![process],
            static_root: Some(PathBuf::from("public")),
            release_command: Some(Command(vec!["migrate".to_owned()])),
            health_path: Some("/healthz".parse().unwrap()),
            rollout: Rollout::StopFirst,
            volumes: vec![VolumeMount { name: "uploads".parse().unwrap(), path: Some("/data".to_owned()) }],
        },
        env: BTreeMap::from([("TOKEN".parse().unwrap(), self::id())]),
        state: ReleaseState::Ran,
        pinned_by: Some(self::id()),
        activated_at: Some(at(2)),
        created_at: at(1),
    }
}

pub(super) fn machine(application: ApplicationId) -> Machine {
    Machine {
        application_id: application,
        version: Version::NEW,
        active: None,
        degraded: false,
        serving: false,
        journal_version: 1,
        journal: "{}".to_owned(),
    }
}

pub(super) fn full_machine(application: ApplicationId) -> Machine {
    Machine {
        application_id: application,
        version: Version::NEW,
        active: Some(id()),
        degraded: true,
        serving: true,
        journal_version: u32::MAX,
        journal: r#"{"phase":"gating","note":"ä \u0000"}"#.to_owned(),
    }
}

pub(super) fn domain(application: ApplicationId, name: &str) -> Domain {
    Domain::new(id(), application, name.parse().unwrap(), at(0))
}

pub(super) fn full_domain(id: DomainId, application: ApplicationId) -> Domain {
    Domain {
        id,
        version: Version::NEW,
        application_id: application,
        domain: "shop.example.com".parse().unwrap(),
        is_primary: true,
        generated: true,
        ssl_active: true,
        created_at: at(1),
    }
}

pub(super) fn env_var(application: ApplicationId, key: &str) -> EnvVar {
    EnvVar {
        application_id: application,
        key: key.parse().unwrap(),
        version: Version::NEW,
        value: id(),
        locked: false,
        updated_at: at(0),
    }
}

pub(super) fn health_check(application: ApplicationId) -> HealthCheck {
    HealthCheck::new(id(), application, NewHealthCheck::new("/".parse().unwrap()), at(0))
}

pub(super) fn full_health_check(id: HealthCheckId, application: ApplicationId) -> HealthCheck {
    HealthCheck {
        id,
        version: Version::NEW,
        application_id: application,
        path: "/healthz?deep=1".parse().unwrap(),
        interval_seconds: 3_600,
        timeout_seconds: 300,
        healthy_threshold: 100,
        unhealthy_threshold: 99,
        created_at: at(1),
    }
}

pub(super) fn volume(application: ApplicationId, name: &str) -> Volume {
    Volume {
        application_id: application,
        name: name.parse().unwrap(),
        version: Version::NEW,
        detached_from: None,
        created_at: at(0),
    }
}

pub(super) fn user(email: &str) -> User {
    User::new(id(), email.parse().unwrap(), "Ada".to_owned(), Role::User, at(0))
}

pub(super) fn full_user(id: UserId) -> User {
    User {
        id,
        version: Version::NEW,
        email: "grace@example.com".parse().unwrap(),
        name: "Grace 'Amazing' Hopper".to_owned(),
        role: Role::Admin,
        created_at: at(1),
        updated_at: at(2),
    }
}

pub(super) fn member(application: ApplicationId, user: UserId) -> Member {
    Member { application_id: application, user_id: user, version: Version::NEW, role: MemberRole::Viewer }
}

pub(super) fn secret(scope: SecretScope) -> SealedSecret {
    SealedSecret {
        id: id::<SecretVersion>(),
        version: Version::NEW,
        scope,
        key: "DATABASE_URL".to_owned(),
        key_id: "0123456789abcdef".to_owned(),
        sealed: vec![0, 255, 10, 0],
        created_at: at(0),
    }
}

pub(super) fn lease(holder: &str, epoch: u64) -> Lease {
    Lease { version: Version::NEW, holder: holder.to_owned(), epoch, expires_at: at(10) }
}

pub(super) fn installation() -> Installation {
    Installation { version: Version::NEW, instance: id::<InstanceId>(), secret_key_id: None }
}
