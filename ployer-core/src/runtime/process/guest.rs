//! A guest: a command that runs for the sake of one call, and not beyond it.
//!
//! It writes into pipes that the call reads; dropping the call kills it with everything that it started. Builds and
//! commands beside a replica are guests, replicas are not.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;

use super::kin::{self, Marks};
use super::pidfd::Held;
use super::spawn::{self, Launching, Streams};
use crate::model::{Exit, Secret};

/// How long output may still come after the command has ended and its group was killed.
const DRAIN: Duration = Duration::from_secs(1);
/// How long a killed command is waited for where nobody can wait asynchronously.
const GONE: Duration = Duration::from_millis(200);

/// A command that runs until it has ended or this is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    held: Held,
    marks: Marks,
    identity: super::record::Identity,
    is_over: bool,
}

/// The ends of a guest's pipes that are ours.
#[derive(Debug)]
pub(super) struct Pipes {
    pub(super) stdin: Option<pipe::Sender>,
    pub(super) stdout: pipe::Receiver,
    /// `None` where both streams share one pipe, which keeps their order.
    pub(super) stderr: Option<pipe::Receiver>,
}

/// Whether both streams go through one pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Streaming {
    Joined,
    Apart,
}

impl Guest {
    /// Starts it. `marks` are those of its environment.
    pub(super) async fn start(
        launching: Launching,
        marks: Marks,
        streaming: Streaming,
        reads_input: bool,
        boot: String,
    ) -> io::Result<(Self, Pipes)> {
        let (ours, streams) = pipes(streaming, reads_input)?;
        let spawned = spawn::spawn(launching, streams, boot).await?;
        let held = Held::from_fd(spawned.fd, spawned.identity.pid)?;
        Ok((Self { held, marks, identity: spawned.identity, is_over: false }, ours))
    }

    /// Waits for its end, then ends what it has left behind.
    pub(super) async fn ended(&mut self) -> io::Result<Exit> {
        let exit = self.held.ended().await;
        kin::kill("a command", &self.marks, Some(&self.identity)).await.map_err(io::Error::other)?;
        self.held.bury();
        self.is_over = true;
        Ok(exit)
    }
}

/// Kills the group at once, then whoever left it. The call is gone, so there is nobody to wait: a killed process is
/// gone within milliseconds.
impl Drop for Guest {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        if let Err(error) = self.held.signal_group(Signal::KILL) {
            tracing::warn!(%error, "a command cannot be killed");
        }
        kin::kill_once(&self.marks, Some(&self.identity));
        self.held.bury_within(GONE);
    }
}

fn pipes(streaming: Streaming, reads_input: bool) -> io::Result<(Pipes, Streams)> {
    let (stdout, out) = io::pipe()?;
    let (stderr, err) = match streaming {
        Streaming::Joined => (None, OwnedFd::from(out.try_clone()?)),
        Streaming::Apart => {
            let (stderr, err) = io::pipe()?;
            (Some(receiver(stderr)?), err.into())
        }
    };
    let (stdin, input) = match reads_input {
        false => (None, None),
        true => {
            let (input, stdin) = io::pipe()?;
            (Some(pipe::Sender::from_owned_fd(nonblocking(stdin.into())?)?), Some(input.into()))
        }
    };
    Ok((Pipes { stdin, stdout: receiver(stdout)?, stderr }, Streams { stdin: input, stdout: out.into(), stderr: err }))
}

fn receiver(end: io::PipeReader) -> io::Result<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(nonblocking(end.into())?)
}

fn nonblocking(fd: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(fd)
}

/// Reads a pipe to its end and keeps the first `bytes_max`.
pub(super) async fn read_bounded(mut pipe: pipe::Receiver, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut piece = vec![0; 16 * 1024];
    loop {
        match pipe.read(&mut piece).await? {
            0 => return Ok(kept),
            read => kept.extend_from_slice(&piece[..read.min(bytes_max - kept.len())]),
        }
    }
}

/// Writes all of `input` and closes the pipe; a command that does not read it is no error.
pub(super) async fn write_all(pipe: Option<pipe::Sender>, input: Option<Secret>) -> io::Result<()> {
    let (Some(mut pipe), Some(input)) = (pipe, input) else { return Ok(()) };
    match pipe.write_all(input.expose()).await {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// How long the rest of the output may take once the command has ended.
pub(super) async fn drained<T>(rest: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(DRAIN, rest).await.ok()
}
