//! The master key: 32 random bytes in a file that only its owner may read, or handed in by the program.
//!
//! The file is written beside its place, flushed, and linked into it: it is there whole or not at all, and two
//! processes that start together end with the same one. It is never written again. Losing it loses every secret.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "process")]
use crate::model::Secret;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// The key that secret values are encrypted with.
#[derive(Clone)]
pub struct MasterKey {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    id: String,
}

/// Shows what identifies the key, and nothing of the key.
impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl MasterKey {
    /// A key that the program keeps itself.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        let id = Sha256::new().chain_update(b"ployer master key").chain_update(bytes).finalize();
        Self { bytes: Zeroizing::new(bytes), id: hex(&id[..8]) }
    }

    /// The key in the file at `path`; where there is none, a new one is made from the clock's randomness.
    ///
    /// # Errors
    ///
    /// `Forbidden` if others than its owner may read the file, `Invalid` if it does not hold a key, `Unavailable` if
    /// it can be neither read nor made.
    pub fn from_file(path: &Path, clock: &dyn Clock) -> Result<Self> {
        match read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make(path, clock)?;
                read(path)
            }
            done => done,
        }
    }

    /// Identifies the key without telling anything of it: 16 hexadecimal digits of a hash.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Another key that follows from this one, for that purpose alone.
    #[cfg(feature = "process")]
    pub(crate) fn derived(&self, purpose: &str) -> Secret {
        let derived = Sha256::new().chain_update(b"ployer key for ").chain_update(purpose).chain_update(*self.bytes);
        Secret::from(derived.finalize().to_vec())
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }
}

fn read(path: &Path) -> Result<MasterKey> {
    let unreadable = |error: io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, format!("key file `{}` cannot be read", path.display()))
            .with_hint("let the user that runs Ployer, and nobody else, read it")
            .with_source(error)
    };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::new(
            ErrorKind::Forbidden,
            format!("key file `{}` may be read by others (mode {:03o})", path.display(), mode & 0o777),
        )
        .with_hint(format!("run `chmod 600 {}`; if somebody read it, set every secret anew", path.display())));
    }
    let text = Zeroizing::new(io::read_to_string(file).map_err(unreadable)?);
    parse(text.trim_end()).ok_or_else(|| {
        Error::new(ErrorKind::Invalid, format!("key file `{}` does not hold a key", path.display()))
            .with_hint("restore it from a copy: it holds 64 hexadecimal digits, and no secret can be read without them")
    })
}

fn make(path: &Path, clock: &dyn Clock) -> Result<()> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    clock.random(&mut *key)?;
    let text = Zeroizing::new(hex(&*key) + "\n");
    match write_once(path, &text, clock) {
        // Somebody else was faster: theirs is read.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::new(ErrorKind::Unavailable, format!("key file `{}` cannot be made", path.display()))
                .with_hint("check that its folder exists and may be written to by the user that runs Ployer")
                .with_source(error))
        }
        _ => Ok(()),
    }
}

fn write_once(path: &Path, text: &str, clock: &dyn Clock) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = folder.join(format!(".key-{}", clock.new_id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| std::fs::hard_link(&beside, path));
    std::fs::remove_file(&beside)?;
    linked.and_then(|()| File::open(folder)?.sync_all())
}

/// With room for a line's end, so that no copy of a key stays behind in memory.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let mut text = String::with_capacity(2 * bytes.len() + 1);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 0xf)]);
    }
    text
}

fn parse(text: &str) -> Option<MasterKey> {
    if text.len() != 2 * KEY_BYTES {
        return None;
    }
    let digit = |byte: u8| Some(char::from(byte).to_digit(16)? as u8);
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(MasterKey::from_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::clock::SystemClock;

    fn key_file() -> (TempDir, std::path::PathBuf) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("master.key");
        (folder, path)
    }

    #[test]
    fn the_key_is_made_on_first_use_for_its_owner_alone_and_kept() {
        let (folder, path) = key_file();

        let made = MasterKey::from_file(&path, &SystemClock).unwrap();
        let read = MasterKey::from_file(&path, &SystemClock).unwrap();

        assert_eq!(made.bytes(), read.bytes());
        assert_ne!(made.bytes(), &[0; KEY_BYTES]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the key");
    }

    #[test]
    fn processes_that_start_together_end_with_the_same_key() {
        let (_folder, path) = key_file();

        let start = || {
            std::thread::spawn({
                let path = path.clone();
                move || MasterKey::from_file(&path, &SystemClock)
            })
        };
        let keys: Vec<_> = (0..8).map(|_| start()).collect::<Vec<_>>().into_iter().map(|key| key.join()).collect();

        let ids: std::collections::BTreeSet<_> = keys.into_iter().map(|key| key.unwrap().unwrap().id).collect();
        assert_eq!(ids.len(), 1);
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused_with_the_remedy() {
        let (_folder, path) = key_file();
        MasterKey::from_file(&path, &SystemClock).unwrap();

        for mode in [0o640, 0o604, 0o620, 0o777] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = MasterKey::from_file(&path, &SystemClock).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Forbidden);
            assert!(error.to_string().contains(&format!("{mode:o}")), "{error}");
            assert!(error.hint().unwrap().contains("chmod 600"));
        }
    }

    #[test]
    fn a_file_that_holds_no_key_is_left_as_it_is() {
        let (_folder, path) = key_file();

        for text in ["", "\n", "secret", &"g".repeat(64), &"a".repeat(63), &"+1".repeat(32), &"ä".repeat(32)] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let error = MasterKey::from_file(&path, &SystemClock).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named_with_the_remedy() {
        let (folder, _) = key_file();

        let error = MasterKey::from_file(&folder.path().join("absent/master.key"), &SystemClock).unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("absent/master.key"), "{error}");
    }

    #[test]
    fn neither_debug_output_nor_the_id_tells_the_key() {
        let key = MasterKey::from_bytes([0xab; KEY_BYTES]);

        assert_eq!(key.id().len(), 16);
        assert!(!format!("{key:?} {}", key.id()).contains("abab"));
        assert_ne!(key.id(), MasterKey::from_bytes([0xac; KEY_BYTES]).id());
    }
}
