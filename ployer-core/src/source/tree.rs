//! A tree of Git: what `git ls-tree` lists, as values.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::model::CommitSha;

/// What a path of a tree holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    File { bytes: u64 },
    Link,
    Submodule(CommitSha),
}

/// A path of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// The id of the object.
    pub(super) object: String,
    pub(super) path: PathBuf,
}

/// Reads what `git ls-tree -z` answers, with or without sizes; what is no entry is left out.
pub(super) fn parse(answer: &[u8]) -> Vec<Entry> {
    answer.split(|byte| *byte == 0).filter_map(parse_entry).collect()
}

fn parse_entry(item: &[u8]) -> Option<Entry> {
    let tab = item.iter().position(|byte| *byte == b'\t')?;
    let mut words = std::str::from_utf8(&item[..tab]).ok()?.split_ascii_whitespace();
    let (mode, _, object) = (words.next()?, words.next()?, words.next()?);
    let bytes = words.next().and_then(|size| size.parse().ok()).unwrap_or(0);
    let kind = match mode {
        "040000" => Kind::Folder,
        "120000" => Kind::Link,
        "160000" => Kind::Submodule(object.parse().ok()?),
        _ => Kind::File { bytes },
    };
    let path = PathBuf::from(OsStr::from_bytes(&item[tab + 1..]));
    Some(Entry { kind, object: object.to_owned(), path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_entry_is_read() {
        let id = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
        let answer = format!(
            "100644 blob {id}      12\ta b\n.txt\0120000 blob {id}       3\tlink\0160000 commit {id}       -\tlib\0\
             040000 tree {id}       -\tsrc\0"
        );

        let entries = parse(answer.as_bytes());

        let seen: Vec<_> = entries.iter().map(|entry| (entry.kind.clone(), entry.path.to_str().unwrap())).collect();
        assert_eq!(
            seen,
            [
                (Kind::File { bytes: 12 }, "a b\n.txt"),
                (Kind::Link, "link"),
                (Kind::Submodule(id.parse().unwrap()), "lib"),
                (Kind::Folder, "src"),
            ]
        );
    }
}
