//! Draining under load: the order of counting and looking, without the sockets that would hide it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use uuid::Uuid;

use crate::model::{ApplicationId, InFlight, Revision, Route, RouteTable, Target, Upstream};
use crate::proxy::embedded::route::Live;
use crate::proxy::embedded::view::{NotChosen, View};

const THREADS: usize = 3;
const ROUNDS: u64 = 5_000;

fn upstream(n: u16) -> Upstream {
    Upstream { replica: format!("shop-web-{n}").parse().unwrap(), address: ([127, 0, 0, 1], 1000 + n).into() }
}

fn table(number: u64, upstream: Upstream) -> RouteTable {
    let route = Route { hosts: ["shop".parse().unwrap()].into(), target: Target::Upstreams([upstream].into()) };
    let routes = BTreeMap::from([(ApplicationId::from(Uuid::from_u128(1)), route)]);
    RouteTable { revision: Revision { epoch: 1, number }, routes, fallback: None }
}

/// Two upstreams take turns. Whoever left the table and reads zero is stopped at once, and must not be chosen.
#[test]
fn no_thread_sends_to_an_upstream_that_has_been_drained() {
    let live = Live::new(table(1, upstream(0)), None, THREADS).unwrap();
    let (stopped, ends) = ([AtomicBool::new(false), AtomicBool::new(true)], AtomicBool::new(false));
    let (sent, lost) = (AtomicU64::new(0), AtomicU64::new(0));

    thread::scope(|scope| {
        for n in 0..THREADS {
            let (live, stopped, ends, sent, lost) = (&live, &stopped, &ends, &sent, &lost);
            scope.spawn(move || {
                let view = View::new(live, n);
                let mut route = view.find(live, "shop").unwrap();
                while !ends.load(Ordering::Relaxed) {
                    // The route is looked up again only when it is called stale: nothing else may be needed.
                    match view.choose(live, &route, |_| true) {
                        Ok(chosen) => {
                            let at = usize::from(chosen.pool.peer().upstream().address.port() - 1000);
                            sent.fetch_add(1, Ordering::Relaxed);
                            lost.fetch_add(u64::from(stopped[at].load(Ordering::SeqCst)), Ordering::Relaxed);
                        }
                        Err(NotChosen::Stale) => route = view.find(live, "shop").unwrap(),
                        Err(NotChosen::Nobody) => unreachable!("each table has an upstream"),
                    }
                }
            });
        }
        for round in 1..=ROUNDS {
            let (next, old) = (usize::from(round % 2 == 1), usize::from(round % 2 == 0));
            stopped[next].store(false, Ordering::SeqCst);
            let expected = Revision { epoch: 1, number: round };
            live.apply(&table(round + 1, upstream(next as u16)), expected, |_| Ok(())).unwrap();
            while live.in_flight(&upstream(old as u16)) != InFlight::default() {
                thread::yield_now();
            }
            stopped[old].store(true, Ordering::SeqCst);
        }
        ends.store(true, Ordering::Relaxed);
    });

    assert_eq!(lost.into_inner(), 0, "of {} requests", sent.into_inner());
}

/// The same at the worst of all moments: the table changes while a thread is choosing.
#[test]
fn a_choice_is_given_back_when_the_table_changes_in_the_middle_of_it() {
    let live = Live::new(table(1, upstream(0)), None, 1).unwrap();
    let view = View::new(&live, 0);
    let route = view.find(&live, "shop").unwrap();

    let chosen = view.choose(&live, &route, |_| {
        live.apply(&table(2, upstream(1)), Revision { epoch: 1, number: 1 }, |_| Ok(())).unwrap();
        live.in_flight(&upstream(0)) == InFlight::default()
    });

    assert_eq!(chosen.unwrap_err(), NotChosen::Stale);
    assert_eq!(live.in_flight(&upstream(0)), InFlight::default());
}

/// What a thread keeps for an upstream is gone with it, and the counts of one that comes back begin anew.
#[test]
fn an_upstream_that_comes_back_is_counted_with_what_was_left_of_it() {
    let live = Arc::new(Live::new(table(1, upstream(0)), None, 1).unwrap());
    let view = View::new(&live, 0);
    let route = view.find(&live, "shop").unwrap();
    let chosen = view.choose(&live, &route, |_| true).unwrap();

    live.apply(&table(2, upstream(1)), Revision { epoch: 1, number: 1 }, |_| Ok(())).unwrap();
    live.apply(&table(3, upstream(0)), Revision { epoch: 1, number: 2 }, |_| Ok(())).unwrap();
    let route = view.find(&live, "shop").unwrap();
    let again = view.choose(&live, &route, |_| true).unwrap();

    assert_eq!(live.in_flight(&upstream(0)).requests, 2);
    drop((chosen, again));
    assert_eq!(live.in_flight(&upstream(0)).requests, 0);
}
