//! The export: the files of one commit, in a folder without a `.git`.
//!
//! Written by `git checkout` with an index of its own: `git archive` would leave out what `export-ignore` names,
//! and line ends, LFS and submodules follow the repository's attributes. Sizes are known, and refused, before
//! anything is written. Which submodules are fetched is decided in `submodule`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::args::Workspace;
use super::failure::Trouble;
use super::mirror::Mirror;
use super::places::Partial;
use super::run::Run;
use super::ssh::Access;
use super::submodule::{self, Submodule};
use super::tree::{self, Entry, Kind};
use super::{lfs, links, places};
use crate::config::SourceSettings;
use crate::error::{Error, ErrorKind};
use crate::model::{CommitSha, GitUrl, RepoPath};
use crate::source::Wish;

/// How deep submodules may have submodules.
const DEPTH_MAX: u32 = 8;

/// Writes commits to folders, and counts what they take.
#[derive(Debug)]
pub(super) struct Export<'a> {
    pub(super) run: &'a Run,
    pub(super) partial: &'a Partial,
    pub(super) settings: &'a SourceSettings,
    pub(super) access: &'a Access,
    /// Where the mirrors of submodules are.
    pub(super) mirrors: PathBuf,
    pub(super) taken: Taken,
    /// The names of those mirrors that were needed.
    pub(super) used: BTreeSet<String>,
}

/// What has been written so far, or will be in a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    bytes: u64,
    files: usize,
    submodules: usize,
}

/// A commit of a mirror, or a folder of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) mirror: &'a Mirror<'a>,
    pub(super) commit: &'a CommitSha,
    pub(super) folder: Option<&'a RepoPath>,
}

impl Export<'_> {
    /// Writes a part of a repository below `to`, at its own path.
    pub(super) fn write(&mut self, part: Part<'_>, to: &Path) -> Result<(), Trouble> {
        self.write_at(part, to, 0)?;
        self.forget_unused()
    }

    /// Removes the mirrors of submodules that are there no longer.
    fn forget_unused(&self) -> Result<(), Trouble> {
        let Ok(entries) = fs::read_dir(&self.mirrors) else { return Ok(()) };
        let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        for path in paths {
            if path.file_name().and_then(OsStr::to_str).is_none_or(|name| !self.used.contains(name)) {
                places::remove(&path).map_err(Trouble::file(&path))?;
            }
        }
        Ok(())
    }

    fn write_at(&mut self, part: Part<'_>, to: &Path, depth: u32) -> Result<(), Trouble> {
        let entries = self.entries(part)?;
        self.count(&entries)?;
        let index = self.partial.join(&format!("index-{}", self.taken.submodules));
        let at = Workspace { mirror: &part.mirror.path, index: &index, folder: to };
        let below = part.folder.map_or_else(|| to.to_owned(), |folder| to.join(folder.as_str()));
        fs::create_dir_all(&below).map_err(Trouble::file(&below))?;
        if entries.iter().any(|entry| !matches!(entry.kind, Kind::Submodule(_))) {
            self.run.git(self.run.git.read_tree(at, part.commit))?;
            self.run.git(self.run.git.checkout(at, part.folder))?;
            let pointers = lfs::pointers(&below, &entries);
            self.take_bytes(pointers.iter().map(|pointer| pointer.bytes).sum())?;
            lfs::replace(self.run, at, part, &pointers)?;
        }
        self.write_submodules(part, &entries, &below, depth)
    }

    fn entries(&self, part: Part<'_>) -> Result<Vec<Entry>, Trouble> {
        let top = part.tree(self.run)?;
        Ok(tree::parse(&self.run.git(self.run.git.entries(&part.mirror.path, &top))?))
    }

    fn count(&mut self, entries: &[Entry]) -> Result<(), Trouble> {
        self.taken.files += entries.len();
        let max = self.settings.files_max;
        if self.taken.files > max {
            return Err(Trouble::too_large(format!("it has more than {max} files")));
        }
        self.take_bytes(entries.iter().map(|entry| if let Kind::File { bytes } = entry.kind { bytes } else { 0 }).sum())
    }

    fn take_bytes(&mut self, bytes: u64) -> Result<(), Trouble> {
        self.taken.bytes = self.taken.bytes.saturating_add(bytes);
        let max = self.settings.checkout_bytes_max;
        if self.taken.bytes <= max {
            return Ok(());
        }
        Err(Trouble::too_large(format!(
            "its files have {} MB, more than {} MB",
            self.taken.bytes / 1_000_000,
            max / 1_000_000
        )))
    }

    fn write_submodules(&mut self, part: Part<'_>, entries: &[Entry], below: &Path, depth: u32) -> Result<(), Trouble> {
        let wanted: Vec<_> = entries
            .iter()
            .filter_map(|entry| if let Kind::Submodule(commit) = &entry.kind { Some((entry, commit)) } else { None })
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let described = match self.run.git(self.run.git.submodules(&part.mirror.path, part.commit)) {
            Ok(answer) => submodule::parse(&answer),
            // No `.gitmodules`, or none that says anything.
            Err(Trouble::Git(_)) => Vec::new(),
            Err(trouble) => return Err(trouble),
        };
        for (entry, commit) in wanted {
            let path = part.folder.map_or_else(PathBuf::new, |folder| folder.as_str().into()).join(&entry.path);
            let submodule = described.iter().find(|submodule| Path::new(&submodule.path) == path);
            if !links::is_plain_folder(below, &entry.path) {
                return Err(refused(&path, "a link stands in its way", part.mirror.url));
            }
            let written =
                self.write_submodule(part.mirror.url, submodule, (&path, commit), &below.join(&entry.path), depth);
            written.map_err(|trouble| if depth == 0 { trouble.of_submodule(&path) } else { trouble })?;
        }
        Ok(())
    }

    fn write_submodule(
        &mut self,
        parent: &GitUrl,
        submodule: Option<&Submodule>,
        (path, commit): (&Path, &CommitSha),
        to: &Path,
        depth: u32,
    ) -> Result<(), Trouble> {
        let Some(text) = submodule.filter(|submodule| !submodule.off).and_then(|submodule| submodule.url.as_deref())
        else {
            self.run.say(format!("the submodule `{}` has no address to fetch and stays empty", path.display()));
            return fs::create_dir_all(to).map_err(Trouble::file(to));
        };
        self.taken.submodules += 1;
        if depth >= DEPTH_MAX || self.taken.submodules > self.settings.submodules_max {
            return Err(refused(path, "there are too many, or they contain each other", parent));
        }
        let url =
            submodule::address(parent, text).map_err(|reason| refused(path, &format!("`{text}`: {reason}"), parent))?;
        self.run.say(format!("fetching the submodule `{}`", path.display()));
        let remote = self.access.remote(&url);
        let (run, settings) = (self.run, self.settings);
        let name = name_of(&url);
        let mirror = self.mirrors.join(&name);
        self.used.insert(name);
        let taken = self.taken;
        Mirror::with(run, &mirror, (&url, &remote), settings, &mut |mirror| {
            // A second attempt writes over the first.
            self.taken = taken;
            mirror.bring(&Wish::Commit(commit.clone()))?;
            self.write_at(Part { mirror, commit, folder: None }, to, depth + 1)
        })
        .map_err(|trouble| trouble.about(&url, &self.access.known_hosts))
    }
}

impl Part<'_> {
    /// The id of the tree that is written.
    pub(super) fn tree(self, run: &Run) -> Result<String, Trouble> {
        let Some(folder) = self.folder else { return Ok(self.commit.to_string()) };
        match self.folder_entry(run)? {
            Some(Entry { kind: Kind::Folder, object, .. }) => Ok(object),
            found => {
                let what = if found.is_some() { "is not a folder" } else { "does not exist" };
                let message =
                    format!("the folder `{folder}` {what} in commit {} of `{}`", self.commit.short(), self.mirror.url);
                Err(Trouble::Refused(
                    Error::new(ErrorKind::NotFound, message).with_hint("check the application's base directory"),
                ))
            }
        }
    }

    /// What the commit has at the path of the folder.
    pub(super) fn folder_entry(self, run: &Run) -> Result<Option<Entry>, Trouble> {
        let Some(folder) = self.folder else { return Ok(None) };
        let answer = run.git(run.git.folder_entry(&self.mirror.path, self.commit, folder))?;
        Ok(tree::parse(&answer).pop())
    }
}

fn refused(path: &Path, reason: &str, parent: &GitUrl) -> Trouble {
    let message = format!("the submodule `{}` of `{parent}` is not fetched: {reason}", path.display());
    let hint = "give it an `https` address or a relative one in `.gitmodules`, or set its `update` to `none`";
    Trouble::Refused(Error::new(ErrorKind::Invalid, message).with_hint(hint))
}

fn name_of(url: &GitUrl) -> String {
    Sha256::digest(url.as_str()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::Local;
    use crate::error::ErrorKind;
    use crate::source::Wish;
    use crate::testing::source::{SourceHarness, contents, expected, request};
    use crate::testing::{Content, Push};

    #[tokio::test]
    async fn attributes_of_the_root_hold_in_a_base_directory() {
        let local = Local::new();
        local.repository(
            "all",
            &[(".gitattributes", Content::Text("*.bat eol=crlf\n")), ("app/run.bat", Content::Text("one\ntwo\n"))],
        );
        let mut wanted = local.request("all");
        wanted.base_directory = Some("app".parse().unwrap());

        let checkout = local.check_out(&wanted).await.unwrap();

        assert_eq!(contents(&checkout.directory), expected(&[("run.bat", Content::Text("one\r\ntwo\r\n"))]));
    }

    #[tokio::test]
    async fn a_tag_is_taken_like_a_branch() {
        let local = Local::new();
        let repository = local.repository("shop", &[("f", Content::Text("head"))]);
        let tagged = repository.tag("v1.0", &[("f", Content::Text("tagged"))]);

        let checkout = local.check_out(&request(local.url("shop"), Wish::Branch("v1.0".parse().unwrap()))).await;

        assert_eq!(checkout.unwrap().commit.sha, Some(tagged));
    }

    #[tokio::test]
    async fn submodules_of_submodules_are_written_in_their_places_and_forgotten_with_them() {
        let local = Local::new();
        let leaf = local.repository("leaf", &[("leaf.txt", Content::Text("leaf"))]).git(&["rev-parse", "main"]);
        let gitmodules = "[submodule \"leaf\"]\n\tpath = deep/leaf\n\turl = ../leaf\n";
        let lib = local
            .repository("lib", &[(".gitmodules", Content::Text(gitmodules)), ("deep/leaf", Content::Submodule(&leaf))])
            .git(&["rev-parse", "main"]);
        let gitmodules = "[submodule \"lib\"]\n\tpath = app/vendor/lib\n\turl = ../lib/\n";
        local.repository(
            "shop",
            &[
                (".gitmodules", Content::Text(gitmodules)),
                ("app/main.txt", Content::Text("main")),
                ("app/vendor/lib", Content::Submodule(&lib)),
            ],
        );
        let mut wanted = local.request("shop");
        wanted.base_directory = Some("app".parse().unwrap());

        let checkout = local.check_out(&wanted).await.unwrap();

        let taken: Vec<_> = contents(&checkout.directory).into_keys().collect();
        assert_eq!(taken, ["main.txt", "vendor/lib/.gitmodules", "vendor/lib/deep/leaf/leaf.txt"]);
        let mirrors = local.path("data/sources").join(wanted.application.to_string()).join("submodules");
        assert_eq!(std::fs::read_dir(&mirrors).unwrap().count(), 2);
        local.push("shop", "main", &[("app/main.txt", Content::Text("alone"))], Push::OnTop).await;
        local.check_out(&wanted).await.unwrap();
        assert_eq!(std::fs::read_dir(&mirrors).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_submodule_without_an_address_stays_empty_and_is_named() {
        let local = Local::new();
        let off = "[submodule \"off\"]\n\tpath = off\n\turl = ../absent\n\tupdate = none\n";
        local.repository(
            "shop",
            &[
                (".gitmodules", Content::Text(off)),
                ("lone", Content::Submodule(&"1".repeat(40))),
                ("off", Content::Submodule(&"2".repeat(40))),
            ],
        );

        let checkout = local.check_out(&local.request("shop")).await.unwrap();

        for name in ["lone", "off"] {
            assert!(checkout.directory.join(name).read_dir().unwrap().next().is_none());
            assert!(local.heard().contains(&format!("the submodule `{name}` has no address")), "{}", local.heard());
        }
    }

    #[tokio::test]
    async fn a_submodule_that_is_unsafe_or_absent_fails_by_name() {
        for (url, kind) in [
            ("ext::sh -c touch% /tmp/x", ErrorKind::Invalid),
            ("file:///srv/secret", ErrorKind::Invalid),
            ("../absent", ErrorKind::NotFound),
        ] {
            let local = Local::new();
            let gitmodules = format!("[submodule \"lib\"]\n\tpath = vendor/lib\n\turl = {url}\n");
            local.repository(
                "shop",
                &[(".gitmodules", Content::Text(&gitmodules)), ("vendor/lib", Content::Submodule(&"1".repeat(40)))],
            );

            let error = local.check_out(&local.request("shop")).await.unwrap_err();

            assert_eq!(error.kind(), kind, "{url}: {}", error.chain());
            assert!(error.chain().contains("vendor/lib"), "{}", error.chain());
        }
    }

    #[tokio::test]
    async fn a_submodule_that_contains_itself_ends_at_a_depth() {
        let local = Local::new();
        let gitmodules = "[submodule \"self\"]\n\tpath = self\n\turl = ../shop\n";
        let first = local.repository("shop", &[("f", Content::Text(""))]).git(&["rev-parse", "main"]);
        let mut below = first;
        for _ in 0..10 {
            let files = [(".gitmodules", Content::Text(gitmodules)), ("self", Content::Submodule(&below))];
            below = local.push("shop", "main", &files, Push::OnTop).await.to_string();
        }

        let error = local.check_out(&local.request("shop")).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.chain().contains("too many"), "{}", error.chain());
    }

    #[tokio::test]
    async fn what_is_too_large_is_refused_before_it_is_written() {
        let files = [("a", Content::Text("12345")), ("b", Content::Text("67890"))];
        for (bytes, files_max) in [(9, 100), (100, 1)] {
            let local = Local::with(|config| {
                config.settings.checkout_bytes_max = bytes;
                config.settings.files_max = files_max;
            });
            local.repository("shop", &files);

            let refusal = local.check_out(&local.request("shop")).await.unwrap_err();

            assert_eq!(refusal.kind(), ErrorKind::Exhausted);
            assert!(refusal.hint().is_some());
        }
    }

    #[tokio::test]
    async fn a_commit_without_files_is_an_empty_folder() {
        let local = Local::new();
        local.repository("shop", &[]);

        let checkout = local.check_out(&local.request("shop")).await.unwrap();

        assert!(contents(&checkout.directory).is_empty());
    }

    #[tokio::test]
    async fn a_base_directory_that_is_a_file_is_said_to_be_none() {
        let local = Local::new();
        local.repository("shop", &[("app", Content::Text("a file"))]);
        let mut wanted = local.request("shop");
        wanted.base_directory = Some("app".parse().unwrap());

        let error = local.check_out(&wanted).await.unwrap_err();

        assert!(error.to_string().contains("is not a folder"), "{error}");
    }
}
