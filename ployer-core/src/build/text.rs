//! Text of a source's files: read within bounds, and places in it as people count them.

use std::io::{self, Read};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// The largest file that is read: what people write by hand is far smaller.
const BYTES_MAX: u64 = 256 * 1024;

/// Reads a file of the source as text; `None` if there is none.
///
/// # Errors
///
/// `Invalid` if it is too large or not UTF-8.
pub(super) fn read(source: &Path, name: &'static str) -> Result<Option<String>> {
    let file = match std::fs::File::open(source.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|cause| unreadable(name, cause))?,
    };
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|cause| unreadable(name, cause))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Error::invalid(name, format!("it has more than {} KiB", BYTES_MAX / 1024)));
    }
    let text = String::from_utf8(bytes).map_err(|cause| {
        let (line, column) = place(&String::from_utf8_lossy(cause.as_bytes()), cause.utf8_error().valid_up_to());
        Error::invalid(name, format!("line {line}, column {column}: it is not UTF-8"))
    })?;
    Ok(Some(text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned)))
}

fn unreadable(name: &str, cause: io::Error) -> Error {
    Error::new(ErrorKind::Failed, format!("{name} cannot be read")).with_source(cause)
}

/// The line and column of a byte, both counted from 1, columns in characters.
pub(super) fn place(text: &str, byte: usize) -> (usize, usize) {
    let before: String = text.char_indices().take_while(|(at, _)| *at < byte).map(|(_, c)| c).collect();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_from_one_in_characters() {
        assert_eq!(place("", 0), (1, 1));
        assert_eq!(place("äb\nc", 2), (1, 2));
        assert_eq!(place("äb\nc", 4), (2, 1));
        assert_eq!(place("x", 99), (1, 2));
    }

    #[test]
    fn absent_large_and_binary_files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let write = |bytes: &[u8]| std::fs::write(dir.path().join("Procfile"), bytes).unwrap();

        assert_eq!(read(dir.path(), "Procfile").unwrap(), None);
        write(b"\xef\xbb\xbfweb: x");
        assert_eq!(read(dir.path(), "Procfile").unwrap().as_deref(), Some("web: x"));
        write(b"web: a\nworker: \xff");
        let error = read(dir.path(), "Procfile").unwrap_err();
        assert_eq!(error.to_string(), "Procfile is not valid: line 2, column 9: it is not UTF-8");
        write(&vec![b' '; 300 * 1024]);
        assert!(read(dir.path(), "Procfile").is_err());
    }
}
