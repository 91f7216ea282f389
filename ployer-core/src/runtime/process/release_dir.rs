//! The release directory: made under another name, and there entirely or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::files;

/// Files up to this number are made durable one by one; beyond it the whole file system is.
const SYNCED_ONE_BY_ONE: usize = 256;

/// The place of one release directory, and those that it goes through on its way there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReleaseDir(PathBuf);

impl ReleaseDir {
    /// The one of that path, whether it is there or not.
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is when it is whole.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Where it is made.
    pub(super) fn partial(&self) -> PathBuf {
        self.0.with_extension("partial")
    }

    /// Where one that is replaced or removed goes first.
    fn old(&self) -> PathBuf {
        self.0.with_extension("old")
    }

    /// Begins one with the files of `source`; what a crash has left of it is gone then. `go_on` is asked between files.
    pub(super) fn begin(&self, source: &Path, go_on: &dyn Fn() -> io::Result<()>) -> io::Result<()> {
        files::remove_dir(&self.partial())?;
        if let Some(parent) = self.0.parent() {
            files::make_private_dir(parent)?;
        }
        copy_tree(source, &self.partial(), go_on)
    }

    /// Makes it durable, then puts it in its place, instead of one that is there.
    pub(super) fn finish(&self) -> io::Result<()> {
        sync_tree(&self.partial())?;
        files::remove_dir(&self.old())?;
        match fs::rename(&self.0, self.old()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::rename(self.partial(), &self.0)?;
        files::sync_parent(&self.0)?;
        files::remove_dir(&self.old())
    }

    /// Removes it and what is left of making it.
    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::rename(&self.0, self.old()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        files::remove_dir(&self.partial())?;
        files::remove_dir(&self.old())
    }
}

/// Copies a tree: files with their rights, links as links, nothing else. Where the file system can, the copies share
/// their blocks until one of them is written.
fn copy_tree(from: &Path, to: &Path, go_on: &dyn Fn() -> io::Result<()>) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        go_on()?;
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_tree(&entry.path(), &target, go_on)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    fs::set_permissions(to, fs::metadata(from)?.permissions())
}

fn sync_tree(root: &Path) -> io::Result<()> {
    let mut found = Vec::new();
    if collect(root, &mut found)? {
        return found.iter().try_for_each(|path| File::open(path)?.sync_all());
    }
    rustix::fs::syncfs(File::open(root)?)?;
    Ok(())
}

/// Lists the files and folders of a tree; `false` if there are too many to care for each.
fn collect(path: &Path, found: &mut Vec<PathBuf>) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if found.len() >= SYNCED_ONE_BY_ONE || (kind.is_dir() && !collect(&entry.path(), found)?) {
            return Ok(false);
        }
        if kind.is_file() {
            found.push(entry.path());
        }
    }
    found.push(path.to_owned());
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn source(root: &Path) -> PathBuf {
        let source = root.join("source");
        fs::create_dir_all(source.join("bin/empty")).unwrap();
        fs::write(source.join("bin/run"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(source.join("bin/run"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("bin/run", source.join("link")).unwrap();
        source
    }

    #[test]
    fn a_finished_directory_has_files_rights_links_and_empty_folders() {
        let root = tempfile::tempdir().unwrap();
        let release = ReleaseDir::at(root.path().join("app/one"));

        release.begin(&source(root.path()), &|| Ok(())).unwrap();
        assert!(!release.path().exists());
        release.finish().unwrap();

        assert_eq!(fs::read(release.path().join("link")).unwrap(), b"#!/bin/sh\n");
        assert_eq!(fs::read_link(release.path().join("link")).unwrap(), Path::new("bin/run"));
        assert_eq!(fs::metadata(release.path().join("bin/run")).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(release.path().join("bin/empty").is_dir());
        assert_eq!(fs::read_dir(root.path().join("app")).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_built_again_replaces_the_one_before_and_what_a_crash_left() {
        let root = tempfile::tempdir().unwrap();
        let release = ReleaseDir::at(root.path().join("app/one"));
        let source = source(root.path());
        release.begin(&source, &|| Ok(())).unwrap();
        release.finish().unwrap();
        fs::create_dir_all(release.partial().join("half")).unwrap();

        fs::write(source.join("new"), "").unwrap();
        release.begin(&source, &|| Ok(())).unwrap();
        release.finish().unwrap();

        assert!(release.path().join("new").exists());
        assert!(!release.path().join("half").exists());
    }

    #[test]
    fn copying_stops_between_two_files_when_it_is_told_to() {
        let root = tempfile::tempdir().unwrap();
        let release = ReleaseDir::at(root.path().join("app/one"));
        let asked = std::cell::Cell::new(0);
        let stop = || {
            asked.set(asked.get() + 1);
            if asked.get() > 1 { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        };

        let error = release.begin(&source(root.path()), &stop).unwrap_err();

        assert_eq!((error.kind(), asked.get()), (io::ErrorKind::Interrupted, 2));
        assert!(!release.path().exists());
    }

    #[test]
    fn removing_takes_the_whole_and_the_half_and_may_be_repeated() {
        let root = tempfile::tempdir().unwrap();
        let release = ReleaseDir::at(root.path().join("app/one"));
        let source = source(root.path());
        release.begin(&source, &|| Ok(())).unwrap();
        release.finish().unwrap();
        release.begin(&source, &|| Ok(())).unwrap();

        release.remove().unwrap();
        release.remove().unwrap();

        assert_eq!(fs::read_dir(root.path().join("app")).unwrap().count(), 0);
    }
}
