//! Links: none leads out of the folder that is deployed.
//!
//! A link is followed as the system would follow it, through other links, component by component, but never past
//! the root. One that leads nowhere inside is harmless and stays.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::failure::Trouble;
use crate::error::{Error, ErrorKind};

/// Links followed for one link, as many as Linux follows.
const FOLLOWED_MAX: u32 = 40;

/// Refuses a folder that has a link which leads out of it.
pub(super) fn check(root: &Path) -> Result<(), Trouble> {
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        for entry in fs::read_dir(&path).map_err(Trouble::file(&path))? {
            let entry = entry.map_err(Trouble::file(&path))?;
            let inside = folder.join(entry.file_name());
            let kind = entry.file_type().map_err(Trouble::file(&path))?;
            if kind.is_dir() {
                folders.push(inside);
            } else if kind.is_symlink() && !stays_inside(root, &inside).map_err(Trouble::file(&path))? {
                return Err(refusal(root, &inside));
            }
        }
    }
    Ok(())
}

/// Whether every part of `inside` below `root` is a folder in its own right, or not there.
pub(super) fn is_plain_folder(root: &Path, inside: &Path) -> bool {
    inside.ancestors().all(|part| match fs::symlink_metadata(root.join(part)) {
        Ok(found) => found.is_dir(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    })
}

fn stays_inside(root: &Path, link: &Path) -> io::Result<bool> {
    let mut reached: Vec<OsString> = Vec::new();
    let mut ahead: VecDeque<OsString> = link.components().map(|part| part.as_os_str().to_owned()).collect();
    let mut followed = 0;
    while let Some(part) = ahead.pop_front() {
        if part == ".." {
            if reached.pop().is_none() {
                return Ok(false);
            }
            continue;
        }
        reached.push(part);
        let path: PathBuf = root.iter().chain(reached.iter().map(OsString::as_os_str)).collect();
        let Ok(target) = fs::read_link(&path) else { continue };
        followed += 1;
        if target.is_absolute() || followed > FOLLOWED_MAX {
            return Ok(false);
        }
        reached.pop();
        let target = target.components().filter(|part| *part != Component::CurDir);
        for part in target.rev() {
            ahead.push_front(part.as_os_str().to_owned());
        }
    }
    Ok(true)
}

fn refusal(root: &Path, link: &Path) -> Trouble {
    let target = fs::read_link(root.join(link)).unwrap_or_default();
    let message = format!("the link `{}` leads out of the deployed folder: `{}`", link.display(), target.display());
    Trouble::Refused(Error::new(ErrorKind::Invalid, message).with_hint("replace the link by the file it names"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder(links: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b/c")).unwrap();
        for (link, target) in links {
            symlink(target, root.path().join(link)).unwrap();
        }
        root
    }

    #[test]
    fn links_that_stay_inside_are_taken() {
        for links in [
            &[("a/l", "b/c")][..],
            &[("l", ".")],
            &[("a/b/l", "../../a")],
            &[("l", "not/there")],
            &[("l", "a/./b/../b")],
            &[("a/b/up", "../.."), ("l", "a/b/up/a")],
        ] {
            let root = folder(links);

            assert!(check(root.path()).is_ok(), "{links:?}");
        }
    }

    #[test]
    fn links_that_lead_out_are_refused_by_name() {
        for links in [
            &[("a/l", "/etc/passwd")][..],
            &[("a/l", "../..")],
            &[("l", "..")],
            &[("l", "a/../../x")],
            &[("a/b/up", "../.."), ("a/b/l", "up/../x")],
            &[("l", "l")],
        ] {
            let root = folder(links);

            let Err(Trouble::Refused(error)) = check(root.path()) else { panic!("{links:?} was taken") };

            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(links.iter().any(|(link, _)| error.to_string().contains(&format!("`{link}`"))), "{error}");
        }
    }

    #[test]
    fn a_path_through_a_link_is_no_plain_folder() {
        let root = folder(&[("l", "a")]);

        assert!(is_plain_folder(root.path(), Path::new("a/b/new")));
        assert!(!is_plain_folder(root.path(), Path::new("l/b")));
    }
}
