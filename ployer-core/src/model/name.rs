//! Validated names: text that has been checked once, at the edge, and need not be checked again.
//!
//! `FromStr` is the only way in. The rules are those of the place where a name ends up: a host name, a Git
//! reference, an environment block.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

macro_rules! names {
    ($($(#[doc = $doc:literal])+ $name:ident, $field:literal, $check:expr, $hint:literal;)+) => {$(
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
                check(text).map(Self).map_err(|reason| Error::invalid($field, reason).with_hint($hint))
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
    AppName, "application name", label, "choose a name such as `shop` or `shop-2`";
    /// A process type (`web`, `worker`): one DNS label of 1 to 63 characters.
    ProcessName, "process type", label, "choose a name such as `web` or `mail-worker`";
    /// A persistent directory's name: one DNS label of 1 to 63 characters.
    VolumeName, "volume name", label, "choose a name such as `uploads`";
    /// A server's name: 1 to 100 printable characters.
    ServerName, "server name", server_name, "choose a short name such as `local`";
    /// A branch or tag, as `git check-ref-format` allows it, 1 to 255 bytes.
    BranchName, "branch", branch, "give a branch or tag as `git branch` or `git tag` lists it";
    /// A commit: 40 (SHA-1) or 64 (SHA-256) hexadecimal digits, kept in lower case.
    CommitSha, "commit", commit, "`git rev-parse HEAD` prints it";
    /// A host name: DNS labels (RFC 1123) of 253 characters at most, kept in lower case.
    DomainName, "domain", domain, "give a host name alone, such as `shop.example.com`";
    /// The name of an environment variable: letters, digits and `_`, not beginning with a digit, 1 to 255 bytes.
    EnvKey, "variable name", env_key, "choose a name such as `DATABASE_URL`";
    /// A path inside a repository: relative, without `..`, 1 to 1,024 bytes, kept without `./` and `/` at its ends.
    RepoPath, "path", repo_path, "give a path from the top of the repository, such as `apps/shop`";
    /// The path of a request: begins with `/`, without white space, 1 to 2,048 bytes.
    RequestPath, "path", request_path, "give a path such as `/healthz`";
    /// An e-mail address: something before and after one `@`, 3 to 254 bytes, kept in lower case.
    Email, "email", email, "give an address such as `ann@example.com`";
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
    // Lower case may be longer, so that is what is measured.
    let text = text.to_lowercase();
    if text.len() < 3 || text.len() > 254 || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it is not an address");
    }
    match text.split_once('@') {
        Some((local, host)) if !local.is_empty() && !host.is_empty() && !host.contains('@') => Ok(text),
        _ => Err("it is not an address: `name@host`"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

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

    #[test]
    fn every_name_that_is_refused_says_which_why_and_what_would_do() {
        macro_rules! refused { ($($name:ty, $field:literal, $bad:expr;)*) => {$(
            let error = $bad.parse::<$name>().unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::Invalid, Some($field)));
            assert!(error.to_string().starts_with(concat!($field, " is not valid: ")), "{error}");
            assert!(error.hint().is_some(), "{error}");
            let json = serde_json::to_string(&$bad).unwrap();
            assert!(serde_json::from_str::<$name>(&json).is_err(), "{json}");
        )*} }
        refused! {
            AppName, "application name", "Shop";
            ProcessName, "process type", "we_b";
            VolumeName, "volume name", "../up";
            ServerName, "server name", " \t";
            BranchName, "branch", "--all";
            CommitSha, "commit", "abc123";
            DomainName, "domain", "127.0.0.1";
            EnvKey, "variable name", "1A=";
            RepoPath, "path", "a/../../b";
            RequestPath, "path", "health";
            Email, "email", "a@b@c";
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let long = |unit: &str, count| unit.repeat(count);
        assert!(long("a", 256).parse::<BranchName>().is_err() && long("a", 255).parse::<BranchName>().is_ok());
        assert!(long("A", 256).parse::<EnvKey>().is_err() && long("A", 255).parse::<EnvKey>().is_ok());
        assert!(long("a.", 127).parse::<DomainName>().is_ok() && long("a.", 128).parse::<DomainName>().is_err());
        assert!(long("a", 1_025).parse::<RepoPath>().is_err() && long("a", 1_024).parse::<RepoPath>().is_ok());
        assert!(format!("/{}", long("a", 2_048)).parse::<RequestPath>().is_err());
        assert!(long("ä", 101).parse::<ServerName>().is_err() && long("ä", 100).parse::<ServerName>().is_ok());
        assert!(format!("{}@b", long("İ", 126)).parse::<Email>().is_err(), "its lower case is longer");
    }

    proptest! {
        #[test]
        fn what_is_nearly_a_name_is_refused_or_keeps_the_rules_of_its_place(
            text in "[a-zA-Z0-9_.:/@~^*?{}\\\\ -]{0,80}|(\\.{0,2}/){0,4}[a-z.]{0,8}|([a-z0-9-]{1,8}\\.){0,9}[a-z0-9.]{0,4}",
        ) {
            if let Ok(name) = text.parse::<AppName>() {
                prop_assert!(name.as_str().len() <= 63 && name.as_str().parse::<DomainName>().is_ok() | name.as_str().bytes().all(|b| b.is_ascii_digit()));
            }
            if let Ok(name) = text.parse::<DomainName>() {
                prop_assert!(name.as_str().parse::<std::net::IpAddr>().is_err());
                prop_assert!(name.as_str().split('.').all(|part| (1..=63).contains(&part.len())));
                prop_assert_eq!(name.as_str().to_ascii_lowercase(), name.as_str());
            }
            if let Ok(path) = text.parse::<RepoPath>() {
                let plain = |part| matches!(part, std::path::Component::Normal(_));
                prop_assert!(std::path::Path::new(path.as_str()).components().all(plain));
            }
            if let Ok(key) = text.parse::<EnvKey>() {
                prop_assert!(!key.as_str().contains(['=', '\0']) && !key.as_str().starts_with(|c: char| c.is_ascii_digit()));
            }
            if let Ok(branch) = text.parse::<BranchName>() {
                let text = branch.as_str();
                prop_assert!(!text.contains([' ', '~', '^', ':', '?', '*', '[', '\\']) && !text.contains("..") && !text.contains("//"));
            }
            if let Ok(path) = text.parse::<RequestPath>() {
                prop_assert!(path.as_str().starts_with('/') && !path.as_str().contains(' '));
            }
        }

        #[test]
        fn every_name_made_by_the_rules_is_taken(
            label in "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
            key in "[A-Za-z_][A-Za-z0-9_]{0,40}",
            sha in "[0-9a-fA-F]{40}",
            branch in "[a-z0-9]{1,8}(/[a-z0-9_-]{1,8}){0,4}",
        ) {
            prop_assert!(label.parse::<AppName>().is_ok() && label.parse::<ProcessName>().is_ok());
            let host = label.clone() + ".example";
            prop_assert!(host.parse::<DomainName>().is_ok());
            prop_assert!(key.parse::<EnvKey>().is_ok() && branch.parse::<BranchName>().is_ok());
            prop_assert!(branch.parse::<RepoPath>().is_ok());
            prop_assert_eq!(sha.parse::<CommitSha>().unwrap().short().len(), 7);
        }

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
