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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::sample::Local;
    use super::*;
    use crate::testing::source::contents;

    /// A folder of that name with some files.
    fn folder(local: &Local, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = local.path(name);
        fs::create_dir_all(&folder).unwrap();
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[tokio::test]
    async fn what_gitignore_names_and_every_env_stay_out() {
        let local = Local::new();
        let files = [
            (".gitignore", "*.log\n/dist\n"),
            ("a.log", "out"),
            ("dist/x", "out"),
            ("sub/dist/x", "in"),
            ("sub/.gitignore", "local\n!kept.log\n"),
            ("sub/local", "out"),
            ("sub/kept.log", "in"),
            (".env", "PASSWORD=1"),
            ("sub/.env.production", "PASSWORD=2"),
            (".envrc", "in"),
            (".hidden", "in"),
        ];
        folder(&local, "shop", &files);

        let checkout = local.check_out(&local.request("shop")).await.unwrap();

        let taken: Vec<_> = contents(&checkout.directory).into_keys().collect();
        assert_eq!(taken, [".envrc", ".gitignore", ".hidden", "sub/.gitignore", "sub/dist/x", "sub/kept.log"]);
    }

    #[tokio::test]
    async fn modes_links_and_empty_folders_are_taken() {
        let local = Local::new();
        let shop = folder(&local, "shop", &[("run", "#!/bin/sh"), ("text", "text")]);
        fs::set_permissions(shop.join("run"), Permissions::from_mode(0o700)).unwrap();
        fs::create_dir(shop.join("empty")).unwrap();
        symlink("text", shop.join("link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, shop.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();

        let checkout = local.check_out(&local.request("shop")).await.unwrap();

        let taken: Vec<_> = contents(&checkout.directory).into_values().collect();
        assert_eq!(taken, ["ltext", "x#!/bin/sh", "ftext"]);
        assert!(checkout.directory.join("empty").is_dir());
        assert!(local.heard().contains("`pipe` is neither a file nor a folder"), "{}", local.heard());
    }

    #[tokio::test]
    async fn a_link_out_of_the_folder_is_refused() {
        let local = Local::new();
        symlink("/etc/passwd", folder(&local, "shop", &[]).join("out")).unwrap();

        let refusal = local.check_out(&local.request("shop")).await.unwrap_err();

        assert!(refusal.to_string().contains("`out`"), "{refusal}");
    }

    #[tokio::test]
    async fn a_home_directory_and_what_holds_it_are_refused_unless_allowed() {
        let made = tempfile::tempdir().unwrap();
        let home = made.path().join("ada");
        fs::create_dir(&home).unwrap();
        fs::write(home.join("file"), "text").unwrap();
        for (path, allowed, taken) in
            [(&*home, false, false), (made.path(), false, false), (Path::new("/"), true, false), (&*home, true, true)]
        {
            let local = Local::with(|config| {
                config.home = Some(home.clone());
                config.settings.allow_large_snapshots = allowed;
            });
            let mut wanted = local.request("x");
            wanted.url = path.to_str().unwrap().parse().unwrap();

            let checkout = local.check_out(&wanted).await;

            assert_eq!(checkout.is_ok(), taken, "{checkout:?}");
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_too_large_is_refused_before_it_is_copied() {
        let large = |allowed| {
            let local = Local::with(|config| {
                config.settings.snapshot_bytes_max = 10;
                config.settings.allow_large_snapshots = allowed;
            });
            folder(&local, "shop", &[("file", "more than ten bytes")]);
            local
        };

        let local = large(false);
        let refusal = local.check_out(&local.request("shop")).await.unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::Exhausted);
        assert!(refusal.hint().unwrap().contains("--yes"));
        let local = large(true);
        assert!(local.check_out(&local.request("shop")).await.is_ok());
    }

    #[tokio::test]
    async fn a_folder_with_too_many_files_is_refused() {
        let local = Local::with(|config| config.settings.files_max = 2);
        folder(&local, "shop", &[("a", ""), ("b", ""), ("c", "")]);

        let refusal = local.check_out(&local.request("shop")).await.unwrap_err();

        assert_eq!(refusal.kind(), ErrorKind::Exhausted);
    }

    #[tokio::test]
    async fn the_data_directory_is_no_part_of_the_folder_that_holds_it() {
        let local = Local::new();
        folder(&local, ".", &[("index.html", "hello")]);

        let checkout = local.check_out(&local.request(".")).await.unwrap();

        assert_eq!(contents(&checkout.directory).into_keys().collect::<Vec<_>>(), ["index.html"]);
        assert!(local.check_out(&local.request("data")).await.is_err());
    }

    #[tokio::test]
    async fn a_base_directory_of_a_plain_folder_is_taken_alone() {
        let local = Local::new();
        folder(&local, "shop", &[("site/index.html", "hello"), ("notes", "no")]);
        let mut wanted = local.request("shop");
        wanted.base_directory = Some("site".parse().unwrap());

        let checkout = local.check_out(&wanted).await.unwrap();

        assert_eq!(contents(&checkout.directory).into_keys().collect::<Vec<_>>(), ["index.html"]);
        wanted.base_directory = Some("none".parse().unwrap());
        assert!(local.check_out(&wanted).await.is_err());
    }

    #[tokio::test]
    async fn equal_folders_have_equal_trees_and_any_difference_shows() {
        let local = Local::new();
        let variants: [&[(&str, &str)]; 5] = [
            &[("a", "1"), ("b", "2")],
            &[("a", "12"), ("b", "")],
            &[("a", "1"), ("c", "2")],
            &[("a", "2"), ("b", "1")],
            &[("a", "1"), ("b", "2"), ("c", "")],
        ];
        let mut trees = BTreeSet::new();
        for (n, files) in variants.iter().enumerate() {
            folder(&local, &format!("v{n}"), files);
            trees.insert(local.check_out(&local.request(&format!("v{n}"))).await.unwrap().commit.tree);
        }
        folder(&local, "again", variants[0]);

        let again = local.check_out(&local.request("again")).await.unwrap();

        assert_eq!(trees.len(), variants.len());
        assert!(trees.contains(&again.commit.tree));
    }
}
