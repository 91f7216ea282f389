//! A path of this machine: a repository, a folder inside of one, or a folder as it is.
//!
//! Only where the settings allow it. What was not committed is not deployed from a repository, and is said so.

use std::io;
use std::path::{Path, PathBuf};

use super::args::Remote;
use super::failure::Trouble;
use super::run::Run;
use crate::error::{Error, ErrorKind, Resource};
use crate::model::{RepoPath, Transport};

/// What is found at a path.
#[derive(Debug)]
pub(super) enum Found {
    /// A repository, and the folder of it that the path names.
    Repository { remote: Remote, folder: Option<RepoPath> },
    /// A folder that no repository holds.
    Folder(PathBuf),
}

/// Looks what is at `path`.
pub(super) fn find(run: &Run, path: &Path) -> Result<Found, Trouble> {
    let path = path.canonicalize().map_err(|error| absent(path, error))?;
    if !path.is_dir() {
        return Err(Trouble::Refused(Error::new(ErrorKind::Invalid, format!("`{}` is not a folder", path.display()))));
    }
    let answer = match run.ask_git(run.git.locate(&path)) {
        Ok(answer) => answer,
        // Git finds no repository around it.
        Err(Trouble::Git(_)) => return Ok(Found::Folder(path)),
        Err(trouble) => return Err(trouble),
    };
    let answer = String::from_utf8(answer).map_err(|_| not_utf8(&path))?;
    let lines: Vec<&str> = answer.lines().collect();
    let [bare, in_git_dir, git_dir, prefix, ..] = lines[..] else { return Ok(Found::Folder(path)) };
    if bare == "true" || in_git_dir == "true" {
        let remote = Remote { address: git_dir.into(), transport: Transport::Local, ssh: None };
        return Ok(Found::Repository { remote, folder: None });
    }
    let folder = prefix.trim_end_matches('/');
    let depth = folder.split('/').filter(|part| !part.is_empty()).count();
    let root = path.ancestors().nth(depth).unwrap_or(&path);
    let remote = Remote { address: root.into(), transport: Transport::Local, ssh: None };
    let folder = (depth > 0).then(|| folder.parse()).transpose().map_err(Trouble::Refused)?;
    Ok(Found::Repository { remote, folder })
}

/// Whether the commit that is checked out has anything of a folder inside of its repository. One that it has nothing of
/// merely lies there: it is taken as it is.
pub(super) fn is_committed(run: &Run, folder: &Path) -> Result<bool, Trouble> {
    match run.git(run.git.committed(folder)) {
        Ok(answer) => Ok(!answer.is_empty()),
        // No commit at all: the fetch will say so.
        Err(Trouble::Git(_)) => Ok(true),
        Err(trouble) => Err(trouble),
    }
}

/// Says how much of a working tree is not deployed because it was not committed.
pub(super) fn say_changes(run: &Run, path: &Path) {
    // A hint only: where Git does not answer, nothing is said.
    let Ok(answer) = run.git(run.git.changes(path)) else { return };
    match answer.split(|byte| *byte == 0).filter(|item| !item.is_empty()).count() {
        0 => {}
        1 => run.say("1 change is not committed and is not deployed"),
        count => run.say(format!("{count} changes are not committed and are not deployed")),
    }
}

fn absent(path: &Path, error: io::Error) -> Trouble {
    if error.kind() == io::ErrorKind::NotFound {
        let error = Error::not_found(Resource::Repository, path.display());
        return Trouble::Refused(error.with_hint("check the path: it must exist on the machine that runs Ployer"));
    }
    Trouble::File { path: path.to_owned(), source: error }
}

fn not_utf8(path: &Path) -> Trouble {
    Trouble::Refused(Error::new(ErrorKind::Invalid, format!("the path `{}` is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::sample::Local;
    use crate::error::ErrorKind;
    use crate::source::Wish;
    use crate::testing::source::{SourceHarness, contents, expected, request};
    use crate::testing::{Content, Push, Repository};

    const PAGE: [(&str, Content<'_>); 1] = [("index.html", Content::Text("committed"))];

    #[tokio::test]
    async fn a_path_is_refused_where_the_settings_do_not_allow_it() {
        let local = Local::with(|config| config.settings.allow_local = false);
        local.repository("shop", &PAGE);

        let refusal = local.check_out(&local.request("shop")).await.unwrap_err();

        assert_eq!(refusal.kind(), ErrorKind::Forbidden);
        assert!(refusal.hint().is_some());
    }

    #[tokio::test]
    async fn what_was_not_committed_is_not_deployed_and_is_said_so() {
        let local = Local::new();
        let repository = Repository::with_work_tree(local.path("shop"), &PAGE);
        fs::write(repository.path().join("index.html"), "changed").unwrap();
        fs::write(repository.path().join("new"), "new").unwrap();

        let checkout = local.check_out(&local.request("shop")).await.unwrap();

        assert_eq!(contents(&checkout.directory), expected(&PAGE));
        assert!(local.heard().contains("2 changes are not committed and are not deployed"), "{}", local.heard());
    }

    #[tokio::test]
    async fn a_clean_working_tree_is_not_remarked_upon() {
        let local = Local::new();
        Repository::with_work_tree(local.path("shop"), &PAGE);

        local.check_out(&local.request("shop")).await.unwrap();

        assert!(!local.heard().contains("not committed"), "{}", local.heard());
    }

    #[tokio::test]
    async fn a_subfolder_is_deployed_as_its_own_tree_of_the_repository() {
        let local = Local::new();
        let files = [("apps/shop/a/f", Content::Text("shop")), ("apps/blog/f", Content::Text("blog"))];
        let repository = Repository::with_work_tree(local.path("all"), &files);
        let whole = repository.git(&["rev-parse", "HEAD:apps/shop"]);

        let checkout = local.check_out(&local.request("all/apps/shop")).await.unwrap();

        assert_eq!(contents(&checkout.directory), expected(&[("a/f", Content::Text("shop"))]));
        assert_eq!(checkout.commit.tree, whole);
        let mut deeper = local.request("all/apps/shop");
        deeper.base_directory = Some("a".parse().unwrap());
        let checkout = local.check_out(&deeper).await.unwrap();
        assert_eq!(contents(&checkout.directory), expected(&[("f", Content::Text("shop"))]));
    }

    #[tokio::test]
    async fn a_folder_that_the_repository_around_it_does_not_know_is_taken_as_it_is() {
        let local = Local::new();
        let repository = Repository::with_work_tree(local.path("all"), &PAGE);
        fs::create_dir(repository.path().join("new")).unwrap();
        fs::write(repository.path().join("new/file"), "fresh").unwrap();

        let checkout = local.check_out(&local.request("all/new")).await.unwrap();

        assert_eq!(contents(&checkout.directory), expected(&[("file", Content::Text("fresh"))]));
        assert_eq!(checkout.commit.sha, None);
        assert!(local.heard().contains("taking it as it is now"), "{}", local.heard());
    }

    #[tokio::test]
    async fn a_working_tree_is_deployed_at_what_it_has_checked_out() {
        let local = Local::new();
        let repository = Repository::with_work_tree(local.path("shop"), &PAGE);
        let first = repository.git(&["rev-parse", "HEAD"]);
        let second = repository.commit("aside", &[("f", Content::Text("aside"))], Push::OnTop);
        for (at, expected) in [("aside", second.as_str()), (&first, &first)] {
            repository.git(&["checkout", "--quiet", at]);

            let checkout = local.check_out(&local.request("shop")).await.unwrap();

            assert_eq!(checkout.commit.sha.unwrap().as_str(), expected);
        }
    }

    #[tokio::test]
    async fn a_linked_working_tree_and_a_shallow_clone_are_repositories_too() {
        let local = Local::new();
        let repository = Repository::with_work_tree(local.path("shop"), &PAGE);
        repository.commit("main", &[("index.html", Content::Text("newer"))], Push::OnTop);
        repository.git(&["worktree", "add", "--quiet", "../linked", "main~1", "--detach"]);
        let from = format!("file://{}", repository.path().display());
        repository.git(&["clone", "--quiet", "--depth=1", "--branch=main", &from, "../shallow"]);

        let linked = local.check_out(&local.request("linked")).await.unwrap();
        assert_eq!(contents(&linked.directory), expected(&PAGE));
        let shallow = local.check_out(&local.request("shallow")).await.unwrap();
        assert_eq!(contents(&shallow.directory), expected(&[("index.html", Content::Text("newer"))]));
    }

    #[tokio::test]
    async fn a_repository_of_another_user_is_deployed_but_runs_nothing() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let local = Local::new();
        let repository = Repository::with_work_tree(local.path("shop"), &PAGE);
        let ran = local.path("ran");
        let evil = format!("touch {}; false", ran.display());
        for setting in ["core.fsmonitor", "core.sshCommand", "uploadpack.packObjectsHook"] {
            repository.git(&["config", setting, &evil]);
        }
        let chowned = std::process::Command::new("chown").args(["-R", "65534"]).arg(repository.path()).status();
        assert!(chowned.unwrap().success());

        let checkout = local.check_out(&local.request("shop")).await.unwrap();

        assert_eq!(contents(&checkout.directory), expected(&PAGE));
        assert!(!ran.exists());
    }

    #[tokio::test]
    async fn a_repository_without_a_commit_says_so() {
        let local = Local::new();
        fs::create_dir(local.path("shop")).unwrap();
        Repository::at(local.path("shop")).git(&["init", "--quiet"]);
        fs::write(local.path("shop/index.html"), "not committed").unwrap();

        let error = local.check_out(&local.request("shop")).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("is empty"), "{error}");
    }

    #[tokio::test]
    async fn a_plain_folder_has_no_branches_and_a_file_is_no_folder() {
        let local = Local::new();
        fs::create_dir(local.path("plain")).unwrap();
        fs::write(local.path("file"), "").unwrap();

        let branch = request(local.url("plain"), Wish::Branch("main".parse().unwrap()));
        assert_eq!(local.check_out(&branch).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(local.check_out(&local.request("file")).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
}
