//! The walk: every call of the facade, made by everybody, with ids that exist and ids that do not.
//!
//! What each call needs is written here a second time, apart from `access`, so that a call that forgot to ask fails.
//! The calls are compared with the sources, so that one which is not in the list fails too.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};

use super::stand::Stand;
use super::{DeleteApplication, NewUser, Ployer, Rollback};
use crate::clock::SystemClock;
use crate::error::{ErrorKind, Result};
use crate::model::*;
use crate::store::Deployments as _;

/// Who may make a call, at the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Least {
    /// Everybody, also who is nobody: it answers with what they may see.
    Nobody,
    /// Any user.
    User,
    /// Who may look at the application; its webhook may.
    Viewer,
    /// Who may deploy it; its webhook may.
    Deploy,
    /// Who may operate it.
    Deployer,
    /// Whose it is.
    Owner,
    /// The administrator.
    Admin,
}

/// Who makes the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    System,
    Admin,
    Owner,
    OwnersToken,
    SharedOwner,
    Deployer,
    Viewer,
    Stranger,
    StrangersToken,
    DeletedUser,
    Webhook,
    OtherWebhook,
}

const EVERYBODY: [Who; 12] = [
    Who::System,
    Who::Admin,
    Who::Owner,
    Who::OwnersToken,
    Who::SharedOwner,
    Who::Deployer,
    Who::Viewer,
    Who::Stranger,
    Who::StrangersToken,
    Who::DeletedUser,
    Who::Webhook,
    Who::OtherWebhook,
];

impl Who {
    fn may(self, least: Least) -> bool {
        match self {
            Self::System | Self::Admin => true,
            Self::Owner | Self::OwnersToken | Self::SharedOwner => least <= Least::Owner,
            Self::Deployer => least <= Least::Deployer,
            Self::Viewer => least <= Least::Viewer,
            Self::Stranger | Self::StrangersToken => least <= Least::User,
            Self::DeletedUser | Self::OtherWebhook => least == Least::Nobody,
            Self::Webhook => matches!(least, Least::Nobody | Least::Viewer | Least::Deploy),
        }
    }

    fn sees(self) -> bool {
        self.may(Least::Viewer)
    }
}

/// What a call is about.
#[derive(Clone, Copy, Debug)]
struct Ids {
    application: ApplicationId,
    ended: DeploymentId,
    queued: DeploymentId,
    release: ReleaseId,
    server: ServerId,
    user: UserId,
}

impl Ids {
    fn unknown() -> Self {
        let id = DeploymentId::new(&SystemClock);
        Self {
            application: id.as_uuid().into(),
            ended: id,
            queued: id,
            release: id.into(),
            server: id.as_uuid().into(),
            user: id.as_uuid().into(),
        }
    }

    fn all(self) -> [String; 6] {
        let Self { application, ended, queued, release, server, user } = self;
        [
            application.to_string(),
            ended.to_string(),
            queued.to_string(),
            release.to_string(),
            server.to_string(),
            user.to_string(),
        ]
    }
}

struct Call {
    name: &'static str,
    least: Least,
    /// Whether it is about one thing that an id names.
    of_one: bool,
    make: fn(Ployer, Ids) -> BoxFuture<'static, Result<()>>,
}

fn parsed<T: std::str::FromStr<Err = crate::error::Error>>(text: &str) -> T {
    text.parse().unwrap()
}

macro_rules! calls {
    ($($name:literal $least:ident $of_one:literal |$ployer:ident, $ids:ident| $call:expr;)+) => {
        [$(Call {
            name: $name,
            least: Least::$least,
            of_one: $of_one,
            make: |$ployer, $ids| async move { let _used = $ids; $call.await.map(drop) }.boxed(),
        }),+]
    };
}

fn calls() -> Vec<Call> {
    let mut calls = Vec::from(calls! {
        "applications.create" User false |p, i| p.applications().create(NewApplication::new(parsed("new")));
        "applications.get" Viewer true |p, i| p.applications().get(i.application);
        "applications.list" Nobody false |p, i| p.applications().list();
        "applications.update" Owner true |p, i| p.applications().update(i.application, renamed());
        "applications.start" Deployer true |p, i| p.applications().start(i.application);
        "applications.stop" Deployer true |p, i| p.applications().stop(i.application);
        "applications.restart" Deployer true |p, i| p.applications().restart(i.application);
        "applications.scale" Deployer true |p, i| p.applications().scale(i.application, two_webs());
        "applications.delete" Owner true |p, i| p.applications().delete(i.application, DeleteApplication::default());
        "applications.urls" Viewer true |p, i| p.applications().urls(i.application);
        "deployments.start" Deploy true |p, i| p.deployments().start(i.application);
        "deployments.start_with" Deploy true
            |p, i| p.deployments().start_with(i.application, StartDeployment::default());
        "deployments.rollback" Deploy true |p, i| p.deployments().rollback(i.application, Rollback::default());
        "deployments.cancel" Deploy true |p, i| p.deployments().cancel(i.queued);
        "deployments.get" Viewer true |p, i| p.deployments().get(i.queued);
        "deployments.handle" Viewer true |p, i| p.deployments().handle(i.queued);
        "deployments.list" Viewer true |p, i| p.deployments().list(i.application, 10);
        "deployments.log" Viewer true |p, i| p.deployments().log(i.queued, 0, 10);
        "deployments.follow" Viewer true |p, i| p.deployments().follow(i.ended, 0).try_collect::<Vec<_>>();
        "releases.list" Viewer true |p, i| p.releases().list(i.application);
        "releases.get" Viewer true |p, i| p.releases().get(i.release);
    });
    calls.extend(calls! {
        "domains.add" Owner true |p, i| p.domains().add(i.application, parsed("new.example"));
        "domains.list" Viewer true |p, i| p.domains().list(i.application);
        "domains.remove" Owner true |p, i| p.domains().remove(i.application, &parsed("a.example"));
        "domains.set_primary" Owner true |p, i| p.domains().set_primary(i.application, &parsed("b.example"));
        "env_vars.set" Owner true |p, i| p.env().set(i.application, parsed("NEW"), "value");
        "env_vars.list" Viewer true |p, i| p.env().list(i.application);
        "env_vars.remove" Owner true |p, i| p.env().remove(i.application, &parsed("TOKEN"));
        "env_vars.reveal" Owner true |p, i| p.env().reveal(i.application);
        "health_checks.set" Owner true |p, i| p.health_checks().set(i.application, health("/other"));
        "health_checks.get" Viewer true |p, i| p.health_checks().get(i.application);
        "health_checks.remove" Owner true |p, i| p.health_checks().remove(i.application);
        "members.list" Viewer true |p, i| p.members().list(i.application);
        "members.put" Owner true |p, i| p.members().put(i.application, i.user, MemberRole::Owner);
        "members.remove" Owner true |p, i| p.members().remove(i.application, i.user);
        "volumes.list" Viewer true |p, i| p.volumes().list(i.application);
        "volumes.detached" Admin false |p, i| p.volumes().detached();
        "servers.list" User false |p, i| p.servers().list();
        "servers.get" User true |p, i| p.servers().get(i.server);
        "users.create" Admin false |p, i| p.users().create(NewUser::new(parsed("new@host.example")));
        "users.list" Admin false |p, i| p.users().list();
        "users.get" Admin true |p, i| p.users().get(i.user);
        "users.set_role" Admin true |p, i| p.users().set_role(i.user, Role::Admin);
        "events.list" Nobody false |p, i| p.events().list(EventSeq(0), 10);
        "events.last" Nobody false |p, i| p.events().last();
        "run.run" Admin false |p, i| p.run(std::future::ready(()));
        "run.stop_applications" Admin false |p, i| p.stop_applications();
    });
    calls
}

/// Calls that are not walked: they name what they are about otherwise, never end, or belong to a handle that a
/// walked call gave.
const NOT_WALKED: [&str; 7] =
    ["applications.named", "events.follow", "run.spawn", "run.ready", "run.ended", "run.stop", "env_vars.new"];

fn renamed() -> UpdateApplication {
    UpdateApplication { name: Some(parsed("renamed")), ..UpdateApplication::default() }
}

fn two_webs() -> BTreeMap<ProcessName, u32> {
    BTreeMap::from([(ProcessName::web(), 2)])
}

fn health(path: &str) -> NewHealthCheck {
    NewHealthCheck::new(parsed(path))
}

/// An application of which there is one of everything, and everybody who might want something of it.
struct Scene {
    stand: Stand,
    ids: Ids,
    users: BTreeMap<&'static str, UserId>,
}

impl Scene {
    async fn new() -> Self {
        let stand = Stand::new().await;
        let mut users = BTreeMap::new();
        for name in ["admin", "owner", "shared", "deployer", "viewer", "stranger", "guest"] {
            let role = if name == "admin" { Role::Admin } else { Role::User };
            users.insert(name, stand.user(&format!("{name}@host.example"), role).await.0);
        }
        let owner = stand.ployer.acting_as(Actor::User { user: users["owner"] });
        let git_url = Some(parsed("https://host.example/repo"));
        let new = NewApplication { git_url, ..NewApplication::new(parsed("shop")) };
        let shop = owner.applications().create(new).await.unwrap();
        let release = stand.deployed(&shop).await;
        stand.deployed(&shop).await;
        let queued = owner.deployments().start(shop.id).await.unwrap().id();
        owner.domains().add(shop.id, parsed("a.example")).await.unwrap();
        owner.domains().add(shop.id, parsed("b.example")).await.unwrap();
        owner.env().set(shop.id, parsed("TOKEN"), "value").await.unwrap();
        owner.health_checks().set(shop.id, health("/health")).await.unwrap();
        let shares = [
            ("shared", MemberRole::Owner),
            ("deployer", MemberRole::Deployer),
            ("viewer", MemberRole::Viewer),
            ("guest", MemberRole::Viewer),
        ];
        for (name, role) in shares {
            owner.members().put(shop.id, users[name], role).await.unwrap();
        }
        let (user, server) = (users["guest"], shop.server_id);
        let ids = Ids { application: shop.id, ended: release.into(), queued, release, server, user };
        Self { stand, ids, users }
    }

    fn handle(&self, who: Who) -> Ployer {
        let user = |name| Actor::User { user: self.users[name] };
        let token = |name| Actor::Token { token: TokenId::new(&SystemClock), user: self.users[name] };
        self.stand.ployer.acting_as(match who {
            Who::System => Actor::System,
            Who::Admin => user("admin"),
            Who::Owner => user("owner"),
            Who::OwnersToken => token("owner"),
            Who::SharedOwner => user("shared"),
            Who::Deployer => user("deployer"),
            Who::Viewer => user("viewer"),
            Who::Stranger => user("stranger"),
            Who::StrangersToken => token("stranger"),
            Who::DeletedUser => Actor::User { user: UserId::new(&SystemClock) },
            Who::Webhook => Actor::Webhook { application: self.ids.application },
            Who::OtherWebhook => Actor::Webhook { application: ApplicationId::new(&SystemClock) },
        })
    }

    /// All that is stored: rows, events, values.
    fn stored(&self) -> String {
        format!("{:?} {}", self.stand.store, self.stand.still.values())
    }
}

#[test]
fn no_call_of_the_facade_is_left_out_of_the_walk() {
    let sources = [
        ("applications", include_str!("applications.rs")),
        ("deployments", include_str!("deployments.rs")),
        ("domains", include_str!("domains.rs")),
        ("env_vars", include_str!("env_vars.rs")),
        ("events", include_str!("events.rs")),
        ("health_checks", include_str!("health_checks.rs")),
        ("members", include_str!("members.rs")),
        ("releases", include_str!("releases.rs")),
        ("run", include_str!("run.rs")),
        ("servers", include_str!("servers.rs")),
        ("users", include_str!("users.rs")),
        ("volumes", include_str!("volumes.rs")),
    ];
    let calls = calls();

    for (room, source) in sources {
        for line in source.lines() {
            let line = line.trim_start();
            let Some(rest) = line.strip_prefix("pub async fn ").or_else(|| line.strip_prefix("pub fn ")) else {
                continue;
            };
            let takes_self = rest.contains("self");
            let name = format!("{room}.{}", rest.split(['(', '<']).next().unwrap());
            let walked = calls.iter().any(|call| call.name == name) || NOT_WALKED.contains(&name.as_str());
            assert!(walked || !takes_self, "{name} is in no row of the walk");
        }
    }
}

#[tokio::test]
async fn every_call_does_for_each_actor_what_its_row_says_and_a_refused_one_changes_nothing() {
    for call in calls() {
        for who in EVERYBODY {
            let scene = Scene::new().await;
            let before = scene.stored();
            let what = format!("{} by {who:?}", call.name);

            let result = (call.make)(scene.handle(who), scene.ids).await;

            if who.may(call.least) {
                // The engine finds no server that answers here: it was let in, and that is what counts.
                let let_in = result.as_ref().map_or_else(|error| error.kind() == ErrorKind::Unavailable, |()| true);
                assert!(let_in, "{what}: {result:?}");
                continue;
            }
            let refused = result.expect_err(&what);
            let of_the_installation = matches!(call.least, Least::User | Least::Admin);
            let kind = if of_the_installation || who.sees() { ErrorKind::Forbidden } else { ErrorKind::NotFound };
            assert_eq!((refused.kind(), refused.hint().is_some()), (kind, true), "{what}: {refused}");
            assert_eq!(scene.stored(), before, "{what} changed something");
        }
    }
}

#[tokio::test]
async fn ids_that_nothing_has_are_not_found_by_whoever_may_call_and_change_nothing() {
    let scene = Scene::new().await;
    let before = scene.stored();

    for call in calls().into_iter().filter(|call| call.of_one) {
        for who in EVERYBODY {
            let unknown = Ids::unknown();
            let what = format!("{} by {who:?}", call.name);

            let refused = (call.make)(scene.handle(who), unknown).await.expect_err(&what);

            let of_the_installation = matches!(call.least, Least::User | Least::Admin);
            let kind = match of_the_installation && !who.may(call.least) {
                true => ErrorKind::Forbidden,
                false => ErrorKind::NotFound,
            };
            assert_eq!((refused.kind(), refused.hint().is_some()), (kind, true), "{what}: {refused}");
            let named = refused.to_string().contains(&unknown.ended.to_string());
            assert!(named || kind == ErrorKind::Forbidden, "{what}: {refused}");
        }
    }
    assert_eq!(scene.stored(), before);
}

#[tokio::test]
async fn what_is_hidden_cannot_be_told_from_what_is_not_there() {
    fn without_ids(text: String, ids: Ids) -> String {
        ids.all().iter().fold(text, |text, id| text.replace(id, "ID"))
    }
    let scene = Scene::new().await;
    let unknown = Ids::unknown();

    for call in
        calls().into_iter().filter(|call| call.of_one && call.least >= Least::Viewer && call.least < Least::Admin)
    {
        for who in [Who::Stranger, Who::StrangersToken, Who::DeletedUser, Who::OtherWebhook] {
            let hidden = (call.make)(scene.handle(who), scene.ids).await.unwrap_err();
            let absent = (call.make)(scene.handle(who), unknown).await.unwrap_err();

            let told = [(hidden, scene.ids), (absent, unknown)].map(|(error, ids)| {
                (error.kind(), without_ids(error.chain(), ids), error.field(), error.hint().map(str::to_owned))
            });
            assert_eq!(told[0], told[1], "{} by {who:?}", call.name);
        }
    }
}

/// What was tried, what came of it, and the kind and the field that it should be refused by.
type Tried<'a> = (&'a str, Result<()>, ErrorKind, Option<&'a str>);

impl Scene {
    /// Another application, of which there is nothing but a domain.
    async fn bare(&self) -> ApplicationId {
        let bare = self.stand.ployer.applications().create(NewApplication::new(parsed("bare"))).await.unwrap().id;
        self.stand.ployer.domains().add(bare, parsed("bare.example")).await.unwrap();
        bare
    }

    /// Each was refused as it should be, with a hint, and nothing has changed since `before`.
    #[track_caller]
    fn assert_refused(&self, before: &str, tried: Vec<Tried<'_>>) {
        for (what, result, kind, field) in tried {
            let error = result.expect_err(what);
            assert_eq!((error.kind(), error.field()), (kind, field), "{what}: {error}");
            assert!(error.hint().is_some(), "{what}: {error}");
        }
        assert_eq!(self.stored(), before);
    }
}

#[tokio::test]
async fn each_bad_application_is_refused_by_kind_field_and_hint_and_changes_nothing() {
    use ErrorKind::{AlreadyExists, Conflict, Invalid, NotFound};
    let scene = Scene::new().await;
    let (bare, shop) = (scene.bare().await, scene.ids.application);
    let before = scene.stored();
    let applications = scene.stand.ployer.applications();
    let new = |name: &str| NewApplication::new(parsed(name));
    let create = async |new| applications.create(new).await.map(drop);
    let update = async |update| applications.update(shop, update).await.map(drop);
    let scale = async |name: &str, count| applications.scale(shop, BTreeMap::from([(parsed(name), count)])).await;
    let port = NewApplication { port: Some(0), ..new("x") };
    let folder = NewApplication { git_url: Some(parsed("/srv/x")), ..new("x") };
    let images = NewApplication { build_strategy: BuildStrategy::Dockerfile, ..new("x") };
    let elsewhere = NewApplication { server_id: Some(Ids::unknown().server), ..new("x") };
    let taken = UpdateApplication { name: Some(parsed("bare")), ..UpdateApplication::default() };
    let no_port = UpdateApplication { port: Some(0), ..UpdateApplication::default() };

    let tried = vec![
        ("a taken name", create(new("shop")).await, AlreadyExists, None),
        ("port 0", create(port).await, Invalid, Some("port")),
        ("a folder of this machine", create(folder).await, Invalid, Some("git_url")),
        ("a strategy of images", create(images).await, Invalid, Some("build_strategy")),
        ("no such server", create(elsewhere).await, NotFound, None),
        ("the name of another one", update(taken).await, AlreadyExists, None),
        ("port 0, later", update(no_port).await, Invalid, Some("port")),
        ("a restart of nothing", applications.restart(bare).await, Conflict, None),
        ("too many replicas", scale("web", 51).await, Invalid, Some("replicas")),
        ("no such process type", scale("cron", 1).await, Invalid, Some("replicas")),
    ];

    scene.assert_refused(&before, tried);
}

#[tokio::test]
async fn each_bad_wish_for_an_application_is_refused_and_changes_nothing() {
    use ErrorKind::{AlreadyExists, Conflict, Invalid, NotFound};
    let scene = Scene::new().await;
    let (bare, shop) = (scene.bare().await, scene.ids.application);
    let before = scene.stored();
    let ployer = &scene.stand.ployer;
    let (deployments, domains, checks) = (ployer.deployments(), ployer.domains(), ployer.health_checks());
    let to = |release| Rollback { release: Some(release), ..Rollback::default() };
    let roll_back = async |id, how| deployments.rollback(id, how).await.map(drop);
    let never = NewHealthCheck { interval_seconds: 0, ..health("/") };
    let set = async |key: &str, value: &str| ployer.env().set(shop, parsed(key), value).await;

    let tried = vec![
        ("no source", deployments.start(bare).await.map(drop), Conflict, None),
        ("no earlier release", roll_back(bare, Rollback::default()).await, Conflict, None),
        ("no such release", roll_back(shop, to(Ids::unknown().release)).await, NotFound, None),
        ("the release of another one", roll_back(bare, to(scene.ids.release)).await, NotFound, None),
        ("an end of what has ended", deployments.cancel(scene.ids.ended).await, Conflict, None),
        ("a taken domain", domains.add(shop, parsed("bare.example")).await.map(drop), AlreadyExists, None),
        ("no such domain", domains.remove(shop, &parsed("c.example")).await, NotFound, None),
        ("the domain of another one", domains.remove(shop, &parsed("bare.example")).await, NotFound, None),
        ("and as its own", domains.set_primary(shop, &parsed("bare.example")).await, NotFound, None),
        ("a name that is taken care of", set("PORT", "80").await, Invalid, Some("key")),
        ("and all like this", set("PLOYER_X", "80").await, Invalid, Some("key")),
        ("a NUL", set("X", "a\0b").await, Invalid, Some("value")),
        ("a value without end", set("X", &"x".repeat(1 << 20)).await, Invalid, Some("value")),
        ("no such variable", ployer.env().remove(shop, &parsed("X")).await, NotFound, None),
        ("a check at no time", checks.set(shop, never).await.map(drop), Invalid, Some("interval_seconds")),
        ("no check", checks.remove(bare).await, NotFound, None),
    ];

    scene.assert_refused(&before, tried);
}

#[tokio::test]
async fn each_bad_user_or_member_is_refused_and_changes_nothing() {
    use ErrorKind::{AlreadyExists, Conflict, Invalid, NotFound};
    let scene = Scene::new().await;
    let (bare, shop) = (scene.bare().await, scene.ids.application);
    let before = scene.stored();
    let (users, members) = (scene.stand.ployer.users(), scene.stand.ployer.members());
    let create = async |new| users.create(new).await.map(drop);
    let named = |name: &str| NewUser { name: name.to_owned(), ..NewUser::new(parsed("x@host.example")) };

    let tried = vec![
        ("no such user", members.put(shop, Ids::unknown().user, MemberRole::Viewer).await, NotFound, None),
        ("no member", members.remove(bare, scene.ids.user).await, NotFound, None),
        ("a taken address", create(NewUser::new(parsed("OWNER@host.example"))).await, AlreadyExists, None),
        ("a control character", create(named("a\nb")).await, Invalid, Some("name")),
        ("a name without end", create(named(&"a".repeat(201))).await, Invalid, Some("name")),
        ("the only administrator", users.set_role(scene.users["admin"], Role::User).await, Conflict, None),
    ];

    scene.assert_refused(&before, tried);
}

#[tokio::test]
async fn a_rollback_finds_no_room_in_a_queue_that_is_full() {
    let scene = Scene::new().await;
    let deployments = scene.stand.ployer.deployments();
    let most = scene.stand.ployer.settings().engine.queue_max;
    while scene.stand.store.unfinished_deployments(scene.ids.application).await.unwrap().len() < most {
        deployments.start(scene.ids.application).await.unwrap();
    }
    let before = scene.stored();

    let refused = deployments.rollback(scene.ids.application, Rollback::default()).await.unwrap_err();

    assert_eq!((refused.kind(), refused.hint().is_some()), (ErrorKind::Exhausted, true));
    assert_eq!(scene.stored(), before);
}
