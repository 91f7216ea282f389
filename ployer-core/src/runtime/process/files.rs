//! Files: writing one so that it is there entirely or not at all, and the errors of the file system in words.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::error::{Error, ErrorKind};

/// Writes a file that only this user may read: after a crash it has the old content or the new one.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(content)?;
    file.sync_data()?;
    std::fs::rename(&fresh, path)?;
    sync_parent(path)
}

/// Makes the entries of the folder that holds `path` durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Makes a folder and those above it, readable by this user only.
pub(super) fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Removes a folder with all that is in it, also where parts of it are read-only. Absence is no error.
pub(super) fn remove_dir(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path)?;
            std::fs::remove_dir_all(path)
        }
        other => other,
    }
}

/// Gives this user every right on each folder of a tree; links are not followed.
fn make_writable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}

/// Says what could not be done, with the system's cause.
pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |cause| match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::new(ErrorKind::Exhausted, what).with_source(cause).with_hint("free some disk space and try again")
        }
        io::ErrorKind::PermissionDenied => Error::new(ErrorKind::Forbidden, what).with_source(cause),
        _ => Error::internal(what, cause),
    }
}

/// Runs blocking work on tokio's threads for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(cause) => Err(Error::internal("a task of the process runtime ended early", cause)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_written_file_is_whole_and_only_ours_to_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");

        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();

        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_tree_with_read_only_folders_is_removed_whole() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("module/deep")).unwrap();
        std::fs::write(tree.join("module/deep/file"), "x").unwrap();
        std::fs::set_permissions(tree.join("module/deep"), std::fs::Permissions::from_mode(0o555)).unwrap();

        remove_dir(&tree).unwrap();
        remove_dir(&tree).unwrap();

        assert!(!tree.exists());
    }

    #[test]
    fn a_full_disk_is_told_apart_and_has_a_remedy() {
        let error = failed("the release cannot be written")(io::Error::from(io::ErrorKind::StorageFull));

        assert_eq!(error.kind(), ErrorKind::Exhausted);
        assert_eq!(error.hint(), Some("free some disk space and try again"));
    }
}
