//! The mirror: a bare copy of a repository that is brought up to date instead of cloned again.
//!
//! It has all branches and tags and what `HEAD` names; forced pushes are followed, removed branches go. It is a
//! cache: one of another address, or one that a crash or a full disk has damaged, is thrown away and made anew.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::args::{Hash, Refs, Remote, Rev};
use super::failure::{self, Trouble};
use super::places;
use super::run::Run;
use crate::config::SourceSettings;
use crate::error::{Error, ErrorKind, Resource};
use crate::model::{CommitSha, GitUrl};
use crate::source::Wish;

/// The file in a mirror that names its repository; written last, so that half a mirror has none.
const ADDRESS: &str = "ployer-address";
/// The packs of a mirror; more of them are joined.
const PACKS_MAX: usize = 20;

/// A bare repository of ours.
#[derive(Debug)]
pub(super) struct Mirror<'a> {
    run: &'a Run,
    pub(super) path: PathBuf,
    /// As it was given, for messages.
    pub(super) url: &'a GitUrl,
    pub(super) remote: &'a Remote,
    bytes_max: u64,
}

impl<'a> Mirror<'a> {
    /// Opens or makes the mirror at `path`, and answers `work` with it. If the mirror was there before and may be
    /// at fault when `work` fails, `work` gets a new one, once.
    pub(super) fn with<T>(
        run: &'a Run,
        path: &Path,
        (url, remote): (&'a GitUrl, &'a Remote),
        settings: &SourceSettings,
        work: &mut dyn FnMut(&Self) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mirror = Self { run, path: path.to_owned(), url, remote, bytes_max: settings.mirror_bytes_max };
        let result = mirror.attempt(work);
        match &result {
            // What a full disk needs most is its space.
            Err(Trouble::Outgrown(_)) => mirror.remove()?,
            Err(_) => mirror.sweep()?,
            Ok(_) => {}
        }
        result
    }

    fn attempt<T>(&self, work: &mut dyn FnMut(&Self) -> Result<T, Trouble>) -> Result<T, Trouble> {
        if self.is_of(&self.remote.address) {
            self.sweep()?;
            match self.pack().and_then(|()| work(self)) {
                Err(trouble) if trouble.suspects_the_mirror() => {
                    tracing::warn!(?trouble, path = %self.path.display(), "the mirror is thrown away");
                    self.run.say("the copy of the repository on this machine is no good any more; fetching it anew");
                }
                result => return result,
            }
        }
        self.make(Hash::Sha1)?;
        match work(self) {
            Err(trouble) if trouble.is_of_another_hash() => {
                self.make(Hash::Sha256)?;
                work(self)
            }
            result => result,
        }
    }

    /// Fetches, and finds the commit that is wanted.
    pub(super) fn bring(&self, wish: &Wish) -> Result<CommitSha, Trouble> {
        match wish {
            Wish::DefaultBranch => self.bring_head(),
            Wish::Branch(name) => {
                self.fetch(&Refs::All)?;
                let found = match self.resolve(&Rev::Branch(name))? {
                    None => self.resolve(&Rev::Tag(name))?,
                    found => found,
                };
                found.map_or_else(|| Err(self.missing(Resource::Branch, name.as_str())), Ok)
            }
            Wish::Commit(sha) => self.bring_commit(sha),
        }
    }

    fn bring_head(&self) -> Result<CommitSha, Trouble> {
        match self.fetch(&Refs::AllAndHead) {
            Err(trouble) if trouble.is_without_head() => {
                self.fetch(&Refs::All)?;
                return Err(Trouble::Refused(if self.is_empty()? {
                    failure::empty(self.url)
                } else {
                    failure::no_head(self.url)
                }));
            }
            fetched => fetched?,
        }
        self.resolve(&Rev::Head)?.ok_or_else(|| Trouble::Refused(failure::no_head(self.url)))
    }

    /// A commit never changes: one that is here already needs no fetch.
    fn bring_commit(&self, sha: &CommitSha) -> Result<CommitSha, Trouble> {
        if let Some(found) = self.resolve(&Rev::Commit(sha))? {
            return Ok(found);
        }
        self.fetch(&Refs::All)?;
        if self.resolve(&Rev::Commit(sha))?.is_none() {
            // No branch names it any more; many hosts hand it out all the same.
            match self.fetch(&Refs::Commit(sha)) {
                Err(Trouble::Git(_)) => return Err(self.missing(Resource::Commit, sha.as_str())),
                fetched => fetched?,
            }
        }
        self.resolve(&Rev::Commit(sha))?.map_or_else(|| Err(self.missing(Resource::Commit, sha.as_str())), Ok)
    }

    fn fetch(&self, refs: &Refs<'_>) -> Result<(), Trouble> {
        let call = self.run.git.fetch(&self.path, self.remote, refs);
        self.run.git_watched(call, &|| self.check_size())?;
        self.check_size()
    }

    fn resolve(&self, rev: &Rev<'_>) -> Result<Option<CommitSha>, Trouble> {
        match self.run.git(self.run.git.resolve(&self.path, rev)) {
            Ok(answer) => Ok(String::from_utf8_lossy(&answer).trim().parse().ok()),
            Err(Trouble::Git(failure)) if failure.is_silent() => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    fn is_empty(&self) -> Result<bool, Trouble> {
        Ok(self.run.git(self.run.git.any_ref(&self.path))?.is_empty())
    }

    fn missing(&self, what: Resource, name: &str) -> Trouble {
        match self.is_empty() {
            Ok(true) => Trouble::Refused(failure::empty(self.url)),
            Ok(false) => Trouble::Refused(
                Error::not_found(what, name).with_hint(format!("check that it was pushed to `{}`", self.url)),
            ),
            Err(trouble) => trouble,
        }
    }

    fn is_of(&self, address: &OsStr) -> bool {
        fs::read(self.path.join(ADDRESS)).is_ok_and(|known| known == address.as_encoded_bytes())
    }

    fn make(&self, hash: Hash) -> Result<(), Trouble> {
        self.remove()?;
        self.run.git(self.run.git.init(&self.path, hash))?;
        let address = self.path.join(ADDRESS);
        fs::write(&address, self.remote.address.as_encoded_bytes()).map_err(Trouble::file(&address))
    }

    fn remove(&self) -> Result<(), Trouble> {
        places::remove(&self.path).map_err(Trouble::file(&self.path))
    }

    /// Removes half packs that a killed fetch has left: they would stay for good.
    fn sweep(&self) -> Result<(), Trouble> {
        let packs = self.path.join("objects/pack");
        for (path, _) in files_of(&packs).map_err(Trouble::file(&packs))? {
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"tmp_")) {
                places::remove(&path).map_err(Trouble::file(&path))?;
            }
        }
        Ok(())
    }

    /// Joins packs when there are many: each fetch brings one. The large ones are left alone, so that this is quick.
    fn pack(&self) -> Result<(), Trouble> {
        let packs = files_of(&self.path.join("objects/pack")).unwrap_or_default();
        if packs.iter().filter(|(path, _)| path.extension().is_some_and(|kind| kind == "pack")).count() <= PACKS_MAX {
            return Ok(());
        }
        self.run.git(self.run.git.repack(&self.path)).map(drop)
    }

    fn check_size(&self) -> Result<(), Trouble> {
        // Files come and go while Git writes: what cannot be read now is read the next time.
        let bytes: u64 =
            files_of(&self.path.join("objects/pack")).unwrap_or_default().iter().map(|(_, size)| size).sum();
        if bytes <= self.bytes_max {
            return Ok(());
        }
        let max = self.bytes_max / 1_000_000;
        let error = Error::new(ErrorKind::Exhausted, format!("the history of `{}` has more than {max} MB", self.url));
        Err(Trouble::Outgrown(error.with_hint("take large files out of its history, or raise the limit")))
    }
}

fn files_of(folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries
        .map(|entry| {
            let entry = entry?;
            Ok((entry.path(), entry.metadata()?.len()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::sample::Local;
    use super::*;
    use crate::testing::source::{SourceHarness, contents, expected};
    use crate::testing::{Content, Push, Repository};

    const FIRST: [(&str, Content<'_>); 1] = [("f", Content::Text("first"))];
    const SECOND: [(&str, Content<'_>); 1] = [("f", Content::Text("second"))];

    /// The mirror of the one application there is.
    fn mirror(local: &Local) -> PathBuf {
        let sources = fs::read_dir(local.path("data/sources")).unwrap();
        let mut found = sources.map(|entry| entry.unwrap().path().join("repository.git")).filter(|path| path.exists());
        found.next().unwrap()
    }

    /// A source that has checked out the first commit, and could check out a second one.
    async fn with_a_second_commit() -> Local {
        let local = Local::new();
        local.repository("shop", &FIRST);
        local.check_out(&local.request("shop")).await.unwrap();
        local.push("shop", "main", &SECOND, Push::OnTop).await;
        local
    }

    #[tokio::test]
    async fn a_mirror_is_brought_up_to_date_and_not_made_again() {
        let local = with_a_second_commit().await;
        let mark = mirror(&local).join("mark");
        fs::write(&mark, "").unwrap();

        let checkout = local.check_out(&local.request("shop")).await.unwrap();

        assert_eq!(contents(&checkout.directory), expected(&SECOND));
        assert!(mark.exists());
    }

    #[tokio::test]
    async fn a_mirror_with_locks_of_a_killed_git_is_made_anew() {
        for lock in ["refs/heads/main.lock", "packed-refs.lock", "shallow.lock"] {
            let local = with_a_second_commit().await;
            fs::write(mirror(&local).join(lock), "").unwrap();

            let checkout = local.check_out(&local.request("shop")).await.unwrap();

            assert_eq!(contents(&checkout.directory), expected(&SECOND), "{lock}");
        }
    }

    #[tokio::test]
    async fn a_mirror_with_damaged_files_is_made_anew() {
        for (damaged, text) in
            [("HEAD", ""), ("config", "x"), ("refs/heads/main", ""), ("objects", ""), ("objects", "x")]
        {
            let local = with_a_second_commit().await;
            damage(&mirror(&local).join(damaged), text);

            let checkout = local.check_out(&local.request("shop")).await.unwrap();

            assert_eq!(contents(&checkout.directory), expected(&SECOND), "{damaged} `{text}`");
        }
    }

    /// Overwrites a file, or every file below a folder.
    fn damage(path: &Path, text: &str) {
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                damage(&entry.unwrap().path(), text);
            }
            return;
        }
        if path.exists() {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(path, text).unwrap();
    }

    #[tokio::test]
    async fn half_a_mirror_is_made_anew() {
        let local = with_a_second_commit().await;
        fs::remove_file(mirror(&local).join(ADDRESS)).unwrap();
        fs::remove_dir_all(mirror(&local).join("objects")).unwrap();

        let checkout = local.check_out(&local.request("shop")).await.unwrap();

        assert_eq!(contents(&checkout.directory), expected(&SECOND));
    }

    #[tokio::test]
    async fn half_packs_of_a_killed_fetch_are_swept() {
        let local = with_a_second_commit().await;
        let half = mirror(&local).join("objects/pack/tmp_pack_x1");
        fs::write(&half, "half").unwrap();

        local.check_out(&local.request("shop")).await.unwrap();

        assert!(!half.exists());
    }

    #[tokio::test]
    async fn an_application_that_moves_gets_a_mirror_of_the_new_address() {
        let local = with_a_second_commit().await;
        let elsewhere = local.repository("elsewhere", &[("g", Content::Text("elsewhere"))]);

        let checkout = local.check_out(&local.request("elsewhere")).await.unwrap();

        assert_eq!(checkout.commit.sha.unwrap().as_str(), elsewhere.git(&["rev-parse", "main"]));
        let mut old = local.request("elsewhere");
        old.what = Wish::Commit(Repository::at(local.path("shop")).git(&["rev-parse", "main"]).parse().unwrap());
        assert!(local.check_out(&old).await.is_err());
    }

    #[tokio::test]
    async fn many_fetches_do_not_leave_many_packs() {
        let local = with_a_second_commit().await;
        for n in 0..PACKS_MAX + 5 {
            local.push("shop", "main", &[("f", Content::Text(&n.to_string()))], Push::OnTop).await;

            local.check_out(&local.request("shop")).await.unwrap();
        }

        let packs = fs::read_dir(mirror(&local).join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
        let packs = packs.filter(|path| path.extension().is_some_and(|kind| kind == "pack")).count();
        assert!((2..=PACKS_MAX).contains(&packs), "{packs}");
    }

    #[tokio::test]
    async fn a_commit_that_no_branch_names_any_more_is_still_deployed() {
        let local = Local::new();
        let repository = local.repository("shop", &FIRST);
        let first = repository.git(&["rev-parse", "main"]);
        repository.commit("main", &SECOND, Push::Forced);
        let mut wanted = local.request("shop");
        wanted.what = Wish::Commit(first.parse().unwrap());

        let checkout = local.check_out(&wanted).await.unwrap();

        assert_eq!(contents(&checkout.directory), expected(&FIRST));
    }

    #[tokio::test]
    async fn a_head_that_names_no_branch_asks_for_one() {
        let local = Local::new();
        let repository = local.repository("shop", &FIRST);
        repository.git(&["symbolic-ref", "HEAD", "refs/heads/none"]);

        let error = local.check_out(&local.request("shop")).await.unwrap_err();

        assert!(error.to_string().contains("has no default branch"), "{error}");
        assert!(error.hint().unwrap().contains("name the branch"));
    }

    #[tokio::test]
    async fn a_repository_with_longer_ids_is_deployed_too() {
        let local = Local::new();
        fs::create_dir(local.path("shop")).unwrap();
        let repository = Repository::at(local.path("shop"));
        repository.git(&["init", "--quiet", "--bare", "--initial-branch=main", "--object-format=sha256"]);
        let commit = repository.commit("main", &FIRST, Push::OnTop);

        for _ in 0..2 {
            let checkout = local.check_out(&local.request("shop")).await.unwrap();

            assert_eq!(checkout.commit.sha.as_ref(), Some(&commit));
            assert_eq!(commit.as_str().len(), 64);
        }
    }

    #[tokio::test]
    async fn a_history_that_is_too_large_is_not_fetched_to_its_end() {
        let local = Local::with(|config| config.settings.mirror_bytes_max = 10);
        let noise: String = (0..200_000_u32).map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761))).collect();
        local.repository("shop", &[("noise", Content::Text(&noise))]);

        let error = local.check_out(&local.request("shop")).await.unwrap_err();

        assert_eq!(error.kind(), crate::error::ErrorKind::Exhausted, "{}", error.chain());
    }
}
