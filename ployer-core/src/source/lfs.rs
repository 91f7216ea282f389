//! Git LFS: files whose content is kept apart from the repository.
//!
//! The first checkout leaves pointers; where there are any, `git lfs` fetches what they point to. Where it is not
//! installed the checkout fails and says so: an application must not start with pointers for its files.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::args::Workspace;
use super::export::Part;
use super::failure::Trouble;
use super::run::Run;
use super::tree::{Entry, Kind};
use crate::error::{Error, ErrorKind};

/// How a pointer begins.
const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n";
/// A pointer is never larger.
const POINTER_BYTES_MAX: u64 = 1_024;
/// How many files that look like pointers are asked about.
const ASKED_MAX: usize = 50;

/// A file that holds the name of its content.
#[derive(Debug)]
pub(super) struct Pointer {
    /// Below the folder that was looked through.
    path: PathBuf,
    file: PathBuf,
    /// The size of the content.
    pub(super) bytes: u64,
}

/// The files below `folder` that look like pointers.
pub(super) fn pointers(folder: &Path, entries: &[Entry]) -> Vec<Pointer> {
    entries
        .iter()
        .filter(|entry| matches!(entry.kind, Kind::File { bytes } if bytes <= POINTER_BYTES_MAX))
        .filter_map(|entry| {
            let file = folder.join(&entry.path);
            let bytes = pointed_size(&file)?;
            Some(Pointer { path: entry.path.clone(), file, bytes })
        })
        .collect()
}

/// Puts the contents in the place of pointers that the attributes name as such.
pub(super) fn replace(run: &Run, at: Workspace<'_>, part: Part<'_>, pointers: &[Pointer]) -> Result<(), Trouble> {
    let folder = part.folder.map_or(Path::new(""), |folder| Path::new(folder.as_str()));
    let Some(first) = first_of_lfs(run, at, folder, pointers)? else { return Ok(()) };
    match run.git(run.git.lfs_version()) {
        Ok(_) => {}
        Err(Trouble::Git(_)) => return Err(not_installed(&first)),
        Err(trouble) => return Err(trouble),
    }
    run.say(format!("fetching {} files from Git LFS", pointers.len()));
    for pointer in pointers {
        fs::remove_file(&pointer.file).map_err(Trouble::file(&pointer.file))?;
    }
    run.git(run.git.checkout_lfs(at, part.folder, part.mirror.remote)).map(drop)
}

fn first_of_lfs(run: &Run, at: Workspace<'_>, folder: &Path, pointers: &[Pointer]) -> Result<Option<PathBuf>, Trouble> {
    if pointers.is_empty() {
        return Ok(None);
    }
    let paths: Vec<_> = pointers.iter().take(ASKED_MAX).map(|pointer| folder.join(&pointer.path)).collect();
    let answer = run.git(run.git.filters(at, paths.iter().map(PathBuf::as_path)))?;
    // Three fields for each path: path, `filter`, value.
    let values = answer.split(|byte| *byte == 0).skip(2).step_by(3);
    Ok(paths.into_iter().zip(values).find(|(_, value)| *value == b"lfs").map(|(path, _)| path))
}

fn pointed_size(file: &Path) -> Option<u64> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(file).ok()?;
    let mut text = String::new();
    file.take(POINTER_BYTES_MAX).read_to_string(&mut text).ok()?;
    let fields = text.strip_prefix(POINTER)?;
    fields.lines().find_map(|line| line.strip_prefix("size "))?.parse().ok()
}

fn not_installed(path: &Path) -> Trouble {
    let message = format!("`{}` is stored in Git LFS, and `git lfs` is not installed on this machine", path.display());
    Trouble::Refused(Error::new(ErrorKind::Failed, message).with_hint("install it: `apt-get install git-lfs`"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::sample::Local;
    use super::*;
    use crate::testing::Content;
    use crate::testing::source::{contents, expected};

    const POINTS: &str = "version https://git-lfs.github.com/spec/v1\n\
        oid sha256:4665a5ea423c2713d436b5ee50593a9640e0018c1550b5a0002f74190d6caea8\nsize 12345\n";

    /// A `PATH` with `git` and a shell and nothing else.
    fn path_without_lfs(local: &Path) -> std::ffi::OsString {
        let bin = local.join("bin");
        fs::create_dir_all(&bin).unwrap();
        for tool in ["git", "sh"] {
            let found = ["/usr/local/bin", "/usr/bin", "/bin"].map(|folder| Path::new(folder).join(tool));
            symlink(found.iter().find(|path| path.exists()).unwrap(), bin.join(tool)).unwrap();
        }
        bin.into()
    }

    #[tokio::test]
    async fn a_machine_without_git_lfs_says_which_file_needs_it() {
        let bin = tempfile::tempdir().unwrap();
        let local = Local::with(|config| config.path_env = path_without_lfs(bin.path()));
        let attributes = ("a/.gitattributes", Content::Text("*.png filter=lfs diff=lfs merge=lfs -text\n"));
        local.repository("shop", &[attributes, ("a/logo.png", Content::Text(POINTS))]);

        let error = local.check_out(&local.request("shop")).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.to_string().contains("`a/logo.png` is stored in Git LFS"), "{error}");
        assert!(error.hint().unwrap().contains("git-lfs"));
    }

    #[tokio::test]
    async fn a_text_that_only_looks_like_a_pointer_is_taken_as_it_is() {
        let local = Local::new();
        let files = [("fixture.txt", Content::Text(POINTS))];
        local.repository("shop", &files);

        let checkout = local.check_out(&local.request("shop")).await.unwrap();

        assert_eq!(contents(&checkout.directory), expected(&files));
    }

    #[test]
    fn pointers_tell_the_size_of_what_they_point_to() {
        let folder = tempfile::tempdir().unwrap();
        for (text, size) in [(POINTS, Some(12_345)), ("size 1\n", None), (&POINTS[..60], None), ("", None)] {
            let file = folder.path().join("file");
            fs::write(&file, text).unwrap();

            assert_eq!(pointed_size(&file), size, "{text}");
        }
    }
}
