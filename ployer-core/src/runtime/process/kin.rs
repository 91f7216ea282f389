//! Kin: the processes that belong to one replica, wherever they went.
//!
//! Three ties are followed: the group that the replica's first process leads, parents and children, and the marks
//! in the environment, which also hold where a process left its group and lost its parent. A process with neither
//! is not ours: nothing is ever signalled on its number alone.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use procfs::process::{ProcState, Process, Stat};
use rustix::process::Signal;
use uuid::Uuid;

use super::environment::Variables;
use super::files::blocking;
use super::pidfd;
use super::record::Identity;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{InstanceId, ReplicaName};

/// The instance that made a process.
pub(super) const MARK_INSTANCE: &str = "PLOYER_INSTANCE";
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
    /// Those of everything that belongs to a replica.
    pub(super) fn replica(instance: InstanceId, name: &ReplicaName) -> Self {
        Self(vec![entry(MARK_INSTANCE, &instance), entry(MARK_REPLICA, name)])
    }

    /// Those of a guest, and of nothing else.
    pub(super) fn guest(instance: InstanceId, guest: impl fmt::Display) -> Self {
        Self(vec![entry(MARK_INSTANCE, &instance), entry(MARK_GUEST, &guest)])
    }

    /// Those that all guests of an instance have.
    pub(super) fn any_guest(instance: InstanceId) -> Self {
        Self::guest(instance, "")
    }

    /// These, and those of one command beside a replica.
    pub(super) fn and_guest(mut self, guest: Uuid) -> Self {
        self.0.push(entry(MARK_GUEST, &guest));
        self
    }

    /// Puts them into the environment that a process will have.
    pub(super) fn put_into(&self, variables: &mut Variables) {
        let entries = self.0.iter().filter_map(|mark| std::str::from_utf8(mark).ok()?.split_once('='));
        variables.extend(entries.map(|(key, value)| (key.into(), value.into())));
    }

    fn are_in(&self, environ: &[u8]) -> bool {
        let fits = |mark: &[u8], entry: &[u8]| entry == mark || (mark.ends_with(b"=") && entry.starts_with(mark));
        self.0.iter().all(|mark| environ.split(|byte| *byte == 0).any(|entry| fits(mark, entry)))
    }
}

fn entry(key: &str, value: &dyn fmt::Display) -> Vec<u8> {
    format!("{key}={value}").into_bytes()
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
    let guests = Marks(vec![entry(MARK_GUEST, &"")]);
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
