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
    wanted: Mutex<BTreeMap<ApplicationId, Wish>>,
    pictures: Mutex<BTreeMap<ApplicationId, Arc<Picture>>>,
}

/// What an application wants.
#[derive(Clone, Debug, Default)]
struct Wish {
    route: Option<Route>,
    /// Counts its changes.
    number: u64,
}

/// Which wish of each application is in a table.
type Heard = BTreeMap<ApplicationId, u64>;

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

    /// Wants this route for an application from now on. Until it was read back nobody knows which one there is.
    pub(super) fn want(&self, application: ApplicationId, route: Option<Route>) {
        {
            let mut wanted = lock(&self.wanted);
            let number = match wanted.get(&application) {
                Some(wish) if wish.route == route => return,
                wish => wish.map_or(1, |wish| wish.number + 1),
            };
            wanted.insert(application, Wish { route, number });
        }
        if let Some(picture) = lock(&self.pictures).get(&application) {
            picture.doubt_route(true);
        }
        self.wish.notify_one();
    }

    /// Which wishes a table that is made now has.
    fn heard(&self) -> Heard {
        lock(&self.wanted).iter().map(|(application, wish)| (*application, wish.number)).collect()
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
                    self.tell(&table, &Heard::new()).await;
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
        let heard = self.heard();
        let wanted = self.table(&present, silent);
        if wanted.routes == present.routes && wanted.fallback == present.fallback && self.is_ours(present.revision) {
            self.tell(&present, &heard).await;
            return Ok(());
        }
        if !self.lease.is_fresh() {
            return Err(Error::new(ErrorKind::Unavailable, "the engine's lease was not renewed"));
        }
        in_time(self.proxy.apply(&wanted, present.revision)).await?;
        self.tell(&self.read().await?, &heard).await;
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
        for (application, wish) in lock(&self.wanted).iter() {
            match &wish.route {
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
    ///
    /// Of one whose wish the table has not heard, the route stays in doubt.
    async fn tell(&self, table: &RouteTable, heard: &Heard) {
        let pictures = lock(&self.pictures).clone();
        for (application, picture) in pictures {
            let route = table.routes.get(&application).cloned();
            let is_news = picture.look(|seen| seen.route.as_ref().is_none_or(|before| before.route != route));
            if is_news {
                self.count(application, &picture).await;
            }
            picture.route(RouteSeen { route, revision: table.revision });
            let wish = lock(&self.wanted).get(&application).map(|wish| wish.number);
            picture.doubt_route(wish != heard.get(&application).copied());
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

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::config::Settings;
    use crate::engine::act::context::Tasks;
    use crate::engine::act::fakes::Stand;
    use crate::engine::act::scope::Scope;
    use crate::model::Target;

    fn route(host: &str, reason: &str) -> Route {
        let hosts = BTreeSet::from([host.parse().unwrap()]);
        Route { hosts, target: Target::Unavailable { reason: reason.to_owned() } }
    }

    async fn soon() {
        sleep(Duration::from_millis(50)).await;
    }

    /// A writer that expects the application of the stand, and another one.
    async fn writer(stand: &Stand) -> (Scope, Tasks, ApplicationId) {
        let (scope, tasks) = stand.scope().await;
        let other = stand.insert("blog").await.id;
        scope.context.expect([scope.application, other]);
        (scope, tasks, other)
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_applied_before_every_application_has_said_what_it_wants() {
        let stand = Stand::new().await;
        let (scope, _tasks, other) = writer(&stand).await;

        scope.reach.routes.want(scope.application, Some(route("shop.localhost", "a")));
        scope.context.has_said(scope.application);
        sleep(Duration::from_secs(5)).await;
        let before = stand.world.calls();
        scope.context.has_said(other);
        soon().await;

        assert!(before.is_empty());
        assert_eq!(stand.world.calls(), ["apply 1.1"]);
        assert_eq!(scope.picture.read().route.unwrap().route, Some(route("shop.localhost", "a")));
    }

    #[tokio::test(start_paused = true)]
    async fn an_application_that_cannot_say_what_it_wants_keeps_its_route() {
        let stand = Stand::new().await;
        let (scope, _tasks, other) = writer(&stand).await;
        stand.world.things().table.routes.insert(other, route("blog.localhost", "old"));

        scope.reach.routes.want(scope.application, Some(route("shop.localhost", "a")));
        scope.context.has_said(scope.application);
        scope.context.lease.during(sleep(ROLL_CALL + Duration::from_secs(1))).await;

        let routes = stand.world.things().table.routes.clone();
        assert_eq!(routes[&other], route("blog.localhost", "old"));
        assert_eq!(routes[&scope.application], route("shop.localhost", "a"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_while_a_table_is_applied_goes_into_the_next_one_together() {
        let stand = Stand::new().await;
        stand.world.things().delays.insert("apply", Duration::from_millis(20));
        let (scope, _tasks) = stand.scope().await;
        let routes = &scope.reach.routes;
        routes.want(scope.application, Some(route("shop.localhost", "0")));
        sleep(Duration::from_millis(5)).await;

        for turn in 1..=5 {
            routes.want(scope.application, Some(route("shop.localhost", &turn.to_string())));
        }
        soon().await;

        assert_eq!(stand.world.calls(), ["apply 1.1", "apply 1.2"]);
        assert_eq!(scope.picture.read().route.unwrap().route, Some(route("shop.localhost", "5")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_route_is_in_doubt_until_the_newest_wish_was_read_back() {
        let stand = Stand::new().await;
        stand.world.things().delays.insert("apply", Duration::from_millis(20));
        let (scope, _tasks) = stand.scope().await;
        soon().await;

        let in_doubt = || scope.picture.read().route_in_doubt;
        scope.reach.routes.want(scope.application, Some(route("shop.localhost", "a")));
        sleep(Duration::from_millis(5)).await;
        scope.reach.routes.want(scope.application, Some(route("shop.localhost", "b")));
        sleep(Duration::from_millis(20)).await;
        let after_the_first = (stand.world.calls(), in_doubt());
        soon().await;

        assert_eq!(after_the_first, (vec!["apply 1.1".to_owned(), "apply 1.2".to_owned()], true));
        assert!(!in_doubt());
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxy_that_lost_its_table_has_it_again_within_two_ticks() {
        let stand = Stand::new().await;
        let (scope, _tasks) = stand.scope().await;
        scope.reach.routes.want(scope.application, Some(route("shop.localhost", "a")));
        soon().await;

        stand.world.things().table = RouteTable::default();
        sleep(stand.parts.settings.engine.tick_busy * 2).await;

        assert_eq!(stand.world.things().table.routes.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_that_could_not_be_applied_is_applied_again() {
        let stand = Stand::new().await;
        stand.world.fail_next("apply", ErrorKind::Unavailable);
        let (scope, _tasks) = stand.scope().await;

        scope.reach.routes.want(scope.application, Some(route("shop.localhost", "a")));
        sleep(Duration::from_secs(1)).await;

        assert_eq!(stand.world.things().table.routes.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn no_table_is_applied_while_the_lease_is_in_doubt() {
        let stand = Stand::new().await;
        let (scope, _tasks) = stand.scope().await;
        soon().await;
        let before = stand.world.calls().len();
        advance(stand.parts.settings.engine.lease_doubt).await;

        scope.reach.routes.want(scope.application, Some(route("shop.localhost", "a")));
        soon().await;

        assert_eq!(stand.world.calls().len(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_stays_with_whoever_has_it_until_that_gives_it_up() {
        let stand = Stand::new().await;
        let (scope, _tasks) = stand.scope().await;
        let other = stand.insert("blog").await.id;
        let routes = &scope.reach.routes;
        routes.want(other, Some(route("www.example.com", "blog")));
        soon().await;

        routes.want(scope.application, Some(route("www.example.com", "shop")));
        soon().await;
        let hosts_before = stand.world.things().table.routes[&scope.application].hosts.len();
        routes.want(other, None);
        soon().await;

        assert_eq!(hosts_before, 0);
        assert_eq!(stand.world.things().table.routes[&scope.application], route("www.example.com", "shop"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_only_application_also_answers_for_other_hosts_where_that_is_set() {
        let stand = Stand::with(Settings { fallback_single: true, ..Settings::default() }).await;
        let (scope, _tasks) = stand.scope().await;
        let other = stand.insert("blog").await.id;

        scope.reach.routes.want(scope.application, Some(route("shop.localhost", "a")));
        soon().await;
        let alone = stand.world.things().table.fallback;
        scope.reach.routes.want(other, Some(route("blog.localhost", "b")));
        soon().await;

        assert_eq!(alone, Some(scope.application));
        assert_eq!(stand.world.things().table.fallback, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_route_of_a_deleted_application_goes_from_the_table() {
        let stand = Stand::new().await;
        let (scope, _tasks) = stand.scope().await;
        scope.reach.routes.want(scope.application, Some(route("shop.localhost", "a")));
        soon().await;

        scope.reach.routes.forget(scope.application);
        soon().await;

        assert!(stand.world.things().table.routes.is_empty());
    }
}
