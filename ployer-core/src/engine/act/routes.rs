//! The route writer: one task a proxy merges the routes of all applications, and alone applies tables.
//!
//! What applications want is merged into one table with a rising revision, applied, and read back; what comes
//! meanwhile goes into the next one. It reads back once in a while too: a proxy that lost its table has it again
//! within two ticks. Before the first table it waits until every stored application has said what it wants, so that
//! no route is lost; of one that cannot say, the proxy keeps the route that it has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::context::lock;
use super::engine::EngineParts;
use super::lease::HeldLease;
use super::picture::Picture;
use crate::engine::decide::seen::RouteSeen;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ApplicationId, DomainName, Revision, Route, RouteTable};
use crate::proxy::Proxy;

/// How long applications may take to say which routes they want, before the first table.
const ROLL_CALL: Duration = Duration::from_secs(10);
/// How long a proxy may take for one call.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause after a table could not be applied.
const RETRY: Duration = Duration::from_millis(200);

/// The applications that have not said yet which route they want.
pub(super) type Roll = watch::Receiver<BTreeSet<ApplicationId>>;

/// Writes the routes of one proxy.
#[derive(Debug)]
pub(super) struct RouteWriter {
    parts: Arc<EngineParts>,
    lease: Arc<HeldLease>,
    proxy: Arc<dyn Proxy>,
    wish: Notify,
    wanted: Mutex<BTreeMap<ApplicationId, Option<Route>>>,
    pictures: Mutex<BTreeMap<ApplicationId, Arc<Picture>>>,
}

impl RouteWriter {
    pub(super) fn new(parts: Arc<EngineParts>, lease: Arc<HeldLease>, proxy: Arc<dyn Proxy>) -> Self {
        let (wanted, pictures) = Default::default();
        Self { parts, lease, proxy, wish: Notify::new(), wanted, pictures }
    }

    /// Whether it writes the routes of `proxy`.
    pub(super) fn is_of(&self, proxy: &Arc<dyn Proxy>) -> bool {
        Arc::ptr_eq(&self.proxy, proxy)
    }

    /// The proxy, to ask and to count.
    pub(super) fn proxy(&self) -> &dyn Proxy {
        self.proxy.as_ref()
    }

    /// Tells an application from now on what its route is.
    pub(super) fn watch(&self, application: ApplicationId, picture: Arc<Picture>) {
        lock(&self.pictures).insert(application, picture);
        self.wish.notify_one();
    }

    /// Wants this route for an application from now on.
    pub(super) fn want(&self, application: ApplicationId, route: Option<Route>) {
        let before = lock(&self.wanted).insert(application, route.clone());
        if before != Some(route) {
            self.wish.notify_one();
        }
    }

    /// Forgets an application that was deleted; its route goes with it.
    pub(super) fn forget(&self, application: ApplicationId) {
        lock(&self.pictures).remove(&application);
        lock(&self.wanted).remove(&application);
        self.wish.notify_one();
    }

    /// Writes until the engine ends.
    pub(super) async fn run(self: Arc<Self>, mut roll: Roll) {
        self.call_the_roll(&mut roll).await;
        loop {
            let silent = roll.borrow_and_update().clone();
            let pause = match self.write(&silent).await {
                Ok(()) => self.parts.settings.engine.tick_busy,
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "the routes could not be applied");
                    RETRY
                }
            };
            tokio::select! {
                biased;
                () = self.wish.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Waits until every application has said which route it wants, and tells meanwhile what the proxy has.
    async fn call_the_roll(&self, roll: &mut Roll) {
        let looking = async {
            loop {
                if let Ok(table) = self.read().await {
                    self.tell(&table).await;
                }
                let _woken = timeout(RETRY, self.wish.notified()).await;
            }
        };
        tokio::select! {
            biased;
            _ = roll.wait_for(BTreeSet::is_empty) => {}
            () = looking => {}
            () = sleep(ROLL_CALL) => tracing::warn!("applications that cannot say which route they want keep theirs"),
        }
    }

    /// Applies what is wanted where the proxy has something else, and reads it back.
    async fn write(&self, silent: &BTreeSet<ApplicationId>) -> Result<()> {
        let present = self.read().await?;
        let wanted = self.table(&present, silent);
        if wanted.routes == present.routes && wanted.fallback == present.fallback && self.is_ours(present.revision) {
            self.tell(&present).await;
            return Ok(());
        }
        if !self.lease.is_fresh() {
            return Err(Error::new(ErrorKind::Unavailable, "the engine's lease was not renewed"));
        }
        in_time(self.proxy.apply(&wanted, present.revision)).await?;
        self.tell(&self.read().await?).await;
        Ok(())
    }

    async fn read(&self) -> Result<RouteTable> {
        in_time(self.proxy.routes()).await
    }

    fn is_ours(&self, revision: Revision) -> bool {
        revision.epoch == self.lease.epoch()
    }

    /// The table that should follow `present`.
    fn table(&self, present: &RouteTable, silent: &BTreeSet<ApplicationId>) -> RouteTable {
        let mut routes: BTreeMap<ApplicationId, Route> =
            silent.iter().filter_map(|id| Some((*id, present.routes.get(id)?.clone()))).collect();
        for (application, route) in lock(&self.wanted).iter() {
            match route {
                Some(route) => routes.insert(*application, route.clone()),
                None => routes.remove(application),
            };
        }
        settle_hosts(&mut routes, present);
        let number = if self.is_ours(present.revision) { present.revision.number + 1 } else { 1 };
        let fallback = match routes.keys().next() {
            Some(only) if routes.len() == 1 && self.parts.settings.fallback_single => Some(*only),
            Some(_) | None => None,
        };
        RouteTable { revision: Revision { epoch: self.lease.epoch(), number }, routes, fallback }
    }

    /// Tells every application its route as it was read back; where it is another one, with the traffic of now.
    async fn tell(&self, table: &RouteTable) {
        let pictures = lock(&self.pictures).clone();
        for (application, picture) in pictures {
            let route = table.routes.get(&application).cloned();
            let is_news = picture.look(|seen| seen.route.as_ref().is_none_or(|before| before.route != route));
            if is_news {
                self.count(application, &picture).await;
            }
            picture.route(RouteSeen { route, revision: table.revision });
        }
    }

    /// Takes the traffic of an application into its picture, where the proxy counts it.
    pub(super) async fn count(&self, application: ApplicationId, picture: &Picture) {
        if let Ok(traffic) = in_time(self.proxy.traffic(application)).await {
            picture.update(|seen| seen.traffic = traffic);
        }
    }
}

/// Leaves each host to one application: the one that has it now, until that gives it up.
fn settle_hosts(routes: &mut BTreeMap<ApplicationId, Route>, present: &RouteTable) {
    let mut owners: BTreeMap<DomainName, ApplicationId> = BTreeMap::new();
    let has = |id: &ApplicationId, host| present.routes.get(id).is_some_and(|route| route.hosts.contains(host));
    for (application, route) in routes.iter() {
        for host in &route.hosts {
            if has(application, host) || !owners.contains_key(host) {
                owners.insert(host.clone(), *application);
            }
        }
    }
    for (application, route) in routes.iter_mut() {
        route.hosts.retain(|host| owners.get(host) == Some(application));
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    let late = |_| Error::new(ErrorKind::Timeout, "the proxy took too long to answer");
    timeout(PATIENCE, call).await.map_err(late)?
}
