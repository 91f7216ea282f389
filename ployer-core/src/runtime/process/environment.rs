//! The environment of a process and its arguments: what it is told, and nothing else.
//!
//! Later entries win: what was handed in as inherited, `TMPDIR`, the application's own variables, then what Ployer
//! promises and the marks that a process is found by. No shell sees a command; `$NAME` in an argument is replaced here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use crate::model::{Command, EnvKey, Secret, VolumeName};

/// Variables as a process gets them.
pub(super) type Variables = BTreeMap<OsString, OsString>;

/// What the environment of a process is made of.
pub(super) struct Parts<'a> {
    /// `PATH` and the like, handed in by whoever opened the runtime.
    pub(super) inherited: &'a BTreeMap<String, String>,
    pub(super) tmp: &'a Path,
    pub(super) own: &'a BTreeMap<EnvKey, Secret>,
    pub(super) address: Option<SocketAddr>,
    /// Each persistent directory and where it is.
    pub(super) volumes: &'a [(VolumeName, std::path::PathBuf)],
}

impl Parts<'_> {
    /// Puts them together.
    pub(super) fn variables(&self) -> Variables {
        let inherited = self.inherited.iter().map(|(key, value)| (key.into(), value.into()));
        let tmp = [(OsString::from("TMPDIR"), self.tmp.into())];
        let own = self.own.iter().map(|(key, value)| (key.as_str().into(), bytes(value.expose().to_vec())));
        let port = self.address.map(|address| ("PORT".into(), address.port().to_string().into()));
        let volumes = self.volumes.iter().map(|(name, path)| (volume_key(name).into(), path.into()));
        inherited.chain(tmp).chain(own).chain(port).chain(volumes).collect()
    }
}

/// The variable in which a process finds a persistent directory: `PLOYER_VOLUME_MY_FILES` for `my-files`.
fn volume_key(name: &VolumeName) -> String {
    format!("PLOYER_VOLUME_{}", name.as_str().replace('-', "_").to_ascii_uppercase())
}

/// The arguments of `command`: `$NAME` and `${NAME}` stand for a variable, an absent one for nothing; `$$` is a dollar;
/// any other dollar stays as it is.
pub(super) fn expand(command: &Command, variables: &Variables) -> Vec<OsString> {
    command.0.iter().map(|argument| bytes(expand_one(argument.as_bytes(), variables))).collect()
}

fn expand_one(argument: &[u8], variables: &Variables) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(argument.len()), argument);
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'$' {
            out.push(byte);
            continue;
        }
        match reference(after) {
            Some((Reference::Dollar, length)) => {
                out.push(b'$');
                rest = &after[length..];
            }
            Some((Reference::Name(name), length)) => {
                let value = variables.get(&bytes(name.to_vec())).cloned().unwrap_or_default();
                out.extend(value.into_vec());
                rest = &after[length..];
            }
            None => out.push(b'$'),
        }
    }
    out
}

enum Reference<'a> {
    Dollar,
    Name(&'a [u8]),
}

/// What follows a dollar, and how long it is.
fn reference(after: &[u8]) -> Option<(Reference<'_>, usize)> {
    match after.first()? {
        b'$' => Some((Reference::Dollar, 1)),
        b'{' => {
            let end = after.iter().position(|byte| *byte == b'}')?;
            let name = &after[1..end];
            (name_length(name) == name.len() && !name.is_empty()).then_some((Reference::Name(name), end + 1))
        }
        _ => match name_length(after) {
            0 => None,
            length => Some((Reference::Name(&after[..length]), length)),
        },
    }
}

fn name_length(text: &[u8]) -> usize {
    if text.first().is_none_or(u8::is_ascii_digit) {
        return 0;
    }
    text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count()
}

fn bytes(value: Vec<u8>) -> OsString {
    OsString::from_vec(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables() -> Variables {
        [("PORT", "20001"), ("NAME", "a b"), ("EMPTY", "")].map(|(k, v)| (k.into(), v.into())).into()
    }

    fn expanded(argument: &str) -> String {
        let [out] = expand(&Command(vec![argument.to_owned()]), &variables()).try_into().unwrap();
        out.into_string().unwrap()
    }

    #[test]
    fn names_are_replaced_and_everything_else_stays() {
        for (argument, expected) in [
            ("--port=$PORT", "--port=20001"),
            ("0.0.0.0:${PORT}", "0.0.0.0:20001"),
            ("$NAME", "a b"),
            ("$PORT$PORT", "2000120001"),
            ("${PORT}x$EMPTY!", "20001x!"),
            ("$ABSENT", ""),
            ("$$PORT", "$PORT"),
            ("cost: 5$", "cost: 5$"),
            ("$1 ${1} ${ $(date) `x` *", "$1 ${1} ${ $(date) `x` *"),
        ] {
            assert_eq!(expanded(argument), expected, "{argument}");
        }
    }

    #[test]
    fn what_ployer_promises_wins_over_the_application_and_that_over_what_is_inherited() {
        let inherited = [("PATH", "/bin"), ("LANG", "C")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let own = [("LANG", "de"), ("PORT", "1")].map(|(k, v)| (k.parse().unwrap(), Secret::from(v))).into();
        let parts = Parts {
            inherited: &inherited,
            tmp: Path::new("/data/tmp/x"),
            own: &own,
            address: Some("127.0.0.1:20001".parse().unwrap()),
            volumes: &[("my-files".parse().unwrap(), "/data/volumes/f".into())],
        };

        let variables = parts.variables();

        let all: Vec<_> = variables.iter().map(|(k, v)| format!("{}={}", k.display(), v.display())).collect();
        assert_eq!(
            all,
            ["LANG=de", "PATH=/bin", "PLOYER_VOLUME_MY_FILES=/data/volumes/f", "PORT=20001", "TMPDIR=/data/tmp/x"]
        );
    }

    proptest! {
        #[test]
        fn any_argument_expands_and_one_without_a_dollar_stays(argument in "\\PC{0,60}") {
            let out = expanded(&argument);
            if !argument.contains('$') {
                prop_assert_eq!(out, argument);
            }
        }
    }
}
