//! Confinement: what the file system looks like to a replica, by Landlock where the kernel has it.
//!
//! Landlock only allows, so everything is allowed to be read that is not on the way to the data directory: each
//! entry beside that way is named. Interpreters in a home directory go on working, and the database, the key, other
//! applications' releases and volumes cannot be read. Writable are the replica's own release, volumes, `TMPDIR` and
//! output, and the devices that any program may need; `/tmp` is shared and therefore not.
//!
//! It is not a sandbox: the network and other processes are where they were, except that signals do not leave.
//! A restriction holds for a thread and all that it starts and can never be taken back: see `spawn`.

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};

/// The newest rights used; older kernels hold to those that they know.
const RIGHTS: ABI = ABI::V6;

/// Devices that any program may write to.
const DEVICES: [&str; 9] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/shm",
];

/// What a process may touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Confinement {
    /// What is closed but for what is named below.
    pub(super) closed: PathBuf,
    /// Folders and files that may be read, written and run.
    pub(super) own: Vec<PathBuf>,
    /// What lies outside the closed folder.
    pub(super) outside: Outside,
    pub(super) signals: Signals,
}

/// Whom a process may signal, beside what the system allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signals {
    /// Those that it has started.
    Inside,
    /// Anybody: a command beside a replica is there to talk to it.
    Anywhere,
}

/// What may be done outside the closed folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outside {
    /// Replicas read and run.
    Read,
    /// Builds also fill the caches of their tools.
    Write,
}

/// Whether this kernel can confine.
pub(super) fn is_available() -> bool {
    // Asking for the strictest answer makes an old kernel an error instead of a restriction without effect.
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create)
        .is_ok()
}

impl Confinement {
    /// Confines this thread and everything that it starts from now on.
    pub(super) fn apply(&self) -> io::Result<()> {
        self.restrict()
            .map_err(io::Error::other)?
            .map_or_else(|| Err(io::Error::other("Landlock had no effect")), |()| Ok(()))
    }

    fn restrict(&self) -> Result<Option<()>, RulesetError> {
        let outside = match self.outside {
            Outside::Read => AccessFs::from_read(RIGHTS),
            Outside::Write => AccessFs::from_all(RIGHTS),
        };
        let mut rules =
            Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(AccessFs::from_all(RIGHTS))?;
        if self.signals == Signals::Inside {
            rules = rules.scope(Scope::Signal)?;
        }
        let mut rules = rules.create()?;
        for path in beside(&self.closed) {
            rules = allow(rules, &path, outside)?;
        }
        for path in self.own.iter().map(PathBuf::as_path).chain(DEVICES.iter().map(Path::new)) {
            rules = allow(rules, path, AccessFs::from_all(RIGHTS))?;
        }
        let RestrictionStatus { landlock, .. } = rules.restrict_self()?;
        Ok(matches!(landlock, LandlockStatus::Available { .. }).then_some(()))
    }
}

/// Allows `rights` beneath a path; one that is gone or cannot be opened is left out.
fn allow(rules: RulesetCreated, path: &Path, rights: BitFlags<AccessFs>) -> Result<RulesetCreated, RulesetError> {
    let Ok(fd) = PathFd::new(path) else { return Ok(rules) };
    let rights = if path.is_dir() { rights } else { rights & AccessFs::from_file(RIGHTS) };
    rules.add_rule(PathBeneath::new(fd, rights))
}

/// Every entry that lies beside the way from the root to `closed`. Links are left out: what they lead to has a place
/// of its own, and may be what is closed.
fn beside(closed: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for above in closed.ancestors().skip(1) {
        let Ok(entries) = std::fs::read_dir(above) else { continue };
        let outside = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()))
            .map(|entry| entry.path())
            .filter(|path| !closed.starts_with(path));
        found.extend(outside);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_beside_the_way_is_named_and_nothing_on_it() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for dir in ["home/.pyenv", "home/.local/share/ployer/releases", "home/.local/bin", "usr"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        std::os::unix::fs::symlink(root.join("home/.local/share/ployer"), root.join("home/link")).unwrap();

        let mut found = beside(&root.join("home/.local/share/ployer"));

        found.retain(|path| path.starts_with(&root));
        found.sort();
        assert_eq!(found, [root.join("home/.local/bin"), root.join("home/.pyenv"), root.join("usr")]);
    }

    #[test]
    fn a_confined_thread_reads_outside_and_writes_only_its_own() {
        if !is_available() {
            return;
        }
        let data = tempfile::tempdir().unwrap();
        let data = data.path().canonicalize().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let elsewhere = elsewhere.path().canonicalize().unwrap();
        std::fs::create_dir(data.join("own")).unwrap();
        std::fs::write(data.join("key"), "secret").unwrap();
        std::fs::write(elsewhere.join("library"), "code").unwrap();
        let confinement = Confinement {
            closed: data.clone(),
            own: vec![data.join("own")],
            outside: Outside::Read,
            signals: Signals::Inside,
        };

        let (key, library, own, foreign) = std::thread::spawn(move || {
            confinement.apply().unwrap();
            (
                std::fs::read(data.join("key")).is_ok(),
                std::fs::read(elsewhere.join("library")).is_ok(),
                std::fs::write(data.join("own/file"), "x").is_ok(),
                std::fs::write(elsewhere.join("file"), "x").is_ok(),
            )
        })
        .join()
        .unwrap();

        assert_eq!((key, library, own, foreign), (false, true, true, false));
    }
}
