//! Health: what was last seen of the services behind the API. Nothing is asked within a request.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ployer_core::Ployer;
use tokio::time::timeout;

/// How often the services are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// How long a service may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was last seen of the services. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    database: AtomicBool,
    docker: AtomicBool,
}

impl Health {
    /// Nothing was seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at the services again and again, until `until` is ready.
    pub async fn watch(&self, ployer: &Ployer, until: impl Future<Output = ()>) {
        tokio::pin!(until);
        loop {
            let read = timeout(PATIENCE, ployer.events().last()).await;
            self.0.database.store(matches!(read, Ok(Ok(_))), Ordering::Relaxed);
            tokio::select! {
                () = &mut until => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Whether the database answered when last asked.
    pub fn database(&self) -> bool {
        self.0.database.load(Ordering::Relaxed)
    }

    /// Whether Docker answered when last asked.
    pub fn docker(&self) -> bool {
        self.0.docker.load(Ordering::Relaxed)
    }
}
