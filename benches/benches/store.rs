//! The store's `commit` against bare SQLite: the same file form, the same durability, one row and one event each.
//!
//! Both sides write into the same folder and take turns, so that both see the same disk. Each commit is on the disk
//! when it returns: what a machine's `fsync` costs is most of either figure.
#![allow(clippy::expect_used, reason = "a bench that cannot be set up has no result")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use benches::median;
use ployer_core::clock::{Clock, SystemClock};
use ployer_core::model::{Actor, EventKind, NewEvent, RuntimeKind, Server, ServerId};
use ployer_core::store::sql::SqlStore;
use ployer_core::store::{Commit, Store};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

const ROUNDS: usize = 7;
const COMMITS: usize = 200;
/// Commits that are wanted at once.
const WRITERS: usize = 16;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(SqlStore::open(&folder.path().join("ployer.db")).await.expect("a store"));
    let mut bare = bare(folder.path()).await;
    let mut rates = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        rates[0].push(rate(async || insert_bare(&mut bare, COMMITS).await).await);
        rates[1].push(rate(async || commit_in_turn(&store, COMMITS).await).await);
        rates[2].push(rate(async || commit_at_once(&store).await).await);
    }
    let [bare, in_turn, at_once] = rates;
    println!("store: {ROUNDS} rounds of {COMMITS} commits, median; ratios within a round");
    println!("{:<36} {:>10} {:>7}", "case", "commits/s", "ratio");
    println!("{:<36} {:>10.0}", "bare SQLite, one after the other", median(&bare));
    for (case, rates) in
        [("commit, one after the other".to_owned(), in_turn), (format!("commit, {WRITERS} at once"), at_once)]
    {
        let ratios: Vec<f64> = rates.iter().zip(&bare).map(|(ours, bare)| ours / bare).collect();
        println!("{case:<36} {:>10.0} {:>7.2}", median(&rates), median(&ratios));
    }
}

async fn rate(work: impl AsyncFnOnce()) -> f64 {
    let began = Instant::now();
    work().await;
    COMMITS as f64 / began.elapsed().as_secs_f64()
}

async fn commit_in_turn(store: &SqlStore, count: usize) {
    for _ in 0..count {
        store.commit(commit()).await.expect("a commit");
    }
}

async fn commit_at_once(store: &Arc<SqlStore>) {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(store);
        let count = COMMITS / WRITERS + usize::from(writer < COMMITS % WRITERS);
        writers.spawn(async move { commit_in_turn(&store, count).await });
    }
    writers.join_all().await;
}

fn commit() -> Commit {
    let id = ServerId::new(&SystemClock);
    let name = format!("server-{id}").parse().expect("a name");
    let server = Server::local(id, name, RuntimeKind::Process, SystemClock.now());
    let event = NewEvent::global(EventKind::ServerChanged);
    Commit::new(Actor::System, SystemClock.now()).insert(server).event(event)
}

async fn bare(folder: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(folder.join("bare.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let mut connection = options.connect().await.expect("a database");
    for table in [
        "CREATE TABLE server (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record TEXT NOT NULL)",
        "CREATE TABLE event (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL)",
    ] {
        sqlx::query(table).execute(&mut connection).await.expect("a table");
    }
    connection
}

/// The least that stores as much as a commit does.
async fn insert_bare(connection: &mut SqliteConnection, count: usize) {
    let record = "x".repeat(400);
    for _ in 0..count {
        let id = SystemClock.new_id().to_string();
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.expect("a transaction");
        let insert = sqlx::query("INSERT INTO server VALUES (?, ?, ?)").bind(&id).bind(&id).bind(&record);
        insert.execute(&mut *tx).await.expect("a row");
        let insert = sqlx::query("INSERT INTO event (kind) VALUES ('changed')");
        insert.execute(&mut *tx).await.expect("an event");
        tx.commit().await.expect("a commit");
    }
}
