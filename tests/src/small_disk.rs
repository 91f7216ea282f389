//! A small disk: a file system in memory that is soon full.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::need;

/// A mounted file system; gone with all it has when this is dropped.
#[derive(Debug)]
pub struct SmallDisk(TempDir);

impl SmallDisk {
    /// One of so many megabytes; `None` where this user may not mount one.
    pub fn mount(megabytes: u32) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let size = format!("size={megabytes}m,mode=755");
        let mounted = run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"], folder.path());
        need::have(mounted, "this user may not mount a small disk").then_some(Self(folder))
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        debug_assert!(run("umount", &["--lazy"], self.path()), "{} stays mounted", self.path().display());
    }
}

fn run(program: &str, args: &[&str], folder: &Path) -> bool {
    Command::new(program).args(args).arg(folder).output().is_ok_and(|output| output.status.success())
}
