//! Git's arguments: the only place that builds a command line, or an environment, of `git`.
//!
//! What a user gave stands behind `--`, or inside a full reference name or a checked id, never where Git reads
//! options. No shell is involved, nothing of this process's environment is inherited, no configuration of the
//! machine or of its users is read. Running a call is `run`; what its failures mean is `failure`.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::SourceSettings;
use crate::model::{BranchName, CommitSha, RepoPath, Transport};

/// Reference of the mirror that holds what the repository's `HEAD` named at the last fetch.
const HEAD: &str = "refs/ployer/head";

/// Builds the calls of `git`.
#[derive(Clone)]
pub(super) struct Git {
    path_env: OsString,
    /// An empty folder of ours: no tool finds settings in it.
    home: PathBuf,
    extra_env: Vec<(OsString, OsString)>,
    low_speed: (u64, u64),
}

/// One call of `git`: what is run, where, and in which environment.
#[derive(Clone)]
pub(super) struct Call {
    /// The command, for messages.
    pub(super) name: &'static str,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) directory: PathBuf,
}

/// The names of variables: a value may be a password, as that of a proxy's address.
pub(super) fn names(variables: &[(OsString, OsString)]) -> Vec<&OsStr> {
    variables.iter().map(|(name, _)| name.as_os_str()).collect()
}

impl fmt::Debug for Git {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Git").field("extra_env", &names(&self.extra_env)).finish_non_exhaustive()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, args, env, directory } = self;
        let mut call = f.debug_struct("Call");
        call.field("name", name).field("args", args).field("env", &names(env)).field("directory", directory).finish()
    }
}

/// Where a repository is, in the words of Git.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub(super) address: OsString,
    pub(super) transport: Transport,
    /// How `ssh` is called, for an SSH address.
    pub(super) ssh: Option<String>,
}

/// How a repository names its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha256,
}

/// What a fetch brings.
#[derive(Clone, Debug)]
pub(super) enum Refs<'a> {
    /// All branches and tags.
    All,
    /// All branches and tags, and what `HEAD` names.
    AllAndHead,
    /// One commit, which no branch may name any more.
    Commit(&'a CommitSha),
}

/// What is looked up in a mirror.
#[derive(Clone, Debug)]
pub(super) enum Rev<'a> {
    Head,
    Branch(&'a BranchName),
    Tag(&'a BranchName),
    Commit(&'a CommitSha),
}

/// A mirror with an index and a folder to write to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workspace<'a> {
    pub(super) mirror: &'a Path,
    pub(super) index: &'a Path,
    pub(super) folder: &'a Path,
}

impl Git {
    pub(super) fn new(
        path_env: OsString,
        home: PathBuf,
        extra_env: Vec<(OsString, OsString)>,
        settings: &SourceSettings,
    ) -> Self {
        let low_speed = (settings.low_speed_bytes, settings.low_speed_time.as_secs());
        let extra_env = extra_env.into_iter().filter(|(name, _)| may_be_handed_in(name)).collect();
        Self { path_env, home, extra_env, low_speed }
    }

    /// Makes an empty mirror of a repository that names its objects by `hash`.
    pub(super) fn init(&self, mirror: &Path, hash: Hash) -> Call {
        let hash = match hash {
            Hash::Sha1 => "--object-format=sha1",
            Hash::Sha256 => "--object-format=sha256",
        };
        self.call("init", &self.home).args(["--quiet", "--bare", "--template=", hash, "--"]).arg(mirror)
    }

    /// Brings a mirror up to what the repository has now, forced pushes and removed branches included.
    pub(super) fn fetch(&self, mirror: &Path, remote: &Remote, refs: &Refs<'_>) -> Call {
        let call = self.remote_call("fetch", mirror, remote).args([
            "--progress",
            "--force",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--update-shallow",
        ]);
        let call = match refs {
            Refs::Commit(_) => call,
            Refs::All | Refs::AllAndHead => call.arg("--prune"),
        };
        let call = match remote.transport {
            // Who may deploy a path of this machine may deploy one that belongs to another of its users.
            Transport::Local => call.arg("--upload-pack=git -c 'safe.directory=*' upload-pack"),
            _ => call,
        };
        let call = call.arg("--").arg(&remote.address);
        match refs {
            Refs::Commit(sha) => call.arg(sha.as_str()),
            Refs::All => call.args(["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]),
            Refs::AllAndHead => {
                call.arg(format!("+HEAD:{HEAD}")).args(["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"])
            }
        }
    }

    /// Joins small packs.
    pub(super) fn repack(&self, mirror: &Path) -> Call {
        self.in_mirror("repack", mirror).args(["--geometric=2", "-d", "-q"])
    }

    /// Which commit something is; says nothing and fails where there is none.
    pub(super) fn resolve(&self, mirror: &Path, rev: &Rev<'_>) -> Call {
        let rev = match rev {
            Rev::Head => format!("{HEAD}^{{commit}}"),
            Rev::Branch(name) => format!("refs/heads/{name}^{{commit}}"),
            Rev::Tag(name) => format!("refs/tags/{name}^{{commit}}"),
            Rev::Commit(sha) => format!("{sha}^{{commit}}"),
        };
        self.in_mirror("rev-parse", mirror).args(["--verify", "--quiet"]).arg(rev)
    }

    /// One line if the mirror has any branch or tag.
    pub(super) fn any_ref(&self, mirror: &Path) -> Call {
        self.in_mirror("for-each-ref", mirror).args([
            "--count=1",
            "--format=%(refname)",
            "--",
            "refs/heads/",
            "refs/tags/",
        ])
    }

    /// Tree, subject and author's name of a commit, in a line each.
    pub(super) fn describe(&self, mirror: &Path, commit: &CommitSha) -> Call {
        self.in_mirror("log", mirror).args(["--max-count=1", "--format=%T%n%s%n%an"]).arg(commit.as_str()).arg("--")
    }

    /// The entry of a folder in a commit.
    pub(super) fn folder_entry(&self, mirror: &Path, commit: &CommitSha, folder: &RepoPath) -> Call {
        self.in_mirror("ls-tree", mirror)
            .args(["-z", "--full-tree"])
            .arg(commit.as_str())
            .arg("--")
            .arg(folder.as_str())
    }

    /// All entries below a tree, with their sizes.
    pub(super) fn entries(&self, mirror: &Path, tree: &str) -> Call {
        self.in_mirror("ls-tree", mirror).args(["-r", "-l", "-z", "--full-tree"]).arg(tree).arg("--")
    }

    /// The addresses of a commit's submodules.
    pub(super) fn submodules(&self, mirror: &Path, commit: &CommitSha) -> Call {
        self.in_mirror("config", mirror).arg(format!("--blob={commit}:.gitmodules")).args([
            "-z",
            "--get-regexp",
            r"^submodule\..*\.(path|url|update)$",
        ])
    }

    /// Fills an index with a commit.
    pub(super) fn read_tree(&self, at: Workspace<'_>, commit: &CommitSha) -> Call {
        self.in_workspace("read-tree", at).arg(commit.as_str())
    }

    /// Writes the files below `folder` that are not there yet.
    pub(super) fn checkout(&self, at: Workspace<'_>, folder: Option<&RepoPath>) -> Call {
        let folder = folder.map_or(".", RepoPath::as_str);
        self.in_workspace("checkout", at).args(["--force", "--progress", "--"]).arg(folder)
    }

    /// The same with the contents that Git LFS keeps apart.
    pub(super) fn checkout_lfs(&self, at: Workspace<'_>, folder: Option<&RepoPath>, remote: &Remote) -> Call {
        let mut address = OsString::from("remote.origin.url=");
        address.push(&remote.address);
        let folder = folder.map_or(".", RepoPath::as_str);
        self.remote_call_with("checkout", at.mirror, remote, |call| {
            call.settings(["filter.lfs.smudge=git-lfs smudge -- %f", "filter.lfs.process=git-lfs filter-process"])
                .settings(["filter.lfs.required=true"])
                .arg("-c")
                .arg(&address)
        })
        .in_folder(at)
        .args(["--force", "--progress", "--"])
        .arg(folder)
    }

    /// Which filter the attributes name for each of `paths`.
    pub(super) fn filters<'p>(&self, at: Workspace<'_>, paths: impl Iterator<Item = &'p Path>) -> Call {
        paths.fold(self.in_workspace("check-attr", at).args(["--cached", "-z", "filter", "--"]), Call::arg)
    }

    /// Whether Git LFS is installed.
    pub(super) fn lfs_version(&self) -> Call {
        self.call("lfs", &self.home).arg("version")
    }

    /// Where the repository around a folder begins: one line for each of prefix, bareness, Git folder and root.
    pub(super) fn locate(&self, folder: &Path) -> Call {
        self.base(folder).settings(["safe.directory=*"]).command("rev-parse").args([
            "--is-bare-repository",
            "--is-inside-git-dir",
            "--absolute-git-dir",
            "--show-prefix",
            "--show-cdup",
        ])
    }

    /// One line for each thing that the commit at hand has in a folder.
    pub(super) fn committed(&self, folder: &Path) -> Call {
        self.base(folder).settings(["safe.directory=*"]).command("ls-tree").args(["--name-only", "HEAD", "--", "."])
    }

    /// What a working tree has that its commit has not. Refused by Git where the repository is another user's, and
    /// rightly: its settings may name programs to run.
    pub(super) fn changes(&self, folder: &Path) -> Call {
        self.base(folder).settings(["core.fsmonitor=false"]).command("status").args([
            "--porcelain",
            "-z",
            "--untracked-files=normal",
            "--ignore-submodules=all",
            "--",
            ".",
        ])
    }

    fn in_mirror(&self, command: &'static str, mirror: &Path) -> Call {
        self.base(&self.home).in_mirror(mirror).command(command)
    }

    fn in_workspace(&self, command: &'static str, at: Workspace<'_>) -> Call {
        self.base(at.folder).in_mirror(at.mirror).command(command).in_folder(at)
    }

    fn call(&self, command: &'static str, directory: &Path) -> Call {
        self.base(directory).command(command)
    }

    fn remote_call(&self, command: &'static str, mirror: &Path, remote: &Remote) -> Call {
        self.remote_call_with(command, mirror, remote, |call| call)
    }

    /// A call that may talk over the transport of `remote` and over no other.
    fn remote_call_with(
        &self,
        command: &'static str,
        mirror: &Path,
        remote: &Remote,
        settings: impl FnOnce(Call) -> Call,
    ) -> Call {
        let call = settings(self.base(&self.home).in_mirror(mirror)).command(command);
        let call = call.env("GIT_ALLOW_PROTOCOL", protocol(remote.transport));
        match &remote.ssh {
            Some(command) => call.env("GIT_SSH_COMMAND", command).env("GIT_SSH_VARIANT", "ssh"),
            None => call,
        }
    }

    /// What every call has in common.
    fn base(&self, directory: &Path) -> Call {
        let env = self.extra_env.clone();
        let call = Call { name: "git", args: Vec::new(), env, directory: directory.to_owned() };
        call.env("PATH", &self.path_env)
            .env("HOME", &self.home)
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_LITERAL_PATHSPECS", "1")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_ALLOW_PROTOCOL", "none")
            .settings(["protocol.ext.allow=never", "core.hooksPath=/dev/null", "core.askPass="])
            .settings(["http.followRedirects=false", "gc.auto=0", "maintenance.auto=false", "fetch.unpackLimit=1"])
            .settings(["submodule.recurse=false", "advice.detachedHead=false", "core.quotePath=false"])
            .arg("-c")
            .arg(format!("http.lowSpeedLimit={}", self.low_speed.0))
            .arg("-c")
            .arg(format!("http.lowSpeedTime={}", self.low_speed.1))
    }
}

impl Call {
    fn command(mut self, name: &'static str) -> Self {
        self.name = name;
        self.arg(name)
    }

    fn settings<const N: usize>(self, settings: [&str; N]) -> Self {
        settings.iter().fold(self, |call, setting| call.arg("-c").arg(setting))
    }

    fn in_mirror(self, mirror: &Path) -> Self {
        self.env("GIT_DIR", mirror)
    }

    fn in_folder(mut self, at: Workspace<'_>) -> Self {
        at.folder.clone_into(&mut self.directory);
        self.env("GIT_WORK_TREE", at.folder).env("GIT_INDEX_FILE", at.index)
    }

    fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    fn args<const N: usize>(self, args: [&str; N]) -> Self {
        args.iter().fold(self, Self::arg)
    }

    /// Sets a variable; a later value replaces an earlier one.
    fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }
}

/// What would steer Git or SSH past us is left out of a handed-in environment: a folder, an agent, a prompt.
fn may_be_handed_in(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.starts_with(b"GIT_SSL_") || !(name.starts_with(b"GIT_") || name.starts_with(b"SSH_"))
}

fn protocol(transport: Transport) -> &'static str {
    match transport {
        Transport::Https => "https",
        Transport::Http => "http",
        Transport::Ssh => "ssh",
        Transport::Git => "git",
        Transport::Local => "file",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIRROR: &str = "/data/sources/a/repository.git";

    fn git() -> Git {
        Git::new("/usr/bin:/bin".into(), "/data/home".into(), Vec::new(), &SourceSettings::default())
    }

    fn remote(address: &str, transport: Transport) -> Remote {
        Remote { address: address.into(), transport, ssh: None }
    }

    fn value<'a>(call: &'a Call, name: &str) -> Option<&'a OsStr> {
        call.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
    }

    /// Every call that has something of a user in it.
    fn calls() -> Vec<(Call, &'static str)> {
        let (git, mirror) = (git(), Path::new(MIRROR));
        let at = Workspace { mirror, index: Path::new("/data/index"), folder: Path::new("/data/tree") };
        let commit: CommitSha = "a".repeat(40).parse().unwrap();
        let branch: BranchName = "user-branch".parse().unwrap();
        let folder: RepoPath = "--user-folder".parse().unwrap();
        let remote = remote("user-address", Transport::Https);
        vec![
            (git.fetch(mirror, &remote, &Refs::All), "user-address"),
            (git.fetch(mirror, &remote, &Refs::AllAndHead), "user-address"),
            (git.fetch(mirror, &remote, &Refs::Commit(&commit)), "user-address"),
            (git.resolve(mirror, &Rev::Branch(&branch)), "user-branch"),
            (git.resolve(mirror, &Rev::Tag(&branch)), "user-branch"),
            (git.folder_entry(mirror, &commit, &folder), "--user-folder"),
            (git.checkout(at, Some(&folder)), "--user-folder"),
            (git.checkout_lfs(at, Some(&folder), &remote), "--user-folder"),
            (git.filters(at, [Path::new("--user-path")].into_iter()), "--user-path"),
        ]
    }

    #[test]
    fn what_a_user_gave_never_stands_where_options_are_read() {
        for (call, given) in calls() {
            let args: Vec<_> = call.args.iter().map(|arg| arg.to_str().unwrap()).collect();
            let at = args.iter().rposition(|arg| arg.contains(given)).unwrap();

            let behind = args[..at].contains(&"--");
            let inside_of_a_reference = args[at].starts_with("refs/");
            assert!(behind || inside_of_a_reference, "{args:?}");
        }
    }

    #[test]
    fn nothing_of_the_machine_is_read_and_nobody_is_asked() {
        for (call, _) in calls() {
            let args: Vec<_> = call.args.iter().map(|arg| arg.to_str().unwrap()).collect();

            for setting in
                ["protocol.ext.allow=never", "core.hooksPath=/dev/null", "http.followRedirects=false", "core.askPass="]
            {
                assert!(args.windows(2).any(|pair| pair == ["-c", setting]), "{setting}: {args:?}");
            }
            for (name, expected) in [
                ("GIT_TERMINAL_PROMPT", "0"),
                ("GIT_CONFIG_NOSYSTEM", "1"),
                ("GIT_CONFIG_GLOBAL", "/dev/null"),
                ("LC_ALL", "C"),
                ("PATH", "/usr/bin:/bin"),
                ("HOME", "/data/home"),
            ] {
                assert_eq!(value(&call, name), Some(OsStr::new(expected)), "{name}");
            }
        }
    }

    #[test]
    fn a_call_may_talk_over_the_transport_of_its_address_alone() {
        for (transport, allowed) in [
            (Transport::Https, "https"),
            (Transport::Http, "http"),
            (Transport::Ssh, "ssh"),
            (Transport::Git, "git"),
            (Transport::Local, "file"),
        ] {
            let call = git().fetch(Path::new(MIRROR), &remote("address", transport), &Refs::All);

            assert_eq!(value(&call, "GIT_ALLOW_PROTOCOL"), Some(OsStr::new(allowed)));
        }
        let call = git().resolve(Path::new(MIRROR), &Rev::Head);
        assert_eq!(value(&call, "GIT_ALLOW_PROTOCOL"), Some(OsStr::new("none")));
    }

    #[test]
    fn variables_that_are_handed_in_never_steer_git_past_us() {
        let handed = [
            ("GIT_TERMINAL_PROMPT", "1"),
            ("GIT_DIR", "/elsewhere"),
            ("SSH_AUTH_SOCK", "/agent"),
            ("HOME", "/home/ada"),
            ("https_proxy", "http://proxy"),
            ("GIT_SSL_CAINFO", "/etc/ca.pem"),
        ];
        let handed = handed.map(|(name, value)| (name.into(), value.into())).to_vec();
        let git = Git::new("/bin".into(), "/empty".into(), handed, &SourceSettings::default());

        let call = git.in_mirror("log", Path::new(MIRROR));

        for (name, expected) in [
            ("GIT_TERMINAL_PROMPT", Some("0")),
            ("GIT_DIR", Some(MIRROR)),
            ("SSH_AUTH_SOCK", None),
            ("HOME", Some("/empty")),
            ("https_proxy", Some("http://proxy")),
            ("GIT_SSL_CAINFO", Some("/etc/ca.pem")),
        ] {
            assert_eq!(value(&call, name), expected.map(OsStr::new), "{name}");
        }
    }
}
