//! Kin: the processes that belong to one replica, wherever they went.
//!
//! Three ties are followed: the group that the replica's first process leads, parents and children, and the marks
//! in the environment, which also hold where a process left its group and lost its parent. A process with neither
//! is not ours: nothing is ever signalled on its number alone.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use procfs::process::{ProcState, Process, Stat};
use rustix::process::Signal;

use super::environment::Variables;
use super::files::blocking;
use super::pidfd;
use super::record::Identity;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{InstanceId, ReplicaName};

/// The instance that made a process.
pub(super) const MARK_INSTANCE: &str = "PLOYER_INSTANCE";
/// The data directory of the installation that made it.
pub(super) const MARK_INSTALLATION: &str = "PLOYER_INSTALLATION";
/// The replica that a process belongs to.
pub(super) const MARK_REPLICA: &str = "PLOYER_REPLICA";
/// Set where a process is there for the sake of one call: a build, or a command beside a replica.
pub(super) const MARK_GUEST: &str = "PLOYER_GUEST";

/// How long killed processes may take to be gone.
const GONE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A process as it was when looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kin {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) started: u64,
}

impl Kin {
    /// Who it is, since that start of the machine.
    pub(super) fn identity(&self, boot: &str) -> Identity {
        Identity { pid: self.pid, started: self.started, boot: boot.to_owned() }
    }
}

impl From<&Stat> for Kin {
    fn from(stat: &Stat) -> Self {
        Self { pid: stat.pid, parent: stat.ppid, group: stat.pgrp, started: stat.starttime }
    }
}

/// Entries that a process has in its environment since it was made.
#[derive(Clone, Debug)]
pub(super) struct Marks(Vec<Vec<u8>>);

impl Marks {
    /// Those of everything that one installation runs. A database that was copied makes a second one of its
    /// instance: the data directory tells them apart.
    pub(super) fn installation(instance: InstanceId, data_dir: &Path) -> Self {
        let data_dir = entry(MARK_INSTALLATION, data_dir.as_os_str().as_bytes());
        Self(vec![entry(MARK_INSTANCE, instance.to_string().as_bytes()), data_dir])
    }

    /// These, and those of everything that belongs to a replica.
    pub(super) fn replica(self, name: &ReplicaName) -> Self {
        self.and(MARK_REPLICA, name)
    }

    /// These, and those of a guest.
    pub(super) fn guest(self, guest: impl fmt::Display) -> Self {
        self.and(MARK_GUEST, guest)
    }

    /// These, and those that all guests have.
    pub(super) fn any_guest(self) -> Self {
        self.guest("")
    }

    /// Puts them into the environment that a process will have.
    pub(super) fn put_into(&self, variables: &mut Variables) {
        let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        for mark in &self.0 {
            let (key, value) = mark.split_at(mark.iter().position(|byte| *byte == b'=').unwrap_or(mark.len()));
            variables.insert(text(key), text(value.strip_prefix(b"=").unwrap_or(value)));
        }
    }

    fn and(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.0.push(entry(key, value.to_string().as_bytes()));
        self
    }

    fn are_in(&self, environ: &[u8]) -> bool {
        let fits = |mark: &[u8], entry: &[u8]| entry == mark || (mark.ends_with(b"=") && entry.starts_with(mark));
        self.0.iter().all(|mark| environ.split(|byte| *byte == 0).any(|entry| fits(mark, entry)))
    }
}

fn entry(key: &str, value: &[u8]) -> Vec<u8> {
    [key.as_bytes(), b"=", value].concat()
}

/// When the process with this number started, in ticks since the machine did; `None` if there is none.
pub(super) fn started(pid: i32) -> Option<u64> {
    Some(stat(pid)?.starttime)
}

/// Whether a process runs: one that has ended and is not laid to rest yet does not.
pub(super) fn runs(identity: &Identity, boot: &str) -> bool {
    identity.boot == boot
        && stat(identity.pid).is_some_and(|stat| stat.starttime == identity.started && !has_ended(&stat))
}

fn stat(pid: i32) -> Option<Stat> {
    Process::new(pid).ok()?.stat().ok()
}

fn has_ended(stat: &Stat) -> bool {
    matches!(stat.state(), Ok(ProcState::Zombie | ProcState::Dead))
}

/// Every process of a replica that runs now, its `leader` included. The group is trusted only while the leader
/// still holds its number, running or not yet laid to rest.
pub(super) fn find(marks: &Marks, leader: Option<&Identity>) -> Vec<Kin> {
    let stats: Vec<Stat> = all();
    let group = leader
        .filter(|leader| stats.iter().any(|stat| stat.pid == leader.pid && stat.starttime == leader.started))
        .map(|leader| leader.pid);
    let mut ours: BTreeSet<i32> = stats
        .iter()
        .filter(|stat| Some(stat.pgrp) == group || Some(stat.pid) == group || is_marked(stat.pid, marks))
        .map(|stat| stat.pid)
        .collect();
    // Each round finds the children of the round before: as many rounds as generations.
    loop {
        let before = ours.len();
        let children: Vec<i32> = stats.iter().filter(|stat| ours.contains(&stat.ppid)).map(|stat| stat.pid).collect();
        ours.extend(children);
        if ours.len() == before {
            break;
        }
    }
    stats.iter().filter(|stat| ours.contains(&stat.pid) && !has_ended(stat)).map(Kin::from).collect()
}

/// The first process of a replica, found by its marks: it leads a group, and is older than whoever else does.
pub(super) fn leader(marks: &Marks) -> Option<Kin> {
    let guests = Marks(vec![entry(MARK_GUEST, b"")]);
    let is_guest = |kin: &Kin| is_marked(kin.pid, &guests);
    find(marks, None).into_iter().filter(|kin| kin.pid == kin.group && !is_guest(kin)).min_by_key(|kin| kin.started)
}

/// Kills every process of a replica until none is left.
///
/// # Errors
///
/// `Internal` if some are still there after [`GONE`]: the kernel holds them.
pub(super) async fn kill(what: impl fmt::Display, marks: &Marks, leader: Option<&Identity>) -> Result<()> {
    for _ in 0..GONE.as_millis() / LOOK_AGAIN.as_millis() {
        let (marks, leader) = (marks.clone(), leader.cloned());
        if blocking(move || Ok(kill_once(&marks, leader.as_ref()))).await? == 0 {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let left: Vec<String> = find(marks, leader).iter().map(|kin| kin.pid.to_string()).collect();
    let message = format!("processes of `{what}` cannot be ended: {}", left.join(", "));
    Err(Error::new(ErrorKind::Internal, message))
}

/// Kills every process of a replica that is found now, and says how many.
pub(super) fn kill_once(marks: &Marks, leader: Option<&Identity>) -> usize {
    let found = find(marks, leader);
    for kin in &found {
        signal_one(kin, Signal::KILL);
    }
    found.len()
}

/// Sends `signal` to one of them.
pub(super) fn signal_one(kin: &Kin, signal: Signal) {
    if let Err(error) = pidfd::signal(kin.pid, kin.started, signal) {
        tracing::warn!(pid = kin.pid, %error, "a process cannot be signalled");
    }
}

fn all() -> Vec<Stat> {
    // A process that ends while it is looked at is simply not there.
    procfs::process::all_processes()
        .map(|processes| processes.filter_map(|process| process.ok()?.stat().ok()).collect())
        .unwrap_or_default()
}

fn is_marked(pid: i32, marks: &Marks) -> bool {
    marks.are_in(&environ(pid))
}

fn environ(pid: i32) -> Vec<u8> {
    std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

/// Which start of the machine this is.
pub(super) fn boot() -> std::io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}
