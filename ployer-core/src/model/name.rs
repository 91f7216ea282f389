//! Validated names: text that has been checked once, at the edge, and need not be checked again.
//!
//! `FromStr` is the only way in. The rules are those of the place where a name ends up: a host name, a Git
//! reference, an environment block.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

macro_rules! names {
    ($($(#[doc = $doc:literal])+ $name:ident, $field:literal, $check:expr;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let check: fn(&str) -> Result<String, &'static str> = $check;
                check(text).map(Self).map_err(|reason| Error::invalid($field, reason))
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

names! {
    /// An application's name: one DNS label of 1 to 63 characters (RFC 1123), because it becomes a host name and a
    /// container name.
    AppName, "application name", label;
    /// A process type (`web`, `worker`): one DNS label of 1 to 63 characters.
    ProcessName, "process type", label;
    /// A persistent directory's name: one DNS label of 1 to 63 characters.
    VolumeName, "volume name", label;
    /// A server's name: 1 to 100 printable characters.
    ServerName, "server name", server_name;
    /// A branch or tag, as `git check-ref-format` allows it, 1 to 255 bytes.
    BranchName, "branch", branch;
    /// A commit: 40 (SHA-1) or 64 (SHA-256) hexadecimal digits, kept in lower case.
    CommitSha, "commit", commit;
    /// A host name: DNS labels (RFC 1123) of 253 characters at most, kept in lower case.
    DomainName, "domain", domain;
    /// The name of an environment variable: letters, digits and `_`, not beginning with a digit, 1 to 255 bytes.
    EnvKey, "variable name", env_key;
    /// A path inside a repository: relative, without `..`, 1 to 1,024 bytes, kept without `./` and `/` at its ends.
    RepoPath, "path", repo_path;
    /// The path of a request: begins with `/`, without white space, 1 to 2,048 bytes.
    RequestPath, "path", request_path;
    /// An e-mail address: something before and after one `@`, 3 to 254 bytes, kept in lower case.
    Email, "email", email;
}

impl ProcessName {
    /// The process type that has a port and a route.
    pub fn web() -> Self {
        Self("web".to_owned())
    }

    /// Whether this is the process type that has a port and a route.
    pub fn is_web(&self) -> bool {
        self.0 == "web"
    }
}

impl CommitSha {
    /// The first seven digits, as people quote a commit.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

fn label(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.len() > 63 {
        return Err("it must have 1 to 63 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Err("it may only have lower-case letters, digits and `-`");
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err("it may not begin or end with `-`");
    }
    Ok(text.to_owned())
}

fn server_name(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("it is empty"),
        name if name.chars().count() > 100 => Err("it must have 100 characters at most"),
        name if name.chars().any(char::is_control) => Err("it has a control character"),
        name => Ok(name.to_owned()),
    }
}

fn branch(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.len() > 255 {
        return Err("it must have 1 to 255 bytes");
    }
    if text.starts_with('-') {
        return Err("it may not begin with `-`");
    }
    if text.bytes().any(|b| b <= b' ' || b == 0x7f || b"~^:?*[\\".contains(&b)) {
        return Err("it has a character that Git does not allow in a branch");
    }
    let bad_part = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if text.contains("..") || text.contains("@{") || text == "@" || text.ends_with('.') || text.split('/').any(bad_part)
    {
        return Err("it is not a name that Git allows for a branch");
    }
    Ok(text.to_owned())
}

fn commit(text: &str) -> Result<String, &'static str> {
    if !matches!(text.len(), 40 | 64) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("it must be the full id: 40 or 64 hexadecimal digits");
    }
    Ok(text.to_ascii_lowercase())
}

fn domain(text: &str) -> Result<String, &'static str> {
    let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if text.is_empty() || text.len() > 253 {
        return Err("it must have 1 to 253 characters");
    }
    if !text.split('.').all(|part| label(part).is_ok()) {
        return Err("it is not a host name: labels of letters, digits and `-`, joined by `.`");
    }
    if text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return Err("it is an address, not a host name");
    }
    Ok(text)
}

fn env_key(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.len() > 255 {
        return Err("it must have 1 to 255 bytes");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') || text.as_bytes()[0].is_ascii_digit() {
        return Err("it may only have letters, digits and `_`, and not begin with a digit");
    }
    Ok(text.to_owned())
}

fn repo_path(text: &str) -> Result<String, &'static str> {
    let path = text.trim_start_matches("./").trim_end_matches('/');
    if path.is_empty() || path.len() > 1_024 {
        return Err("it must have 1 to 1,024 bytes");
    }
    if path.starts_with('/') {
        return Err("it must be relative to the repository");
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Err("it has a control character or `\\`");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | ".." | ".git")) {
        return Err("it may not leave the repository or name `.git`");
    }
    Ok(path.to_owned())
}

fn request_path(text: &str) -> Result<String, &'static str> {
    if !text.starts_with('/') {
        return Err("it must begin with `/`");
    }
    if text.len() > 2_048 {
        return Err("it must have 2,048 bytes at most");
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("it may only have printable ASCII characters; encode others with `%`");
    }
    Ok(text.to_owned())
}

fn email(text: &str) -> Result<String, &'static str> {
    if text.len() < 3 || text.len() > 254 || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it is not an address");
    }
    match text.split_once('@') {
        Some((local, host)) if !local.is_empty() && !host.is_empty() && !host.contains('@') => Ok(text.to_lowercase()),
        _ => Err("it is not an address: `name@host`"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_become_host_names_are_one_dns_label() {
        for good in ["shop", "a", "shop-2", "0"] {
            assert_eq!(good.parse::<AppName>().unwrap().as_str(), good);
        }
        for bad in ["", "-shop", "shop-", "Shop", "a.b", "a_b", "ä", &"a".repeat(64)] {
            assert!(bad.parse::<AppName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn branches_follow_the_rules_of_git() {
        for good in ["main", "feature/login", "v1.2.3", "a-b", "ünicode"] {
            assert!(good.parse::<BranchName>().is_ok(), "{good}");
        }
        for bad in
            ["", "-f", "a b", "a..b", "a@{1}", "@", "a.lock", "a/.b", "/a", "a/", "a//b", "a.", "a~1", "a^", "a:b"]
        {
            assert!(bad.parse::<BranchName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn domains_are_kept_in_lower_case_and_are_no_addresses() {
        assert_eq!("Shop.Example.COM.".parse::<DomainName>().unwrap().as_str(), "shop.example.com");
        for bad in ["", "a..b", "10.0.0.1", "a b", "*.example.com", "-a.com", "ex/ample"] {
            assert!(bad.parse::<DomainName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_never_leave_the_repository() {
        assert_eq!("./apps/shop/".parse::<RepoPath>().unwrap().as_str(), "apps/shop");
        for bad in ["", "/etc", "..", "a/../b", "a//b", ".git/config", "a\\b", "a\0b"] {
            assert!(bad.parse::<RepoPath>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_accepted_again_unchanged(text in "\\PC{0,80}") {
            macro_rules! stable { ($($name:ty),*) => {$(
                if let Ok(name) = text.parse::<$name>() {
                    prop_assert_eq!(name.as_str().parse::<$name>().unwrap(), name);
                }
            )*} }
            stable!(AppName, BranchName, CommitSha, DomainName, EnvKey, RepoPath, RequestPath, Email, ServerName);
        }

        #[test]
        fn a_branch_never_looks_like_an_option(text in "\\PC{0,40}") {
            if let Ok(name) = text.parse::<BranchName>() {
                prop_assert!(!name.as_str().starts_with('-'));
            }
        }
    }
}
