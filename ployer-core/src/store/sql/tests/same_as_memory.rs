//! Any commits do to the SQLite store what they do to the memory store: the same is stored, the same is refused.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::error::ErrorKind;
use crate::model::{
    Actor, Application, ApplicationId, BuildCache, Deployment, DeploymentKind, DeploymentStatus, Domain, EventKind,
    Lease, Machine, NewApplication, NewEvent, Record, RuntimeKind, Server, Version, Volume,
};
use crate::store::memory::MemoryStore;

/// Ids of a few things, so that commits meet each other's records.
fn id<I: From<Uuid>>(number: u8) -> I {
    Uuid::from_u128(number.into()).into()
}

fn server(number: u8, name: u8) -> Server {
    let name = format!("server {name}").parse().unwrap();
    Server::local(id(number), name, RuntimeKind::Process, SystemClock.now())
}

fn application(number: u8, name: u8, server: u8) -> Application {
    let new = NewApplication::new(format!("app-{name}").parse().unwrap());
    Application::new(id(number), new, id(server), None, SystemClock.now())
}

fn deployment(number: u8, application: u8, status: DeploymentStatus) -> Deployment {
    let name = "app".parse().unwrap();
    let kind = DeploymentKind::Deploy { commit: None, cache: BuildCache::Use };
    let of = (id(application), &name, id(0));
    Deployment { status, ..Deployment::queued(id(number), of, Actor::System, kind, SystemClock.now()) }
}

fn domain(number: u8, application: u8, name: u8, is_primary: bool) -> Domain {
    let name = format!("d{name}.org").parse().unwrap();
    Domain { is_primary, ..Domain::new(id(number), id(application), name, SystemClock.now()) }
}

fn machine(application: u8) -> Machine {
    Machine {
        application_id: id(application),
        version: Version::NEW,
        active: None,
        degraded: false,
        serving: false,
        journal_version: 1,
        journal: "{}".to_owned(),
    }
}

fn volume(application: u8, name: u8) -> Volume {
    let name = format!("volume-{name}").parse().unwrap();
    let created_at = SystemClock.now();
    Volume { application_id: id(application), name, version: Version::NEW, detached_from: None, created_at }
}

fn lease(epoch: u64) -> Lease {
    Lease { version: Version::NEW, holder: "host:1".to_owned(), epoch, expires_at: SystemClock.now() }
}

fn any_record() -> impl Strategy<Value = Record> {
    let few = || 0..3u8;
    let status = prop::sample::select(DeploymentStatus::ALL.as_slice());
    prop_oneof![
        1 => (few(), few()).prop_map(|(number, name)| server(number, name).into()),
        3 => (few(), few(), few()).prop_map(|(number, name, server)| application(number, name, server).into()),
        3 => (few(), few(), status).prop_map(|(number, of, status)| deployment(number, of, status).into()),
        3 => (few(), few(), few(), any::<bool>()).prop_map(|(n, of, name, main)| domain(n, of, name, main).into()),
        1 => few().prop_map(|of| machine(of).into()),
        1 => (few(), few()).prop_map(|(of, name)| volume(of, name).into()),
        1 => (0..3u64).prop_map(|epoch| lease(epoch).into()),
    ]
}

fn at(record: Record, version: Version) -> Record {
    match record {
        Record::Server(row) => Server { version, ..row }.into(),
        Record::Application(row) => Application { version, ..row }.into(),
        Record::Deployment(row) => Deployment { version, ..row }.into(),
        Record::Domain(row) => Domain { version, ..row }.into(),
        Record::Machine(row) => Machine { version, ..row }.into(),
        Record::Volume(row) => Volume { version, ..row }.into(),
        Record::Lease(row) => Lease { version, ..row }.into(),
        other => other,
    }
}

fn any_change() -> impl Strategy<Value = Change> {
    let version = || (1..4u64).prop_map(Version);
    let key = prop_oneof![
        (0..3u8).prop_map(|number| Key::Application(id(number))),
        (0..3u8).prop_map(|number| Key::Domain(id(number))),
        (0..3u8, 0..3u8).prop_map(|(of, name)| Key::Volume(id(of), format!("volume-{name}").parse().unwrap())),
    ];
    prop_oneof![
        5 => any_record().prop_map(Change::Insert),
        5 => (any_record(), version()).prop_map(|(record, version)| Change::Update(at(record, version))),
        1 => (key, version()).prop_map(|(key, version)| Change::Delete(key, version)),
    ]
}

fn any_commit() -> impl Strategy<Value = Commit> {
    let epoch = prop_oneof![4 => Just(None), 1 => (0..3u64).prop_map(Some)];
    (prop::collection::vec(any_change(), 0..3), 0..3usize, epoch).prop_map(|(changes, events, epoch)| Commit {
        actor: Actor::System,
        at: SystemClock.now(),
        epoch,
        changes,
        events: vec![NewEvent::global(EventKind::ServerChanged); events],
    })
}

/// Everything that can be read.
async fn contents(store: &dyn Store) -> String {
    let mut contents = format!("{:#?}\n{:#?}\n", store.lease().await.unwrap(), store.servers().await.unwrap());
    contents += &format!("{:#?}\n", store.applications().await.unwrap());
    contents += &format!("{:#?}\n", store.deployments(None, 100).await.unwrap());
    contents += &format!("{:#?}\n", store.machines().await.unwrap());
    contents += &format!("{:#?}\n", store.detached_volumes().await.unwrap());
    for application in (0..3).map(id::<ApplicationId>) {
        contents += &format!("{:#?}\n", store.domains(application).await.unwrap());
        contents += &format!("{:#?}\n", store.volumes(application).await.unwrap());
        contents += &format!("{:#?}\n", store.unfinished_deployments(application).await.unwrap());
    }
    contents + &format!("{:#?}", store.events(EventSeq(0), 1_000).await.unwrap())
}

/// What a commit came to. Of two rules that a record breaks, either store may say which it likes.
fn kind(result: Result<EventSeq>) -> Result<EventSeq, ErrorKind> {
    result.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => ErrorKind::Conflict,
        kind => kind,
    })
}

async fn both_do_the_same(commits: Vec<Commit>) {
    let (memory, sqlite) = (MemoryStore::new(), Sqlite::fresh().await);
    let base = Commit::new(Actor::System, SystemClock.now()).insert(server(0, 0)).insert(application(0, 0, 0));
    for commit in [vec![base], commits].concat() {
        let (expected, found) = (memory.commit(commit.clone()).await, sqlite.store.commit(commit.clone()).await);
        assert_eq!(kind(expected), kind(found), "{commit:#?}");
    }
    assert_eq!(contents(&memory).await, contents(&*sqlite.store).await);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_commits_do_the_same_to_both_stores(commits in prop::collection::vec(any_commit(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(both_do_the_same(commits));
    }
}
