//! The installation: its identity in the database and in the data directory, and the row of this machine.
//!
//! Whatever runs carries the identity. Where the database and the data directory differ, one of them was restored or
//! replaced, and nothing may start: what runs there is not known here.

use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Actor, EventKind, Installation, InstanceId, NewEvent, RuntimeKind, Server, ServerId, Version};
use crate::store::{Commit, Store};

/// The identity of the installation; made on first use.
pub(super) async fn identify(store: &dyn Store, clock: &dyn Clock, data_dir: Option<&Path>) -> Result<InstanceId> {
    let stored = match store.installation().await? {
        Some(installation) => installation.instance,
        None => make(store, clock).await?,
    };
    let Some(data_dir) = data_dir else { return Ok(stored) };
    let kept = keep(data_dir, stored)?;
    if kept == stored {
        return Ok(stored);
    }
    let file = data_dir.join("instance");
    Err(Error::conflict(format!(
        "the database is of instance {stored}, but the data directory {} is of instance {kept}",
        data_dir.display()
    ))
    .with_hint(format!(
        "bring back the database that belongs to it; or, if nothing of {kept} runs any more, remove {}",
        file.display()
    )))
}

async fn make(store: &dyn Store, clock: &dyn Clock) -> Result<InstanceId> {
    let instance = InstanceId::new(clock);
    let installation = Installation { version: Version::NEW, instance, secret_key_id: None };
    match store.commit(Commit::new(Actor::System, clock.now()).insert(installation)).await {
        Ok(_) => Ok(instance),
        // Another process has made it meanwhile.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let made = store.installation().await?.ok_or(error)?;
            Ok(made.instance)
        }
        Err(error) => Err(error),
    }
}

/// The identity that the data directory has, written there if it has none.
fn keep(data_dir: &Path, stored: InstanceId) -> Result<InstanceId> {
    let path = data_dir.join("instance");
    let failed = |error: io::Error| {
        Error::internal(format!("the identity of the installation cannot be kept in {}", path.display()), error)
            .with_hint("see that the directory can be written to")
    };
    make_dir(data_dir)?;
    match write_once(&path, &format!("{stored}\n")) {
        Ok(()) => Ok(stored),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let text = std::fs::read_to_string(&path).map_err(failed)?;
            text.trim().parse().map_err(|_| {
                Error::conflict(format!("{} does not hold an instance id", path.display()))
                    .with_hint(format!("if nothing of another database runs here, write {stored} into it"))
            })
        }
        Err(error) => Err(failed(error)),
    }
}

/// Makes the data directory, which others may not read.
pub(super) fn make_dir(data_dir: &Path) -> Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(|error| {
        Error::new(ErrorKind::Unavailable, format!("the data directory {} cannot be made", data_dir.display()))
            .with_source(error)
            .with_hint("choose one that can be written to")
    })
}

/// Makes a file with that text unless there is one; after a crash it is there entirely or not at all.
fn write_once(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&beside, path);
    std::fs::remove_file(&beside)?;
    linked
}

/// The row of this machine for that kind of runtime; made on first use, and never another kind later.
pub(super) async fn local_server(store: &dyn Store, clock: &dyn Clock, kind: RuntimeKind) -> Result<ServerId> {
    let fits = |server: &Server| server.is_local && server.runtime == kind;
    if let Some(server) = store.servers().await?.into_iter().find(fits) {
        return Ok(server.id);
    }
    let name = match kind {
        RuntimeKind::Process => "local",
        RuntimeKind::Docker => "docker",
        RuntimeKind::Custom => "custom",
    };
    let server = Server::local(ServerId::new(clock), name.parse()?, kind, clock.now());
    let id = server.id;
    let event = NewEvent::global(EventKind::ServerChanged);
    match store.commit(Commit::new(Actor::System, clock.now()).insert(server).event(event)).await {
        Ok(_) => Ok(id),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            store.servers().await?.into_iter().find(fits).map(|server| server.id).ok_or(error)
        }
        Err(error) => Err(error),
    }
}

/// What another engine is told of this one: the program, its process and the host.
pub(super) fn holder() -> String {
    let program = std::env::current_exe().ok();
    let program =
        program.as_deref().and_then(Path::file_name).map_or_else(|| "?".into(), |name| name.to_string_lossy());
    let host = rustix::system::uname();
    format!("{program}, process {} on {}", std::process::id(), host.nodename().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn an_installation_keeps_its_identity_in_both_places() {
        let (store, dir) = (MemoryStore::new(), tempfile::tempdir().unwrap());

        let first = identify(&store, &SystemClock, Some(dir.path())).await.unwrap();
        let again = identify(&store, &SystemClock, Some(dir.path())).await.unwrap();

        let file = std::fs::read_to_string(dir.path().join("instance")).unwrap();
        assert_eq!((again, file), (first, format!("{first}\n")));
    }

    #[tokio::test]
    async fn a_data_directory_of_another_database_is_refused_naming_both() {
        let (old, new, dir) = (MemoryStore::new(), MemoryStore::new(), tempfile::tempdir().unwrap());
        let theirs = identify(&old, &SystemClock, Some(dir.path())).await.unwrap();

        let refused = identify(&new, &SystemClock, Some(dir.path())).await.unwrap_err();

        let ours = new.installation().await.unwrap().unwrap().instance;
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert!(refused.to_string().contains(&ours.to_string()) && refused.to_string().contains(&theirs.to_string()));
        assert!(refused.hint().is_some_and(|hint| hint.contains("instance")));
        assert_eq!(identify(&old, &SystemClock, Some(dir.path())).await.unwrap(), theirs, "nothing was changed");
    }

    #[tokio::test]
    async fn a_file_that_holds_no_identity_is_refused_and_left_alone() {
        let (store, dir) = (MemoryStore::new(), tempfile::tempdir().unwrap());
        std::fs::write(dir.path().join("instance"), "not a uuid").unwrap();

        let refused = identify(&store, &SystemClock, Some(dir.path())).await.unwrap_err();

        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert_eq!(std::fs::read_to_string(dir.path().join("instance")).unwrap(), "not a uuid");
    }

    #[tokio::test]
    async fn a_machine_has_one_row_for_each_kind_of_runtime() {
        let store = MemoryStore::new();

        let first = local_server(&store, &SystemClock, RuntimeKind::Process).await.unwrap();
        let custom = local_server(&store, &SystemClock, RuntimeKind::Custom).await.unwrap();
        let again = local_server(&store, &SystemClock, RuntimeKind::Process).await.unwrap();

        assert_eq!(first, again);
        assert_ne!(first, custom);
    }

    #[test]
    fn the_holder_names_program_process_and_host() {
        let holder = holder();

        assert!(holder.contains(&std::process::id().to_string()), "{holder}");
        assert!(holder.contains(" on "), "{holder}");
    }
}
