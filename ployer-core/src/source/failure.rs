//! Failures of the source: from Git's exit and words to an error that says what to do.
//!
//! Git speaks English to us (`LC_ALL=C`), and a table knows its sentences. What the table does not know may be a
//! damaged mirror: `checkout` then throws the mirror away and tries once more. No key and no password is in any
//! of these words: Git never sees them.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::error::{Error, ErrorKind, Resource};
use crate::model::GitUrl;

/// Why a checkout does not come about.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Nobody waits for it any more.
    Unwanted,
    /// `git` cannot be run.
    NoGit(io::Error),
    /// `git` said no.
    Git(GitFailure),
    /// A file of ours cannot be written or read.
    File { path: PathBuf, source: io::Error },
    /// We say no, in final words.
    Refused(Error),
    /// The history is larger than allowed, perhaps with what nobody needs any more.
    Outgrown(Error),
}

/// A call of `git` that failed.
#[derive(Debug)]
pub(super) struct GitFailure {
    command: &'static str,
    status: ExitStatus,
    said: String,
}

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    NoRepository,
    Login,
    HostKey,
    Redirect,
    NoHost,
    NotReached,
    TooSlow,
    Broken,
    Certificate,
    Server,
    NoHead,
    DiskFull,
    Lfs,
    OtherHash,
}

/// Sentences of Git, SSH and curl, the telling ones first: a later one often follows an earlier one.
const SENTENCES: &[(&str, Cause)] = &[
    ("No space left on device", Cause::DiskFull),
    ("Disk quota exceeded", Cause::DiskFull),
    ("Out of diskspace", Cause::DiskFull),
    ("unable to write file", Cause::DiskFull),
    ("smudge filter lfs failed", Cause::Lfs),
    ("external filter 'git-lfs", Cause::Lfs),
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", Cause::HostKey),
    ("Host key verification failed", Cause::HostKey),
    ("couldn't find remote ref HEAD", Cause::NoHead),
    ("mismatched algorithms", Cause::OtherHash),
    ("Could not resolve host", Cause::NoHost),
    ("unable to look up", Cause::NoHost),
    ("Permission denied (", Cause::Login),
    ("Too many authentication failures", Cause::Login),
    ("Authentication failed", Cause::Login),
    ("could not read Username", Cause::Login),
    ("could not read Password", Cause::Login),
    ("returned error: 401", Cause::Login),
    ("returned error: 403", Cause::Login),
    ("returned error: 404", Cause::NoRepository),
    ("returned error: 410", Cause::NoRepository),
    ("returned error: 30", Cause::Redirect),
    ("returned error: 5", Cause::Server),
    ("returned error: 429", Cause::Server),
    ("Operation too slow", Cause::TooSlow),
    ("Operation timed out", Cause::TooSlow),
    ("Connection timed out", Cause::TooSlow),
    ("not responding", Cause::TooSlow),
    ("Connection refused", Cause::NotReached),
    ("Network is unreachable", Cause::NotReached),
    ("No route to host", Cause::NotReached),
    ("Failed to connect", Cause::NotReached),
    ("Couldn't connect", Cause::NotReached),
    ("unable to connect", Cause::NotReached),
    ("certificate", Cause::Certificate),
    ("SSL connect error", Cause::Certificate),
    ("epository not found", Cause::NoRepository),
    ("does not appear to be a git repository", Cause::NoRepository),
    ("is this a git repository?", Cause::NoRepository),
    ("repository not exported", Cause::NoRepository),
    ("could not be found", Cause::NoRepository),
    ("no such repository", Cause::NoRepository),
    ("Empty reply from server", Cause::Broken),
    ("Connection reset", Cause::Broken),
    ("Connection closed", Cause::Broken),
    ("RPC failed", Cause::Broken),
    ("early EOF", Cause::Broken),
    ("hung up unexpectedly", Cause::Broken),
    ("unexpected disconnect", Cause::Broken),
    ("Could not read from remote repository", Cause::Broken),
];

impl GitFailure {
    pub(super) fn new(command: &'static str, status: ExitStatus, said: String) -> Self {
        Self { command, status, said }
    }

    /// Whether `git` merely answered no, without a word.
    pub(super) fn is_silent(&self) -> bool {
        self.said.is_empty() && self.status.code() == Some(1)
    }

    fn cause(&self) -> Option<Cause> {
        let gone = self.said.contains("repository '") && self.said.contains("' not found");
        let known = || SENTENCES.iter().find(|(sentence, _)| self.said.contains(sentence)).map(|(_, cause)| *cause);
        if gone { Some(Cause::NoRepository) } else { known() }
    }
}

impl fmt::Display for GitFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`git {}` ended with {}", self.command, self.status)?;
        if self.said.is_empty() { Ok(()) } else { write!(f, ": {}", self.said) }
    }
}

impl std::error::Error for GitFailure {}

impl Trouble {
    /// Names the file that an operation failed on.
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        |source| Self::File { path: path.to_owned(), source }
    }

    /// The source is larger than the settings allow.
    pub(super) fn too_large(what: impl Into<String>) -> Self {
        let error = Error::new(ErrorKind::Exhausted, format!("the source is too large: {}", what.into()));
        Self::Refused(error.with_hint("take large files out of it, deploy a subfolder, or raise the limit"))
    }

    /// Whether the mirror itself may be at fault.
    pub(super) fn suspects_the_mirror(&self) -> bool {
        match self {
            Self::Git(failure) => failure.cause().is_none(),
            Self::Outgrown(_) => true,
            Self::File { .. } | Self::Unwanted | Self::NoGit(_) | Self::Refused(_) => false,
        }
    }

    /// Whether the repository says that its `HEAD` names nothing.
    pub(super) fn is_without_head(&self) -> bool {
        matches!(self, Self::Git(failure) if failure.cause() == Some(Cause::NoHead))
    }

    /// Whether the repository names its objects in another way than the mirror.
    pub(super) fn is_of_another_hash(&self) -> bool {
        matches!(self, Self::Git(failure) if failure.cause() == Some(Cause::OtherHash))
    }

    /// The same in final words about `url`, so that no other repository is suspected; it still ends what was dropped.
    pub(super) fn about(self, url: &GitUrl, known_hosts: &Path) -> Self {
        if matches!(self, Self::Unwanted) { self } else { Self::Refused(self.into_error(url, known_hosts)) }
    }

    /// The same with the submodule that it is about.
    pub(super) fn of_submodule(self, path: &Path) -> Self {
        let Self::Refused(cause) = self else { return self };
        let error = Error::new(cause.kind(), format!("the submodule `{}` cannot be fetched", path.display()));
        let error = match cause.hint() {
            Some(hint) => error.with_hint(hint.to_owned()),
            None => error,
        };
        Self::Refused(error.with_source(cause))
    }

    /// The public error of a checkout from `url`.
    pub(super) fn into_error(self, url: &GitUrl, known_hosts: &Path) -> Error {
        match self {
            Self::Unwanted => Error::conflict("the checkout was ended: nobody waits for it"),
            Self::NoGit(source) => Error::new(ErrorKind::Unavailable, "`git` cannot be run")
                .with_hint("install it: `apt-get install git`")
                .with_source(source),
            Self::File { path, source } => file_error(&path, source),
            Self::Refused(error) | Self::Outgrown(error) => error,
            Self::Git(failure) => match failure.cause() {
                Some(cause) => cause.error(url, known_hosts),
                None => Error::failed(format!("the repository `{url}` cannot be fetched")),
            }
            .with_source(failure),
        }
    }
}

fn file_error(path: &Path, source: io::Error) -> Error {
    let full = matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let kind = if full { ErrorKind::Exhausted } else { ErrorKind::Failed };
    let error = Error::new(kind, format!("`{}` cannot be written or read", path.display())).with_source(source);
    if full { error.with_hint("free some space on that disk") } else { error }
}

impl Cause {
    fn error(self, url: &GitUrl, known_hosts: &Path) -> Error {
        let host = url.host().map_or("this machine", |(host, _)| host);
        let new = |kind, message: String, hint: String| Error::new(kind, message).with_hint(hint);
        match self {
            Self::NoRepository => Error::not_found(Resource::Repository, url)
                .with_hint("check the address; a private one needs its SSH address and a deploy key"),
            Self::Login => new(
                ErrorKind::Forbidden,
                format!("`{host}` does not let us read `{url}`"),
                "check the address; a private repository needs its SSH address and our deploy key among its own".into(),
            ),
            Self::HostKey => new(
                ErrorKind::Forbidden,
                format!("`{host}` is not the host it was: its SSH key has changed"),
                format!("if that is right, remove its lines: `ssh-keygen -f {} -R {host}`", known_hosts.display()),
            ),
            Self::Redirect => Error::invalid("git_url", format_args!("`{url}` redirects to another address"))
                .with_hint("give the repository's final address: redirects are not followed"),
            Self::NoHead => no_head(url),
            Self::DiskFull => new(
                ErrorKind::Exhausted,
                format!("no space is left on this machine for `{url}`"),
                "free some space on the disk of the data directory".into(),
            ),
            Self::Lfs => new(
                ErrorKind::Failed,
                format!("files of `{url}` that are stored in Git LFS cannot be fetched"),
                "check that they were pushed: `git lfs push --all origin`".into(),
            ),
            Self::OtherHash => Error::failed(format!("`{url}` names its objects in a way that is not known")),
            Self::NoHost | Self::NotReached | Self::TooSlow | Self::Broken | Self::Certificate | Self::Server => {
                self.network_error(url, host)
            }
        }
    }

    fn network_error(self, url: &GitUrl, host: &str) -> Error {
        let (kind, message, hint) = match self {
            Self::NoHost => {
                (ErrorKind::Unavailable, format!("the host `{host}` is not known"), "check the address's host name")
            }
            Self::TooSlow => (
                ErrorKind::Timeout,
                format!("`{host}` does not answer in time for `{url}`"),
                "check that this machine reaches it, then deploy again",
            ),
            Self::Certificate => (
                ErrorKind::Unavailable,
                format!("`{host}` does not prove to be itself: its certificate is not accepted"),
                "check the address and the certificates that this machine trusts",
            ),
            Self::Server => (
                ErrorKind::Unavailable,
                format!("`{host}` answers with an error for `{url}`"),
                "try again later: the fault is on its side",
            ),
            Self::NotReached => (
                ErrorKind::Unavailable,
                format!("`{host}` cannot be reached for `{url}`"),
                "check the address and port, and that this machine may connect there",
            ),
            _ => (
                ErrorKind::Unavailable,
                format!("the connection to `{host}` broke while reading `{url}`"),
                "check that the address is right, then deploy again",
            ),
        };
        Error::new(kind, message).with_hint(hint)
    }
}

/// The repository has no commit, or its `HEAD` names a branch that is not there.
pub(super) fn no_head(url: &GitUrl) -> Error {
    Error::new(ErrorKind::NotFound, format!("the repository `{url}` has no default branch that holds a commit"))
        .with_hint("push a first commit, or name the branch to deploy")
}

/// The repository has neither a branch nor a tag.
pub(super) fn empty(url: &GitUrl) -> Error {
    Error::new(ErrorKind::NotFound, format!("the repository `{url}` is empty"))
        .with_hint("commit something and push it, then deploy again")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn error_of(said: &str) -> Error {
        let failure = GitFailure::new("fetch", ExitStatus::from_raw(128 << 8), said.to_owned());
        let url = "git@host.example:team/shop.git".parse().unwrap();
        Trouble::Git(failure).into_error(&url, Path::new("/data/sources/known_hosts"))
    }

    #[test]
    fn what_git_and_ssh_say_is_told_apart_with_a_remedy() {
        for (said, kind, word) in [
            ("fatal: repository 'https://h/x.git/' not found", ErrorKind::NotFound, "does not exist"),
            (
                "ERROR: Repository not found.\nfatal: Could not read from remote repository.",
                ErrorKind::NotFound,
                "shop",
            ),
            ("fatal: '/srv/x' does not appear to be a git repository", ErrorKind::NotFound, "does not exist"),
            ("fatal: remote error: access denied or repository not exported: /x", ErrorKind::NotFound, "shop"),
            (
                "fatal: could not read Username for 'https://h': terminal prompts disabled",
                ErrorKind::Forbidden,
                "does not let us read",
            ),
            (
                "git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                ErrorKind::Forbidden,
                "does not let us read",
            ),
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
                ErrorKind::Forbidden,
                "has changed",
            ),
            (
                "fatal: unable to access 'http://h/': The requested URL returned error: 301",
                ErrorKind::Invalid,
                "redirects",
            ),
            (
                "fatal: unable to access 'http://h/': The requested URL returned error: 503",
                ErrorKind::Unavailable,
                "answers with an error",
            ),
            ("fatal: unable to access 'http://h/': Could not resolve host: h", ErrorKind::Unavailable, "not known"),
            ("ssh: Could not resolve hostname h: Name or service not known", ErrorKind::Unavailable, "not known"),
            ("fatal: unable to look up h (port 9418) (Name or service not known)", ErrorKind::Unavailable, "not known"),
            ("ssh: connect to host h port 22: Connection refused", ErrorKind::Unavailable, "cannot be reached"),
            ("ssh: connect to host h port 22: Connection timed out", ErrorKind::Timeout, "in time"),
            (
                "error: RPC failed; curl 28 Operation too slow. Less than 1000 bytes/sec\nfatal: early EOF",
                ErrorKind::Timeout,
                "in time",
            ),
            ("fatal: the remote end hung up unexpectedly", ErrorKind::Unavailable, "broke"),
            ("fatal: server certificate verification failed", ErrorKind::Unavailable, "certificate"),
            ("fatal: couldn't find remote ref HEAD", ErrorKind::NotFound, "default branch"),
            ("fatal: write error: No space left on device", ErrorKind::Exhausted, "space"),
            ("error: external filter 'git-lfs filter-process' failed", ErrorKind::Failed, "Git LFS"),
        ] {
            let error = error_of(said);

            assert_eq!(error.kind(), kind, "{said}");
            assert!(error.to_string().contains(word), "{said}: {error}");
            assert!(error.hint().is_some(), "{said}");
            assert!(error.chain().contains(said), "{said}");
        }
    }

    #[test]
    fn what_nobody_knows_is_told_in_the_words_of_git_and_suspects_the_mirror() {
        let failure = GitFailure::new("fetch", ExitStatus::from_raw(128 << 8), "fatal: bad object".into());

        assert!(Trouble::Git(failure).suspects_the_mirror());
        let error = error_of("fatal: bad object");
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(
            error.chain().ends_with("`git fetch` ended with exit status: 128: fatal: bad object"),
            "{}",
            error.chain()
        );
    }

    #[test]
    fn a_changed_host_key_comes_with_the_command_that_forgets_it() {
        let error = error_of("REMOTE HOST IDENTIFICATION HAS CHANGED!");

        assert!(error.hint().unwrap().contains("ssh-keygen -f /data/sources/known_hosts -R host.example"));
    }

    #[test]
    fn a_full_disk_is_told_from_other_troubles_with_a_file() {
        let full = Trouble::file(Path::new("/data/x"))(io::ErrorKind::StorageFull.into());
        let denied = Trouble::file(Path::new("/data/x"))(io::ErrorKind::PermissionDenied.into());
        let url: GitUrl = "https://host/x".parse().unwrap();

        assert_eq!(full.into_error(&url, Path::new("/k")).kind(), ErrorKind::Exhausted);
        assert_eq!(denied.into_error(&url, Path::new("/k")).kind(), ErrorKind::Failed);
    }
}
