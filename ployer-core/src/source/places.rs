//! Places: where the source keeps what, below the data directory.
//!
//! `sources/{application}` has an application's mirrors and its lock, `sources/.keys` the deploy keys in use,
//! `sources/.home` nothing; `checkouts/{deployment}` is a whole checkout, `checkouts/{deployment}.{id}` one in
//! the making, which only becomes the former by a rename.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::failure::Trouble;
use crate::clock::Clock;
use crate::model::{ApplicationId, DeploymentId};

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

    /// Takes the lock of an application. Only a Git that outlived a crash of ours can hold it: such a one loses
    /// its folder, and a new one is begun.
    pub(super) fn lock(&self, application: ApplicationId, clock: &dyn Clock) -> io::Result<File> {
        let folder = self.application(application);
        loop {
            make_private(&folder)?;
            let lock = OpenOptions::new().read(true).append(true).create(true).open(folder.join("lock"))?;
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(fs::TryLockError::WouldBlock) => {
                    let aside = self.sources.join(format!("{application}.{}", clock.new_id()));
                    fs::rename(&folder, &aside)?;
                    remove(&aside)?;
                }
                Err(fs::TryLockError::Error(error)) => return Err(error),
            }
        }
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

fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
