//! Limits: memory, processor time and number of processes, by cgroups of version 2.
//!
//! Only below a cgroup that was handed over to us (`Delegate=yes` and a subgroup for the server itself, with
//! systemd), because we neither move the embedding program nor touch what is somebody else's. Without one there are
//! no limits, and the capabilities say so. A process is put into its cgroup right after it was made: what it has
//! made in the few microseconds before stays outside.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::model::{InstanceId, Limits};

const PERIOD_MICROSECONDS: f64 = 100_000.0;

/// Makes a cgroup for each replica that has limits.
#[derive(Clone, Debug, Default)]
pub(super) struct Limiter(Option<PathBuf>);

impl Limiter {
    /// Makes a cgroup for this installation in the one that was handed over, if one was.
    pub(super) fn open(handed_over: Option<&Path>, instance: InstanceId) -> Self {
        let Some(handed_over) = handed_over else { return Self::default() };
        let ours = handed_over.join(format!("ployer-{instance}"));
        match make(&ours).and_then(|()| [handed_over, ours.as_path()].into_iter().try_for_each(enable)) {
            Ok(()) => Self(Some(ours)),
            Err(error) => {
                tracing::warn!(cgroup = %handed_over.display(), %error, "limits of applications are not enforced");
                Self::default()
            }
        }
    }

    pub(super) fn is_active(&self) -> bool {
        self.0.is_some()
    }

    /// Makes the cgroup of a replica; `None` where it needs none.
    pub(super) fn prepare(&self, name: &str, limits: &Limits) -> io::Result<Option<PathBuf>> {
        let Some(group) = self.group(name).filter(|_| *limits != Limits::default()) else { return Ok(None) };
        make(&group)?;
        let write =
            |file: &str, value: Option<String>| std::fs::write(group.join(file), value.as_deref().unwrap_or("max"));
        write("memory.max", limits.memory_bytes_max.map(|bytes| bytes.to_string()))?;
        write("pids.max", limits.pids_max.map(|pids| pids.to_string()))?;
        write(
            "cpu.max",
            limits.cpus_max.map(|cores| format!("{:.0} {PERIOD_MICROSECONDS:.0}", cores * PERIOD_MICROSECONDS)),
        )?;
        if limits.memory_bytes_max.is_some() {
            // Without it a replica over its limit is only slow. Kernels without swap have no such file.
            std::fs::write(group.join("memory.swap.max"), "0").or_else(|error| match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => Ok(()),
                _ => Err(error),
            })?;
        }
        Ok(Some(group))
    }

    /// Removes the cgroup of a replica of which nothing runs. Absence is no error.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match self.group(name).map_or(Ok(()), std::fs::remove_dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn group(&self, name: &str) -> Option<PathBuf> {
        Some(self.0.as_ref()?.join(name))
    }
}

/// The file by which processes enter a cgroup: opened before the one who writes to it is confined.
pub(super) fn entrance(group: &Path) -> io::Result<File> {
    File::options().write(true).open(group.join("cgroup.procs"))
}

fn make(group: &Path) -> io::Result<()> {
    match std::fs::create_dir(group) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Lets cgroups inside of this one have limits.
fn enable(group: &Path) -> io::Result<()> {
    std::fs::write(group.join("cgroup.subtree_control"), "+memory +pids +cpu")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn read(path: PathBuf) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_replica_with_limits_gets_a_cgroup_that_has_them() {
        let root = tempfile::tempdir().unwrap();
        let limiter = Limiter::open(Some(root.path()), InstanceId::new(&SystemClock));
        let limits = Limits { memory_bytes_max: Some(1 << 20), cpus_max: Some(1.5), pids_max: None };

        let group = limiter.prepare("shop-1", &limits).unwrap().unwrap();

        assert!(limiter.is_active());
        assert_eq!(read(group.join("memory.max")), "1048576");
        assert_eq!(read(group.join("memory.swap.max")), "0");
        assert_eq!(read(group.join("cpu.max")), "150000 100000");
        assert_eq!(read(group.join("pids.max")), "max");
        assert_eq!(read(root.path().join("cgroup.subtree_control")), "+memory +pids +cpu");
    }

    #[test]
    fn a_process_enters_a_cgroup_by_its_entrance_only_where_there_is_one() {
        let group = tempfile::tempdir().unwrap();
        assert!(entrance(group.path()).is_err());
        std::fs::write(group.path().join("cgroup.procs"), "").unwrap();

        let mut entrance = entrance(group.path()).unwrap();
        io::Write::write_all(&mut entrance, b"1").unwrap();

        assert_eq!(read(group.path().join("cgroup.procs")), "1");
    }

    #[test]
    fn without_limits_or_without_a_cgroup_there_is_none() {
        let root = tempfile::tempdir().unwrap();
        let instance = InstanceId::new(&SystemClock);
        let limits = Limits { pids_max: Some(1), ..Limits::default() };

        let active = Limiter::open(Some(root.path()), instance);
        let none = Limiter::open(None, instance);
        let broken = Limiter::open(Some(&root.path().join("absent")), instance);

        assert_eq!(active.prepare("shop-1", &Limits::default()).unwrap(), None);
        assert_eq!(none.prepare("shop-1", &limits).unwrap(), None);
        assert!(!none.is_active() && !broken.is_active());
        active.remove("shop-1").unwrap();
        none.remove("shop-1").unwrap();
    }
}
