//! Broken parts: a suite is worth what it finds, so each promise is broken once and its suite must say so.
//!
//! Every part here is a good one with one fault. What is awaited is a panic of the case that checks the promise.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::proxy::ProxyHarness;
use super::secrets::{Harm, Reach, SecretsHarness};
use super::store::StoreHarness;
use super::{proxy, secrets, store};
use crate::clock::SystemClock;
use crate::error::{Error, Resource, Result};
use crate::model::*;
use crate::proxy::Proxy;
use crate::proxy::embedded::EmbeddedProxy;
use crate::secrets::SecretStore;
use crate::store::memory::MemoryStore;
use crate::store::{
    Applications, Commit, Deployments, Domains, EnvVars, Events, HealthChecks, LogStore, Members, Releases, Secrets,
    Servers, Store, Users, Volumes,
};

/// Whether a case says that its promise is broken.
async fn is_found(case: impl Future<Output = ()> + Send + 'static) -> bool {
    tokio::spawn(case).await.is_err_and(|end| end.is_panic())
}

macro_rules! assert_found {
    ($($case:path, $harness:ty;)+) => {$(
        let harness = <$harness>::fresh().await;
        assert!(is_found($case(harness)).await, "{} does not find {}", stringify!($case), stringify!($harness));
    )+};
}

// What is wrong with a store.
const TORN: u8 = 0;
const UNFENCED: u8 = 1;
const FORGETFUL: u8 = 2;
const MUTE: u8 = 3;
const TWINS: u8 = 4;
const CAREFREE: u8 = 5;

/// A store with one fault.
#[derive(Clone, Debug)]
struct BrokenStore<const FAULT: u8>(Arc<MemoryStore>);

macro_rules! reads {
    ($($room:ident { $($read:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)+ })+) => {$(
        #[async_trait]
        impl<const FAULT: u8> $room for BrokenStore<FAULT> {$(
            async fn $read(&self, $($argument: $kind),*) -> Result<$answer> {
                self.0.$read($($argument),*).await
            }
        )+}
    )+};
}

reads! {
    Applications {
        application(id: ApplicationId) -> Option<Application>;
        application_named(name: &AppName) -> Option<Application>;
        applications() -> Vec<Application>;
        machine(application: ApplicationId) -> Option<Machine>;
        machines() -> Vec<Machine>;
    }
    Deployments {
        deployment(id: DeploymentId) -> Option<Deployment>;
        deployments(application: Option<ApplicationId>, limit: u32) -> Vec<Deployment>;
        unfinished_deployments(application: ApplicationId) -> Vec<Deployment>;
    }
    Releases { release(id: ReleaseId) -> Option<Release>; releases(application: ApplicationId) -> Vec<Release>; }
    Servers { server(id: ServerId) -> Option<Server>; servers() -> Vec<Server>; }
    Domains { domains(application: ApplicationId) -> Vec<Domain>; domain_named(name: &DomainName) -> Option<Domain>; }
    EnvVars { env_vars(application: ApplicationId) -> Vec<EnvVar>; }
    HealthChecks { health_check(application: ApplicationId) -> Option<HealthCheck>; }
    Volumes { volumes(application: ApplicationId) -> Vec<Volume>; detached_volumes() -> Vec<Volume>; }
    Users {
        user(id: UserId) -> Option<User>;
        user_with_email(email: &Email) -> Option<User>;
        users() -> Vec<User>;
    }
    Members {
        member(application: ApplicationId, user: UserId) -> Option<Member>;
        members(application: ApplicationId) -> Vec<Member>;
        memberships(user: UserId) -> Vec<Member>;
    }
    Secrets { sealed_secret(version: SecretVersion) -> Option<SealedSecret>; }
    Events {
        events(after: EventSeq, limit: u32) -> Vec<Event>;
        last_event() -> EventSeq;
        trim_events(up_to: EventSeq) -> ();
    }
}

#[async_trait]
impl<const FAULT: u8> LogStore for BrokenStore<FAULT> {
    async fn append_log(&self, deployment: DeploymentId, lines: &[LogLine]) -> Result<()> {
        if FAULT == TWINS {
            let last = self.0.log_tail(deployment, 1).await?.pop().map_or(0, |line| line.number);
            let again = lines.iter().zip(last + 1..).map(|(line, number)| LogLine { number, ..line.clone() });
            return self.0.append_log(deployment, &again.collect::<Vec<_>>()).await;
        }
        self.0.append_log(deployment, lines).await
    }
    async fn log(&self, deployment: DeploymentId, after: u64, limit: u32) -> Result<LogPage> {
        self.0.log(deployment, after, limit).await
    }
    async fn log_tail(&self, deployment: DeploymentId, limit: u32) -> Result<Vec<LogLine>> {
        self.0.log_tail(deployment, limit).await
    }
    async fn leave_out_log(&self, deployment: DeploymentId, from: u64, to: u64) -> Result<()> {
        self.0.leave_out_log(deployment, from, to).await
    }
    async fn remove_log(&self, deployment: DeploymentId) -> Result<()> {
        self.0.remove_log(deployment).await
    }
}

#[async_trait]
impl<const FAULT: u8> Store for BrokenStore<FAULT> {
    async fn commit(&self, mut commit: Commit) -> Result<EventSeq> {
        match FAULT {
            TORN => {
                for change in std::mem::take(&mut commit.changes) {
                    let mut part = Commit::new(commit.actor, commit.at);
                    part.epoch = commit.epoch;
                    part.changes.push(change);
                    self.0.commit(part).await?;
                }
            }
            UNFENCED => commit.epoch = None,
            MUTE => commit.events.clear(),
            CAREFREE => {
                for change in &mut commit.changes {
                    if let Change::Update(Record::Server(row)) = change
                        && let Some(stored) = self.0.server(row.id).await?
                    {
                        row.version = stored.version;
                    }
                }
            }
            _ => {}
        }
        self.0.commit(commit).await
    }
    async fn installation(&self) -> Result<Option<Installation>> {
        self.0.installation().await
    }
    async fn lease(&self) -> Result<Option<Lease>> {
        self.0.lease().await
    }
}

#[async_trait]
impl<const FAULT: u8> StoreHarness for BrokenStore<FAULT> {
    async fn fresh() -> Self {
        Self(Arc::new(MemoryStore::new()))
    }
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }
    async fn reopen(self) -> Self {
        if FAULT == FORGETFUL { Self::fresh().await } else { self }
    }
    async fn second_handle(&self) -> Arc<dyn Store> {
        self.store()
    }
}

#[tokio::test]
async fn a_store_that_breaks_a_promise_fails_its_suite() {
    assert_found! {
        store::whole::a_refused_change_leaves_nothing_of_its_commit, BrokenStore<TORN>;
        store::fenced::a_commit_of_a_past_epoch_loses_and_names_the_holder, BrokenStore<UNFENCED>;
        store::fenced::a_commit_of_an_engine_without_a_lease_loses, BrokenStore<UNFENCED>;
        store::durable::everything_is_there_after_opening_again, BrokenStore<FORGETFUL>;
        store::ordered::events_are_numbered_from_one_without_gaps, BrokenStore<MUTE>;
        store::log::a_repeated_append_changes_nothing, BrokenStore<TWINS>;
        store::versioned::an_update_on_a_past_version_loses_and_names_the_record, BrokenStore<CAREFREE>;
    }
}

// What is wrong with a proxy.
const UNORDERED: u8 = 0;
const UNREAD: u8 = 1;
const UNCOUNTED: u8 = 2;
const BOASTFUL: u8 = 3;
const HALF: u8 = 4;

/// A proxy with one fault.
#[derive(Clone, Debug)]
struct BrokenProxy<const FAULT: u8>(Arc<EmbeddedProxy>);

#[async_trait]
impl<const FAULT: u8> Proxy for BrokenProxy<FAULT> {
    async fn apply(&self, table: &RouteTable, expected: Revision) -> Result<Revision> {
        let (mut table, asked) = (table.clone(), table.revision);
        if FAULT == HALF {
            let mut routes = self.0.routes().await?.routes;
            routes.extend(table.routes);
            table.routes = routes;
        }
        if FAULT != UNORDERED {
            return self.0.apply(&table, expected).await;
        }
        let present = self.0.routes().await?.revision;
        table.revision = Revision { number: present.number + 1, ..present };
        self.0.apply(&table, present).await?;
        Ok(asked)
    }
    async fn routes(&self) -> Result<RouteTable> {
        if FAULT == UNREAD { Ok(RouteTable::default()) } else { self.0.routes().await }
    }
    async fn in_flight(&self, upstream: &Upstream) -> Result<InFlight> {
        if FAULT == UNCOUNTED { Ok(InFlight::default()) } else { self.0.in_flight(upstream).await }
    }
    async fn traffic(&self, application: ApplicationId) -> Result<Option<Traffic>> {
        self.0.traffic(application).await
    }
    async fn ask(&self, ask: &Ask) -> Result<Answer> {
        match &ask.wanted {
            Some(wanted) if FAULT == BOASTFUL => {
                Ok(Answer { status: 200, by: AnsweredBy::Replica(wanted.replica.clone()) })
            }
            _ => self.0.ask(ask).await,
        }
    }
    fn vantage(&self) -> Vantage {
        self.0.vantage()
    }
}

#[async_trait]
impl<const FAULT: u8> ProxyHarness for BrokenProxy<FAULT> {
    async fn fresh() -> Self {
        Self(Arc::new(EmbeddedProxy::bind("127.0.0.1:0").await.unwrap()))
    }
    fn proxy(&self) -> Arc<dyn Proxy> {
        Arc::new(self.clone())
    }
    fn address(&self) -> SocketAddr {
        self.0.local_addr()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_breaks_a_promise_fails_its_suite() {
    assert_found! {
        proxy::fenced::a_table_of_an_older_epoch_is_refused, BrokenProxy<UNORDERED>;
        proxy::fenced::a_writer_that_expected_another_table_is_refused, BrokenProxy<UNORDERED>;
        proxy::read_back::a_table_with_every_kind_of_target_is_read_back, BrokenProxy<UNREAD>;
        proxy::counted::a_request_counts_until_it_is_answered, BrokenProxy<UNCOUNTED>;
        proxy::named::an_ask_for_an_upstream_of_no_route_is_answered_by_the_proxy, BrokenProxy<BOASTFUL>;
        proxy::whole::a_table_replaces_every_route_of_the_one_before, BrokenProxy<HALF>;
    }
}

// What is wrong with a secret store.
const MUTABLE: u8 = 0;
const SHORT: u8 = 1;
const HOARDING: u8 = 2;

/// A secret store with one fault.
#[derive(Clone, Debug, Default)]
struct BrokenSecrets<const FAULT: u8>(Arc<Mutex<BTreeMap<SecretVersion, (String, Secret)>>>);

#[async_trait]
impl<const FAULT: u8> SecretStore for BrokenSecrets<FAULT> {
    async fn put(&self, _: SecretScope, key: &str, value: &Secret) -> Result<SecretVersion> {
        let version = SecretVersion::new(&SystemClock);
        let mut values = self.0.lock().unwrap();
        if FAULT == MUTABLE {
            values.values_mut().filter(|(known, _)| known == key).for_each(|(_, old)| *old = value.clone());
        }
        let kept = value.expose().len().min(if FAULT == SHORT { 100 } else { usize::MAX });
        values.insert(version, (key.to_owned(), Secret::from(value.expose()[..kept].to_vec())));
        Ok(version)
    }
    async fn get(&self, version: SecretVersion) -> Result<Secret> {
        let values = self.0.lock().unwrap();
        values.get(&version).map(|(_, value)| value.clone()).ok_or_else(|| Error::not_found(Resource::Secret, version))
    }
    async fn purge(&self, version: SecretVersion) -> Result<()> {
        if FAULT != HOARDING {
            self.0.lock().unwrap().remove(&version);
        }
        Ok(())
    }
}

#[async_trait]
impl<const FAULT: u8> SecretsHarness for BrokenSecrets<FAULT> {
    async fn fresh() -> Self {
        Self::default()
    }
    fn secrets(&self) -> Arc<dyn SecretStore> {
        Arc::new(self.clone())
    }
    async fn reopen(self) -> Self {
        self
    }
    async fn application(&self) -> ApplicationId {
        ApplicationId::new(&SystemClock)
    }
    async fn tamper(&self, _: Harm) -> Reach {
        Reach::OutOfReach
    }
}

#[tokio::test]
async fn a_secret_store_that_breaks_a_promise_fails_its_suite() {
    assert_found! {
        secrets::immutable::a_new_value_of_a_key_is_another_version, BrokenSecrets<MUTABLE>;
        secrets::faithful::any_bytes_come_back_as_they_were_put, BrokenSecrets<SHORT>;
        secrets::gone::a_purged_version_is_not_found, BrokenSecrets<HOARDING>;
    }
}
