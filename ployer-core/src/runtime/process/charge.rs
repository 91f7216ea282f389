//! Being in charge: the supervisors of all replicas, and the lock that keeps a second program from having them too.
//!
//! The lock is on the file, held until the last supervisor has ended; a crash frees it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::files::{blocking, failed};
use super::kin;
use super::record::{self, Record};
use super::shared::Shared;
use super::supervise::{Order, Supervisor};
use crate::error::{Error, ErrorKind, Result};
use crate::model::ReplicaName;

/// Orders that may wait for one supervisor.
const ORDERS_MAX: usize = 64;
/// How long a program before may take to let go of what it was in charge of.
const HANDOVER: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Being in charge, until it is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    supervisors: Mutex<BTreeMap<ReplicaName, Handle>>,
    let_go: CancellationToken,
    tasks: TaskTracker,
    lock: Arc<File>,
    _let_go_on_drop: DropGuard,
}

#[derive(Clone, Debug)]
struct Handle {
    orders: mpsc::Sender<Order>,
    view: watch::Receiver<Option<Record>>,
}

impl Charge {
    /// Takes charge of everything that is recorded.
    ///
    /// # Errors
    ///
    /// `Conflict` if another program is in charge.
    pub(super) async fn take(shared: &Arc<Shared>) -> Result<Self> {
        let lock = Arc::new(lock(shared).await?);
        let let_go = CancellationToken::new();
        let charge = Self {
            supervisors: Mutex::new(BTreeMap::new()),
            tasks: TaskTracker::new(),
            lock,
            _let_go_on_drop: let_go.clone().drop_guard(),
            let_go,
        };
        // Builds and commands of a program that crashed write into what is built anew now.
        kin::kill("a build", &shared.marks().any_guest(), None).await?;
        let folder = shared.replicas();
        let (records, unreadable) = blocking(move || record::read_all(&folder)).await?;
        for error in unreadable {
            tracing::warn!(error = %error.chain(), "a replica cannot be taken over");
        }
        for record in records {
            let mut supervisor = Supervisor::new(Arc::clone(shared), record.name.clone());
            if let Err(error) = supervisor.adopt(record.clone()).await {
                tracing::warn!(replica = %record.name, error = %error.chain(), "a replica is taken over in part");
            }
            let handle = charge.spawn(supervisor);
            charge.supervisors().insert(record.name, handle);
        }
        Ok(charge)
    }

    /// Gives an order to the supervisor of `name`; one is made if there is none.
    pub(super) async fn order(&self, shared: &Arc<Shared>, name: &ReplicaName, order: Order) {
        let handle = {
            let mut supervisors = self.supervisors();
            match supervisors.get(name).filter(|handle| !handle.orders.is_closed()) {
                Some(handle) => handle.clone(),
                None => {
                    let handle = self.spawn(Supervisor::new(Arc::clone(shared), name.clone()));
                    supervisors.insert(name.clone(), handle.clone());
                    handle
                }
            }
        };
        // One that has left drops the order, and whoever waits for its answer learns that.
        let _left = handle.orders.send(order).await;
    }

    pub(super) fn record(&self, name: &ReplicaName) -> Option<Record> {
        self.supervisors().get(name).and_then(|handle| handle.view.borrow().clone())
    }

    pub(super) fn records(&self) -> Vec<Record> {
        let mut supervisors = self.supervisors();
        supervisors.retain(|_, handle| !handle.orders.is_closed());
        supervisors.values().filter_map(|handle| handle.view.borrow().clone()).collect()
    }

    /// Ends every task; what runs goes on.
    ///
    /// # Errors
    ///
    /// `Timeout` if one of them does not end.
    pub(super) async fn let_go(&self) -> Result<()> {
        self.let_go.cancel();
        self.tasks.close();
        match tokio::time::timeout(HANDOVER, self.tasks.wait()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Error::new(ErrorKind::Timeout, "supervisors of the process runtime do not end")),
        }
    }

    fn spawn(&self, supervisor: Supervisor) -> Handle {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let view = supervisor.view();
        let (let_go, lock) = (self.let_go.clone(), Arc::clone(&self.lock));
        self.tasks.spawn(async move {
            supervisor.run(inbox, let_go).await;
            drop(lock);
        });
        Handle { orders, view }
    }

    fn supervisors(&self) -> MutexGuard<'_, BTreeMap<ReplicaName, Handle>> {
        self.supervisors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lock; a program that is just letting go is waited for.
async fn lock(shared: &Shared) -> Result<File> {
    let path = shared.lock();
    let cannot = || format!("{} cannot be locked", path.display());
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(failed(cannot()))?;
    let deadline = Instant::now() + HANDOVER;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed(cannot())(error)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                let message = format!("another program runs the replicas of {}", path.display());
                return Err(Error::conflict(message).with_hint("stop it, or use another data directory"));
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
}
