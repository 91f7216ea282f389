//! A program under test: started, listened to, interrupted, killed. It never outlives its test.

use std::path::{Path, PathBuf};
use std::process::{Command as Plain, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{env, fs};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::await_that::{PATIENCE, eventually};

/// A program that runs, and what it has said so far.
#[derive(Debug)]
pub struct Program {
    child: Child,
    stdout: Said,
    stderr: Said,
}

/// Lines, as they come.
#[derive(Clone, Debug, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Program {
    /// Starts it; it ends when this is dropped.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdout, stderr) = (Said::default(), Said::default());
        tokio::spawn(stdout.clone().listen(child.stdout.take().unwrap()));
        tokio::spawn(stderr.clone().listen(child.stderr.take().unwrap()));
        Self { child, stdout, stderr }
    }

    /// Waits for a line on standard output that `is_it` accepts.
    pub async fn until_says(&self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        let look = async || {
            let lines = self.stdout.lines();
            lines.iter().find(|line| is_it(line)).cloned().ok_or_else(|| self.said())
        };
        eventually(&format!("the program says {what}"), look).await
    }

    /// Everything on standard output.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lines()
    }

    /// Everything on standard error.
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.lines()
    }

    /// Everything it has said, for a message.
    pub fn said(&self) -> String {
        format!("stdout:\n{}\nstderr:\n{}", self.stdout().join("\n"), self.stderr().join("\n"))
    }

    /// Ends it as a crash would, and returns when it is gone.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// What Ctrl-C sends.
    pub fn interrupt(&self) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).expect("it runs");
        kill_process(pid, Signal::INT).unwrap();
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// If it does not end.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        ended.unwrap_or_else(|_| panic!("it does not end; it said\n{}", self.said())).unwrap()
    }
}

impl Said {
    async fn listen(self, pipe: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The `ployer` program of this workspace, built if its sources are newer.
///
/// # Panics
///
/// If it cannot be built.
pub fn ployer() -> &'static Path {
    static PLOYER: OnceLock<PathBuf> = OnceLock::new();
    PLOYER.get_or_init(|| {
        let folder = env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
        let program = folder.join("ployer");
        if !is_fresh(&program) {
            build(&folder);
        }
        program
    })
}

/// Whether it is newer than each of the sources that the compiler says it was made of.
fn is_fresh(program: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
    let (Ok(made), Ok(sources)) = (changed(program), fs::read_to_string(program.with_extension("d"))) else {
        return false;
    };
    let sources = sources.split_once(':').map_or("", |(_, sources)| sources);
    sources.split_whitespace().all(|source| changed(Path::new(source)).is_ok_and(|changed| changed <= made))
}

/// With the features of the whole workspace: what the tests were built with is not built again.
fn build(folder: &Path) {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let mut cargo = Plain::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--workspace", "--bin", "ployer", "--profile", profile, "--target-dir"]);
    let built = cargo.arg(folder.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(built.is_ok_and(|status| status.success()), "`ployer` cannot be built");
}
