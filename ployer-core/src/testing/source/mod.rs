//! The source's suite: each promise of [`Source`] as tests of their own.
//!
//! An implementation brings a [`SourceHarness`], which makes repositories, and calls
//! [`source_suite!`](crate::source_suite) in a test module; its crate needs tokio with `macros` and
//! `rt-multi-thread`. A harness around real repositories finds [`Repository`](super::Repository) useful.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use uuid::Uuid;

use super::repository::{Content, Files, Push};
use crate::error::Result;
use crate::model::{ApplicationId, CommitSha, DeploymentId, GitUrl};
use crate::source::{Checkout, CheckoutRequest, Progress, Source, Wish};

pub mod clear;
pub mod contained;
pub mod exact;
pub mod head;
pub mod repeatable;

/// How the suite comes by a source and by repositories for it.
#[async_trait]
pub trait SourceHarness: Send + Sync + Sized + 'static {
    /// A harness around a source that no other test sees.
    async fn fresh() -> Self;

    /// The source.
    fn source(&self) -> Arc<dyn Source>;

    /// The address of the repository of that name, which need not exist.
    fn url(&self, repository: &str) -> GitUrl;

    /// Makes an empty repository; its default branch is `main`.
    async fn create(&self, repository: &str);

    /// Makes a commit with exactly `files` the head of a branch.
    async fn push(&self, repository: &str, branch: &str, files: Files<'_>, how: Push) -> CommitSha;

    /// Deletes a branch.
    async fn remove_branch(&self, repository: &str, branch: &str);
}

/// Makes each case of the suite a test, in a module named after its promise.
#[macro_export]
macro_rules! source_suite {
    ($harness:ty) => {
        $crate::source_suite! { $harness;
            exact:
                the_folder_has_every_file_of_the_commit_and_no_other,
                a_base_directory_is_deployed_as_if_it_were_the_whole,
                a_named_commit_is_taken_though_its_branch_moved_on,
                what_was_taken_is_recorded_with_the_commit,
                equal_contents_have_equal_trees_and_different_ones_do_not;
            head:
                a_branch_is_taken_at_its_newest_commit,
                a_forced_push_is_followed_to_the_new_history,
                the_default_branch_is_taken_where_none_is_named,
                a_branch_in_the_place_of_a_folder_of_branches_is_taken;
            repeatable:
                a_deployment_is_checked_out_again_over_what_a_crash_left,
                a_discarded_checkout_is_gone_and_can_be_made_again,
                a_forgotten_application_is_checked_out_anew,
                discarding_and_forgetting_what_is_not_there_is_no_error,
                a_dropped_checkout_can_be_made_again,
                deployments_and_applications_at_once_do_not_meet;
            contained:
                links_inside_of_the_folder_stay_as_they_are,
                a_link_out_of_the_folder_is_refused_by_name,
                a_refused_checkout_leaves_no_folder_behind;
            clear:
                a_repository_that_is_not_there_is_not_found_by_name,
                a_branch_that_is_not_there_is_not_found_by_name,
                a_commit_that_is_not_there_is_not_found_by_name,
                a_base_directory_that_is_not_there_is_not_found_by_name,
                an_empty_repository_is_not_found_and_says_so;
        }
    };
    ($harness:ty; $($promise:ident: $($case:ident),+;)+) => {$(
        mod $promise {
            #[allow(unused_imports, reason = "the harness may be named by a path of its own")]
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let harness = <$harness as $crate::testing::source::SourceHarness>::fresh().await;
                    $crate::testing::source::$promise::$case(harness).await;
                }
            )+
        }
    )+};
}

/// Keeps lines of progress for a test to look at.
#[derive(Debug, Default)]
pub struct Heard(Mutex<Vec<String>>);

impl Heard {
    /// What was said so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Progress for Heard {
    fn line(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

/// A request for what `wish` says of a repository, for one application and one deployment.
pub fn request(url: GitUrl, what: Wish) -> CheckoutRequest {
    CheckoutRequest {
        application: ApplicationId::from(Uuid::from_u128(1)),
        deployment: DeploymentId::from(Uuid::from_u128(2)),
        url,
        what,
        base_directory: None,
        deploy_key: None,
    }
}

/// The branch `main`.
pub fn main_branch() -> Wish {
    Wish::Branch("main".parse().unwrap())
}

/// Everything below a folder but the folders themselves, by path: `f` and a file's text, `x` and that of one that may
/// be executed, `l` and a link's target.
pub fn contents(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            let text = if meta.is_dir() {
                folders.push(path);
                continue;
            } else if meta.is_symlink() {
                format!("l{}", path.read_link().unwrap().display())
            } else {
                let kind = if meta.permissions().mode() & 0o100 == 0 { 'f' } else { 'x' };
                format!("{kind}{}", std::fs::read_to_string(&path).unwrap())
            };
            found.insert(path.strip_prefix(folder).unwrap().display().to_string(), text);
        }
    }
    found
}

/// What [`contents`] says of a checkout of `files`.
pub fn expected(files: Files<'_>) -> BTreeMap<String, String> {
    let entry = |(path, content): &(&str, Content<'_>)| {
        let text = match content {
            Content::Text(text) => format!("f{text}"),
            Content::Executable(text) => format!("x{text}"),
            Content::Link(target) => format!("l{target}"),
            Content::Submodule(_) => return None,
        };
        Some(((*path).to_owned(), text))
    };
    files.iter().filter_map(entry).collect()
}

/// Checks out what nobody follows.
async fn check_out(harness: &impl SourceHarness, request: &CheckoutRequest) -> Result<Checkout> {
    harness.source().checkout(request, &Heard::default()).await
}

/// A harness with a repository `shop` whose branch `main` has `files`.
async fn shop<H: SourceHarness>(harness: H, files: Files<'_>) -> (H, CommitSha) {
    harness.create("shop").await;
    let commit = harness.push("shop", "main", files, Push::OnTop).await;
    (harness, commit)
}

/// One file that says `text`.
fn saying<'a>(text: &'a str) -> [(&'static str, Content<'a>); 1] {
    [("index.html", Content::Text(text))]
}
