//! The snapshot: a folder that is no repository, taken as it is now.
//!
//! What `.gitignore` names stays out, and so do `.git`, `.env` and `.env.*`, wherever they are: an environment is
//! set, not deployed. Equal folders have equal hashes, over paths, modes and contents in order of the paths.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use super::failure::Trouble;
use super::run::Run;
use crate::config::SourceSettings;
use crate::error::{Error, ErrorKind};

/// What a snapshot may take.
#[derive(Debug)]
pub(super) struct Bounds<'a> {
    pub(super) settings: &'a SourceSettings,
    /// A user's home: too much to be meant.
    pub(super) home: Option<&'a Path>,
    /// Our own files: no part of a source.
    pub(super) data_dir: &'a Path,
}

/// One entry of the folder.
#[derive(Debug)]
struct Entry {
    path: PathBuf,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Folder,
    File { bytes: u64, executable: bool },
    Link(PathBuf),
}

/// Copies `folder` to `to`, which does not exist yet; answers the hash of what was taken.
pub(super) fn take(run: &Run, folder: &Path, to: &Path, bounds: &Bounds<'_>) -> Result<String, Trouble> {
    bounds.check_place(folder)?;
    let entries = list(run, folder, bounds)?;
    bounds.check_size(folder, &entries)?;
    fs::create_dir(to).map_err(Trouble::file(to))?;
    let mut hash = Sha256::new();
    for entry in &entries {
        run.wanted.check()?;
        copy(entry, folder, to, &mut hash)?;
    }
    Ok(format!("sha256:{}", hex(&hash.finalize())))
}

impl Bounds<'_> {
    fn check_place(&self, folder: &Path) -> Result<(), Trouble> {
        let home = self.home.and_then(|home| home.canonicalize().ok());
        let above = |what: &Path| what.starts_with(folder);
        let message = if folder == Path::new("/") {
            "`/` is the whole machine, not an application".to_owned()
        } else if above(self.data_dir) && folder == self.data_dir {
            format!("`{}` is the data directory itself", folder.display())
        } else if home.as_deref().is_some_and(above) && !self.settings.allow_large_snapshots {
            return Err(refused(format!("`{}` is a home directory, or holds it", folder.display()))
                .map_hint("name the application's own folder, or allow it with `--yes`"));
        } else {
            return Ok(());
        };
        Err(refused(message).map_hint("name the application's own folder"))
    }

    fn check_size(&self, folder: &Path, entries: &[Entry]) -> Result<(), Trouble> {
        let size = |entry: &Entry| if let Kind::File { bytes, .. } = entry.kind { bytes } else { 0 };
        let bytes: u64 = entries.iter().map(size).sum();
        let max = self.settings.snapshot_bytes_max;
        if bytes <= max || self.settings.allow_large_snapshots {
            return Ok(());
        }
        let message = format!("`{}` has {} MB, more than {} MB", folder.display(), bytes / 1_000_000, max / 1_000_000);
        let error = Error::new(ErrorKind::Exhausted, message);
        Err(Trouble::Refused(error.with_hint("name what is not source in `.gitignore`, or allow it with `--yes`")))
    }
}

fn refused(message: String) -> Refusal {
    Refusal(Error::new(ErrorKind::Invalid, message))
}

struct Refusal(Error);

impl Refusal {
    fn map_hint(self, hint: &str) -> Trouble {
        Trouble::Refused(self.0.with_hint(hint))
    }
}

/// All that is taken, in order of the paths.
fn list(run: &Run, folder: &Path, bounds: &Bounds<'_>) -> Result<Vec<Entry>, Trouble> {
    let data_dir = bounds.data_dir.to_owned();
    let walk = WalkBuilder::new(folder)
        .standard_filters(false)
        .git_ignore(true)
        .require_git(false)
        .filter_entry(move |entry| !stays_out(entry.file_name().as_bytes()) && entry.path() != data_dir)
        .build();
    let mut entries = Vec::new();
    for found in walk {
        run.wanted.check()?;
        let found = found.map_err(|error| Trouble::file(folder)(io::Error::other(error)))?;
        let path = found.path().strip_prefix(folder).unwrap_or(found.path());
        if path.as_os_str().is_empty() {
            continue;
        }
        let meta = fs::symlink_metadata(found.path()).map_err(Trouble::file(found.path()))?;
        let kind = if meta.is_dir() {
            Kind::Folder
        } else if meta.is_file() {
            Kind::File { bytes: meta.len(), executable: meta.permissions().mode() & 0o100 != 0 }
        } else if meta.is_symlink() {
            Kind::Link(fs::read_link(found.path()).map_err(Trouble::file(found.path()))?)
        } else {
            run.say(format!("`{}` is neither a file nor a folder and stays out", path.display()));
            continue;
        };
        entries.push(Entry { path: path.to_owned(), kind });
        if entries.len() > bounds.settings.files_max {
            return Err(Trouble::too_large(format!("it has more than {} files", bounds.settings.files_max)));
        }
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

fn stays_out(name: &[u8]) -> bool {
    name == b".git" || name == b".env" || name.starts_with(b".env.")
}

fn copy(entry: &Entry, from: &Path, to: &Path, hash: &mut Sha256) -> Result<(), Trouble> {
    let (from, to) = (from.join(&entry.path), to.join(&entry.path));
    let file = Trouble::file(&from);
    match &entry.kind {
        Kind::Folder => {
            note(hash, b'd', &entry.path, &[]);
            fs::create_dir(&to).map_err(file)
        }
        Kind::Link(target) => {
            note(hash, b'l', &entry.path, target.as_os_str().as_bytes());
            symlink(target, &to).map_err(file)
        }
        Kind::File { executable, .. } => {
            note(hash, if *executable { b'x' } else { b'f' }, &entry.path, &[]);
            copy_file(&from, &to, *executable, hash).map_err(file)
        }
    }
}

/// Adds an entry to the hash so that no other list of entries gives the same bytes.
fn note(hash: &mut Sha256, kind: u8, path: &Path, content: &[u8]) {
    let path = path.as_os_str().as_bytes();
    hash.update([kind]);
    hash.update((path.len() as u64).to_be_bytes());
    hash.update(path);
    hash.update((content.len() as u64).to_be_bytes());
    hash.update(content);
}

fn copy_file(from: &Path, to: &Path, executable: bool, hash: &mut Sha256) -> io::Result<()> {
    // Neither a link nor a pipe that has taken the file's place since it was listed is followed or waited for.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut from = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(from)?;
    let mut to = File::create_new(to)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut bytes = 0_u64;
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        to.write_all(&buffer[..count])?;
        bytes += count as u64;
    }
    hash.update(bytes.to_be_bytes());
    to.set_permissions(Permissions::from_mode(if executable { 0o755 } else { 0o644 }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
