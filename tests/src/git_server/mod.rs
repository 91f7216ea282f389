//! Git servers on loopback: the daemon of Git, smart HTTP, and a real `sshd`.
//!
//! Each serves a folder of repositories, listens on a port of its own and ends when it is dropped.

mod daemon;
mod http;
mod ssh;

pub use self::daemon::GitDaemon;
pub use self::http::HttpServer;
pub use self::ssh::SshServer;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server's process group, which ends when this is dropped.
#[derive(Debug)]
struct Group(Child);

impl Group {
    /// Starts a server and waits until it says on standard error that it is `ready`.
    fn start(command: &mut Command, ready: &str) -> Self {
        let mut child = command.stderr(Stdio::piped()).process_group(0).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut before = Vec::new();
        loop {
            let Some(Ok(line)) = said.next() else { panic!("the server has ended: {before:?}") };
            if line.contains(ready) {
                break;
            }
            before.push(line);
        }
        // What it says later must go somewhere.
        std::thread::spawn(move || said.for_each(drop));
        Self(child)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        kill_process_group(Pid::from_child(&self.0), Signal::KILL).ok();
        self.0.wait().ok();
    }
}
