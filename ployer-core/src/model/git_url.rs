//! The address of a repository: `https`, `http`, `ssh`, `git`, the scp form, or a path of this machine.
//!
//! Parsed once; whoever holds a [`GitUrl`] may hand it to Git behind `--`. No credentials are kept in it: a
//! password in an address would end up in logs.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The address of a Git repository, or of a folder of this machine.
///
/// Whether a path is allowed is the configuration's decision, not this type's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GitUrl(String);

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// `https://`
    Https,
    /// `http://`
    Http,
    /// `ssh://` or `user@host:path`
    Ssh,
    /// `git://`
    Git,
    /// An absolute path of this machine.
    Local,
}

impl GitUrl {
    /// The address as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How the repository is reached.
    pub fn transport(&self) -> Transport {
        match self.0.split_once("://").map(|(scheme, _)| scheme) {
            Some("https") => Transport::Https,
            Some("http") => Transport::Http,
            Some("git") => Transport::Git,
            Some(_) => Transport::Ssh,
            None if self.0.starts_with('/') => Transport::Local,
            None => Transport::Ssh,
        }
    }

    /// The path, for a folder of this machine.
    pub fn local_path(&self) -> Option<&Path> {
        (self.transport() == Transport::Local).then(|| Path::new(&self.0))
    }

    /// The host and, where one is named, the port; `None` for a path of this machine.
    pub fn host(&self) -> Option<(&str, Option<u16>)> {
        let authority = match self.0.split_once("://") {
            Some((_, rest)) => rest.split('/').next()?,
            None if self.0.starts_with('/') => return None,
            None => return Some((self.0.split_once(':')?.0.rsplit('@').next()?, None)),
        };
        Some(split_port(authority.rsplit('@').next()?))
    }
}

impl FromStr for GitUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        check(text).map_err(|reason| {
            Error::invalid("git_url", reason)
                .with_hint("give `https://host/path`, `ssh://user@host/path` or `user@host:path`")
        })?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for GitUrl {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<GitUrl> for String {
    fn from(url: GitUrl) -> String {
        url.0
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > 2_048 {
        return Err("it must have 1 to 2,048 bytes");
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace() && !text.starts_with('/')) {
        return Err("it has white space or a control character");
    }
    if text.starts_with('-') {
        return Err("it may not begin with `-`");
    }
    if text.starts_with('/') {
        return Ok(());
    }
    if text.find("::").is_some_and(|helper| text.find("://").is_none_or(|scheme| helper < scheme)) {
        return Err("addresses of remote helpers (`name::address`) are not taken");
    }
    match text.split_once("://") {
        Some((scheme, rest)) => check_scheme(scheme, rest),
        None => check_scp(text),
    }
}

fn check_scheme(scheme: &str, rest: &str) -> Result<(), &'static str> {
    if !matches!(scheme, "https" | "http" | "ssh" | "git") {
        return Err("its scheme is none of `https`, `http`, `ssh` and `git`");
    }
    let (authority, path) = rest.split_once('/').ok_or("it names no path")?;
    if path.is_empty() {
        return Err("it names no path");
    }
    let host = match authority.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => return Err("it has a password; use a deploy key instead"),
        Some((user, _)) if scheme != "ssh" && !user.is_empty() => {
            return Err("it has a user; use a deploy key instead");
        }
        Some((user, host)) => {
            check_user(user)?;
            host
        }
        None => authority,
    };
    check_host(host)
}

fn check_scp(text: &str) -> Result<(), &'static str> {
    let (authority, path) = text.split_once(':').ok_or("it is neither an address nor an absolute path")?;
    let (user, host) = authority.rsplit_once('@').ok_or("it names no user: `user@host:path`")?;
    check_user(user)?;
    if path.is_empty() || path.starts_with('-') {
        return Err("it names no path");
    }
    check_host(host)
}

fn check_user(user: &str) -> Result<(), &'static str> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if user.is_empty() || user.starts_with('-') || !user.bytes().all(fits) {
        return Err("its user is not a plain name");
    }
    Ok(())
}

fn check_host(text: &str) -> Result<(), &'static str> {
    let (host, _) = split_port(text);
    let rest = &text[host.len()..];
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if bare.is_empty() || bare.starts_with('-') {
        return Err("it names no host");
    }
    if !bare.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b)) || (bare == host && host.contains(':'))
    {
        return Err("its host is not a host name or an address");
    }
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok(()),
        Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(()),
        _ => Err("its port is not a number from 1 to 65535"),
    }
}

fn split_port(authority: &str) -> (&str, Option<u16>) {
    let after_bracket = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_bracket..].find(':') {
        Some(colon) => {
            let at = after_bracket + colon;
            (&authority[..at], authority[at + 1..].parse().ok())
        }
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_documented_form_is_taken() {
        let cases = [
            ("https://github.com/user/repo.git", Transport::Https, Some(("github.com", None))),
            ("http://10.0.0.1:8080/repo", Transport::Http, Some(("10.0.0.1", Some(8080)))),
            ("ssh://git@host.example:2222/repo.git", Transport::Ssh, Some(("host.example", Some(2222)))),
            ("git://host/repo", Transport::Git, Some(("host", None))),
            ("git@github.com:user/repo.git", Transport::Ssh, Some(("github.com", None))),
            ("https://[::1]:8443/repo", Transport::Https, Some(("[::1]", Some(8443)))),
            ("/srv/git/my shop", Transport::Local, None),
        ];
        for (text, transport, host) in cases {
            let url: GitUrl = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((url.transport(), url.host()), (transport, host), "{text}");
        }
    }

    #[test]
    fn addresses_that_could_run_or_leak_something_are_refused() {
        for bad in [
            "",
            "-uhttps://host/path",
            "--upload-pack=touch x",
            "ext::sh -c x",
            "file:///etc",
            "ftp://host/path",
            "https://user:secret@host/repo",
            "https://token@host/repo",
            "ssh://-oProxyCommand=x/path",
            "ssh://git@-oProxyCommand=x/path",
            "git@-host:path",
            "-git@host:path",
            "host:path",
            "https://host",
            "https://host/",
            "https://host:0/x",
            "https://host:port/x",
            "https:///x",
            "relative/path",
            "https://host/a b",
        ] {
            assert!(bad.parse::<GitUrl>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_stable(text in "\\PC{0,60}") {
            if let Ok(url) = text.parse::<GitUrl>() {
                prop_assert!(!url.as_str().starts_with('-'));
                let _: Option<_> = url.host();
                prop_assert_eq!(url.as_str().parse::<GitUrl>().unwrap(), url);
            }
        }

        #[test]
        fn near_misses_of_addresses_never_panic(text in "(https?|ssh|git)://[a-z@:\\[\\]./-]{0,30}") {
            if let Ok(url) = text.parse::<GitUrl>() {
                prop_assert!(url.host().is_some());
            }
        }
    }
}
