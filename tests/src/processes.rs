//! Processes: what an installation has running, as the kernel tells it and not as Ployer does.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use ployer_core::model::InstanceId;
use procfs::process::{Process, all_processes};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// A process that carries the mark of an installation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marked {
    /// Its process id.
    pub pid: i32,
    /// When it was started, in ticks since the start of the machine: with the id, which process it is.
    pub started: u64,
    /// The replica or one-off that it belongs to, if it belongs to one.
    pub replica: Option<String>,
}

/// Everything that runs with the mark of `instance`.
///
/// # Panics
///
/// If `/proc` cannot be read.
pub fn of(instance: InstanceId) -> BTreeSet<Marked> {
    let mark = instance.to_string();
    all_processes().expect("/proc can be read").flatten().filter_map(|process| marked(&process, &mark)).collect()
}

/// The names of the replicas that `of` finds.
pub fn replicas(instance: InstanceId) -> BTreeSet<String> {
    of(instance).into_iter().filter_map(|marked| marked.replica).collect()
}

/// Ends everything of `instance` by force.
pub fn kill_all(instance: InstanceId) {
    for Marked { pid, .. } in of(instance) {
        let killed = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
        debug_assert!(matches!(killed, Some(Ok(()) | Err(Errno::SRCH))), "{pid}: {killed:?}");
    }
}

fn marked(process: &Process, instance: &str) -> Option<Marked> {
    let environment = process.environ().ok()?;
    if environment.get(OsStr::new("PLOYER_INSTANCE"))?.as_bytes() != instance.as_bytes() {
        return None;
    }
    let stat = process.stat().ok()?;
    // What has ended and waits for its parent to look runs no more.
    if matches!(stat.state, 'Z' | 'X') {
        return None;
    }
    let replica = environment.get(OsStr::new("PLOYER_REPLICA")).map(|name| name.to_string_lossy().into_owned());
    Some(Marked { pid: process.pid, started: stat.starttime, replica })
}
