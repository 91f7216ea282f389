//! Places: where the source keeps what, below the data directory.
//!
//! `sources/{application}` has an application's mirrors and its lock, `sources/.keys` the deploy keys in use,
//! `sources/.home` nothing; `checkouts/{deployment}` is a whole checkout, `checkouts/{deployment}.{id}` one in
//! the making, which only becomes the former by a rename.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::failure::Trouble;
use crate::clock::Clock;
use crate::model::{ApplicationId, DeploymentId};

/// How often the lock of an application is tried, and the pause between.
const LOCK_ATTEMPTS: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone, Debug)]
pub(super) struct Places {
    data_dir: PathBuf,
    sources: PathBuf,
    checkouts: PathBuf,
}

impl Places {
    /// Makes what is not there yet.
    pub(super) fn open(data_dir: &Path) -> io::Result<Self> {
        make_private(data_dir)?;
        let data_dir = data_dir.canonicalize()?;
        let (sources, checkouts) = (data_dir.join("sources"), data_dir.join("checkouts"));
        let places = Self { data_dir, sources, checkouts };
        for folder in [&places.sources, &places.checkouts, &places.home(), &places.keys()] {
            make_private(folder)?;
        }
        Ok(places)
    }

    pub(super) fn home(&self) -> PathBuf {
        self.sources.join(".home")
    }

    pub(super) fn keys(&self) -> PathBuf {
        self.sources.join(".keys")
    }

    pub(super) fn known_hosts(&self) -> PathBuf {
        self.sources.join("known_hosts")
    }

    pub(super) fn application(&self, application: ApplicationId) -> PathBuf {
        self.sources.join(application.to_string())
    }

    pub(super) fn checkout(&self, deployment: DeploymentId) -> PathBuf {
        self.checkouts.join(deployment.to_string())
    }

    /// The data directory: no part of any source.
    pub(super) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Takes the lock of an application. Only a Git that outlived a crash of ours can hold it: it gets a moment to
    /// notice that nobody reads what it says; then it loses its folder, and a new one is begun.
    pub(super) fn lock(&self, application: ApplicationId, clock: &dyn Clock) -> io::Result<ApplicationLock> {
        let folder = self.application(application);
        make_private(&folder)?;
        for _ in 0..LOCK_ATTEMPTS {
            if let Some(lock) = try_lock(&folder)? {
                return Ok(lock);
            }
            std::thread::sleep(LOCK_PAUSE);
        }
        let aside = self.sources.join(format!("{application}.{}", clock.new_id()));
        fs::rename(&folder, &aside)?;
        remove(&aside)?;
        make_private(&folder)?;
        try_lock(&folder)?.ok_or_else(|| io::ErrorKind::ResourceBusy.into())
    }

    /// Removes an application's mirrors.
    pub(super) fn remove_application(&self, application: ApplicationId) -> io::Result<()> {
        remove_named(&self.sources, &application.to_string())
    }

    /// Removes a deployment's checkout, whole or half.
    pub(super) fn remove_checkout(&self, deployment: DeploymentId) -> io::Result<()> {
        remove_named(&self.checkouts, &deployment.to_string())
    }
}

/// The lock of an application's mirrors. Every Git inherits it, so that it is held as long as one of them lives, also
/// beyond a crash of ours.
#[derive(Debug)]
pub(super) struct ApplicationLock(File);

impl ApplicationLock {
    /// The lock to be inherited.
    pub(super) fn share(&self) -> io::Result<File> {
        self.0.try_clone()
    }
}

impl Drop for ApplicationLock {
    fn drop(&mut self) {
        // Closing would not do: a process that is just being started by another thread may hold a copy.
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the lock of an application's mirrors cannot be released");
        }
    }
}

/// A checkout in the making; removed when dropped, whatever is left of it.
#[derive(Debug)]
pub(super) struct Partial(PathBuf);

impl Partial {
    pub(super) fn make(places: &Places, deployment: DeploymentId, clock: &dyn Clock) -> Result<Self, Trouble> {
        let path = places.checkouts.join(format!("{deployment}.{}", clock.new_id()));
        make_private(&path).map_err(Trouble::file(&path))?;
        Ok(Self(path))
    }

    /// Another folder or file in it.
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "half a checkout cannot be removed");
        }
    }
}

/// Removes a folder or file. Absence is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes `name` and everything that is called `name.` and something.
fn remove_named(folder: &Path, name: &str) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.file_name();
        if found
            .to_str()
            .and_then(|found| found.strip_prefix(name))
            .is_some_and(|rest| matches!(rest.bytes().next(), None | Some(b'.')))
        {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn try_lock(folder: &Path) -> io::Result<Option<ApplicationLock>> {
    let lock = OpenOptions::new().read(true).append(true).create(true).open(folder.join("lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(ApplicationLock(lock))),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use uuid::Uuid;

    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn a_git_that_outlived_a_crash_loses_its_folder_to_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::open(folder.path()).unwrap();
        let shop = ApplicationId::from(Uuid::from_u128(1));
        let crashed = places.lock(shop, &SystemClock).unwrap();
        fs::write(places.application(shop).join("mirror"), "old").unwrap();
        let mut survivor = Command::new("sleep").arg("100").stdin(crashed.share().unwrap()).spawn().unwrap();
        // A crash closes, and does not unlock.
        std::mem::forget(crashed);

        let lock = places.lock(shop, &SystemClock);

        survivor.kill().unwrap();
        survivor.wait().unwrap();
        assert!(lock.is_ok());
        assert!(!places.application(shop).join("mirror").exists());
    }

    #[test]
    fn a_lock_is_free_again_though_a_stranger_inherited_it() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::open(folder.path()).unwrap();
        let shop = ApplicationId::from(Uuid::from_u128(1));
        let lock = places.lock(shop, &SystemClock).unwrap();
        fs::write(places.application(shop).join("mirror"), "kept").unwrap();
        let mut stranger = Command::new("sleep").arg("100").stdin(lock.share().unwrap()).spawn().unwrap();
        drop(lock);

        let again = places.lock(shop, &SystemClock);

        stranger.kill().unwrap();
        stranger.wait().unwrap();
        assert!(again.is_ok());
        assert!(places.application(shop).join("mirror").exists());
    }

    #[test]
    fn folders_are_for_our_own_user_alone() {
        let folder = tempfile::tempdir().unwrap();

        Places::open(&folder.path().join("data")).unwrap();

        for name in ["data", "data/sources", "data/sources/.keys", "data/checkouts"] {
            let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{name}");
        }
    }

    #[test]
    fn removing_takes_what_is_named_so_and_half_of_it_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::open(folder.path()).unwrap();
        let [one, other] = [1, 2].map(|id| DeploymentId::from(Uuid::from_u128(id)));
        fs::create_dir(places.checkout(one)).unwrap();
        std::mem::forget(Partial::make(&places, one, &SystemClock).unwrap());
        fs::create_dir(places.checkout(other)).unwrap();

        places.remove_checkout(one).unwrap();

        let left: Vec<_> = fs::read_dir(folder.path().join("checkouts")).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(left, [places.checkout(other).canonicalize().unwrap()]);
    }

    #[test]
    fn half_a_checkout_goes_when_its_making_fails() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::open(folder.path()).unwrap();
        let partial = Partial::make(&places, DeploymentId::from(Uuid::from_u128(1)), &SystemClock).unwrap();
        fs::write(partial.join("file"), "text").unwrap();

        drop(partial);

        assert_eq!(fs::read_dir(folder.path().join("checkouts")).unwrap().count(), 0);
    }
}
