//! Readers: a few connections for reads, opened when they are needed and then kept.
//!
//! A pool of sqlx would look after them with tasks of its own; these live and end with their store.

use std::sync::atomic::{AtomicUsize, Ordering};

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// Reads at once; each connection costs a thread and a cache.
const READERS: usize = 2;

/// The connections for reads.
pub(super) struct Readers {
    options: SqliteConnectOptions,
    connections: [OnceCell<Mutex<SqliteConnection>>; READERS],
    turn: AtomicUsize,
}

impl Readers {
    pub(super) fn new(options: SqliteConnectOptions) -> Self {
        Self { options, connections: Default::default(), turn: AtomicUsize::new(0) }
    }

    /// A connection that is free, or the next one in turn: opened, or waited for.
    pub(super) async fn get(&self) -> sqlx::Result<MutexGuard<'_, SqliteConnection>> {
        if let Some(free) = self.connections.iter().find_map(|connection| connection.get()?.try_lock().ok()) {
            return Ok(free);
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % READERS;
        let open = async || self.options.connect().await.map(Mutex::new);
        Ok(self.connections[turn].get_or_try_init(open).await?.lock().await)
    }
}
