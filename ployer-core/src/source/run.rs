//! A run of Git: one process group, its output as it comes, an end whatever happens.
//!
//! Blocking, on a thread of its own: tokio's child processes may set a signal handler, which a library must not.
//! Who asked holds an [`EndOnDrop`]; once that is gone, the group gets SIGTERM (Git removes its lock files), and
//! SIGKILL a second later. Output is bounded; nothing is left running when [`Run::git`] returns.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::sync::mpsc;

use super::args::{Call, Git};
use super::failure::{GitFailure, Trouble};
use super::places::ApplicationLock;
use super::progress::Lines;

/// How often a run looks whether it is still wanted.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
/// Ticks between SIGTERM and SIGKILL.
const GRACE_TICKS: u32 = 20;
/// Rounds of reading between two looks at what grows.
const WATCH_ROUNDS: u32 = 10;
/// The most that a call may write to its standard output.
const STDOUT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Whether a piece of work is still wanted, and the process group that works on it now.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    ended: AtomicBool,
    group: Mutex<Option<Pid>>,
}

/// Ends the work when it is dropped.
#[derive(Debug)]
pub(super) struct EndOnDrop(pub(super) Arc<Wanted>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::SeqCst);
        self.0.signal(Signal::TERM);
    }
}

impl Wanted {
    /// Refuses to go on with work that nobody waits for.
    pub(super) fn check(&self) -> Result<(), Trouble> {
        if self.ended.load(Ordering::SeqCst) { Err(Trouble::Unwanted) } else { Ok(()) }
    }

    fn group(&self) -> MutexGuard<'_, Option<Pid>> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Signals the group, if there is one: while it is named here, its leader is not yet reaped.
    fn signal(&self, signal: Signal) {
        if let Some(group) = *self.group() {
            // The only possible failure is that the last process has just gone.
            kill_process_group(group, signal).ok();
        }
    }
}

/// What the work on one checkout shares: how to call Git, who listens, whether it is still wanted.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) git: Git,
    pub(super) wanted: Arc<Wanted>,
    pub(super) lines: mpsc::Sender<String>,
    /// Inherited by every Git.
    pub(super) lock: ApplicationLock,
}

impl Run {
    /// Says a line to whoever follows the deployment.
    pub(super) fn say(&self, line: impl Into<String>) {
        // A receiver that has gone is somebody who no longer waits: `wanted` says so too.
        self.lines.blocking_send(line.into()).ok();
    }

    /// Runs a call to its end; answers what it wrote.
    pub(super) fn git(&self, call: Call) -> Result<Vec<u8>, Trouble> {
        self.git_watched(call, &|| Ok(()))
    }

    /// The same, looking at what grows from time to time.
    pub(super) fn git_watched(&self, call: Call, watch: &dyn Fn() -> Result<(), Trouble>) -> Result<Vec<u8>, Trouble> {
        self.complete(call, watch, &mut |line| self.say(line))
    }

    /// The same for a question, to which a failure is an answer: nothing of it is said.
    pub(super) fn ask_git(&self, call: Call) -> Result<Vec<u8>, Trouble> {
        self.complete(call, &|| Ok(()), &mut |_| {})
    }

    fn complete(
        &self,
        call: Call,
        watch: &dyn Fn() -> Result<(), Trouble>,
        say: &mut dyn FnMut(String),
    ) -> Result<Vec<u8>, Trouble> {
        self.wanted.check()?;
        let name = call.name;
        let mut group = Group::start(call, &self.wanted, &self.lock)?;
        let output = group.follow(watch, say)?;
        let status = group.reap().map_err(Trouble::NoGit)?;
        if status.success() {
            return Ok(output.stdout);
        }
        self.wanted.check()?;
        Err(Trouble::Git(GitFailure::new(name, status, output.lines.into_tail())))
    }
}

#[derive(Default)]
struct Output {
    stdout: Vec<u8>,
    lines: Lines,
}

/// A running call. Dropping it ends and reaps the group.
struct Group<'a> {
    child: Child,
    wanted: &'a Wanted,
    reaped: bool,
}

impl<'a> Group<'a> {
    fn start(call: Call, wanted: &'a Wanted, lock: &ApplicationLock) -> Result<Self, Trouble> {
        let mut group = wanted.group();
        let child = Command::new("git")
            .args(&call.args)
            .env_clear()
            .envs(call.env)
            .current_dir(call.directory)
            .stdin(lock.share().map_err(Trouble::NoGit)?)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(Trouble::NoGit)?;
        *group = Some(Pid::from_child(&child));
        drop(group);
        Ok(Self { child, wanted, reaped: false })
    }

    /// Takes the output until there is no more, or until the call has ended.
    fn follow(
        &mut self,
        watch: &dyn Fn() -> Result<(), Trouble>,
        say: &mut dyn FnMut(String),
    ) -> Result<Output, Trouble> {
        let mut stdout = Pipe::new(self.child.stdout.take().map(OwnedFd::from)).map_err(Trouble::NoGit)?;
        let mut stderr = Pipe::new(self.child.stderr.take().map(OwnedFd::from)).map_err(Trouble::NoGit)?;
        let mut output = Output::default();
        let mut exited = false;
        for round in 1_u32.. {
            wait_for(&stdout, &stderr);
            stdout.read(&mut |bytes| output.stdout.extend_from_slice(bytes));
            stderr.read(&mut |bytes| output.lines.take(bytes, say));
            if exited || !(stdout.is_open() || stderr.is_open()) {
                break;
            }
            self.wanted.check()?;
            if round.is_multiple_of(WATCH_ROUNDS) {
                watch()?;
            }
            if output.stdout.len() > STDOUT_BYTES_MAX {
                return Err(Trouble::too_large("it has more files than fit"));
            }
            // What outlives the call may keep the pipes open: one more look, then no more.
            exited = self.has_exited();
        }
        output.lines.end(say);
        Ok(output)
    }

    fn has_exited(&self) -> bool {
        self.wait_without_reaping(WaitIdOptions::NOHANG)
    }

    fn wait_without_reaping(&self, options: WaitIdOptions) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | options;
        waitid(WaitId::Pid(Pid::from_child(&self.child)), options).is_ok_and(|status| status.is_some())
    }

    /// Waits for the end, kills what is left of the group, and lets its number go.
    fn reap(&mut self) -> io::Result<ExitStatus> {
        self.wait_without_reaping(WaitIdOptions::empty());
        self.wanted.signal(Signal::KILL);
        *self.wanted.group() = None;
        self.reaped = true;
        self.child.wait()
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        if self.reaped {
            return;
        }
        self.wanted.signal(Signal::TERM);
        for _ in 0..GRACE_TICKS {
            if self.has_exited() {
                break;
            }
            poll(&mut [], Some(&TICK)).ok();
        }
        self.wanted.signal(Signal::KILL);
        self.reap().ok();
    }
}

/// The reading end of a pipe, never blocking; closed when its last writer has gone.
struct Pipe(Option<File>);

impl Pipe {
    fn new(end: Option<OwnedFd>) -> io::Result<Self> {
        if let Some(end) = &end {
            ioctl_fionbio(end, true)?;
        }
        Ok(Self(end.map(File::from)))
    }

    fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Hands on what is there now.
    fn read(&mut self, take: &mut dyn FnMut(&[u8])) {
        let mut buffer = [0; 16 * 1024];
        while let Some(file) = &mut self.0 {
            match file.read(&mut buffer) {
                Ok(0) => self.0 = None,
                Ok(count) => take(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.0 = None,
            }
        }
    }
}

/// Waits until one of them has something to read, a tick at most.
fn wait_for(one: &Pipe, other: &Pipe) {
    let mut open: Vec<_> = [one, other]
        .into_iter()
        .filter_map(|pipe| pipe.0.as_ref())
        .map(|file| PollFd::new(file, PollFlags::IN))
        .collect();
    // An interrupted wait is a short one.
    poll(&mut open, Some(&TICK)).ok();
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::clock::SystemClock;
    use crate::config::SourceSettings;
    use crate::model::ApplicationId;
    use crate::source::places::Places;

    /// A run in a folder of its own, and the lines that it says.
    fn run(folder: &Path) -> (Run, mpsc::Receiver<String>) {
        let places = Places::open(folder).unwrap();
        let lock = places.lock(ApplicationId::from(Uuid::from_u128(1)), &SystemClock).unwrap();
        let git = Git::new("/usr/bin:/bin".into(), places.home(), Vec::new(), &SourceSettings::default());
        let (lines, said) = mpsc::channel(100);
        (Run { git, wanted: Arc::default(), lines, lock }, said)
    }

    /// A call of Git that runs a script of ours.
    fn script(folder: &Path, script: &str) -> Call {
        let alias = format!("alias.script=!{script}");
        let args = ["-c", &alias, "script"].map(Into::into).to_vec();
        let env = vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())];
        Call { name: "script", args, env, directory: folder.to_owned() }
    }

    /// Runs a script on a thread; the answer comes when it has ended.
    fn on_a_thread(run: Run, call: Call) -> Receiver<Result<Vec<u8>, Trouble>> {
        let (ended, end) = channel();
        std::thread::spawn(move || ended.send(run.git(call)).unwrap());
        end
    }

    #[test]
    fn output_is_answered_and_lines_are_said_as_they_come() {
        let folder = tempfile::tempdir().unwrap();
        let (run, mut said) = run(folder.path());

        let answer = run.git(script(folder.path(), "echo out; echo one >&2; echo two >&2")).unwrap();

        assert_eq!(answer, b"out\n");
        assert_eq!([said.try_recv().unwrap(), said.try_recv().unwrap()], ["one", "two"]);
    }

    #[test]
    fn a_failure_has_the_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let (run, _said) = run(folder.path());

        let failed = run.git(script(folder.path(), "echo fatal: no >&2; exit 3"));

        let Err(Trouble::Git(failure)) = failed else { panic!("{failed:?}") };
        assert_eq!(failure.to_string(), "`git script` ended with exit status: 3: fatal: no");
    }

    #[test]
    fn a_run_that_nobody_wants_any_more_ends_with_all_its_processes() {
        let folder = tempfile::tempdir().unwrap();
        let (run, mut said) = run(folder.path());
        let wanted = EndOnDrop(run.wanted.clone());
        let end = on_a_thread(run, script(folder.path(), "sleep 100 & echo $! >&2; sleep 100"));
        let grandchild = said.blocking_recv().unwrap();

        drop(wanted);

        let ended = end.recv_timeout(Duration::from_secs(2)).unwrap();
        assert!(matches!(ended, Err(Trouble::Unwanted)), "{ended:?}");
        assert_gone(&grandchild);
    }

    #[test]
    fn a_run_that_ignores_sigterm_is_killed_after_its_grace() {
        let folder = tempfile::tempdir().unwrap();
        let (run, mut said) = run(folder.path());
        let wanted = EndOnDrop(run.wanted.clone());
        let stubborn = "trap '' TERM; echo $$ >&2; while true; do sleep 0.1; done";
        let end = on_a_thread(run, script(folder.path(), stubborn));
        let process = said.blocking_recv().unwrap();

        drop(wanted);

        let ended = end.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(matches!(ended, Err(Trouble::Unwanted)), "{ended:?}");
        assert_gone(&process);
    }

    #[test]
    fn a_process_that_outlives_its_call_holds_nothing_up_and_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let (run, mut said) = run(folder.path());

        let end = on_a_thread(run, script(folder.path(), "sleep 100 & echo $! >&2"));

        end.recv_timeout(Duration::from_secs(5)).unwrap().unwrap();
        assert_gone(&said.blocking_recv().unwrap());
    }

    #[test]
    fn what_is_watched_ends_a_call_that_outgrows_it() {
        let folder = tempfile::tempdir().unwrap();
        let (run, _said) = run(folder.path());

        let ended = run.git_watched(script(folder.path(), "sleep 100"), &|| Err(Trouble::too_large("too much")));

        assert!(matches!(ended, Err(Trouble::Refused(_))), "{ended:?}");
    }

    #[test]
    fn a_machine_without_git_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let (run, _said) = run(folder.path());
        let mut call = script(folder.path(), "true");
        call.env = vec![("PATH".into(), folder.path().into())];

        let ended = run.git(call);

        assert!(matches!(ended, Err(Trouble::NoGit(_))), "{ended:?}");
    }

    /// Waits for the end of a process, which comes very soon or not at all.
    fn assert_gone(process: &str) {
        let pid = Pid::from_raw(process.parse().unwrap()).unwrap();
        let Ok(end) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else { return };

        let ended = poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&Timespec { tv_sec: 5, tv_nsec: 0 }));

        assert_eq!(ended.unwrap(), 1, "{process} goes on");
    }
}
