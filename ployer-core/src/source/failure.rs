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
}

/// Sentences of Git, SSH and curl, the telling ones first: a later one often follows an earlier one.
const SENTENCES: &[(&str, Cause)] = &[
    ("No space left on device", Cause::DiskFull),
    ("Disk quota exceeded", Cause::DiskFull),
    ("smudge filter lfs failed", Cause::Lfs),
    ("external filter 'git-lfs", Cause::Lfs),
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", Cause::HostKey),
    ("Host key verification failed", Cause::HostKey),
    ("couldn't find remote ref HEAD", Cause::NoHead),
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
            Self::File { .. } | Self::Unwanted | Self::NoGit(_) | Self::Refused(_) => false,
        }
    }

    /// Whether the repository says that its `HEAD` names nothing.
    pub(super) fn is_without_head(&self) -> bool {
        matches!(self, Self::Git(failure) if failure.cause() == Some(Cause::NoHead))
    }

    /// The public error of a checkout from `url`.
    pub(super) fn into_error(self, url: &GitUrl, known_hosts: &Path) -> Error {
        match self {
            Self::Unwanted => Error::conflict("the checkout was ended: nobody waits for it"),
            Self::NoGit(source) => Error::new(ErrorKind::Unavailable, "`git` cannot be run")
                .with_hint("install it: `apt-get install git`")
                .with_source(source),
            Self::File { path, source } => file_error(&path, source),
            Self::Refused(error) => error,
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
