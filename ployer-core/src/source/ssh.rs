//! SSH: how Git calls it, the deploy key's file and the hosts that are known.
//!
//! Nothing of the user who runs Ployer takes part: no settings, no agent, no keys, no list of hosts. A host is
//! trusted when it is first met and must stay the same. A key's file exists while it is needed; one that a crash
//! left behind goes at the next start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::CheckoutRequest;
use super::args::Remote;
use crate::clock::Clock;
use crate::model::{GitUrl, Secret, Transport};

/// How the repositories of one checkout are reached.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) known_hosts: PathBuf,
    /// The host that the application names: it alone is shown the deploy key.
    host: Option<String>,
    key: Option<KeyFile>,
}

impl Access {
    pub(super) fn open(
        request: &CheckoutRequest,
        known_hosts: PathBuf,
        keys: &Path,
        clock: &dyn Clock,
    ) -> io::Result<Self> {
        let wanted = request.deploy_key.as_ref().filter(|_| request.url.transport() == Transport::Ssh);
        let key = wanted.map(|key| KeyFile::write(keys, key, clock)).transpose()?;
        Ok(Self { known_hosts, host: host_of(&request.url), key })
    }

    /// How Git reaches `url`.
    pub(super) fn remote(&self, url: &GitUrl) -> Remote {
        let key = self.key.as_ref().filter(|_| host_of(url) == self.host).map(KeyFile::path);
        let ssh = (url.transport() == Transport::Ssh).then(|| command(&self.known_hosts, key));
        Remote { address: url.as_str().into(), transport: url.transport(), ssh }
    }
}

fn host_of(url: &GitUrl) -> Option<String> {
    url.host().map(|(host, port)| format!("{host}:{}", port.unwrap_or(22)))
}

/// A private key in a file of its own, mode 0600, which goes when this is dropped.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    /// Locked, so that [`sweep`] can tell a key in use from one that a crash left behind.
    file: File,
}

impl KeyFile {
    /// Writes `key` into `folder`.
    pub(super) fn write(folder: &Path, key: &Secret, clock: &dyn Clock) -> io::Result<Self> {
        let path = folder.join(clock.new_id().to_string());
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let mut written = Self { path, file };
        written.file.lock()?;
        written.file.write_all(key.expose())?;
        if !key.expose().ends_with(b"\n") {
            written.file.write_all(b"\n")?;
        }
        Ok(written)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the file of a deploy key cannot be removed");
        }
    }
}

/// Removes the keys of `folder` that nobody uses.
pub(super) fn sweep(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if File::open(&path)?.try_lock().is_ok() {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The value of `GIT_SSH_COMMAND`: Git splits it as a shell does, so every word is quoted.
pub(super) fn command(known_hosts: &Path, key: Option<&Path>) -> String {
    let known_hosts = format!("UserKnownHostsFile=\"{}\"", literal(known_hosts));
    let identity =
        key.map_or_else(|| "IdentityFile=none".to_owned(), |key| format!("IdentityFile=\"{}\"", literal(key)));
    let options = [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        &identity,
        &known_hosts,
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=accept-new",
        "UpdateHostKeys=no",
        "ClearAllForwardings=yes",
        "ControlMaster=no",
        "ControlPath=none",
        "ConnectTimeout=20",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=4",
    ];
    let words = ["ssh", "-F", "/dev/null"].into_iter().chain(options.into_iter().flat_map(|option| ["-o", option]));
    shell_words::join(words)
}

/// A path as `ssh` reads it between quotes in an option: `%` would begin a token.
fn literal(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn a_key_is_readable_by_its_owner_alone_and_goes_with_its_value() {
        let folder = tempfile::tempdir().unwrap();

        let key = KeyFile::write(folder.path(), &Secret::from("PRIVATE"), &SystemClock).unwrap();

        assert_eq!(fs::metadata(key.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(key.path()).unwrap(), "PRIVATE\n");
        drop(key);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_sweep_takes_what_a_crash_left_and_no_key_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let used = KeyFile::write(folder.path(), &Secret::from("used"), &SystemClock).unwrap();
        fs::write(folder.path().join("left"), "left behind").unwrap();

        sweep(folder.path()).unwrap();

        assert!(used.path().exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn paths_with_blanks_and_signs_stay_one_word_of_the_command() {
        let command = command(Path::new("/my data/50%/known_hosts"), Some(Path::new("/my data/a'b/key")));

        let words = shell_words::split(&command).unwrap();

        assert!(words.contains(&"UserKnownHostsFile=\"/my data/50%%/known_hosts\"".to_owned()), "{words:?}");
        assert!(words.contains(&"IdentityFile=\"/my data/a'b/key\"".to_owned()), "{words:?}");
    }

    #[test]
    fn without_a_deploy_key_no_key_of_the_machine_is_offered() {
        let command = command(Path::new("/d/known_hosts"), None);

        assert!(command.contains("IdentityFile=none") && command.contains("IdentityAgent=none"), "{command}");
    }
}
