//! A bare process: the sample application without Ployer, as tests of the load and floors of benches need it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{App, python};
use crate::load::Target;

/// A running server; ended by force when it is dropped.
#[derive(Debug)]
pub struct Bare {
    folder: TempDir,
    child: Child,
    address: SocketAddr,
}

impl Bare {
    /// Starts it and returns at once: it listens a little later.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn start(app: &App) -> Self {
        let folder = TempDir::new().unwrap();
        for (path, text) in app.files() {
            std::fs::write(folder.path().join(path), text).unwrap();
        }
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let child = Command::new(python().expect("the caller needs Python"))
            .args(["-ISu", "server.py", "web"])
            .current_dir(folder.path())
            .env("PORT", address.port().to_string())
            .env("PLOYER_VOLUME_DATA", folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { folder, child, address }
    }

    /// Whom to ask.
    pub fn target(&self) -> Target {
        Target { address: self.address, host: "bare.localhost".to_owned() }
    }

    /// Tells it to end.
    pub fn tell_to_end(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// Waits for its end; whether it ended well.
    pub fn ended(mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        debug_assert!(self.folder.path().exists());
    }
}
