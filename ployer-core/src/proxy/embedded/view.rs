//! View: the routes as one thread sees them, with the upstream connections that it keeps.
//!
//! A thread reads its own copy of the present table and never a counter that another thread writes, until the table's
//! generation rises. The order that makes draining safe is here: a request is *first counted, then* the generation is
//! read. Either the thread sees that a later table is in force, and gives the request back, or whoever applied that
//! table sees the count.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::balance::{Peer, Seat, UnderWay, least};
use super::pool::Pool;
use super::route::{Entry, Live, Routes};
use crate::model::Upstream;

/// What one thread knows of the routes.
#[derive(Debug)]
pub(super) struct View {
    thread: usize,
    routes: RefCell<Arc<Routes>>,
    opened: RefCell<Vec<Option<Rc<Opened>>>>,
    pools: RefCell<HashMap<Upstream, Rc<Pool>>>,
    turn: Cell<usize>,
}

/// A route that this thread has used under the present table.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) entry: Arc<Entry>,
    pub(super) generation: u64,
    pools: Vec<Rc<Pool>>,
}

/// An upstream that was chosen for a request, and counted.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) pool: Rc<Pool>,
    pub(super) under_way: UnderWay,
}

/// Why no upstream was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotChosen {
    /// A later table is in force: look again.
    Stale,
    /// The route has no upstream that has not been tried.
    Nobody,
}

impl View {
    pub(super) fn new(live: &Live, thread: usize) -> Self {
        let routes = live.load();
        let opened = RefCell::new(vec![None; routes.len()]);
        Self { thread, routes: RefCell::new(routes), opened, pools: RefCell::default(), turn: Cell::new(thread) }
    }

    /// Takes the present table over, if it is another one, and closes what is kept for upstreams that have left it.
    pub(super) fn refresh(&self, live: &Live) {
        if live.is_present(self.routes.borrow().generation) {
            return;
        }
        let routes = live.load();
        let named = routes.upstreams();
        self.pools.borrow_mut().retain(|upstream, pool| {
            let stays = named.contains(upstream);
            if !stays {
                pool.close();
            }
            stays
        });
        *self.opened.borrow_mut() = vec![None; routes.len()];
        drop(named);
        self.routes.replace(routes);
    }

    /// The route of `host`, which is in lower case and has no port.
    pub(super) fn find(&self, live: &Live, host: &str) -> Option<Rc<Opened>> {
        self.refresh(live);
        let routes = self.routes.borrow();
        let at = routes.find(host)?;
        let slot = &mut self.opened.borrow_mut()[at];
        Some(Rc::clone(slot.get_or_insert_with(|| self.open(&routes, at))))
    }

    fn open(&self, routes: &Routes, at: usize) -> Rc<Opened> {
        let entry = Arc::clone(routes.entry(at));
        let pools = entry.destination.peers().iter().map(|peer| self.pool(peer)).collect();
        Rc::new(Opened { entry, generation: routes.generation, pools })
    }

    fn pool(&self, peer: &Arc<Peer>) -> Rc<Pool> {
        let mut pools = self.pools.borrow_mut();
        if let Some(pool) = pools.get(peer.upstream()).filter(|pool| Arc::ptr_eq(pool.peer(), peer)) {
            return Rc::clone(pool);
        }
        let pool = Pool::new(Seat::new(Arc::clone(peer), self.thread));
        if let Some(former) = pools.insert(peer.upstream().clone(), Rc::clone(&pool)) {
            former.close();
        }
        pool
    }

    /// Chooses the upstream with the least under way among those that `open` allows, and counts the request.
    pub(super) fn choose(
        &self,
        live: &Live,
        route: &Opened,
        open: impl Fn(&Arc<Peer>) -> bool,
    ) -> Result<Chosen, NotChosen> {
        let turn = self.turn.replace(self.turn.get().wrapping_add(1));
        let at = least(route.entry.destination.peers(), open, turn).ok_or(NotChosen::Nobody)?;
        let pool = Rc::clone(&route.pools[at]);
        let under_way = pool.seat().begin();
        if live.is_present(route.generation) { Ok(Chosen { pool, under_way }) } else { Err(NotChosen::Stale) }
    }

    /// Closes the kept connections that have been idle for too long.
    pub(super) fn tidy(&self, idle: std::time::Duration) {
        for pool in self.pools.borrow().values() {
            pool.tidy(idle);
        }
    }
}
