//! Spawning: one process, in a group of its own, from a thread of its own.
//!
//! The thread is what lets a process be confined without code between fork and exec: Landlock and niceness hold for
//! the thread that asked for them, are inherited by what it starts, and end with it.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tokio::sync::oneshot;

use super::confine::Confinement;
use super::environment::Variables;
use super::record::Identity;
use super::{kin, limits, pidfd};

/// How much a build yields to everything else.
const NICENESS: i32 = 10;

/// What to start.
pub(super) struct Launching {
    pub(super) arguments: Vec<OsString>,
    pub(super) variables: Variables,
    pub(super) directory: PathBuf,
    /// The cgroup that holds it to its limits.
    pub(super) cgroup: Option<PathBuf>,
    pub(super) confinement: Option<Confinement>,
    pub(super) pace: Pace,
    pub(super) call: Call,
}

/// What a process reads and writes.
pub(super) struct Streams {
    /// `None`: nothing to read.
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// How a process shares the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    Even,
    Yielding,
}

/// What the process is to the call that starts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// It goes on when the call is dropped.
    Beyond,
    /// It is there for the call's sake.
    Within,
}

/// A process that was made.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) identity: Identity,
    pub(super) fd: OwnedFd,
}

/// Starts a process.
///
/// # Errors
///
/// What the system says: `NotFound` where there is no such program.
pub(super) async fn spawn(launching: Launching, streams: Streams, boot: String) -> io::Result<Spawned> {
    let (done, result) = oneshot::channel();
    std::thread::Builder::new().name("ployer-spawn".to_owned()).spawn(move || {
        let call = launching.call;
        // Whoever asked may be gone. A replica that runs then is found by its marks.
        if let Err(Ok(unwanted)) = done.send(launch(launching, streams, boot))
            && call == Call::Within
        {
            pidfd::kill_group(&unwanted);
        }
    })?;
    result.await.unwrap_or_else(|_| Err(io::Error::other("the thread that starts processes ended early")))
}

fn launch(launching: Launching, streams: Streams, boot: String) -> io::Result<Spawned> {
    if launching.pace == Pace::Yielding {
        rustix::process::setpriority_process(None, NICENESS)?;
    }
    let entrance = launching.cgroup.as_deref().map(limits::entrance).transpose()?;
    if let Some(confinement) = &launching.confinement {
        confinement.apply()?;
    }
    let (program, arguments) = launching.arguments.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(&launching.variables)
        .current_dir(&launching.directory)
        .stdin(streams.stdin.map_or_else(Stdio::null, Stdio::from))
        .stdout(streams.stdout)
        .stderr(streams.stderr)
        .process_group(0)
        .spawn()?;
    identify(&child, entrance, boot).or_else(|error| {
        // One that cannot be named must not run.
        child.kill()?;
        child.wait()?;
        Err(error)
    })
}

/// Until it is waited for, which only the holder of the descriptor does, its number stays its own.
fn identify(child: &Child, entrance: Option<File>, boot: String) -> io::Result<Spawned> {
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    if let Some(mut entrance) = entrance {
        entrance.write_all(pid.to_string().as_bytes())?;
    }
    let fd = pidfd::open_pid(pid)?.ok_or(io::ErrorKind::NotFound)?;
    let started = kin::started(pid).ok_or(io::ErrorKind::NotFound)?;
    Ok(Spawned { identity: Identity { pid, started, boot }, fd })
}
