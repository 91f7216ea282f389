//! Clients: the connections that one thread serves, what each is doing, and when it has to go.
//!
//! One sweep a second looks at all of them, so that no request pays for a timer: a head that does not come in time, an
//! answer that is not taken, a connection that has been idle for too long. The same wake-up ends connections when the proxy closes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::HeaderValue;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::forward;
use super::io::ClientIo;
use super::listen::Admission;
use super::upgrade::Tunnel;
use super::worker::Worker;
use crate::config::ProxySettings;

/// How often the connections are looked at.
pub(super) const SWEEP: Duration = Duration::from_secs(1);

/// A client's connection.
#[derive(Debug)]
pub(super) struct Client {
    /// The value of `X-Forwarded-For`.
    pub(super) forwarded_for: HeaderValue,
    /// What to do with the stream when the connection has been upgraded.
    pub(super) tunnel: RefCell<Option<Tunnel>>,
    phase: Cell<Phase>,
    sweeps: Cell<u32>,
    /// Sweeps since an answer was offered in vain.
    stalled: Cell<Option<u32>>,
    end: Cell<End>,
    waker: RefCell<Option<Waker>>,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is under way.
    Idle,
    /// A head has begun to come.
    Head,
    /// A request is under way.
    Busy,
}

/// Whether a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    No,
    /// After the request that is under way.
    Soon,
    /// At once.
    Now,
}

impl Client {
    fn new(address: SocketAddr) -> Option<Self> {
        let ip = address.ip().to_canonical();
        Some(Self {
            forwarded_for: HeaderValue::from_str(&ip.to_string()).ok()?,
            tunnel: RefCell::default(),
            // The first head is due from the beginning.
            phase: Cell::new(Phase::Head),
            sweeps: Cell::new(0),
            stalled: Cell::default(),
            end: Cell::new(End::No),
            waker: RefCell::default(),
        })
    }

    /// Bytes have come.
    pub(super) fn hears(&self) {
        if self.phase.get() == Phase::Idle {
            self.enter(Phase::Head);
        }
    }

    /// A part of an answer was offered, and taken or not.
    pub(super) fn takes(&self, taken: bool) {
        self.stalled.set(if taken { None } else { self.stalled.get().or(Some(0)) });
    }

    /// A request has begun.
    pub(super) fn begins(&self) {
        self.enter(Phase::Busy);
    }

    /// The answer has been handed over.
    pub(super) fn rests(&self) {
        self.enter(Phase::Idle);
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.sweeps.set(0);
    }

    fn finish(&self, end: End) {
        self.end.set(end);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn sweep(&self, [head_max, idle_max, stalled_max]: [u32; 3]) {
        self.stalled.set(self.stalled.get().map(|sweeps| sweeps + 1));
        if self.stalled.get().is_some_and(|sweeps| sweeps > stalled_max) {
            self.finish(End::Now);
        }
        let sweeps = self.sweeps.get() + 1;
        self.sweeps.set(sweeps);
        match self.phase.get() {
            Phase::Head if sweeps > head_max => self.finish(End::Now),
            Phase::Idle if sweeps > idle_max => self.finish(End::Soon),
            Phase::Idle | Phase::Head | Phase::Busy => {}
        }
    }
}

/// The connections of one thread.
#[derive(Debug, Default)]
pub(super) struct Clients {
    present: RefCell<HashMap<u64, Rc<Client>>>,
    next: Cell<u64>,
    ending: Cell<bool>,
    left: Notify,
}

impl Clients {
    fn enter(&self, client: &Rc<Client>) -> u64 {
        let id = self.next.replace(self.next.get() + 1);
        if self.ending.get() {
            client.finish(End::Soon);
        }
        self.present.borrow_mut().insert(id, Rc::clone(client));
        id
    }

    fn leave(&self, id: u64) {
        self.present.borrow_mut().remove(&id);
        self.left.notify_waiters();
    }

    /// Looks at every connection once.
    pub(super) fn sweep(&self, settings: &ProxySettings) {
        let limits = [settings.request_head, settings.client_idle, settings.client_stalled].map(sweeps);
        self.present.borrow().values().for_each(|client| client.sweep(limits));
    }

    /// Closes the connection that has been idle for longest, to make room.
    pub(super) fn close_idle(&self) {
        let present = self.present.borrow();
        let idle = present.values().filter(|c| c.phase.get() == Phase::Idle && c.end.get() == End::No);
        if let Some(client) = idle.max_by_key(|c| c.sweeps.get()) {
            client.finish(End::Soon);
        }
    }

    /// Lets every connection end after the request that is under way, and waits until the last one is `gone`.
    pub(super) async fn finish(&self, gone: impl Fn() -> bool) {
        self.ending.set(true);
        self.present.borrow().values().for_each(|client| client.finish(End::Soon));
        loop {
            let left = self.left.notified();
            if gone() {
                return;
            }
            left.await;
        }
    }
}

fn sweeps(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1)
}

/// Takes a client out of the list, however its task ends.
struct Presence<'a>(&'a Clients, u64);

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

/// Serves one connection to its end.
pub(super) async fn serve(worker: Rc<Worker>, stream: TcpStream, address: SocketAddr, admission: Admission) {
    let Some(client) = Client::new(address).map(Rc::new) else { return };
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%address, %error, "a client has left already");
        return;
    }
    let _presence = Presence(&worker.clients, worker.clients.enter(&client));
    // Dropped before the presence, whose end lets others count the admissions.
    let _admission = admission;
    let io = TokioIo::new(ClientIo::new(stream, Rc::clone(&client)));
    let service = service_fn(|request| forward::answer(Rc::clone(&worker), Rc::clone(&client), request));
    let mut connection = worker.server.serve_connection(io, service);
    let mut told = false;
    let run = |cx: &mut Context<'_>| {
        if client.waker.borrow().is_none() {
            *client.waker.borrow_mut() = Some(cx.waker().clone());
        }
        match client.end.get() {
            End::Now => return Poll::Ready(()),
            End::Soon if !told => {
                told = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            End::Soon | End::No => {}
        }
        Pin::new(&mut connection).poll(cx).map(|result| {
            result.unwrap_or_else(|error| tracing::debug!(%address, %error, "a client's connection ended"));
        })
    };
    poll_fn(run).await;
    let tunnel = client.tunnel.take();
    client.begins();
    if let Some(tunnel) = tunnel {
        let parts = connection.into_parts();
        tunnel.run(parts.io.into_inner().into_stream(), parts.read_buf).await;
    }
}
