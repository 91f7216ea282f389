//! Errors: what went wrong with whose thing, and the next step for a person.
//!
//! The message names the thing and the cause, the hint names the remedy; neither ever holds a secret. Each
//! implementation of a trait keeps its own error type and turns it into this one at its edge. Frontends map
//! [`ErrorKind`] to a status, an exit code or a C constant, one each.

use std::error::Error as StdError;
use std::fmt;

/// The result of every fallible call of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A cause that lies outside this library.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What kind of thing an error speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// An application.
    Application,
    /// A deployment of an application.
    Deployment,
    /// A release: what a deployment made.
    Release,
    /// A server that runs workloads.
    Server,
    /// A domain of an application.
    Domain,
    /// An environment variable of an application.
    Variable,
    /// A health check of an application.
    HealthCheck,
    /// A persistent directory of an application.
    Volume,
    /// A user.
    User,
    /// A member of an application.
    Member,
    /// A version of a secret value.
    Secret,
    /// A replica of a process type.
    Replica,
    /// A one-off: a release command, say.
    Job,
    /// A Git repository.
    Repository,
    /// A branch of a repository.
    Branch,
    /// A commit of a repository.
    Commit,
    /// The engine's state of one application.
    Machine,
    /// The engine's lease.
    Lease,
    /// An event of the log.
    Event,
    /// The installation: its identity.
    Installation,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Application => "application",
            Self::Deployment => "deployment",
            Self::Release => "release",
            Self::Server => "server",
            Self::Domain => "domain",
            Self::Variable => "variable",
            Self::HealthCheck => "health check",
            Self::Volume => "volume",
            Self::User => "user",
            Self::Member => "member",
            Self::Secret => "secret",
            Self::Replica => "replica",
            Self::Job => "job",
            Self::Repository => "repository",
            Self::Branch => "branch",
            Self::Commit => "commit",
            Self::Machine => "engine state",
            Self::Lease => "engine lease",
            Self::Event => "event",
            Self::Installation => "installation",
        })
    }
}

/// The category of an error: one HTTP status, one exit code and one C constant each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The thing does not exist, or is somebody else's.
    NotFound,
    /// Something of that name exists already.
    AlreadyExists,
    /// What is asked does not fit the present state.
    Conflict,
    /// A value was understood but is not acceptable.
    Invalid,
    /// The actor may not do this.
    Forbidden,
    /// A service that is needed does not answer.
    Unavailable,
    /// An implementation cannot do this.
    Unsupported,
    /// What is asked for is no longer kept.
    Gone,
    /// No engine runs on this data.
    NotRunning,
    /// The work itself failed: a build, a command, a checkout.
    Failed,
    /// A deadline passed.
    Timeout,
    /// A bound was reached: disk, bytes, number.
    Exhausted,
    /// A defect of Ployer or of the machine.
    Internal,
}

impl ErrorKind {
    /// Every kind, for tables that must miss none.
    pub const ALL: [Self; 13] = [
        Self::NotFound,
        Self::AlreadyExists,
        Self::Conflict,
        Self::Invalid,
        Self::Forbidden,
        Self::Unavailable,
        Self::Unsupported,
        Self::Gone,
        Self::NotRunning,
        Self::Failed,
        Self::Timeout,
        Self::Exhausted,
        Self::Internal,
    ];
}

/// What went wrong, with the values that a caller needs to explain it.
///
/// `Display` does not repeat the source: walk [`std::error::Error::source`] to print the chain once.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    field: Option<&'static str>,
    #[source]
    source: Option<BoxError>,
}

impl Error {
    /// An error of `kind` that says `message`: one sentence, lower case, no full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, field: None, source: None }
    }

    /// `resource` of that name or id does not exist.
    pub fn not_found(resource: Resource, id: impl fmt::Display) -> Self {
        Self::new(ErrorKind::NotFound, format!("{resource} `{id}` does not exist"))
            .with_hint("look at what is listed: it may have been removed, or be somebody else's")
    }

    /// `resource` of that name exists already.
    pub fn already_exists(resource: Resource, name: impl fmt::Display) -> Self {
        Self::new(ErrorKind::AlreadyExists, format!("{resource} `{name}` exists already"))
            .with_hint("use the one that exists, or choose another name")
    }

    /// What is asked does not fit the present state, or somebody else was faster.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// A commit lost: `resource` was changed by somebody else since it was read.
    pub fn lost(resource: Resource, id: impl fmt::Display) -> Self {
        Self::conflict(format!("{resource} `{id}` was changed meanwhile")).with_hint("look at it again, then repeat")
    }

    /// `field` is not acceptable for `reason`.
    pub fn invalid(field: &'static str, reason: impl fmt::Display) -> Self {
        Self { field: Some(field), ..Self::new(ErrorKind::Invalid, format!("{field} is not valid: {reason}")) }
    }

    /// The actor may not do `action`.
    pub fn forbidden(action: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Forbidden, format!("not allowed: {action}"))
            .with_hint("ask an administrator, or whoever owns the application")
    }

    /// `service` does not answer.
    pub fn unavailable(service: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Unavailable, format!("{service} does not answer"))
    }

    /// This implementation cannot do `what`.
    pub fn unsupported(what: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Unsupported, format!("{what} is not supported here"))
    }

    /// The work itself failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// A defect of Ployer or of the machine, with its cause.
    pub fn internal(message: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::new(ErrorKind::Internal, message).with_source(source)
    }

    /// The same error with the next step for a person.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The category.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The next step for a person, where one is known.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The input that was refused, for [`ErrorKind::Invalid`].
    pub fn field(&self) -> Option<&'static str> {
        self.field
    }

    /// The message followed by its causes, in one line each joined by `: `.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut next = StdError::source(self);
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_does_not_repeat_the_source_but_the_chain_does() {
        let cause = std::io::Error::other("no space left");

        let error = Error::internal("the journal cannot be written", cause).with_hint("free some disk space");

        assert_eq!(error.to_string(), "the journal cannot be written");
        assert_eq!(error.chain(), "the journal cannot be written: no space left");
        assert_eq!(error.hint(), Some("free some disk space"));
    }

    #[test]
    fn an_invalid_value_names_its_field() {
        let error = Error::invalid("name", "it is empty");

        assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some("name")));
        assert_eq!(error.to_string(), "name is not valid: it is empty");
    }
}
