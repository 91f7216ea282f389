//! The daemon of Git: `git://`.

use std::path::Path;
use std::process::Command;

use ployer_core::model::GitUrl;

use super::{Group, free_port};

/// `git daemon` over a folder of repositories.
#[derive(Debug)]
pub struct GitDaemon {
    port: u16,
    _process: Group,
}

impl GitDaemon {
    /// Serves the repositories of `folder`.
    pub fn start(folder: &Path) -> Self {
        let port = free_port();
        let mut daemon = Command::new("git");
        daemon
            .args(["-c", "safe.directory=*", "daemon", "--export-all", "--reuseaddr", "--verbose"])
            .args(["--listen=127.0.0.1", &format!("--port={port}")])
            .arg(format!("--base-path={}", folder.display()));
        Self { port, _process: Group::start(&mut daemon, "Ready to rumble") }
    }

    /// The address of a repository.
    pub fn url(&self, repository: &str) -> GitUrl {
        format!("git://127.0.0.1:{}/{repository}", self.port).parse().unwrap()
    }
}
