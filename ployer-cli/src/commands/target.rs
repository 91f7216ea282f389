//! The target of `up`: a folder of this machine or the address of a repository, and the name that follows from it.

use std::collections::BTreeSet;
use std::path::Path;

use ployer_core::error::Resource;
use ployer_core::model::{AppName, GitUrl};
use ployer_core::{Error, Result};

/// The longest name that still leaves room for a number behind it.
const NAME_BYTES_MAX: usize = 58;

/// What the words of a person mean: a folder that is there, else an address.
pub(crate) fn find(text: &str) -> Result<GitUrl> {
    let path = Path::new(text);
    if path.exists() || !looks_like_address(text) {
        return folder(path);
    }
    text.parse()
}

fn looks_like_address(text: &str) -> bool {
    text.contains("://") || (text.contains('@') && text.contains(':'))
}

fn folder(path: &Path) -> Result<GitUrl> {
    let whole = path.canonicalize().map_err(|error| {
        let missing = Error::not_found(Resource::Repository, path.display()).with_source(error);
        missing.with_hint("name a folder, or an address such as `https://github.com/you/shop.git`")
    })?;
    if !whole.is_dir() {
        return Err(Error::invalid("PATH", format!("`{}` is not a folder", path.display()))
            .with_hint("name the folder that holds the application"));
    }
    let text = whole.to_str().ok_or_else(|| {
        Error::invalid("PATH", format!("`{}` is not UTF-8", path.display())).with_hint("rename the folder")
    })?;
    text.parse()
}

/// The name of an application at that address, unlike all those that are taken.
pub(crate) fn name(url: &GitUrl, taken: &BTreeSet<AppName>) -> Result<AppName> {
    let last = url.as_str().trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
    let base = label(last.strip_suffix(".git").unwrap_or(last));
    let numbered = (2..).map(|number: u32| format!("{base}-{number}"));
    for candidate in std::iter::once(base.clone()).chain(numbered) {
        let candidate = candidate.parse()?;
        if !taken.contains(&candidate) {
            return Ok(candidate);
        }
    }
    Err(Error::invalid("--name", "every name is taken"))
}

/// The nearest host name label.
fn label(text: &str) -> String {
    let mut label = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' => label.push(c),
            _ if !label.is_empty() && !label.ends_with('-') => label.push('-'),
            _ => {}
        }
        if label.len() == NAME_BYTES_MAX {
            break;
        }
    }
    let label = label.trim_end_matches('-');
    if label.is_empty() { "application".to_owned() } else { label.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ployer_core::ErrorKind;

    fn named(url: &str, taken: &[&str]) -> String {
        let taken = taken.iter().map(|name| name.parse().unwrap()).collect();
        name(&url.parse().unwrap(), &taken).unwrap().to_string()
    }

    #[test]
    fn an_application_is_named_after_its_folder_or_repository() {
        assert_eq!(named("https://github.com/you/My_Shop.git", &[]), "my-shop");
        assert_eq!(named("git@host.example:shop", &[]), "shop");
        assert_eq!(named("/srv/été 2024/", &[]), "t-2024");
        assert_eq!(named("/srv/…", &[]), "application");
        assert_eq!(named("/", &[]), "application");
        assert_eq!(named(&format!("/srv/{}", "x".repeat(200)), &[]).len(), NAME_BYTES_MAX);
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        assert_eq!(named("/a/shop", &["shop"]), "shop-2");
        assert_eq!(named("/a/shop", &["shop", "shop-2"]), "shop-3");
    }

    #[test]
    fn a_folder_is_known_by_its_whole_path() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().canonicalize().unwrap();

        let url = find(folder.path().join(".").to_str().unwrap()).unwrap();

        assert_eq!(url.local_path(), Some(whole.as_path()));
    }

    #[test]
    fn what_is_neither_a_folder_nor_an_address_is_refused_with_a_hint() {
        let file = tempfile::NamedTempFile::new().unwrap();

        let missing = find("no/such/folder").unwrap_err();
        let no_folder = find(file.path().to_str().unwrap()).unwrap_err();

        assert_eq!((missing.kind(), missing.hint().is_some()), (ErrorKind::NotFound, true));
        assert_eq!((no_folder.kind(), no_folder.hint().is_some()), (ErrorKind::Invalid, true));
        assert_eq!(find("https://host.example/shop.git").unwrap().as_str(), "https://host.example/shop.git");
        assert_eq!(find("git@host.example:shop.git").unwrap().as_str(), "git@host.example:shop.git");
    }
}
