//! A process held by a descriptor: signals reach it and no other, and its end is an event.
//!
//! No signal handler is set and no child handle is kept: what this program made and what it found again after a
//! crash are watched alike. How it ended is known for a child of ours only.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{self, Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::kin;
use super::record::Identity;
use super::spawn::Spawned;
use crate::model::Exit;

/// A process that was there when it was opened.
#[derive(Debug)]
pub(super) struct Held {
    fd: AsyncFd<OwnedFd>,
    pid: Pid,
}

impl Held {
    /// Opens the process of that identity; `None` if it has ended and is no child of ours.
    pub(super) fn open(identity: &Identity) -> io::Result<Option<Self>> {
        let Some(fd) = open_pid(identity.pid)? else { return Ok(None) };
        // The number may have been given to another process before it was opened, but not since.
        if kin::started(identity.pid) != Some(identity.started) {
            return Ok(None);
        }
        Ok(Some(Self::from_fd(fd, identity.pid)?))
    }

    /// Holds a process by a descriptor that names it.
    #[allow(
        deprecated,
        reason = "the other constructor is unsafe, for types that may swap their descriptor: ours cannot"
    )]
    pub(super) fn from_fd(fd: OwnedFd, pid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { fd: AsyncFd::with_interest(fd, Interest::READABLE)?, pid })
    }

    /// Waits for its end and tells how it ended, without laying it to rest: until [`Held::bury`] its number, and
    /// with it that of its group, cannot become somebody else's.
    pub(super) async fn ended(&self) -> Exit {
        // A descriptor that cannot be waited for can only mean that nothing is known of the process any more.
        if self.fd.readable().await.is_err() {
            return Exit::Unknown;
        }
        self.exit(WaitIdOptions::NOWAIT)
    }

    /// Lays an ended child to rest.
    pub(super) fn bury(&self) {
        self.exit(WaitIdOptions::empty());
    }

    /// Lays a killed child to rest where nobody can wait for it; it is given up after `patience`.
    pub(super) fn bury_within(&self, patience: Duration) {
        let deadline = rustix::event::Timespec::try_from(patience).ok();
        let mut fds = [PollFd::new(self.fd.get_ref(), PollFlags::IN)];
        match rustix::event::poll(&mut fds, deadline.as_ref()) {
            Ok(1) => self.bury(),
            _ => tracing::warn!(pid = self.pid.as_raw_nonzero(), "a killed process takes its time to end"),
        }
    }

    fn exit(&self, options: WaitIdOptions) -> Exit {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | options;
        match process::waitid(WaitId::PidFd(self.fd.get_ref().as_fd()), options) {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => Exit::Code(code),
                (None, Some(signal)) => Exit::Signal(signal),
                (None, None) => Exit::Unknown,
            },
            // It is not a child of ours, or somebody else has waited for it.
            Ok(None) | Err(_) => Exit::Unknown,
        }
    }

    /// Sends `signal` to its whole group, which it leads.
    pub(super) fn signal_group(&self, signal: Signal) -> io::Result<()> {
        match process::kill_process_group(self.pid, signal) {
            Err(Errno::SRCH) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Kills the group of a process that nobody wants, and lays it to rest. This may wait for a moment.
pub(super) fn kill_group(unwanted: &Spawned) {
    let Some(pid) = Pid::from_raw(unwanted.identity.pid) else { return };
    let killed = process::kill_process_group(pid, Signal::KILL)
        .and_then(|()| process::waitid(WaitId::PidFd(unwanted.fd.as_fd()), WaitIdOptions::EXITED));
    if let Err(error) = killed {
        tracing::warn!(%error, "{} cannot be killed", unwanted.identity);
    }
}

/// A descriptor of the process that has this number now; `None` if none has.
pub(super) fn open_pid(pid: i32) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(pid) else { return Ok(None) };
    match process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sends `signal` to the process with this number, if it still is the one that started then.
pub(super) fn signal(pid: i32, started: u64, signal: Signal) -> io::Result<()> {
    let Some(fd) = open_pid(pid)? else { return Ok(()) };
    if kin::started(pid) != Some(started) {
        return Ok(());
    }
    match process::pidfd_send_signal(&fd, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
