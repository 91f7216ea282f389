//! Interrupted: futures that are dropped midway, and a crash between the two files.

use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::model::{
    Actor, Application, ApplicationId, BuildCache, Deployment, DeploymentId, DeploymentKind, EventKind, LogLine,
    NewApplication, NewEvent, RuntimeKind, Server, ServerId, Version,
};
use crate::store::{Applications as _, Events as _, LogStore as _, Servers as _};

fn commit() -> Commit {
    Commit::new(Actor::System, SystemClock.now())
}

fn server(name: &str) -> Server {
    Server::local(ServerId::new(&SystemClock), name.parse().unwrap(), RuntimeKind::Process, SystemClock.now())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_dropped_midway_is_stored_whole_or_not_at_all() {
    let harness = Sqlite::fresh().await;
    let store = harness.store;

    for polls in 0..40 {
        let local = server(&format!("server {polls}"));
        let whole = commit().insert(local.clone()).event(NewEvent::global(EventKind::ServerChanged));
        {
            let mut dropped = pin!(store.commit(whole));
            for _ in 0..polls {
                if let Poll::Ready(done) = dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    done.unwrap();
                    break;
                }
                std::thread::yield_now();
            }
        }
        let next = server(&format!("next {polls}"));
        store.commit(commit().insert(next).event(NewEvent::global(EventKind::ServerChanged))).await.unwrap();
    }

    let (servers, events) = (store.servers().await.unwrap(), store.events(EventSeq(0), 1_000).await.unwrap());
    assert_eq!(servers.len(), events.len());
    assert!((40..=80).contains(&servers.len()));
    assert!(events.iter().zip(1..).all(|(event, number)| event.seq == EventSeq(number)));
}

#[tokio::test]
async fn a_read_that_is_dropped_midway_disturbs_nobody() {
    let harness = Sqlite::fresh().await;
    let store = harness.store;
    store.commit(commit().insert(server("local"))).await.unwrap();

    for polls in 0..20 {
        let mut dropped = pin!(store.servers());
        for _ in 0..polls {
            if dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                break;
            }
        }
    }

    assert_eq!(store.servers().await.unwrap().len(), 1);
}

#[tokio::test]
async fn output_of_a_deleted_application_goes_at_the_next_start_if_a_crash_came_between() {
    let harness = Sqlite::fresh().await;
    let (clock, now) = (SystemClock, SystemClock.now());
    let local = server("local");
    let new = NewApplication::new("shop".parse().unwrap());
    let shop = Application::new(ApplicationId::new(&clock), new, local.id, None, now);
    let kind = DeploymentKind::Deploy { commit: None, cache: BuildCache::Use };
    let of = (shop.id, &shop.name, local.id);
    let deployment = Deployment::queued(DeploymentId::new(&clock), of, Actor::System, kind, now);
    let records = commit().insert(local).insert(shop.clone()).insert(deployment.clone());
    harness.store.commit(records).await.unwrap();
    let line = LogLine { number: 1, at: now, text: "built".to_owned() };
    harness.store.append_log(deployment.id, &[line]).await.unwrap();

    let deletion = commit().delete(Key::Application(shop.id), Version(1));
    harness.store.store(&deletion).await.unwrap();
    let harness = harness.reopen().await;

    assert_eq!(harness.store.applications().await.unwrap(), []);
    assert_eq!(harness.store.log(deployment.id, 0, 10).await.unwrap().lines, []);
    let left = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM removed_logs");
    assert_eq!(left.fetch_one(&mut *harness.store.writer.connection().await.unwrap()).await.unwrap(), 0);
}
