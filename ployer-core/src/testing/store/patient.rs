//! Patient: contention is waited out; a caller never sees that the store was busy.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{StoreHarness, commit, sample, stored_application, stored_named, stored_server};
use crate::error::ErrorKind;
use crate::model::{Application, ApplicationId};
use crate::store::Store;

/// Reads the application and counts one restart up; `false` if somebody else was faster.
async fn count_up(store: &dyn Store, id: ApplicationId) -> bool {
    let seen = store.application(id).await.unwrap().unwrap();
    let next = Application { restarts_wanted: seen.restarts_wanted + 1, ..seen };
    match store.commit(commit().update(next)).await {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::Conflict => false,
        Err(error) => panic!("a caller saw: {}", error.chain()),
    }
}

/// Two handles, four tasks each, every task on a record of its own: no commit may fail at all.
pub async fn eight_tasks_that_read_then_write_never_see_a_busy_store(harness: impl StoreHarness) {
    let handles = [harness.store(), harness.second_handle().await];
    let server = stored_server(&*handles[0]).await;

    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let store: Arc<dyn Store> = handles[task % 2].clone();
        let own = stored_named(&*handles[0], &server, &format!("app-{task}")).await;
        tasks.spawn(async move {
            for _ in 0..100 {
                assert!(count_up(&*store, own.id).await, "nobody else writes this record");
            }
        });
    }
    tasks.join_all().await;

    let counts: Vec<_> = handles[0].applications().await.unwrap().iter().map(|row| row.restarts_wanted).collect();
    assert_eq!(counts, [100; 8]);
}

/// Each of 200 wins is there in the end, however many tries were lost.
pub async fn no_update_of_one_record_by_eight_tasks_is_lost(harness: impl StoreHarness) {
    let handles = [harness.store(), harness.second_handle().await];
    let shop = stored_application(&*handles[0]).await;

    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let store: Arc<dyn Store> = handles[task % 2].clone();
        tasks.spawn(async move {
            let mut won = 0;
            while won < 25 {
                won += u32::from(count_up(&*store, shop.id).await);
            }
        });
    }
    tasks.join_all().await;

    assert_eq!(handles[1].application(shop.id).await.unwrap().unwrap().restarts_wanted, 200);
}

/// A read after a commit on another handle sees it.
pub async fn two_handles_see_what_the_other_has_committed(harness: impl StoreHarness) {
    let (one, two) = (harness.store(), harness.second_handle().await);
    let shop = stored_application(&*one).await;
    assert_eq!(two.application(shop.id).await.unwrap(), Some(shop.clone()));

    two.commit(commit().insert(sample::machine(shop.id))).await.unwrap();

    assert!(one.machine(shop.id).await.unwrap().is_some());
}
