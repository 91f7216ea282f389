//! The source over real servers: the daemon of Git, smart HTTP, SSH, and Git LFS.
#![allow(clippy::unwrap_used, reason = "a test says what is broken by panicking")]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ployer_core::clock::SystemClock;
use ployer_core::model::{CommitSha, GitUrl};
use ployer_core::source::{CheckoutRequest, GitConfig, GitSource, Source, Wish};
use ployer_core::testing::source::{Heard, SourceHarness, contents, expected, main_branch, request};
use ployer_core::testing::{Content, Files, Push, Repository};
use ployer_core::{Error, ErrorKind};
use tempfile::TempDir;
use tests::git_server::{GitDaemon, HttpServer, SshServer};
use tests::need;

const PAGE: [(&str, Content<'_>); 1] = [("index.html", Content::Text("hello"))];

/// A source of its own and a folder of repositories.
struct Bench {
    folder: TempDir,
    source: Arc<dyn Source>,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut GitConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = GitConfig::new(folder.path().join("data"), Arc::new(SystemClock));
        change(&mut config);
        Self { source: Arc::new(GitSource::open(config).unwrap()), folder }
    }

    fn repositories(&self) -> PathBuf {
        self.folder.path().join("repositories")
    }

    fn repository(&self, name: &str, files: Files<'_>) -> Repository {
        let repository = Repository::create(self.repositories().join(name));
        repository.commit("main", files, Push::OnTop);
        repository
    }

    async fn refusal(&self, url: GitUrl) -> Error {
        self.source.checkout(&request(url, main_branch()), &Heard::default()).await.unwrap_err()
    }

    /// The files of what was checked out.
    async fn taken(&self, request: &CheckoutRequest) -> Vec<String> {
        let checkout =
            self.source.checkout(request, &Heard::default()).await.unwrap_or_else(|e| panic!("{}", e.chain()));
        contents(&checkout.directory).into_keys().collect()
    }

    fn keys_left(&self) -> usize {
        fs::read_dir(self.folder.path().join("data/sources/.keys")).unwrap().count()
    }
}

/// The suite's harness over a server.
struct Served<S> {
    server: S,
    bench: Bench,
}

trait Serve: Sized + Send + Sync + 'static {
    fn serve(folder: &std::path::Path) -> Self;
    fn address(&self, repository: &str) -> GitUrl;
}

impl Serve for GitDaemon {
    fn serve(folder: &std::path::Path) -> Self {
        Self::start(folder)
    }

    fn address(&self, repository: &str) -> GitUrl {
        self.url(repository)
    }
}

impl Serve for HttpServer {
    fn serve(folder: &std::path::Path) -> Self {
        Self::start(folder)
    }

    fn address(&self, repository: &str) -> GitUrl {
        self.url(repository)
    }
}

#[async_trait]
impl<S: Serve> SourceHarness for Served<S> {
    async fn fresh() -> Self {
        let bench = Bench::new();
        fs::create_dir(bench.repositories()).unwrap();
        Self { server: S::serve(&bench.repositories()), bench }
    }

    fn source(&self) -> Arc<dyn Source> {
        self.bench.source.clone()
    }

    fn url(&self, repository: &str) -> GitUrl {
        self.server.address(repository)
    }

    async fn create(&self, repository: &str) {
        Repository::create(self.bench.repositories().join(repository));
    }

    async fn push(&self, repository: &str, branch: &str, files: Files<'_>, how: Push) -> CommitSha {
        Repository::at(self.bench.repositories().join(repository)).commit(branch, files, how)
    }

    async fn remove_branch(&self, repository: &str, branch: &str) {
        Repository::at(self.bench.repositories().join(repository)).git(&["branch", "--delete", "--force", branch]);
    }
}

mod over_the_daemon_of_git {
    use super::*;

    ployer_core::testing::source_suite!(Served<GitDaemon>);
}

mod over_http {
    use super::*;

    ployer_core::testing::source_suite!(Served<HttpServer>);

    #[tokio::test]
    async fn what_a_server_may_answer_is_told_apart_with_a_remedy() {
        let bench = Bench::new();
        let server = HttpServer::start(&bench.repositories());
        for (path, kind, words) in [
            ("redirects", ErrorKind::Invalid, "redirects to another address"),
            ("login", ErrorKind::Forbidden, "does not let us read"),
            ("broken", ErrorKind::Unavailable, "answers with an error"),
            ("page", ErrorKind::NotFound, "does not exist"),
        ] {
            let error = bench.refusal(server.url(path)).await;

            assert_eq!(error.kind(), kind, "{path}: {}", error.chain());
            assert!(error.to_string().contains(words), "{path}: {error}");
            assert!(error.hint().is_some(), "{path}");
        }
    }

    #[tokio::test]
    async fn a_server_that_falls_silent_is_given_up() {
        let bench = Bench::with(|config| config.settings.low_speed_time = Duration::from_secs(1));
        let server = HttpServer::start(&bench.repositories());

        let error = bench.refusal(server.url("silent")).await;

        assert_eq!(error.kind(), ErrorKind::Timeout, "{}", error.chain());
    }

    #[tokio::test]
    async fn a_host_that_is_unknown_or_does_not_listen_is_said_so() {
        let bench = Bench::new();
        let closed = HttpServer::start(&bench.repositories()).url("shop");
        for (url, words) in
            [("http://ployer.invalid/shop".parse().unwrap(), "is not known"), (closed, "cannot be reached")]
        {
            let error = bench.refusal(url).await;

            assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}

mod over_ssh {
    use super::*;

    fn keyed(server: &SshServer, repository: &Repository) -> CheckoutRequest {
        let mut request = request(server.url(repository.path()), Wish::DefaultBranch);
        request.deploy_key = Some(server.key());
        request
    }

    #[tokio::test]
    async fn a_deploy_key_opens_its_repository_and_does_not_stay() {
        let Some(server) = SshServer::start() else { return };
        let bench = Bench::new();
        let repository = bench.repository("shop", &PAGE);
        let wanted = keyed(&server, &repository);

        assert_eq!(bench.taken(&wanted).await, ["index.html"]);
        assert_eq!(bench.keys_left(), 0);
        repository.commit("main", &[("new.html", Content::Text("newer"))], Push::OnTop);
        assert_eq!(bench.taken(&wanted).await, ["new.html"]);
    }

    #[tokio::test]
    async fn without_the_right_key_nothing_is_read_and_no_other_key_is_tried() {
        let (Some(server), Some(other)) = (SshServer::start(), SshServer::start()) else { return };
        let bench = Bench::new();
        let repository = bench.repository("shop", &PAGE);
        for key in [None, Some(other.key())] {
            let mut wanted = keyed(&server, &repository);
            wanted.deploy_key = key;

            let error = bench.source.checkout(&wanted, &Heard::default()).await.unwrap_err();

            assert_eq!(error.kind(), ErrorKind::Forbidden, "{}", error.chain());
            assert!(error.hint().unwrap().contains("deploy key"));
            assert_eq!(bench.keys_left(), 0);
        }
    }

    #[tokio::test]
    async fn a_host_that_has_become_another_is_refused_with_the_way_back() {
        let Some(mut server) = SshServer::start() else { return };
        let bench = Bench::new();
        let wanted = keyed(&server, &bench.repository("shop", &PAGE));
        bench.taken(&wanted).await;
        server.restart_with_a_new_host_key();

        let error = bench.source.checkout(&wanted, &Heard::default()).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Forbidden, "{}", error.chain());
        assert!(error.to_string().contains("SSH key has changed"), "{error}");
        assert!(error.hint().unwrap().contains("ssh-keygen -f"));
    }

    #[tokio::test]
    async fn a_repository_that_is_not_there_is_not_found() {
        let Some(server) = SshServer::start() else { return };
        let bench = Bench::new();
        let mut wanted = keyed(&server, &bench.repository("shop", &PAGE));
        wanted.url = server.url(&bench.repositories().join("absent"));

        let error = bench.source.checkout(&wanted, &Heard::default()).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::NotFound, "{}", error.chain());
        assert!(error.to_string().contains(wanted.url.as_str()));
    }

    #[tokio::test]
    async fn a_submodule_of_the_same_host_is_opened_by_the_key_and_one_elsewhere_is_not() {
        let (Some(server), Some(elsewhere)) = (SshServer::start(), SshServer::start()) else { return };
        elsewhere.admit_key_of(&server);
        let bench = Bench::new();
        let lib = bench.repository("lib", &[("lib.txt", Content::Text("lib"))]);
        let commit = lib.git(&["rev-parse", "main"]);
        let shop = bench.repository("shop", &PAGE);
        let with_submodule = |url: &str| {
            let gitmodules = format!("[submodule \"lib\"]\n\tpath = lib\n\turl = {url}\n");
            let files = [(".gitmodules", Content::Text(&gitmodules)), ("lib", Content::Submodule(&commit))];
            shop.commit("main", &files, Push::OnTop);
            keyed(&server, &shop)
        };

        assert_eq!(bench.taken(&with_submodule("../lib")).await, [".gitmodules", "lib/lib.txt"]);

        let wanted = with_submodule(elsewhere.url(lib.path()).as_str());
        let error = bench.source.checkout(&wanted, &Heard::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{}", error.chain());
    }

    #[tokio::test]
    async fn a_data_directory_with_odd_signs_in_its_path_is_no_obstacle() {
        let Some(server) = SshServer::start() else { return };
        let odd = tempfile::tempdir().unwrap();
        let bench = Bench::with(|config| config.data_dir = odd.path().join("my 50% \"data' $HOME"));
        let wanted = keyed(&server, &bench.repository("shop", &PAGE));

        assert_eq!(bench.taken(&wanted).await, ["index.html"]);
    }
}

mod with_lfs {
    use super::*;

    #[tokio::test]
    async fn files_of_git_lfs_have_their_contents() {
        if need::program("git-lfs").is_none() {
            return;
        }
        let bench = Bench::with(|config| config.settings.allow_local = true);
        let attributes = (".gitattributes", Content::Text("*.bin filter=lfs diff=lfs merge=lfs -text\n"));
        let shop = Repository::with_work_tree(bench.repositories().join("shop"), &[attributes]);
        shop.git(&["lfs", "install", "--local"]);
        fs::write(shop.path().join("large.bin"), "large content").unwrap();
        shop.git(&["add", "large.bin"]);
        shop.git(&["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "--quiet", "-m", "add"]);
        assert!(shop.git(&["cat-file", "blob", "HEAD:large.bin"]).starts_with("version https://git-lfs"));
        let wanted = request(shop.path().to_str().unwrap().parse().unwrap(), Wish::DefaultBranch);

        let checkout =
            bench.source.checkout(&wanted, &Heard::default()).await.unwrap_or_else(|e| panic!("{}", e.chain()));

        assert_eq!(
            contents(&checkout.directory),
            expected(&[attributes, ("large.bin", Content::Text("large content"))])
        );
    }

    #[tokio::test]
    async fn a_content_that_was_never_pushed_is_missed_by_name() {
        if need::program("git-lfs").is_none() {
            return;
        }
        let bench = Bench::with(|config| config.settings.allow_local = true);
        let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 13\n", "a".repeat(64));
        let shop = bench.repository(
            "shop",
            &[
                (".gitattributes", Content::Text("*.bin filter=lfs diff=lfs merge=lfs -text\n")),
                ("large.bin", Content::Text(&pointer)),
            ],
        );

        let error = bench.refusal(shop.path().to_str().unwrap().parse().unwrap()).await;

        assert_eq!(error.kind(), ErrorKind::Failed, "{}", error.chain());
        assert!(error.to_string().contains("Git LFS"), "{error}");
    }
}

mod on_a_full_disk {
    use tests::small_disk::SmallDisk;

    use super::*;

    #[tokio::test]
    async fn a_full_disk_is_said_so_and_has_its_space_again() {
        let Some(disk) = SmallDisk::mount(4) else { return };
        let bench = Bench::with(|config| {
            config.data_dir = disk.path().to_owned();
            config.settings.allow_local = true;
        });
        let noise: String =
            (0..1_500_000_u32).map(|n| char::from(b' ' + (n.wrapping_mul(2_654_435_761) >> 26) as u8)).collect();
        let large =
            [("a", Content::Text(&noise)), ("b", Content::Text(&noise[1..])), ("c", Content::Text(&noise[2..]))];
        let shop = bench.repository("shop", &large);
        let wanted = request(shop.path().to_str().unwrap().parse().unwrap(), Wish::DefaultBranch);

        let error = bench.source.checkout(&wanted, &Heard::default()).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Exhausted, "{}", error.chain());
        assert!(error.hint().is_some());
        shop.commit("main", &PAGE, Push::Forced);
        assert_eq!(bench.taken(&wanted).await, ["index.html"]);
    }
}
