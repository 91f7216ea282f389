//! The files: who may read them, when they are flushed, and what is said when something is wrong with them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::error::ErrorKind;
use crate::model::{Actor, DeploymentId, LogLine, RuntimeKind, Server, ServerId};
use crate::store::{Events as _, LogStore as _, Servers as _};

/// A moment that is over soon: what a test waits for a lock that nobody gives back.
const MOMENT: Duration = Duration::from_millis(50);

fn in_folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("ployer.db");
    (folder, path)
}

fn commit() -> Commit {
    Commit::new(Actor::System, SystemClock.now())
}

fn server(name: &str) -> Server {
    Server::local(ServerId::new(&SystemClock), name.parse().unwrap(), RuntimeKind::Process, SystemClock.now())
}

/// A connection of somebody else.
async fn stranger(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

async fn pragma(connection: &mut SqliteConnection, sql: &'static str) -> String {
    sqlx::query_scalar::<_, String>(sql).fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn all_files_are_for_their_owner_alone() {
    let (folder, path) = in_folder();
    let store = SqlStore::open(&path).await.unwrap();
    let line = LogLine { number: 1, at: SystemClock.now(), text: "built".to_owned() };

    store.commit(commit().insert(server("local"))).await.unwrap();
    store.append_log(DeploymentId::new(&SystemClock), &[line]).await.unwrap();

    let mut files = Vec::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        files.push(entry.file_name().into_string().unwrap());
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{files:?}");
    }
    for name in ["ployer.db", "ployer.db-wal", "ployer-logs.db"] {
        assert!(files.iter().any(|file| file == name), "{name} is not among {files:?}");
    }
}

#[tokio::test]
async fn the_journal_is_flushed_at_each_commit_and_build_output_is_not() {
    let (_folder, path) = in_folder();
    let store = SqlStore::open(&path).await.unwrap();
    store.remove_log(DeploymentId::new(&SystemClock)).await.unwrap();

    let mut writer = store.writer.connection().await.unwrap();
    let mut logs = store.logs().await.unwrap().connection().await.unwrap();

    let synchronous = "SELECT CASE synchronous WHEN 2 THEN 'full' WHEN 1 THEN 'normal' END FROM pragma_synchronous";
    assert_eq!(pragma(&mut writer, synchronous).await, "full");
    assert_eq!(pragma(&mut logs, synchronous).await, "normal");
    assert_eq!(pragma(&mut writer, "PRAGMA journal_mode").await, "wal");
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_refused_and_both_versions_are_named() {
    let (_folder, path) = in_folder();
    drop(SqlStore::open(&path).await.unwrap());
    sqlx::query("PRAGMA user_version = 99").execute(&mut stranger(&path).await).await.unwrap();

    let error = SqlStore::open(&path).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let newest = migrate::STORE.newest();
    assert!(
        error.to_string().contains("version 99") && error.to_string().contains(&format!("up to {newest}")),
        "{error}"
    );
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_alone() {
    let (_folder, path) = in_folder();
    sqlx::query("CREATE TABLE theirs (id INTEGER)").execute(&mut stranger(&path).await).await.unwrap();

    let error = SqlStore::open(&path).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Invalid);
    let tables = "SELECT group_concat(name) FROM sqlite_schema";
    assert_eq!(pragma(&mut stranger(&path).await, tables).await, "theirs");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let (_folder, path) = in_folder();
    let text = "name = \"shop\"\n".repeat(100);
    fs::write(&path, &text).unwrap();

    let error = SqlStore::open(&path).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("ployer.db` is not a database"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn a_folder_that_is_not_there_or_in_the_way_is_named() {
    let (folder, path) = in_folder();

    for path in [path.join("deeper.db"), folder.path().to_owned()] {
        let error = SqlStore::open_within(&path, MOMENT).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
        assert!(error.hint().is_some());
    }
}

#[tokio::test]
async fn a_lock_of_another_process_is_waited_for() {
    let (_folder, path) = in_folder();
    let store = Arc::new(SqlStore::open(&path).await.unwrap());
    let mut other = stranger(&path).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();

    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.commit(commit().insert(server("local"))).await }
    });
    assert_eq!(store.servers().await.unwrap(), [], "a reader does not wait");
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();

    waiting.await.unwrap().unwrap();
    assert_eq!(store.servers().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_lock_that_is_not_given_back_is_an_error_that_says_so() {
    let (_folder, path) = in_folder();
    let store = SqlStore::open_within(&path, MOMENT).await.unwrap();
    let mut other = stranger(&path).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();

    let refused = [
        store.commit(commit().insert(server("local"))).await.unwrap_err(),
        SqlStore::open_within(&path, MOMENT).await.unwrap_err(),
    ];

    for error in refused {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("locked by another process"), "{error}");
    }
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    store.commit(commit().insert(server("local"))).await.unwrap();
}

#[tokio::test]
async fn a_new_file_that_somebody_locks_for_himself_is_an_error_that_says_so() {
    let (_folder, path) = in_folder();
    let mut other = stranger(&path).await;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();

    let error = SqlStore::open_within(&path, MOMENT).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("locked"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_that_open_a_new_file_together_all_get_it() {
    let (_folder, path) = in_folder();

    let mut openings = tokio::task::JoinSet::new();
    for number in 0..8 {
        let path = path.clone();
        openings.spawn(async move {
            let store = SqlStore::open(&path).await.unwrap();
            store.commit(commit().insert(server(&format!("server {number}")))).await.unwrap();
            store
        });
    }
    let stores = openings.join_all().await;

    assert_eq!(stores[0].servers().await.unwrap().len(), 8);
}

#[tokio::test]
async fn a_full_disk_is_said_and_leaves_nothing_of_the_commit() {
    let (_folder, path) = in_folder();
    let store = SqlStore::open(&path).await.unwrap();
    let full = "PRAGMA max_page_count = 1";
    sqlx::query(full).execute(&mut *store.writer.connection().await.unwrap()).await.unwrap();

    let mut too_much = commit();
    for number in 0..1_000 {
        too_much = too_much.insert(server(&format!("server {number}")));
    }
    let error = store.commit(too_much).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Exhausted, "{}", error.chain());
    assert!(error.hint().unwrap().contains("disk space"));
    assert_eq!(store.servers().await.unwrap(), []);
    store.commit(commit().insert(server("small"))).await.unwrap();
    assert_eq!(store.last_event().await.unwrap(), EventSeq(0));
}

#[tokio::test]
async fn a_database_that_cannot_be_written_is_said() {
    let (_folder, path) = in_folder();
    let store = SqlStore::open(&path).await.unwrap();
    sqlx::query("PRAGMA query_only = 1").execute(&mut *store.writer.connection().await.unwrap()).await.unwrap();

    let error = store.commit(commit().insert(server("local"))).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert!(error.to_string().contains("cannot be written"), "{error}");
}

#[tokio::test]
async fn a_row_that_somebody_has_edited_into_nonsense_is_an_error() {
    let (_folder, path) = in_folder();
    let store = SqlStore::open(&path).await.unwrap();
    let local = server("local");
    store.commit(commit().insert(local.clone())).await.unwrap();

    let edit = "UPDATE servers SET created_at = 'yesterday'";
    sqlx::query(edit).execute(&mut stranger(&path).await).await.unwrap();

    let error = store.server(local.id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(error.chain().contains("created_at"), "{}", error.chain());
}

#[test]
fn build_output_lies_beside_the_database_under_its_name() {
    let beside = |path: &str| logs_path(Path::new(path)).to_string_lossy().into_owned();

    assert_eq!(beside("/data/ployer.db"), "/data/ployer-logs.db");
    assert_eq!(beside("ployer"), "ployer-logs");
    assert_eq!(beside("a.b/ployer.1.sqlite"), "a.b/ployer.1-logs.sqlite");
}
