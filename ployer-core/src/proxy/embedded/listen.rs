//! Listening: the proxy's own threads, and which of them serves a connection.
//!
//! Every thread accepts from a clone of the same listeners, and hands a connection on where another thread has fewer.
//! The listeners are not opened a second time with `SO_REUSEPORT`: a second proxy could then take the same port
//! without either noticing, and connections waiting in the queue of a thread that ends would be lost.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{sleep, timeout};

use super::client::{self, SWEEP};
use super::worker::{Shared, Worker};
use crate::error::{Error, Result};

/// Connections handed on and not yet taken, for each thread.
const HANDED_MAX: usize = 1_024;

/// A thread keeps what it has accepted while it has at most so many connections more than another one.
const SURPLUS_MAX: usize = 1;

/// The pause after an accept that failed, for want of file descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Threads that read files for one serving thread.
const FILE_THREADS_MAX: usize = 4;

/// How the threads are to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    No,
    /// After what is under way, at most within this time.
    Finish(Duration),
    Now,
}

/// A connection's place among those that are allowed, and among those of its thread.
#[derive(Debug)]
pub(super) struct Admission {
    shared: Arc<Shared>,
    thread: usize,
    _permit: OwnedSemaphorePermit,
}

impl Admission {
    fn new(shared: &Arc<Shared>, thread: usize, permit: OwnedSemaphorePermit) -> Self {
        shared.connections[thread].fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(shared), thread, _permit: permit }
    }

    /// The same place, on another thread.
    fn at(mut self, thread: usize) -> Self {
        self.shared.connections[thread].fetch_add(1, Ordering::Relaxed);
        self.shared.connections[self.thread].fetch_sub(1, Ordering::Relaxed);
        self.thread = thread;
        self
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.shared.connections[self.thread].fetch_sub(1, Ordering::Relaxed);
    }
}

type Handed = (std::net::TcpStream, SocketAddr, Admission);

/// What a thread needs to begin.
struct Duty {
    shared: Arc<Shared>,
    thread: usize,
    listeners: Vec<std::net::TcpListener>,
    handed: mpsc::Receiver<Handed>,
    others: Arc<[mpsc::Sender<Handed>]>,
    stop: watch::Receiver<Stop>,
}

/// Starts the threads; they have begun when this returns.
pub(super) fn start(
    shared: &Arc<Shared>,
    listeners: &[std::net::TcpListener],
    stop: &watch::Sender<Stop>,
) -> Result<Vec<JoinHandle<()>>> {
    let failed = |e: io::Error| Error::internal("the proxy's threads cannot start", e);
    let threads = shared.connections.len();
    let (others, inboxes): (Vec<_>, Vec<_>) = (0..threads).map(|_| mpsc::channel(HANDED_MAX)).unzip();
    let others: Arc<[_]> = others.into();
    let mut running = Vec::new();
    for (thread, handed) in inboxes.into_iter().enumerate() {
        let listeners = listeners.iter().map(std::net::TcpListener::try_clone).collect::<io::Result<_>>();
        let duty = Duty {
            shared: Arc::clone(shared),
            thread,
            listeners: listeners.map_err(failed)?,
            handed,
            others: Arc::clone(&others),
            stop: stop.subscribe(),
        };
        running.push(begin(duty).map_err(failed)?);
    }
    Ok(running)
}

fn begin(duty: Duty) -> io::Result<JoinHandle<()>> {
    let (begun, begins) = std::sync::mpsc::sync_channel(1);
    let name = format!("ployer-proxy-{}", duty.thread);
    let handle = thread::Builder::new().name(name).spawn(move || {
        if let Err(error) = run(duty, &begun) {
            // Whoever started the thread waits for this, or has gone.
            begun.send(Err(error)).unwrap_or_default();
        }
    })?;
    begins.recv().map_err(io::Error::other)??;
    Ok(handle)
}

fn run(duty: Duty, begun: &SyncSender<io::Result<()>>) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(FILE_THREADS_MAX)
        .build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let listeners = duty.listeners.iter().map(register).collect::<io::Result<Vec<_>>>()?;
        begun.send(Ok(())).map_err(io::Error::other)?;
        serve(duty, listeners).await;
        io::Result::Ok(())
    })?;
    runtime.shutdown_background();
    Ok(())
}

fn register(listener: &std::net::TcpListener) -> io::Result<TcpListener> {
    let listener = listener.try_clone()?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Serves until the proxy stops; what is still under way then ends with the runtime.
async fn serve(duty: Duty, listeners: Vec<TcpListener>) {
    let Duty { shared, thread, handed, others, mut stop, listeners: originals } = duty;
    drop(originals);
    let worker = Worker::new(shared, thread);
    let mut tasks = JoinSet::new();
    for listener in listeners {
        tasks.spawn_local(accept(Rc::clone(&worker), listener, Arc::clone(&others), stop.clone()));
    }
    drop(others);
    tasks.spawn_local(receive(Rc::clone(&worker), handed));
    tasks.spawn_local(sweep(Rc::clone(&worker)));
    tasks.spawn_local(follow(Rc::clone(&worker)));
    let told = stop.wait_for(|stop| *stop != Stop::No).await.map_or(Stop::Now, |stop| *stop);
    if let Stop::Finish(within) = told {
        let last = worker.clients.finish(|| worker.connections() == 0);
        if timeout(within, last).await.is_err() {
            tracing::debug!(thread, "connections were under way when the proxy closed");
        }
    }
}

/// Accepts until the proxy stops, and then what the system has accepted already.
async fn accept(
    worker: Rc<Worker>,
    listener: TcpListener,
    others: Arc<[mpsc::Sender<Handed>]>,
    mut stop: watch::Receiver<Stop>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop != Stop::No) => break,
        };
        match accepted {
            Ok((stream, address)) => welcome(&worker, stream, address, &others).await,
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    while let Some(Ok((stream, address))) = listener.accept().now_or_never() {
        welcome(&worker, stream, address, &others).await;
    }
}

/// Gives a connection to the thread that has the fewest, once there is room for it.
async fn welcome(worker: &Rc<Worker>, stream: TcpStream, address: SocketAddr, others: &[mpsc::Sender<Handed>]) {
    let shared = &worker.shared;
    if shared.admissions.available_permits() == 0 {
        worker.clients.close_idle();
    }
    let Ok(permit) = Arc::clone(&shared.admissions).acquire_owned().await else { return };
    let thread = least_busy(&shared.connections, worker.thread);
    let admission = Admission::new(shared, thread, permit);
    let own = |stream, admission| spawn_local(client::serve(Rc::clone(worker), stream, address, admission));
    if thread == worker.thread {
        own(stream, admission);
    } else if let Ok(stream) = stream.into_std()
        && let Err(back) = others[thread].try_send((stream, address, admission))
        && let (stream, _, admission) = back.into_inner()
        && let Ok(stream) = TcpStream::from_std(stream)
    {
        // The other thread is overrun, or has ended already.
        own(stream, admission.at(worker.thread));
    }
}

fn least_busy(connections: &[AtomicUsize], own: usize) -> usize {
    let load = |thread: usize| connections[thread].load(Ordering::Relaxed);
    let least = (0..connections.len()).min_by_key(|&thread| load(thread)).unwrap_or(own);
    if load(own) > load(least) + SURPLUS_MAX { least } else { own }
}

/// Takes the connections that other threads hand on.
async fn receive(worker: Rc<Worker>, mut handed: mpsc::Receiver<Handed>) {
    while let Some((stream, address, admission)) = handed.recv().await {
        if let Ok(stream) = TcpStream::from_std(stream) {
            spawn_local(client::serve(Rc::clone(&worker), stream, address, admission));
        }
    }
}

/// Looks after connections that nothing else wakes.
async fn sweep(worker: Rc<Worker>) {
    let settings = &worker.shared.settings;
    loop {
        sleep(SWEEP).await;
        worker.clients.sweep(settings);
        worker.view.tidy(settings.upstream_idle);
    }
}

/// Closes what is kept for an upstream as soon as it has left the table, also when no request comes.
async fn follow(worker: Rc<Worker>) {
    let mut generations = worker.shared.live.follow();
    while generations.changed().await.is_ok() {
        worker.view.refresh(&worker.shared.live);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_goes_where_there_are_clearly_fewer() {
        let connections = [5, 3, 4].map(AtomicUsize::new);

        assert_eq!(least_busy(&connections, 0), 1);
        assert_eq!(least_busy(&connections, 2), 2, "one more is no reason to hand it on");
    }
}
