//! Submodules: which of them are fetched, and from where.
//!
//! An address may be relative to the repository's own, or `https`, or of the very transport that the repository
//! itself came over: whoever chose the repository could have named it. A path of this machine is only taken in a
//! repository that is one itself. Anything else fails the checkout by name; a submodule without an address, or with
//! `update = none`, stays empty and is said so.

use std::collections::BTreeMap;

use crate::model::{GitUrl, Transport};

/// A submodule as `.gitmodules` describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Submodule {
    pub(super) path: String,
    pub(super) url: Option<String>,
    /// It is not to be fetched.
    pub(super) off: bool,
}

/// Reads what `git config -z --get-regexp` answers.
pub(super) fn parse(answer: &[u8]) -> Vec<Submodule> {
    let mut found: BTreeMap<String, Submodule> = BTreeMap::new();
    for item in String::from_utf8_lossy(answer).split('\0') {
        let Some((key, value)) = item.split_once('\n') else { continue };
        let Some((name, field)) = key.strip_prefix("submodule.").and_then(|key| key.rsplit_once('.')) else { continue };
        let submodule = found.entry(name.to_owned()).or_default();
        match field {
            "path" => value.trim_end_matches('/').clone_into(&mut submodule.path),
            "url" => submodule.url = Some(value.to_owned()),
            "update" => submodule.off = value == "none",
            _ => {}
        }
    }
    found.into_values().collect()
}

/// The address of a submodule of the repository at `parent`; else why it is refused.
pub(super) fn address(parent: &GitUrl, text: &str) -> Result<GitUrl, String> {
    let full = if text.starts_with("./") || text.starts_with("../") {
        beside(parent.as_str(), text).ok_or("it leads above the host")?
    } else {
        text.to_owned()
    };
    let url: GitUrl = full.parse().map_err(|error| format!("{error}"))?;
    if url.transport() == Transport::Https || url.transport() == parent.transport() {
        return Ok(url);
    }
    Err("neither `https` nor the repository's own transport leads to it".to_owned())
}

/// `../lib.git` beside `https://host/team/shop.git` is `https://host/team/lib.git`.
fn beside(parent: &str, relative: &str) -> Option<String> {
    let root = match parent.split_once("://") {
        Some((scheme, rest)) => scheme.len() + 3 + rest.find('/')?,
        None if parent.starts_with('/') => 0,
        None => parent.find(':')? + 1,
    };
    let (root, path) = parent.split_at(root);
    let mut parts: Vec<&str> = path.trim_end_matches('/').split('/').collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.iter().all(|part| part.is_empty()) => return None,
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(format!("{root}{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_read_by_name() {
        let answer = b"submodule.lib.v1.path\nvendor/lib/\0submodule.lib.v1.url\n../lib.git\0submodule.doc.path\ndoc\0\
            submodule.doc.update\nnone\0";

        let found = parse(answer);

        let doc = Submodule { path: "doc".into(), url: None, off: true };
        let lib = Submodule { path: "vendor/lib".into(), url: Some("../lib.git".into()), off: false };
        assert_eq!(found, [doc, lib]);
    }

    #[test]
    fn relative_addresses_lie_beside_the_repository() {
        for (parent, text, expected) in [
            ("https://host/team/shop.git", "../lib.git", "https://host/team/lib.git"),
            ("https://host/team/shop.git", "../../other/lib", "https://host/other/lib"),
            ("git@host:team/shop.git", "../lib.git", "git@host:team/lib.git"),
            ("git@host:shop.git", "../lib.git", "git@host:lib.git"),
            ("ssh://git@host:22/shop", "../lib", "ssh://git@host:22/lib"),
            ("/srv/git/shop", "../lib", "/srv/git/lib"),
            ("https://host/shop", "./lib", "https://host/shop/lib"),
        ] {
            assert_eq!(address(&parent.parse().unwrap(), text).unwrap().as_str(), expected, "{parent} {text}");
        }
    }

    #[test]
    fn addresses_that_the_owner_did_not_choose_are_refused() {
        for (parent, text) in [
            ("https://host/shop", "/srv/secret"),
            ("https://host/shop", "file:///srv/secret"),
            ("https://host/shop", "ext::sh -c x"),
            ("https://host/shop", "-u./x"),
            ("https://host/shop", "http://host/lib"),
            ("https://host/shop", "git@host:lib.git"),
            ("https://host/shop", "../../../lib"),
            ("https://host/shop", "https://user:password@host/lib"),
            ("git@host:shop", "/srv/secret"),
        ] {
            assert!(address(&parent.parse().unwrap(), text).is_err(), "{parent} {text}");
        }
    }
}
