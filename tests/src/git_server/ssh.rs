//! SSH: a real `sshd` with one key that may come in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ployer_core::model::{GitUrl, Secret};
use tempfile::TempDir;

use super::{Group, free_port};
use crate::need;

/// `sshd` for the user who runs the tests.
#[derive(Debug)]
pub struct SshServer {
    folder: TempDir,
    port: u16,
    sshd: PathBuf,
    process: Option<Group>,
}

impl SshServer {
    /// Starts it; `None` where no `sshd` is installed.
    pub fn start() -> Option<Self> {
        let sshd = need::program("sshd")?;
        need::program("ssh")?;
        let mut server = Self { folder: tempfile::tempdir().unwrap(), port: free_port(), sshd, process: None };
        let public = key(&server.path("key"));
        fs::write(server.path("authorized"), public).unwrap();
        server.restart_with_a_new_host_key();
        Some(server)
    }

    /// The private key that may come in.
    pub fn key(&self) -> Secret {
        Secret::from(fs::read_to_string(self.path("key")).unwrap())
    }

    /// Lets the key of another server come in too.
    pub fn admit_key_of(&self, other: &Self) {
        fs::copy(other.path("key.pub"), self.path("authorized")).unwrap();
    }

    /// The address of a repository of this machine.
    pub fn url(&self, repository: &Path) -> GitUrl {
        format!("ssh://{}@127.0.0.1:{}{}", user(), self.port, repository.display()).parse().unwrap()
    }

    /// Ends it and starts it again on the same port as another host.
    pub fn restart_with_a_new_host_key(&mut self) {
        self.process = None;
        for file in ["host", "host.pub"] {
            fs::remove_file(self.path(file)).ok();
        }
        key(&self.path("host"));
        fs::write(self.path("config"), self.config()).unwrap();
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let mut sshd = Command::new(&self.sshd);
        sshd.args(["-D", "-e", "-f"]).arg(self.path("config"));
        self.process = Some(Group::start(&mut sshd, "Server listening"));
    }

    fn config(&self) -> String {
        let path = |name| self.path(name).display().to_string();
        [
            format!("Port {}", self.port),
            "ListenAddress 127.0.0.1".to_owned(),
            format!("HostKey {}", path("host")),
            format!("AuthorizedKeysFile {}", path("authorized")),
            "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no"
                .to_owned(),
            "PermitRootLogin prohibit-password\nMaxStartups 100\n".to_owned(),
        ]
        .join("\n")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Makes a key; answers its public half.
fn key(path: &Path) -> String {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status().unwrap();
    assert!(made.success());
    fs::read_to_string(path.with_extension("pub")).unwrap()
}

fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
