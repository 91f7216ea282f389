//! Asking the proxy: whether a new replica answers through it, and what is under way on an old one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::picture::Picture;
use super::scope::Scope;
use crate::engine::decide::seen::RouteSeen;
use crate::error::Result;
use crate::model::{Answer, AnsweredBy, Ask, ReplicaName, Target, Upstream};

/// The first pause between two questions; it doubles.
const PAUSE: Duration = Duration::from_millis(2);
/// The longest pause between two questions.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The longest pause between two counts.
const COUNT_MAX: Duration = Duration::from_millis(250);

/// Asks through the proxy's own listener until `upstream` answers, or the static release that the route names.
///
/// Any status counts but one that the proxy itself made. An answer counts only for the route under which it was
/// asked for.
pub(super) async fn ask(scope: &Scope, upstream: Option<Upstream>) -> Result<()> {
    let mut pause = PAUSE;
    loop {
        let route = scope.picture.look(|seen| seen.route.clone());
        if let Some(route) = &route
            && let Some(ask) = question(route, upstream.clone())
            && let Ok(Ok(answer)) = timeout(scope.deadlines().switch, scope.reach.routes.proxy().ask(&ask)).await
            && let Some(by) = proof(route, &answer, upstream.as_ref())
        {
            scope.reach.routes.count(scope.application, &scope.picture).await;
            if note(&scope.picture, route, by) {
                return Ok(());
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn question(route: &RouteSeen, wanted: Option<Upstream>) -> Option<Ask> {
    let host = route.route.as_ref()?.hosts.first()?.clone();
    Some(Ask { host, path: "/".to_owned(), wanted })
}

/// Who answered, if it is who should have.
fn proof(route: &RouteSeen, answer: &Answer, wanted: Option<&Upstream>) -> Option<AnsweredBy> {
    let by = match (&answer.by, wanted, &route.route.as_ref()?.target) {
        (AnsweredBy::Replica(name), Some(wanted), _) => *name == wanted.replica,
        (AnsweredBy::Static(answered), None, Target::Static { release, .. }) => answered == release,
        _ => false,
    };
    by.then(|| answer.by.clone())
}

/// Takes the answer into the picture, unless the route has become another one meanwhile.
fn note(picture: &Picture, asked: &RouteSeen, by: AnsweredBy) -> bool {
    picture.update(|seen| {
        if seen.route.as_ref().map(|now| &now.route) != Some(&asked.route) {
            return false;
        }
        match by {
            AnsweredBy::Replica(name) => {
                seen.answered.insert(name);
            }
            AnsweredBy::Static(release) => seen.answered_static = Some(release),
            AnsweredBy::Proxy => {}
        }
        true
    })
}

/// Counts what is under way on upstreams, as long as it is not dropped.
pub(super) async fn watch_in_flight(scope: &Scope, upstreams: &BTreeSet<Upstream>) -> Result<()> {
    let _watch = Watch { picture: &scope.picture, upstreams };
    let mut pause = PAUSE;
    loop {
        for upstream in upstreams {
            let count = scope.reach.routes.proxy().in_flight(upstream).await?;
            let is_news = scope.picture.look(|seen| seen.in_flight.get(&upstream.replica) != Some(&count));
            if is_news {
                scope.picture.update(|seen| seen.in_flight.insert(upstream.replica.clone(), count));
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(COUNT_MAX);
    }
}

/// Forgets the counts when they are no longer watched.
struct Watch<'a> {
    picture: &'a Arc<Picture>,
    upstreams: &'a BTreeSet<Upstream>,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let names = self.upstreams.iter().map(|upstream| &upstream.replica);
        let names: Vec<&ReplicaName> = names.collect();
        self.picture.update(|seen| seen.in_flight.retain(|name, _| !names.contains(&name)));
    }
}
